//! The file format of SQLite, as far as reading whole tables needs it, over pages that somebody else fetches: whatever bytes
//! they hold, it ends, asks for a bounded number of them, and either gives rows or says why not.
//!
//! Format: sqlite.org/fileformat2.html. Tables with row numbers alone are read; what is kept otherwise (`WITHOUT ROWID`,
//! UTF-16) is refused. A row that is longer than [`ROW_BYTES_MAX`] is passed over.

use std::collections::BTreeSet;
use std::io;

use crate::model::rows::{Cell, Row, Table};

/// Bytes of the file's own header, at the front of its first page.
pub(super) const HEADER_BYTES: usize = 100;
/// Rows of one table that are taken; whoever uses such a tool all day has thousands.
const ROWS_MAX: usize = 100_000;
/// Bytes of one row that are read.
const ROW_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of one text that is taken; a todo or a title is far below.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Pages that are read in one look: what the tables that we want may take, and no table of messages.
const PAGES_MAX: usize = 65_536;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of a page.
    pub(super) page_bytes: usize,
    /// Bytes of a page that hold content.
    usable: usize,
}

impl Header {
    /// Reads the first bytes of the file, or of its first page.
    ///
    /// # Errors
    /// When they are no such header, or one of a form that is not read.
    pub(super) fn read(bytes: &[u8]) -> io::Result<Header> {
        let bytes = bytes.get(..HEADER_BYTES).filter(|bytes| bytes.starts_with(b"SQLite format 3\0")).ok_or_else(|| odd("no database"))?;
        let page_bytes = match number(&bytes[16..18]) {
            1 => 65_536,
            size @ 512..=32_768 if size.is_power_of_two() => size,
            _ => return Err(odd("the size of its pages is none")),
        };
        let usable = page_bytes.saturating_sub(usize::from(bytes[20]));
        // What no content was written to says 0.
        if usable < 480 || number(&bytes[56..60]) > 1 {
            return Err(odd("it is kept in a form that is not read"));
        }
        Ok(Header { page_bytes, usable })
    }
}

/// Reads tables; `fetch` gives a page by its number, from 1.
pub(super) struct Pages<F> {
    header: Header,
    fetch: F,
    left: usize,
}

/// A table as the schema describes it.
struct Found {
    root: u32,
    columns: Vec<String>,
}

impl<F: FnMut(u32) -> io::Result<Vec<u8>>> Pages<F> {
    pub(super) fn new(header: Header, fetch: F) -> Pages<F> {
        Pages { header, fetch, left: PAGES_MAX }
    }

    /// The rows of the tables, in their order; a table that is not there has none.
    ///
    /// # Errors
    /// When a page cannot be fetched, or what it says cannot be.
    pub(super) fn tables(&mut self, wanted: &[Table]) -> io::Result<Vec<Vec<Row>>> {
        let mut found: Vec<Option<Found>> = wanted.iter().map(|_| None).collect();
        self.rows(1, &mut |row| {
            let text = |n: usize| row.get(n).map_or("", Cell::text);
            let root = row.get(3).and_then(Cell::number).and_then(|root| u32::try_from(root).ok());
            if let (Some(n), "table", Some(root)) = (wanted.iter().position(|table| table.name == text(1)), text(0), root) {
                found[n] = Some(Found { root, columns: columns(text(4)) });
            }
        })?;
        let mut tables = Vec::new();
        for (table, found) in wanted.iter().zip(found) {
            let mut rows = Vec::new();
            if let Some(Found { root, columns }) = found {
                let places: Vec<Option<usize>> = table.columns.iter().map(|name| columns.iter().position(|other| other == name)).collect();
                self.rows(root, &mut |row| {
                    rows.push(places.iter().map(|place| place.and_then(|n| row.get(n)).cloned().unwrap_or(Cell::Nothing)).collect());
                })?;
            }
            tables.push(rows);
        }
        Ok(tables)
    }

    fn page(&mut self, n: u32) -> io::Result<Vec<u8>> {
        self.left = self.left.checked_sub(1).ok_or_else(|| odd("it is larger than is read"))?;
        let page = (self.fetch)(n)?;
        if n == 0 || page.len() != self.header.page_bytes { Err(odd("a page is missing")) } else { Ok(page) }
    }

    /// Every row of the tree below that page, whole.
    fn rows(&mut self, root: u32, take: &mut dyn FnMut(Row)) -> io::Result<()> {
        // A page that stands below itself would be read for ever.
        let mut seen = BTreeSet::new();
        let mut waiting = vec![root];
        let mut taken = 0;
        while let Some(n) = waiting.pop() {
            if !seen.insert(n) {
                return Err(odd("its pages go round in a circle"));
            }
            let page = self.page(n)?;
            let at = if n == 1 { HEADER_BYTES } else { 0 };
            let kind = page[at];
            let cells = number(&page[at + 3..at + 5]);
            let pointers = at + if kind == INTERIOR { 12 } else { 8 };
            let pointers = page.get(pointers..pointers + 2 * cells).ok_or_else(torn)?;
            let usable = self.header.usable;
            let cell = |pointer: &[u8]| page.get(number(pointer)..usable).ok_or_else(torn);
            match kind {
                INTERIOR => {
                    waiting.push(page_number(&page[at + 8..at + 12]));
                    for pointer in pointers.chunks_exact(2).rev() {
                        waiting.push(page_number(cell(pointer)?.get(..4).ok_or_else(torn)?));
                    }
                }
                LEAF => {
                    for pointer in pointers.chunks_exact(2) {
                        let cell = cell(pointer)?.to_vec();
                        if let Some(payload) = self.payload(&cell)? {
                            take(record(&payload)?);
                        }
                        taken += 1;
                        if taken == ROWS_MAX {
                            return Ok(());
                        }
                    }
                }
                _ => return Err(odd("a page is of another kind than it should be")),
            }
        }
        Ok(())
    }

    /// What a leaf's cell holds, with what overflowed into pages of its own; `None`: too long.
    fn payload(&mut self, cell: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut rest = cell;
        let length = varint(&mut rest)?;
        varint(&mut rest)?;
        if length > ROW_BYTES_MAX {
            return Ok(None);
        }
        let (length, usable) = (usize::try_from(length).map_err(io::Error::other)?, self.header.usable);
        let most = usable - 35;
        let least = (usable - 12) * 32 / 255 - 23;
        let even = least + length.saturating_sub(least) % (usable - 4);
        let here = match length {
            _ if length <= most => length,
            _ if even <= most => even,
            _ => least,
        };
        let mut payload = rest.get(..here).ok_or_else(torn)?.to_vec();
        let mut next = if here < length { page_number(rest.get(here..here + 4).ok_or_else(torn)?) } else { 0 };
        while payload.len() < length {
            let page = self.page(next)?;
            let part = usable.min(4 + length - payload.len());
            payload.extend_from_slice(&page[4..part]);
            next = page_number(&page[..4]);
        }
        Ok(Some(payload))
    }
}

const INTERIOR: u8 = 5;
const LEAF: u8 = 13;

/// The columns of one row.
fn record(payload: &[u8]) -> io::Result<Row> {
    let mut types = payload;
    let head = usize::try_from(varint(&mut types)?).map_err(io::Error::other)?;
    let taken = payload.len() - types.len();
    let mut types = payload.get(taken..head).ok_or_else(torn)?;
    let mut values = &payload[head..];
    let mut row = Row::new();
    while !types.is_empty() {
        let kind = varint(&mut types)?;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            _ => kind.saturating_sub(12) / 2,
        };
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let (value, rest) = values.split_at_checked(length).ok_or_else(torn)?;
        values = rest;
        row.push(match kind {
            1..=6 => Cell::Number(signed(value)),
            8 | 9 => Cell::Number(i64::from(kind == 9)),
            13.. if kind % 2 == 1 && length <= TEXT_BYTES_MAX => Cell::Text(String::from_utf8_lossy(value).into_owned()),
            _ => Cell::Nothing,
        });
    }
    Ok(row)
}

/// The names of a table's columns, out of the words that made it.
fn columns(sql: &str) -> Vec<String> {
    let Some((_, inside)) = sql.split_once('(') else { return Vec::new() };
    let mut names = Vec::new();
    let (mut depth, mut quote, mut part) = (0, None, String::new());
    for c in inside.chars() {
        match (quote, c) {
            (Some(end), _) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '`' | '"' | '\'') => quote = Some(c),
            (None, '[') => quote = Some(']'),
            (None, '(') => depth += 1,
            (None, ')') if depth > 0 => depth -= 1,
            (None, ',' | ')') if depth == 0 => {
                names.extend(column(&std::mem::take(&mut part)));
                if c == ')' {
                    break;
                }
                continue;
            }
            (None, _) => {}
        }
        part.push(c);
    }
    names
}

/// The name of a column, out of what describes it; what is a condition on the whole table has none.
fn column(part: &str) -> Option<String> {
    let part = part.trim();
    let end = match part.chars().next()? {
        quote @ ('`' | '"' | '\'') => return part[1..].split(quote).next().map(str::to_owned),
        '[' => return part[1..].split(']').next().map(str::to_owned),
        _ => part.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(part.len()),
    };
    let is_condition = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"].iter().any(|word| part[..end].eq_ignore_ascii_case(word));
    (!is_condition).then(|| part[..end].to_owned())
}

/// Seven bits a byte, the highest first, all eight of a ninth.
fn varint(bytes: &mut &[u8]) -> io::Result<u64> {
    let mut value = 0;
    for n in 0..9 {
        let (byte, rest) = bytes.split_first().ok_or_else(torn)?;
        *bytes = rest;
        if n == 8 {
            return Ok(value << 8 | u64::from(*byte));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(value)
}

fn signed(bytes: &[u8]) -> i64 {
    let minus = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    bytes.iter().fold(if minus { -1 } else { 0 }, |value, byte| value << 8 | i64::from(*byte))
}

/// A number without a sign, of at most four bytes.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

fn page_number(bytes: &[u8]) -> u32 {
    u32::try_from(number(bytes)).unwrap_or(0)
}

fn torn() -> io::Error {
    odd("a page ends too early")
}

fn odd(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_as_they_were_made() {
        let made = "CREATE TABLE `s` (\n\t`id` text PRIMARY KEY,\n\t\"a, b\" numeric(5, 2) DEFAULT 'x,y)' NOT NULL,\n\t[c] text,\n\tplain_d integer, \
                    e, CONSTRAINT `pk` PRIMARY KEY(`id`, `c`), FOREIGN KEY (`c`) REFERENCES `p`(`id`), unique(e))";
        assert_eq!(columns(made), ["id", "a, b", "c", "plain_d", "e"]);
        assert_eq!((columns(""), columns("CREATE TABLE x"), columns("(")), (vec![], vec![], vec![]));
    }

    #[test]
    fn numbers_are_read_in_every_length() {
        let values = [&[255, 255, 254, 0, 0, 1, 128, 0, 0, 0, 0, 0, 0, 0, 1, 0][..], &[255; 7], &[0; 9]].concat();
        let row = record(&[&[10, 1, 2, 3, 4, 5, 6, 7, 8, 9][..], &values].concat());
        let numbers = [-1, -2, 1, i64::from(i32::MIN), 256, -256].map(Cell::Number);
        let row = row.expect("a row");
        assert_eq!((&row[..6], &row[6..]), (&numbers[..], &[Cell::Nothing, Cell::Number(0), Cell::Number(1)][..]));
        let mut long: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!((varint(&mut long).expect("whole"), long.len()), (u64::MAX, 0));
        assert!(varint(&mut &[0x80, 0x80][..]).is_err() && record(&[3, 23, 0]).is_err() && record(&[200, 1]).is_err());
    }

    #[test]
    fn pages_that_go_round_are_noticed() {
        let header = Header { page_bytes: 512, usable: 512 };
        let mut round = vec![0; 512];
        (round[100], round[111]) = (INTERIOR, 2);
        let mut below = vec![0; 512];
        (below[0], below[11]) = (INTERIOR, 1);
        let mut pages = Pages::new(header, |n| Ok(if n == 1 { round.clone() } else { below.clone() }));
        assert!(pages.tables(&[]).expect_err("round").to_string().contains("circle"));
    }
}
