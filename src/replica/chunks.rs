//! The bytes of automerge's storage format, read so that nothing in them can cost more than their own length.
//!
//! Only what a document of ours may hold is understood: change chunks, plain and deflated, and their columns. A run of 2^40
//! equal values is one step here, never 2^40. The format: automerge 0.12.0 `storage/chunk.rs`, `storage/change.rs`,
//! `columnar/encoding/rle.rs`.

use std::io::Read;

use sha2::{Digest, Sha256};

/// The four bytes before every chunk.
const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// The type of a whole document's chunk.
const DOCUMENT: u8 = 0;
/// The type of a plain change chunk.
const PLAIN: u8 = 1;
/// The type of a deflated change chunk.
const DEFLATED: u8 = 2;

// The columns of a change: id << 4 | type.
/// Whose operation made the object that is written to.
pub const OBJECT_ACTOR: u8 = 0x01;
/// Which operation made the object that is written to.
pub const OBJECT_COUNTER: u8 = 0x02;
/// The key in the map.
pub const KEY: u8 = 0x15;
/// Whether an element is inserted into a list.
pub const INSERT: u8 = 0x34;
/// What is done.
pub const ACTION: u8 = 0x42;
/// Type and length of each value.
pub const VALUE_META: u8 = 0x56;
/// The bytes of all values.
pub const VALUE: u8 = 0x57;
/// How many earlier operations each one overwrites.
pub const PRED_COUNT: u8 = 0x70;
/// Whose they were.
pub const PRED_ACTOR: u8 = 0x71;
/// Which they were.
pub const PRED_COUNTER: u8 = 0x73;

/// Why bytes are not what they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// They end in the middle of something.
    #[error("the bytes end too early")]
    Short,
    /// A number is too large for its place, or written longer than needed.
    #[error("a number is not written as numbers are")]
    Number,
    /// No chunk begins here.
    #[error("no chunk begins here")]
    Magic,
    /// A whole document, a bundle, or a type that does not exist.
    #[error("a chunk of type {0}, which no peer may send")]
    Type(u8),
    /// What stands behind the head is not what the head says.
    #[error("the checksum is wrong")]
    Checksum,
    /// It does not inflate.
    #[error("it does not inflate")]
    Deflate,
    /// It inflates to more than is left of the allowance.
    #[error("it inflates to too much")]
    Bomb,
    /// Something stands behind the end.
    #[error("something stands behind the end")]
    Leftover,
    /// The columns are not in their order.
    #[error("the columns are not in their order")]
    Columns,
}

/// Reads from the front; never past the end.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`Broken::Short`] when there are not so many.
    pub fn take(&mut self, n: u64) -> Result<&'a [u8], Broken> {
        let n = usize::try_from(n).map_err(|_| Broken::Short)?;
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Broken::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`Broken::Short`] when there is none.
    pub fn byte(&mut self) -> Result<u8, Broken> {
        Ok(self.take(1)?[0])
    }

    /// The next unsigned number (LEB128), in its one shortest spelling.
    ///
    /// # Errors
    /// [`Broken`] when none stands here.
    pub fn number(&mut self) -> Result<u64, Broken> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(Broken::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Broken::Number)
    }

    /// The next signed number (LEB128) of at most 63 bits; larger ones stand in no change of ours.
    ///
    /// # Errors
    /// [`Broken`] when none stands here.
    pub fn signed(&mut self) -> Result<i64, Broken> {
        let mut number = 0i64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let unused = 64 - (shift + 7);
                return Ok((number << unused) >> unused);
            }
        }
        Err(Broken::Number)
    }

    /// The next bytes, whose length stands before them.
    ///
    /// # Errors
    /// [`Broken`] when they are not all there.
    pub fn counted(&mut self) -> Result<&'a [u8], Broken> {
        let n = self.number()?;
        self.take(n)
    }

    /// The next list of 32-byte hashes, whose number stands before them.
    ///
    /// # Errors
    /// [`Broken`] when they are not all there.
    pub fn hashes(&mut self) -> Result<&'a [[u8; 32]], Broken> {
        let n = self.number()?.checked_mul(32).ok_or(Broken::Number)?;
        Ok(self.take(n)?.as_chunks().0)
    }
}

/// Writes an unsigned number (LEB128).
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The SHA-256 that is a plain change's hash, and whose first four bytes are its checksum.
fn hash(body: &[u8]) -> [u8; 32] {
    let mut head = vec![PLAIN];
    put_number(&mut head, body.len() as u64);
    Sha256::new().chain_update(head).chain_update(body).finalize().into()
}

/// Puts the head of a plain change chunk before `body`.
#[must_use]
pub fn seal(body: &[u8]) -> Vec<u8> {
    let mut chunk = MAGIC.to_vec();
    chunk.extend(&hash(body)[..4]);
    chunk.push(PLAIN);
    put_number(&mut chunk, body.len() as u64);
    chunk.extend(body);
    chunk
}

/// Takes the next change chunk off the front and gives it as a plain one, with its checksum proved. What it inflates to is
/// taken off `allowance` (bytes).
///
/// # Errors
/// [`Broken`], with nothing allocated beyond the allowance.
pub fn next_change(from: &mut Reader<'_>, allowance: &mut u64) -> Result<Vec<u8>, Broken> {
    if from.take(4)? != MAGIC {
        return Err(Broken::Magic);
    }
    let checksum = from.take(4)?;
    let kind = from.byte()?;
    let data = from.counted()?;
    let inflated;
    let body = match kind {
        PLAIN => data,
        DEFLATED => {
            inflated = inflate(data, *allowance)?;
            &inflated
        }
        other => return Err(Broken::Type(other)),
    };
    *allowance = allowance.checked_sub(body.len() as u64).ok_or(Broken::Bomb)?;
    let chunk = seal(body);
    if chunk[4..8] != *checksum { Err(Broken::Checksum) } else { Ok(chunk) }
}

/// Bytes at the front of a document's file that are a save of it; what stands behind was appended.
#[must_use]
pub fn saved_bytes(file: &[u8]) -> usize {
    let save = || {
        let mut from = Reader::new(file);
        let (magic, _checksum, kind) = (from.take(4)?, from.take(4)?, from.byte()?);
        from.counted()?;
        let is_save = magic == MAGIC && kind == DOCUMENT;
        Ok::<usize, Broken>(if is_save { file.len() - from.rest().len() } else { 0 })
    };
    save().unwrap_or(0)
}

fn inflate(data: &[u8], allowance: u64) -> Result<Vec<u8>, Broken> {
    let mut inflater = flate2::bufread::DeflateDecoder::new(data);
    let mut body = Vec::new();
    inflater.by_ref().take(allowance.saturating_add(1)).read_to_end(&mut body).map_err(|_| Broken::Deflate)?;
    if body.len() as u64 > allowance {
        return Err(Broken::Bomb);
    }
    if inflater.total_in() != data.len() as u64 { Err(Broken::Leftover) } else { Ok(body) }
}

/// What a plain change chunk says before its operations, and its columns; borrowed, nothing unfolded.
#[derive(Debug)]
pub struct Raw<'a> {
    /// The changes that it follows.
    pub deps: &'a [[u8; 32]],
    /// Who made it.
    pub actor: &'a [u8],
    /// Its number among its actor's changes.
    pub seq: u64,
    /// The counter of its first operation.
    pub start_op: u64,
    /// Its message.
    pub message: &'a [u8],
    /// The other actors that its operations name.
    pub others: Vec<&'a [u8]>,
    /// Its columns: which, and their bytes; ascending.
    pub columns: Vec<(u32, &'a [u8])>,
}

impl<'a> Raw<'a> {
    /// Reads a chunk that [`next_change`] gave.
    ///
    /// # Errors
    /// [`Broken`] when it is not one whole change and nothing else.
    pub fn read(chunk: &'a [u8]) -> Result<Raw<'a>, Broken> {
        let mut from = Reader::new(chunk);
        from.take(9)?;
        from.number()?;
        let deps = from.hashes()?;
        let actor = from.counted()?;
        let (seq, start_op) = (from.number()?, from.number()?);
        from.signed()?;
        let message = from.counted()?;
        let others = (0..from.number()?).map(|_| from.counted()).collect::<Result<Vec<_>, _>>()?;
        let mut lengths = Vec::new();
        for _ in 0..from.number()? {
            lengths.push((u32::try_from(from.number()?).map_err(|_| Broken::Number)?, from.number()?));
        }
        if !lengths.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Broken::Columns);
        }
        let columns = lengths.into_iter().map(|(spec, length)| Ok((spec, from.take(length)?))).collect::<Result<_, Broken>>()?;
        if !from.is_done() {
            return Err(Broken::Leftover);
        }
        Ok(Raw { deps, actor, seq, start_op, message, others, columns })
    }

    /// The bytes of one column; empty when it is not there.
    #[must_use]
    pub fn column(&self, spec: u8) -> &'a [u8] {
        self.columns.iter().find(|(found, _)| *found == u32::from(spec)).map_or(&[], |(_, data)| data)
    }
}

/// Walks a run-length encoded column: `visit` gets how often each value stands there (`None` for no value), read by `read`.
/// A literal stretch is visited value by value, which its own bytes bound. Gives the number of rows.
///
/// # Errors
/// What `visit` says, or [`Broken`] when the column is not one.
pub fn each_run<'a, T, E: From<Broken>>(
    column: &'a [u8],
    read: impl Fn(&mut Reader<'a>) -> Result<T, Broken>,
    mut visit: impl FnMut(u64, Option<T>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut from = Reader::new(column);
    let mut rows = 0u64;
    while !from.is_done() {
        let length = from.signed()?;
        let count = if length == 0 { from.number()? } else { length.unsigned_abs() };
        rows = rows.checked_add(count).ok_or(Broken::Number)?;
        match length {
            0 => visit(count, None)?,
            1.. => visit(count, Some(read(&mut from)?))?,
            _ => {
                for _ in 0..count {
                    visit(1, Some(read(&mut from)?))?;
                }
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn a_number_has_one_spelling_and_a_largest_value() {
        let read = |bytes: &[u8]| Reader::new(bytes).number();
        assert_eq!(read(&[0x80, 0x00]), Err(Broken::Number));
        assert_eq!(read(&[0x80]), Err(Broken::Short));
        assert_eq!(read(&[0xff; 10]), Err(Broken::Number));
        assert_eq!(read(&[&[0xff; 9][..], &[2]].concat()), Err(Broken::Number));
        let signed = |bytes: &[u8]| Reader::new(bytes).signed();
        assert_eq!((signed(&[0x7e]), signed(&[0x80, 0x7e]), signed(&[0xc0, 0x00])), (Ok(-2), Ok(-256), Ok(64)));
        assert_eq!(signed(&[0x80; 10]), Err(Broken::Number));
    }

    #[test]
    fn a_column_is_walked_run_by_run() {
        let column = [2, 7, 0, 3, 0x7e, 8, 9];
        let mut runs = Vec::new();
        let walked: Result<u64, Broken> = each_run(&column, Reader::number, |count, value| {
            runs.push((count, value));
            Ok(())
        });
        assert_eq!((walked, runs), (Ok(7), vec![(2, Some(7)), (3, None), (1, Some(8)), (1, Some(9))]));
        let cut: Result<u64, Broken> = each_run(&column[..6], Reader::number, |_, _| Ok(()));
        assert_eq!(cut, Err(Broken::Short));
    }

    #[test]
    fn a_wrong_checksum_another_type_and_bytes_behind_the_end_are_found() {
        let chunk = seal(&[1, 2, 3]);
        let next = |bytes: &[u8], mut allowance: u64| next_change(&mut Reader::new(bytes), &mut allowance);
        assert_eq!(next(&chunk, 3), Ok(chunk.clone()));
        assert_eq!(next(&chunk, 2), Err(Broken::Bomb));
        let with = |at: usize, byte: u8| chunk.iter().enumerate().map(|(i, b)| if i == at { byte } else { *b }).collect::<Vec<_>>();
        assert_eq!(next(&with(11, 9), 99), Err(Broken::Checksum));
        assert_eq!(next(&with(8, 3), 99), Err(Broken::Type(3)));
        assert_eq!(next(&with(0, 0), 99), Err(Broken::Magic));
        assert_eq!(next(&chunk[..11], 99), Err(Broken::Short));
        // A deflated chunk with a byte behind the end of its stream.
        let mut deflated = Vec::new();
        flate2::read::DeflateEncoder::new(&[1u8, 2, 3][..], flate2::Compression::default()).read_to_end(&mut deflated).unwrap();
        let deflate = |data: &[u8]| [&chunk[..8], &[DEFLATED, data.len() as u8], data].concat();
        assert_eq!(next(&deflate(&deflated), 3), Ok(chunk.clone()));
        assert_eq!(next(&deflate(&deflated), 2), Err(Broken::Bomb));
        assert_eq!(next(&deflate(&[&deflated[..], &[0]].concat()), 99), Err(Broken::Leftover));
        assert_eq!(next(&deflate(&[0xff, 0xff]), 99), Err(Broken::Deflate));
    }

    #[test]
    fn a_save_is_told_from_what_was_appended_to_it() {
        let save = [&MAGIC[..], &[1, 2, 3, 4, DOCUMENT, 3, 7, 7, 7]].concat();
        let change = seal(&[1, 2, 3]);
        assert_eq!(saved_bytes(&[&save[..], &change].concat()), save.len());
        assert_eq!(saved_bytes(&[&change[..], &save].concat()), 0, "changes alone");
        assert_eq!((saved_bytes(&save[..save.len() - 1]), saved_bytes(b"")), (0, 0));
    }

    quickcheck! {
        fn a_number_reads_back_what_was_written(number: u64, shift: u8) -> bool {
            let number = number >> (shift % 64);
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            let mut from = Reader::new(&bytes);
            from.number() == Ok(number) && from.is_done()
        }
    }
}
