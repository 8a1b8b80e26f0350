//! A session of opencode from 1.2 on is a row of its database, and its todos are rows beside it.
//!
//! `opencode.db`, of a channel `opencode-<channel>.db` (FORMATS §6). Tables and columns are named there; what stands in the
//! JSON of `message` and `part` is not, so messages are not counted, and whether an agent works is known by the time of its
//! session's row alone. A session without todos says nothing of them, like an empty list.

use std::collections::BTreeMap;

use super::files::{File, Owner};
use super::pi;
use super::run::{Run, Said, path as place, short};
use crate::model::limits::ITEMS_MAX;
use crate::model::rows::{Cell, Row, Table};
use crate::model::text::Foreign;
use crate::model::todo::{Listed, Reading, Status};

/// What is wanted of the database.
pub const TABLES: &[Table] = &[
    Table {
        name: "session",
        columns: &[
            "id",
            "parent_id",
            "directory",
            "title",
            "time_created",
            "time_updated",
            "tokens_input",
            "tokens_cache_read",
            "tokens_cache_write",
            "tokens_output",
        ],
    },
    Table { name: "todo", columns: &["session_id", "position", "content", "status", "priority", "time_updated"] },
];

/// Whether the file at `path` is such a database.
#[must_use]
pub fn file(path: &str) -> Option<File> {
    let channel = path.strip_prefix("opencode")?.strip_suffix(".db")?;
    let is_channel = |channel: &str| !channel.is_empty() && channel.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (channel.is_empty() || channel.strip_prefix('-').is_some_and(is_channel)).then_some(File::Tables(TABLES, read))
}

/// The sessions that these rows say, and what each says beside.
#[must_use]
pub fn read(tables: &[Vec<Row>]) -> Vec<(Owner, Run, Vec<Said>)> {
    let table = |n: usize| tables.get(n).map_or(&[][..], Vec::as_slice);
    let mut lists = lists(table(1));
    table(0).iter().filter_map(|row| session(row, &mut lists)).collect()
}

fn session(row: &Row, lists: &mut BTreeMap<String, List>) -> Option<(Owner, Run, Vec<Said>)> {
    let [id, parent, directory, title, created, updated, input, read, write, output] = row.as_slice() else { return None };
    let id = Some(id.text()).filter(|id| pi::is_id(id))?;
    let count = |cell: &Cell| cell.number().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    let mut run = Run {
        session: short(id),
        cwd: place(directory.text()),
        made_title: short(title.text()),
        parent: short(parent.text()),
        started: created.number(),
        ..Run::default()
    };
    run.is_side = run.parent.is_some();
    run.last = updated.number().max(run.started);
    run.counts.records = 1;
    run.counts.tokens_in = count(input).saturating_add(count(read)).saturating_add(count(write));
    run.counts.tokens_out = count(output);
    let said = lists.remove(id).map(|list| list.said(run.last)).into_iter().collect();
    Some((Owner { session: id.to_owned(), ..Owner::default() }, run, said))
}

/// The todos of one session.
#[derive(Default)]
struct List {
    items: BTreeMap<i64, Listed>,
    malformed: u64,
    at: Option<i64>,
}

impl List {
    fn said(self, at: Option<i64>) -> Said {
        let reading = Reading { items: self.items.into_values().collect(), malformed: self.malformed };
        Said::List { at: self.at.or(at), agent: String::new(), reading }
    }
}

fn lists(rows: &[Row]) -> BTreeMap<String, List> {
    let mut lists: BTreeMap<String, List> = BTreeMap::new();
    for row in rows {
        let [session, position, content, status, priority, updated] = row.as_slice() else { continue };
        let list = lists.entry(session.text().to_owned()).or_default();
        list.at = list.at.max(updated.number());
        let text = Foreign::new(content.text());
        match (position.number(), Status::parse(status.text())) {
            (Some(position), Some(status)) if !text.is_blank() && list.items.len() < ITEMS_MAX => {
                let priority = Some(Foreign::new(priority.text())).filter(|priority| !priority.is_blank());
                list.items.insert(position, Listed { text, status, active_form: None, priority, owner: None });
            }
            _ => list.malformed += 1,
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    fn session(id: &str, parent: Cell, updated: i64) -> Row {
        let numbers = [1_769_932_800_000, updated, 5, 10, 100, 9].map(Cell::Number);
        [vec![text(id), parent, text("/srv/demo"), text("Build a shed")], numbers.to_vec()].concat()
    }

    fn todo(session: &str, position: i64, content: &str, status: &str) -> Row {
        vec![text(session), Cell::Number(position), text(content), text(status), text("high"), Cell::Number(1_769_932_900_000)]
    }

    #[test]
    fn a_session_is_a_row_with_its_todos_in_their_order() {
        let tables = [
            vec![
                session("ses_1", Cell::Nothing, 1_769_932_860_000),
                session("ses_2", text("ses_1"), 0),
                vec![text("odd")],
                session("", Cell::Nothing, 0),
            ],
            vec![
                todo("ses_1", 1, "saw", "pending"),
                todo("ses_1", 0, "measure", "completed"),
                todo("ses_1", 2, " ", "pending"),
                todo("ses_1", 3, "paint", "?"),
            ],
        ];
        let read = read(&tables);
        let [(owner, run, said), (_, side, none)] = read.as_slice() else { panic!("two sessions: {read:?}") };
        assert_eq!(
            (owner.session.as_str(), run.title(), run.cwd.as_deref(), run.is_side),
            ("ses_1", Some("Build a shed"), Some("/srv/demo"), false)
        );
        assert_eq!((run.started, run.last), (Some(1_769_932_800_000), Some(1_769_932_860_000)));
        assert_eq!((run.counts.records, run.counts.tokens_in, run.counts.tokens_out), (1, 115, 9));
        let [Said::List { at: Some(1_769_932_900_000), agent, reading }] = said.as_slice() else { panic!("a list: {said:?}") };
        let items: Vec<(&str, Status)> = reading.items.iter().map(|item| (item.text.json(), item.status)).collect();
        assert_eq!((items, reading.malformed, agent.as_str()), (vec![("measure", Status::Completed), ("saw", Status::Pending)], 2, ""));
        assert_eq!((side.parent.as_deref(), side.is_side, side.last, none.len()), (Some("ses_1"), true, Some(1_769_932_800_000), 0));
    }

    #[test]
    fn what_is_not_there_says_nothing() {
        assert!(read(&[]).is_empty());
        let bare = vec![text("ses_1"), Cell::Nothing, Cell::Nothing, Cell::Nothing, Cell::Nothing, Cell::Nothing, Cell::Number(-1)];
        let bare = [bare, vec![Cell::Nothing; 3]].concat();
        let read = read(&[vec![bare], vec![]]);
        assert_eq!((read[0].1.title(), read[0].1.last, read[0].1.counts.tokens_in), (None, None, 0));
    }

    #[test]
    fn a_database_is_known_by_its_name() {
        for path in ["opencode.db", "opencode-beta.db", "opencode-pr-7_x.db"] {
            assert!(matches!(file(path), Some(File::Tables(..))), "{path}");
        }
        for other in
            ["opencode.db-wal", "opencode.db-shm", "opencode-.db", "opencode-a b.db", "opencodes.db", "other.db", "log/opencode.db"]
        {
            assert!(file(other).is_none(), "{other}");
        }
    }
}
