//! Todos: what lists say, what people and agents do, and what is kept of both as facts.
//!
//! An *item* is one line of one list. A *todo* is the group of items with one text in one project; it is computed by
//! `rules/todos`, never stored.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::id::{ActId, AskId, ConflictId, DeviceId, ItemId, SessionId, TodoId};
use super::text::Foreign;
use super::time::Stamp;

/// How far a todo is. The order is the rank: a higher one is never lowered within a round (T2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not begun.
    Pending,
    /// Somebody works on it.
    InProgress,
    /// Will not be done.
    Cancelled,
    /// Done.
    Completed,
}

impl Status {
    /// All of them, in the order of their rank.
    pub const ALL: [Status; 4] = [Status::Pending, Status::InProgress, Status::Cancelled, Status::Completed];

    /// The word that files, facts and answers use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::InProgress => "in_progress",
            Status::Cancelled => "cancelled",
            Status::Completed => "completed",
        }
    }

    /// Reads the word, and the spellings that tools have used for it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Status> {
        match word {
            "pending" | "todo" | "open" => Some(Status::Pending),
            "in_progress" | "in-progress" | "active" => Some(Status::InProgress),
            "cancelled" | "canceled" => Some(Status::Cancelled),
            "completed" | "done" => Some(Status::Completed),
            _ => None,
        }
    }

    /// Whether nothing is left to do in this round.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Status::Cancelled | Status::Completed)
    }
}

/// Where an item is listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum List {
    /// A list that an agent keeps in a session; `agent` is the agent id in its file's name.
    Session {
        /// The session.
        session: SessionId,
        /// The agent id; equal to the tool's session id for the main thread.
        agent: Foreign,
    },
    /// A list of tasks that has a name of its own and that several sessions of one device share.
    Named {
        /// Where.
        device: DeviceId,
        /// Its name.
        name: Foreign,
    },
    /// What people and agents add by command or API, one list for each project.
    Person {
        /// The project, `general` when none was given.
        project: String,
    },
}

impl List {
    /// The session whose list it is.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self {
            List::Session { session, .. } => Some(*session),
            List::Named { .. } | List::Person { .. } => None,
        }
    }

    /// The name of an item of this list: by the tool's own id where that is unique for ever, else by the normalised text.
    #[must_use]
    pub fn item(&self, what: &str) -> ItemId {
        match self {
            List::Session { session, agent } => ItemId::of(&[b"session", &session.0, agent.json().as_bytes(), what.as_bytes()]),
            List::Named { device, name } => ItemId::of(&[b"named", &device.0, name.json().as_bytes(), what.as_bytes()]),
            List::Person { project } => ItemId::of(&[b"person", project.as_bytes(), what.as_bytes()]),
        }
    }
}

/// The name of the todo that holds `text` in `project`.
#[must_use]
pub fn todo_id(project: &str, text: &Foreign) -> TodoId {
    TodoId::of(&[project.as_bytes(), text.normalised().as_bytes()])
}

/// The project of items whose project is not known yet.
pub const GENERAL: &str = "general";

/// Who did something, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct By {
    /// The device on which it was done.
    pub device: DeviceId,
    /// The agent, when one said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Foreign>,
    /// The session, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// `item/<item>`, once: the item exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFact {
    /// Where it is listed.
    pub list: List,
    /// What it says, as it was first read.
    pub text: Foreign,
    /// When it was first seen (the file's time), milliseconds since 1970.
    pub first_seen: i64,
    /// The project, if a person gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// `rank/<item>/<round>/<status>`, once: the item was seen with this status in this round.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RankFact {
    /// The todo that held the item when this was written.
    pub todo: TodoId,
    /// Whose list said so.
    pub by: By,
    /// The time of the file or line that said so, milliseconds since 1970.
    pub at: i64,
}

/// `seen/<item>`, latest, by the device that reads the list: what the list says now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenFact {
    /// Revision; the highest (rev, bytes) counts.
    pub rev: u64,
    /// The device that reads this list.
    pub device: DeviceId,
    /// The status that the list gives.
    pub status: Status,
    /// The round that status counts in.
    pub round: u64,
    /// Whether the newest non-empty reading still has it (T7).
    pub listed: bool,
    /// What the agent calls it while it works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_form: Option<Foreign>,
    /// `high`, `medium`, `low`, or what the list says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Foreign>,
    /// Whom the list names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Foreign>,
    /// Items of the same list that must be done first.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub blocked_by: BTreeSet<ItemId>,
    /// The file's time; an older reading is an older copy and writes nothing (T5).
    pub at: i64,
}

/// A field of a todo that people and agents may set (T6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Field {
    /// What it says; setting it moves the items to where that text is.
    Content,
    /// Who should do it.
    Owner,
    /// How much it matters.
    Priority,
}

impl Field {
    /// The word that facts and answers use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Field::Content => "content",
            Field::Owner => "owner",
            Field::Priority => "priority",
        }
    }
}

/// What was done to a todo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "camelCase")]
pub enum Deed {
    /// It was given this status in this round: `start`, `done`, and the statuses that `undo` brings back.
    Mark {
        /// The round.
        round: u64,
        /// The status.
        status: Status,
    },
    /// A new round was opened, with this status: `reopen`, `add` of a finished text, `undo` of a completion or a delete.
    Open {
        /// The round that begins.
        round: u64,
        /// What the todo is in it.
        status: Status,
    },
    /// One field was set.
    Set {
        /// Which.
        field: Field,
        /// To what.
        value: Foreign,
        /// 1 + the highest revision of that field that the writer knew.
        rev: u64,
    },
    /// The round was hidden.
    Delete {
        /// Which.
        round: u64,
    },
    /// Nothing was done: a question with an `Idempotency-Key` was answered, and this is remembered of it.
    Asked,
    /// A conflict was settled: it is no longer shown as open.
    Resolve {
        /// Which.
        conflict: ConflictId,
        /// What it was, so that it stays listed after what settled it; `None` where its texts are long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<Box<Contested>>,
    },
    /// It was given a tag, or that was taken from it. Each tag is by itself: two that were given at once both stay.
    Tag {
        /// Which, in lower case.
        tag: Foreign,
        /// Whether it has it from now on.
        on: bool,
        /// 1 + the highest revision of that tag that the writer knew.
        rev: u64,
    },
}

/// The one spelling of a tag: case and white space make no other.
#[must_use]
pub fn tag_key(tag: &Foreign) -> String {
    tag.normalised().to_lowercase()
}

/// What a conflict was when it was settled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Contested {
    /// `status`, `content`, `owner`, `priority`.
    pub field: String,
    /// Why the one counted.
    pub rule: String,
    /// What counted.
    pub local: Side,
    /// What did not.
    pub remote: Side,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Side {
    /// The status or the text.
    pub value: Foreign,
    /// Where it was said.
    pub device: DeviceId,
    /// In which session, if in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// When, by that device's clock.
    pub at: i64,
}

/// `act/<unique>`, once: somebody did something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActFact {
    /// The todo it was done to.
    pub todo: TodoId,
    /// The items that todo held then.
    pub items: BTreeSet<ItemId>,
    /// What was done.
    #[serde(flatten)]
    pub deed: Deed,
    /// By whom.
    pub by: By,
    /// When, by the hybrid clock.
    pub at: Stamp,
    /// The action that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<ActId>,
    /// What was asked, where somebody gave the action its name by a key; versions that do not know this field pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskId>,
}

/// One element of a list, as its tool wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it says.
    pub text: Foreign,
    /// How far it is.
    pub status: Status,
    /// What the agent calls it while it works on it.
    pub active_form: Option<Foreign>,
    /// How much it matters.
    pub priority: Option<Foreign>,
    /// Whom the list names.
    pub owner: Option<Foreign>,
}

/// One reading of a whole list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// Its elements, in order; a text that stands twice is there twice.
    pub items: Vec<Listed>,
    /// Elements that are not what they should be; each was passed over.
    pub malformed: u64,
}

/// What is said of one task of a list whose ids are unique for ever; what is `None` stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The tool's id of it.
    pub id: String,
    /// What it says; the first text that is known stays.
    pub text: Option<Foreign>,
    /// How far it is.
    pub status: Option<Status>,
    /// What the agent calls it while it works on it.
    pub active_form: Option<Foreign>,
    /// Whom the list names.
    pub owner: Option<Foreign>,
    /// Ids of tasks of the same list that must be done first; they add to those that are known.
    pub blocked_by: Vec<String>,
}

/// A fact of the collection `todos`, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TodoFact {
    /// `item/<item>`.
    Item(ItemId, ItemFact),
    /// `rank/<item>/<round>/<status>`.
    Rank(ItemId, u64, Status, RankFact),
    /// `act/<unique>`.
    Act(ActId, ActFact),
    /// `seen/<item>`.
    Seen(ItemId, SeenFact),
}
