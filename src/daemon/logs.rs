//! The log file of a daemon without a terminal: `hubless.log`, then `.1`, `.2`, … from new to old. Its size and its number
//! are bounded, so that a daemon that runs for years never fills a disk by talking.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The newest file's name.
pub const NAME: &str = "hubless.log";

/// A file that begins anew when it is full. Each `write` is one whole line or more; a line is never torn over two files.
#[derive(Debug)]
pub struct Rotating {
    dir: PathBuf,
    file: File,
    size: u64,
    size_max: u64,
    files_max: u32,
}

impl Rotating {
    /// Goes on in `dir/hubless.log`; makes the directory (0700) and the file (0600) when there are none. At most `files_max`
    /// files (at least 1) of at most `size_max` bytes each are kept; a single longer line is still written whole.
    ///
    /// # Errors
    /// When the directory or the file cannot be made or opened.
    pub fn open(dir: &Path, size_max: u64, files_max: u32) -> io::Result<Rotating> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let file = open(dir)?;
        let size = file.metadata()?.len();
        Ok(Rotating { dir: dir.to_owned(), file, size, size_max, files_max: files_max.max(1) })
    }

    /// Moves every file one number up, over the oldest, and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        let named = |n: u32| self.dir.join(if n == 0 { NAME.to_owned() } else { format!("{NAME}.{n}") });
        if self.files_max == 1 {
            fs::remove_file(named(0))?;
        }
        for n in (1..self.files_max).rev() {
            match fs::rename(named(n - 1), named(n)) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                Ok(()) | Err(_) => {}
            }
        }
        self.file = open(&self.dir)?;
        self.size = 0;
        Ok(())
    }
}

fn open(dir: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(NAME))
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size.saturating_add(line.len() as u64) > self.size_max {
            // A log that cannot be moved goes on where it is: too long is better than lost. It is tried again after another
            // full length, not at every line.
            if self.rotate().is_err() {
                self.size = 0;
            }
        }
        self.file.write_all(line)?;
        self.size = self.size.saturating_add(line.len() as u64);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).expect("listed").map(|e| e.expect("entry").file_name().into_string().expect("utf-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn size_and_number_are_bounded_and_no_line_is_torn_or_out_of_order() {
        let dir = tempfile::tempdir().expect("dir");
        let logs = dir.path().join("logs");
        let mut log = Rotating::open(&logs, 100, 3).expect("opened");
        for n in 0..100 {
            log.write_all(format!("line {n:04} of the log\n").as_bytes()).expect("written");
        }
        assert_eq!(names(&logs), ["hubless.log", "hubless.log.1", "hubless.log.2"]);
        let mut lines = Vec::new();
        for name in ["hubless.log.2", "hubless.log.1", "hubless.log"] {
            let text = fs::read_to_string(logs.join(name)).expect("read");
            assert!(text.len() <= 100 && text.ends_with('\n'), "{name} has {} bytes", text.len());
            lines.extend(text.lines().map(str::to_owned));
        }
        let last: Vec<String> = (100 - lines.len()..100).map(|n| format!("line {n:04} of the log")).collect();
        assert_eq!(lines, last);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&logs), mode(&logs.join(NAME))), (0o700, 0o600));
    }

    #[test]
    fn another_start_goes_on_in_the_same_file() {
        let dir = tempfile::tempdir().expect("dir");
        Rotating::open(dir.path(), 100, 2).expect("opened").write_all(b"one\n").expect("written");
        let mut log = Rotating::open(dir.path(), 8, 2).expect("opened");
        log.write_all(b"two\n").expect("written");
        log.write_all(b"three\n").expect("written");
        assert_eq!(fs::read_to_string(dir.path().join("hubless.log.1")).expect("read"), "one\ntwo\n");
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).expect("read"), "three\n");
    }

    #[test]
    fn one_file_is_emptied_and_a_long_line_is_written_whole() {
        let alone = tempfile::tempdir().expect("dir");
        Rotating::open(alone.path(), 4, 2).expect("opened").write_all(b"a long line\n").expect("written");
        assert_eq!(names(alone.path()), [NAME], "an empty file is not put aside");
        let dir = tempfile::tempdir().expect("dir");
        let mut log = Rotating::open(dir.path(), 4, 0).expect("opened");
        log.write_all(b"a long line\n").expect("written");
        log.write_all(b"b\n").expect("written");
        assert_eq!(names(dir.path()), [NAME]);
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).expect("read"), "b\n");
    }

    #[test]
    fn a_log_that_cannot_be_moved_goes_on() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir_all(dir.path().join("hubless.log.1/full")).expect("in the way");
        let mut log = Rotating::open(dir.path(), 4, 2).expect("opened");
        for _ in 0..3 {
            log.write_all(b"line\n").expect("written all the same");
        }
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).expect("read"), "line\nline\nline\n");
    }
}
