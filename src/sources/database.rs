//! A tool's SQLite database, looked into without taking part: no lock, no file beside it, nothing written, so that the tool
//! never waits for us and never finds a trace of us. What is given is one moment of it, or nothing.
//!
//! Instead of a reader's lock there is the order of looking. What was committed last stands in the write-ahead log: each of
//! its frames carries the log's salts and a running sum, and the last one of a commit says so. Pages are taken from there,
//! and from the database only where the log has none. Such a page can change under our eyes in one way alone, by what is
//! committed after our look at the log and carried over. So the look counts if afterwards the log is still the same, or has
//! only grown while the database was left alone. (sqlite.org/walformat.html)

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::look::stat_of;
use super::pages::{HEADER_BYTES, Header, Pages};
use super::read;
use crate::model::input::FileStat;
use crate::model::rows::{Row, Table};

/// How often it is looked into when it is written meanwhile, before the asker has to come again.
const READINGS_MAX: usize = 3;
/// Bytes of a log that are read; SQLite starts it anew from about 4 MB on unless a reader holds it back.
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of the log's header, and of each frame's.
const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The rows of these tables as they were at one moment, with what the database was then; no rows when it is damaged or did
/// not hold still.
///
/// # Errors
/// When there is no such file, or it may not be read.
pub(super) fn rows(base: &Path, path: &str, tables: &[Table]) -> io::Result<(FileStat, Option<Vec<Vec<Row>>>)> {
    let mut stat = read::stat(base, path)?;
    for _ in 0..READINGS_MAX {
        let before = Moment::of(base, path)?;
        stat = before.stat();
        let read = before.read(tables);
        if before.still_is(&Moment::of(base, path)?) {
            return Ok((stat, read.ok()));
        }
    }
    Ok((stat, None))
}

/// The files of a database as they are opened at one moment.
struct Moment {
    main: File,
    meta: Metadata,
    log: Option<(File, Metadata, Vec<u8>)>,
    /// Whether a change is under way that is undone by another file: then the pages say nothing.
    is_undoable: bool,
}

impl Moment {
    fn of(base: &Path, path: &str) -> io::Result<Moment> {
        let main = read::regular(base, path)?;
        let meta = main.metadata()?;
        let log = match read::regular(base, &format!("{path}-wal")) {
            Ok(file) => {
                let (meta, header) = (file.metadata()?, piece(&file, 0, LOG_HEADER_BYTES).unwrap_or_default());
                Some((file, meta, header))
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => None,
            Err(why) => return Err(why),
        };
        let is_undoable = read::stat(base, &format!("{path}-journal")).is_ok_and(|stat| stat.size > 0);
        Ok(Moment { main, meta, log, is_undoable })
    }

    /// What it is, with the time of whichever of its files was written last.
    fn stat(&self) -> FileStat {
        let stat = stat_of(&self.meta);
        let written = self.log.as_ref().map_or(stat.mtime_ms, |(_, meta, _)| stat_of(meta).mtime_ms);
        FileStat { mtime_ms: stat.mtime_ms.max(written), ..stat }
    }

    fn still_is(&self, now: &Moment) -> bool {
        let is_same_main = is_same(&self.meta, &now.meta);
        match (&self.log, &now.log) {
            (None, None) => is_same_main && !self.is_undoable && !now.is_undoable,
            (Some((_, was, header)), Some((_, is, now))) => header == now && (is_same_main || is_same(was, is)),
            _ => false,
        }
    }

    fn read(&self, tables: &[Table]) -> io::Result<Vec<Vec<Row>>> {
        let header = Header::read(&piece(&self.main, 0, HEADER_BYTES)?)?;
        let logged = match &self.log {
            Some((file, meta, header_of_log)) => logged(file, meta.len(), header_of_log, header.page_bytes)?,
            None => BTreeMap::new(),
        };
        let fetch = |n: u32| match (logged.get(&n), &self.log) {
            (Some(at), Some((file, ..))) => piece(file, *at, header.page_bytes),
            _ => piece(&self.main, u64::from(n.saturating_sub(1)) * header.page_bytes as u64, header.page_bytes),
        };
        Pages::new(header, fetch).tables(tables)
    }
}

/// Where in the log the newest form of each page stands that was committed.
fn logged(file: &File, bytes: u64, header: &[u8], page_bytes: usize) -> io::Result<BTreeMap<u32, u64>> {
    let mut pages = BTreeMap::new();
    let Some(mut sum) = Sum::begun(header, page_bytes) else { return Ok(pages) };
    let mut uncommitted = Vec::new();
    let mut at = LOG_HEADER_BYTES as u64;
    let length = FRAME_HEADER_BYTES + page_bytes;
    while at + length as u64 <= bytes.min(LOG_BYTES_MAX) {
        let frame = piece(file, at, length)?;
        // What stands behind is of the log's former life.
        if frame[8..16] != header[16..24] || !sum.takes(&frame) {
            break;
        }
        uncommitted.push((word(&frame[..4]), at + FRAME_HEADER_BYTES as u64));
        if word(&frame[4..8]) != 0 {
            pages.extend(uncommitted.drain(..));
        }
        at += length as u64;
    }
    Ok(pages)
}

/// The running sum over a log.
struct Sum {
    is_big_endian: bool,
    sum: (u32, u32),
}

impl Sum {
    /// Over the log's header; `None`: it is none, or of another database.
    fn begun(header: &[u8], page_bytes: usize) -> Option<Sum> {
        let is_log = header.len() == LOG_HEADER_BYTES && word(&header[..4]) & !1 == 0x377f_0682;
        let is_big_endian = is_log && word(&header[..4]) & 1 == 1;
        let mut sum = Sum { is_big_endian, sum: (0, 0) };
        let is_whole = is_log && u64::from(word(&header[8..12])) == page_bytes as u64 && {
            sum.add(&header[..24]);
            sum.sum == (word(&header[24..28]), word(&header[28..32]))
        };
        is_whole.then_some(sum)
    }

    fn takes(&mut self, frame: &[u8]) -> bool {
        self.add(&frame[..8]);
        self.add(&frame[FRAME_HEADER_BYTES..]);
        self.sum == (word(&frame[16..20]), word(&frame[20..24]))
    }

    fn add(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks_exact(8) {
            let (a, b) = (word(&eight[..4]), word(&eight[4..]));
            let (a, b) = if self.is_big_endian { (a, b) } else { (a.swap_bytes(), b.swap_bytes()) };
            self.sum.0 = self.sum.0.wrapping_add(a).wrapping_add(self.sum.1);
            self.sum.1 = self.sum.1.wrapping_add(b).wrapping_add(self.sum.0);
        }
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn piece(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    let marks = |m: &Metadata| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    marks(a) == marks(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rows::Cell;
    use quickcheck::quickcheck;
    use std::fs;

    /// 60 sessions and two todos in the database; in its log another session and todo, a new title, one session less, and
    /// forty sessions that were never committed. Made by SQLite 3.40 with pages of 1 KiB.
    const MAIN: &[u8] = include_bytes!("../../tests/data/opencode-database/opencode.db");
    const LOG: &[u8] = include_bytes!("../../tests/data/opencode-database/opencode.db-wal");

    const TABLES: &[Table] = &[
        Table { name: "session", columns: &["id", "title", "time_updated", "tokens_input", "parent_id", "none"] },
        Table { name: "todo", columns: &["session_id", "position", "content"] },
        Table { name: "nowhere", columns: &["id"] },
    ];

    fn home(main: &[u8], log: Option<&[u8]>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("o.db"), main).expect("written");
        log.into_iter().for_each(|log| fs::write(dir.path().join("o.db-wal"), log).expect("written"));
        dir
    }

    fn read(dir: &tempfile::TempDir) -> Option<Vec<Vec<Row>>> {
        rows(dir.path(), "o.db", TABLES).expect("a file").1
    }

    fn row<'a>(tables: &'a [Vec<Row>], id: &str) -> Option<&'a Row> {
        tables[0].iter().find(|row| row[0].text() == id)
    }

    #[test]
    fn what_was_committed_last_is_read_from_the_log() {
        let tables = read(&home(MAIN, Some(LOG))).expect("rows");
        assert_eq!((tables[0].len(), tables[1].len(), tables[2].len()), (61, 3, 0));
        let (text, number) = (|text: &str| Cell::Text(text.to_owned()), Cell::Number);
        let renamed = [text("ses_7"), text("Renamed"), number(1_769_932_890_000), number(70_000), Cell::Nothing, Cell::Nothing];
        assert_eq!(row(&tables, "ses_7"), Some(&renamed.to_vec()));
        assert_eq!(row(&tables, "ses_new").map(|row| &row[4]), Some(&text("ses_0")));
        let long = row(&tables, "ses_long").expect("a row that overflows its page");
        assert_eq!((&long[1], &long[2]), (&text("Long before its times"), &number(1_769_932_860_000)));
        assert_eq!((row(&tables, "ses_9"), row(&tables, "ses_un0")), (None, None), "deleted, and never committed");
        assert_eq!((tables[1][2][2].text().chars().count(), tables[1][1][1].clone()), (3_007, number(1)));
    }

    #[test]
    fn a_log_that_is_none_torn_or_of_a_former_life_says_nothing() {
        let bare = read(&home(MAIN, None)).expect("rows");
        assert_eq!((bare[0].len(), bare[1].len(), row(&bare, "ses_7").map(|row| row[1].text())), (61, 2, Some("Shed 7")));
        let mut other_salt = LOG.to_vec();
        other_salt[16] ^= 1;
        let mut other_sum = LOG.to_vec();
        other_sum[60] ^= 1;
        for log in [&[][..], &LOG[..31], &LOG[..600], &[0; 5_000], &other_salt, &other_sum] {
            assert_eq!(read(&home(MAIN, Some(log))).as_ref(), Some(&bare), "{} bytes", log.len());
        }
    }

    #[test]
    fn one_that_is_no_database_or_is_being_undone_gives_no_rows() {
        for main in [&b""[..], b"SQLite format 3\0", &MAIN[..1_024], &MAIN[..5_000], &[0; 2_048]] {
            assert_eq!(read(&home(main, None)), None, "{} bytes", main.len());
        }
        let dir = home(MAIN, None);
        fs::write(dir.path().join("o.db-journal"), "x").expect("written");
        assert_eq!(read(&dir), None);
        fs::remove_file(dir.path().join("o.db")).expect("removed");
        assert_eq!(rows(dir.path(), "o.db", TABLES).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn it_leaves_no_trace() {
        let dir = home(MAIN, Some(LOG));
        let look = || {
            let mut all: Vec<(String, i64, i64, u64)> = fs::read_dir(dir.path())
                .expect("listed")
                .flatten()
                .map(|entry| (entry.file_name().into_string().expect("utf-8"), entry.metadata().expect("there")))
                .map(|(name, meta)| (name, meta.mtime_nsec(), meta.ctime_nsec(), meta.size()))
                .collect();
            all.sort();
            all
        };
        let before = look();
        assert!(read(&dir).is_some());
        assert_eq!(look(), before);
    }

    quickcheck! {
        fn whatever_is_damaged_it_ends(flips: Vec<(u16, u8)>, in_log: bool) -> bool {
            let (mut main, mut log) = (MAIN.to_vec(), LOG.to_vec());
            let bytes = if in_log { &mut log } else { &mut main };
            for (at, byte) in flips {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            read(&home(&main, Some(&log))).is_none_or(|tables| tables.len() == 3)
        }
    }
}
