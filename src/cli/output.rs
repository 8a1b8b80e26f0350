//! What is printed where. stdout has the answer and nothing else: a table for a person, one record a line for a pipe, one
//! envelope for `--json`, one object a line for `--jsonl`. A reader that closes the pipe ends the program quietly.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::model::text::is_safe;

use super::globals::{Colour, Globals};
use super::{columns, pager};

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One envelope.
    Json,
    /// One object a line.
    Jsonl,
    /// For a person in front of a terminal.
    Table,
    /// For a pipe: one record a line, nothing cut.
    Plain,
}

/// What is drawn how; decided once, from the flags, the environment and what stdout is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    pub(crate) form: Form,
    pub(crate) colour: bool,
    pub(crate) quiet: bool,
}

/// A colour says what a symbol and a word already say; it marks the exceptions only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    Plain,
    Dim,
    Warn,
    Bad,
}

/// Columns below which a terminal's width is not believed.
const WIDTH_MIN: u16 = 20;
/// Columns of a terminal that does not say.
const WIDTH_ASSUMED: u16 = 120;

/// Columns of the terminal. Some (a container's, an editor's) have no width; a table as wide as nothing is one letter a line.
pub(crate) fn terminal_width() -> u16 {
    let said = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    if said >= WIDTH_MIN { said } else { WIDTH_ASSUMED }
}

/// Lines of the terminal; as many as there are when it does not say.
pub(crate) fn terminal_height() -> usize {
    let rows = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    if rows == 0 { usize::MAX } else { usize::from(rows) }
}

/// Whether the terminal is one that nothing can be drawn over.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

/// Whether nobody can read any more what is written: the other end of the pipe is closed, the terminal is gone.
pub(crate) fn is_reader_gone() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// The reader of our answer is gone. Nothing is wrong: `| head` has what it wanted.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the reader closed the pipe")]
pub(crate) struct Closed;

impl Out {
    pub(crate) fn of(globals: &Globals) -> Out {
        let terminal = io::stdout().is_terminal();
        let form = match (globals.jsonl, globals.json, terminal) {
            (true, _, _) => Form::Jsonl,
            (_, true, _) => Form::Json,
            (_, _, true) => Form::Table,
            _ => Form::Plain,
        };
        let colour = match globals.color {
            Colour::Always => true,
            Colour::Never => false,
            // Knows NO_COLOR, TERM=dumb and CLICOLOR.
            Colour::Auto => terminal && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
        };
        Out { form, colour, quiet: globals.quiet }
    }

    /// Whether programs read the answer.
    pub(crate) fn is_data(self) -> bool {
        matches!(self.form, Form::Json | Form::Jsonl)
    }

    /// Prints an envelope, or for people what `draw` makes of it.
    pub(crate) fn show(self, envelope: &Value, draw: impl FnOnce(Out) -> String) -> anyhow::Result<()> {
        match self.form {
            // Not by `Display`: a long list by way of a formatter takes twice as long.
            Form::Json => print(&visible(serde_json::to_string(envelope)? + "\n")),
            Form::Jsonl => {
                let rows = envelope.get("data").and_then(Value::as_array);
                let one = envelope.get("data").into_iter().filter(|data| !data.is_array());
                print(&visible(rows.into_iter().flatten().chain(one).map(|row| format!("{row}\n")).collect::<String>()))
            }
            Form::Table => pager::show(&draw(self)),
            Form::Plain => print(&draw(self)),
        }
    }

    /// Prints that something was done; programs get `data` in an envelope, `--quiet` nothing.
    pub(crate) fn done(self, data: Value, line: &str) -> anyhow::Result<()> {
        match self.form {
            Form::Json | Form::Jsonl => self.show(&serde_json::json!({"schema": 1, "data": data}), |_| String::new()),
            Form::Table | Form::Plain if self.quiet => Ok(()),
            Form::Table | Form::Plain => print(&format!("{line}\n")),
        }
    }

    pub(crate) fn tint(self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::Plain => return text.to_owned(),
            Tint::Dim => "2",
            Tint::Warn => "33",
            Tint::Bad => "31",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Rows for a person (columns under headings, as wide as the terminal) or for a pipe (cells with tabs between).
    pub(crate) fn rows(self, header: &[&str], rows: Vec<(Tint, Vec<String>)>) -> String {
        if self.form != Form::Table {
            return rows.into_iter().map(|(_, cells)| cells.join("\t") + "\n").collect();
        }
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let width = terminal_width();
        table.set_width(width);
        let cells: Vec<&[String]> = rows.iter().map(|(_, cells)| cells.as_slice()).collect();
        let kept = columns::kept(header, &cells, usize::from(width));
        table.set_header(kept.iter().map(|n| header[*n].to_uppercase()));
        for (tint, mut cells) in rows {
            table.add_row(kept.iter().map(|n| cell(tint, cells.get_mut(*n).map(std::mem::take).unwrap_or_default())));
        }
        let last = kept.len().saturating_sub(1);
        for (n, column) in table.column_iter_mut().enumerate() {
            // A column of symbols stands close to what it marks.
            let right = if n == last { 0 } else { 1 + u16::from(kept.get(n).is_none_or(|n| !header[*n].is_empty())) };
            column.set_padding((0, right));
        }
        table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

/// Letters of one cell that a person is shown; a pipe and `--json` have all of them.
const CELL_LETTERS_MAX: usize = 200;

/// Cut where a name or a text would fill the screen alone.
fn shortened(text: String) -> String {
    match text.char_indices().nth(CELL_LETTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn cell(tint: Tint, text: String) -> comfy_table::Cell {
    let cell = comfy_table::Cell::new(shortened(text));
    match tint {
        Tint::Plain => cell,
        Tint::Dim => cell.add_attribute(comfy_table::Attribute::Dim),
        Tint::Warn => cell.fg(comfy_table::Color::DarkYellow),
        Tint::Bad => cell.fg(comfy_table::Color::DarkRed),
    }
}

/// JSON as a terminal may show it: what would move its cursor or turn its text around is written as `\u…`, which reads the same.
/// For a program it stays as it is.
fn visible(json: String) -> String {
    if io::stdout().is_terminal() { escaped(&json) } else { json }
}

/// As [`visible`], wherever it goes.
pub(crate) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        // A new line stands between objects alone: within a text it is escaped already.
        if c == '\n' || is_safe(c) {
            out.push(c);
        } else {
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

/// Writes the answer.
///
/// # Errors
/// [`Closed`] when the reader is gone, else what the system says.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes JSON as it came, on a line of its own.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_json(bytes: &[u8]) -> anyhow::Result<()> {
    if io::stdout().is_terminal() {
        return print(&(escaped(&String::from_utf8_lossy(bytes)) + "\n"));
    }
    print_bytes(&[bytes, b"\n"].concat())
}

/// Writes an answer that is no text.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(why) => Err(anyhow::Error::new(why).context("the answer cannot be written")),
    }
}

/// Writes a remark beside the answer. When even that cannot be written there is nobody left to tell.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// `1 change`, `2 changes`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Bytes as a person reads them.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let (mut tenths, mut unit) = (count / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    if tenths < 100 { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]) } else { format!("{} {}", tenths / 10, UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_on_a_terminal_moves_nothing_and_reads_the_same() {
        let text = "a\u{9b}31m\u{202e}b\u{1F600}\u{e0041}\t\"";
        let json = serde_json::to_string(&serde_json::json!({"x": text})).expect("JSON");
        let shown = escaped(&json);
        assert!(shown.chars().all(is_safe) && shown.contains("\\u009b") && shown.contains('\u{1F600}'), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON")["x"], text);
    }

    pub(crate) fn out(form: Form) -> Out {
        Out { form, colour: false, quiet: false }
    }

    fn some() -> Vec<(Tint, Vec<String>)> {
        vec![(Tint::Plain, vec!["t-7f3a".into(), "Add retry budget".into()]), (Tint::Bad, vec!["t-0".into(), "Dark".into()])]
    }

    #[test]
    fn a_pipe_gets_one_record_a_line_and_a_person_columns() {
        assert_eq!(out(Form::Plain).rows(&["id", "text"], some()), "t-7f3a\tAdd retry budget\nt-0\tDark\n");
        assert_eq!(out(Form::Table).rows(&["id", "text"], some()), "ID      TEXT\nt-7f3a  Add retry budget\nt-0     Dark\n");
        let long = "x".repeat(500);
        assert_eq!(out(Form::Plain).rows(&["a"], vec![(Tint::Plain, vec![long.clone()])]), format!("{long}\n"), "nothing is cut");
        assert!(out(Form::Table).rows(&["a"], vec![(Tint::Plain, vec![long.clone()])]).trim_end().ends_with("x…"), "one name is no screen");
    }

    #[test]
    fn colour_is_only_there_when_it_is_wanted() {
        let loud = Out { colour: true, ..out(Form::Table) };
        assert!(loud.tint(Tint::Bad, "stale").contains("\x1b[31m"));
        assert!(loud.rows(&["a"], some()).contains('\x1b'));
        assert_eq!(out(Form::Table).tint(Tint::Bad, "stale"), "stale");
        assert!(!out(Form::Table).rows(&["a", "b"], some()).contains('\x1b'));
    }

    #[test]
    fn amounts_read_well() {
        assert_eq!((counted(1, "change"), counted(0, "change")), ("1 change".into(), "0 changes".into()));
        let all: Vec<String> = [0, 999, 1000, 310_000, 999_949, 1_200_000, u64::MAX].into_iter().map(bytes).collect();
        assert_eq!(all, ["0 B", "999 B", "1.0 kB", "310 kB", "999 kB", "1.2 MB", "18446744 TB"]);
    }
}
