//! What a person, a script or a hook can ask of the daemon. Questions that only read are answered from the [`super::view::View`].

use super::beat::Reported;
use super::id::{AskId, SessionId};
use super::text::Foreign;
use super::todo::Listed;

/// One question that changes something, or needs the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// An agent reports.
    Beat(Report),
    /// Whoever runs an agent reports its run, under a key of its own.
    Run(RunReport),
    /// Somebody says what its list of todos holds.
    List(ListReport),
    /// Somebody says which sessions there are.
    Sessions(Vec<SessionRecord>),
    /// Something is done to a todo.
    Todo(TodoAsk),
    /// A session is given tags, or they are taken from it.
    Tag {
        /// Which.
        session: SessionId,
        /// Which tags.
        tags: Vec<Foreign>,
        /// Whether it has them from now on.
        on: bool,
        /// Who does it; `None`: a person.
        agent: Option<Foreign>,
    },
    /// Opens the window for one other device: for a one-time ticket, and for a short code where a person asks for one.
    Invite {
        /// Whether a code opens it, too.
        code: bool,
    },
    /// Waits until somebody came through the window, tried to, or it is over.
    AwaitJoiner {
        /// Which, as it was given when it was opened.
        window: u64,
        /// What the one who asks knows already.
        known: Tries,
    },
    /// Closes the window.
    CloseWindow {
        /// Which; a newer one stays open.
        window: u64,
        /// Only if nobody waits at it.
        left: bool,
    },
    /// Joins the fleet that made the ticket, or showed the code.
    Join {
        /// The ticket's text, or the code's.
        text: String,
        /// Where its window is, `host:port`; `None`: the ticket says, or for a code mDNS.
        at: Option<String>,
    },
    /// Leaves the fleet: this device is alone again and keeps what it has.
    Leave,
    /// Shuts a device out of the fleet for ever.
    Revoke {
        /// A device's name or id, or the beginning of its id.
        device: String,
        /// Whether its sessions and agents are shown no more.
        forget: bool,
    },
    /// Gives a device another name, on all devices.
    Rename {
        /// A device's name or id, or the beginning of its id.
        device: String,
        /// What it is called from now on.
        name: Foreign,
    },
    /// Measures the way to a device.
    Ping {
        /// A device's name or id, or the beginning of its id.
        device: String,
    },
    /// Lists and reads all sources again.
    Rescan,
    /// Nothing more is read of a source, or it goes on.
    Pause {
        /// A tool, or one source by its word.
        source: String,
        /// Whether it is to rest.
        rests: bool,
    },
    /// Documents are no longer exchanged with a device, or they are again; presence goes on.
    Rest {
        /// A device's name or id, or the beginning of its id; `None`: all of them.
        device: Option<String>,
        /// Whether it is to rest.
        rests: bool,
    },
    /// Documents are exchanged or compared now, with one device or with all.
    Check {
        /// A device's name or id, or the beginning of its id; `None`: all of them.
        device: Option<String>,
        /// What is to be done.
        task: super::checkup::Task,
    },
    /// One automerge document with maps `sessions`, `heartbeats`, `todos`.
    Export,
}

/// What came to a window besides the one who was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tries {
    /// Wrong codes or secrets.
    pub wrong: u8,
    /// Pairings that somebody stood between.
    pub relayed: u8,
}

/// An agent's report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Who reports.
    pub agent: Foreign,
    /// What it says of itself; `None`: as before, else working (idle without a task).
    pub state: Option<Reported>,
    /// What it works on; `None`: as before (a tick of a loop never overwrites work fields), blank: nothing.
    pub task: Option<Foreign>,
    /// The file it has open; as `task`.
    pub file: Option<Foreign>,
    /// A message to people; as `task`.
    pub note: Option<Foreign>,
    /// The tool behind it; `custom` when nobody says.
    pub tool: Option<String>,
    /// The tool's own session id; the agent's name when nobody says.
    pub session: Option<Foreign>,
    /// Its process.
    pub pid: Option<u32>,
    /// How often it means to beat, seconds.
    pub interval_s: Option<u32>,
    /// The device name that the report gives (`/v2/sessionState`).
    pub device: Option<Foreign>,
    /// JSON text of one object that comes back as it was given.
    pub metadata: Option<Foreign>,
    /// `cli`, `api`, `hook`, `webhook`.
    pub source: &'static str,
    /// Where its session works; the first one known stays.
    pub cwd: Option<Foreign>,
    /// When it was said, milliseconds since 1970; `None`: now. What waited in a spool never takes the place of a later word.
    pub at: Option<i64>,
}

/// What whoever runs an agent reports of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    /// The run's own name: the same key on this device is the same session.
    pub key: Foreign,
    /// What happened.
    pub deed: RunDeed,
    /// Who works in it; needed once, then known.
    pub agent: Option<Foreign>,
    /// What it works on, the file it has open, a message to people: as in a [`Report`].
    pub task: Option<Foreign>,
    /// As `task`.
    pub file: Option<Foreign>,
    /// As `task`.
    pub note: Option<Foreign>,
    /// What came of it, when it is over.
    pub result: Option<Foreign>,
}

/// What happened to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunDeed {
    /// It began.
    Spawn,
    /// It goes on.
    Progress,
    /// It is done.
    Complete,
    /// It ended with an error.
    Error,
}

impl RunDeed {
    /// All of them.
    pub const ALL: [RunDeed; 4] = [RunDeed::Spawn, RunDeed::Progress, RunDeed::Complete, RunDeed::Error];

    /// The word of the replaced system's webhook.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            RunDeed::Spawn => "spawn",
            RunDeed::Progress => "progress",
            RunDeed::Complete => "complete",
            RunDeed::Error => "error",
        }
    }

    /// How it says that the run is over, if it does: an end's `outcome`.
    #[must_use]
    pub fn outcome(self) -> Option<&'static str> {
        match self {
            RunDeed::Spawn | RunDeed::Progress => None,
            RunDeed::Complete => Some("done"),
            RunDeed::Error => Some("failed"),
        }
    }
}

/// A list of todos, said by whoever keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListReport {
    /// The key of the run whose whole list it is; `None`: some todos of nobody in particular, and there may be others.
    pub session: Option<Foreign>,
    /// What it holds.
    pub items: Vec<Listed>,
}

/// What another program knows of one session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    /// Its tool.
    pub tool: String,
    /// The tool's own id of it.
    pub id: Foreign,
    /// Who works in it.
    pub agent: Option<Foreign>,
    /// Its working directory, on the machine where it ran.
    pub cwd: Option<Foreign>,
    /// The url of the remote of the repository there.
    pub remote: Option<Foreign>,
    /// Its branch.
    pub branch: Option<Foreign>,
    /// What it is about.
    pub title: Option<Foreign>,
    /// When it began, milliseconds since 1970.
    pub started: Option<i64>,
}

/// What is to be done to a todo, by whom.
#[derive(Debug, Clone, PartialEq)]
pub struct TodoAsk {
    /// What.
    pub what: TodoDeed,
    /// The agent that does it; `None`: a person.
    pub agent: Option<Foreign>,
    /// Of an `Idempotency-Key`: the same key on this device is the same action.
    pub key: Option<String>,
}

impl TodoAsk {
    /// What is asked under its key, as far as it was said: the same question again has the same name, any other another one. The
    /// key is part of it, so that nobody can try texts out on it who does not know the key.
    #[must_use]
    pub fn asked(&self) -> Option<AskId> {
        let key = self.key.as_ref()?;
        let mut parts = vec![key.clone()];
        parts.extend(given(self.agent.as_ref()));
        self.what.say(&mut parts);
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        Some(AskId::of(&parts))
    }
}

/// A text that may be missing, as parts: nothing said is told from an empty text.
fn given(text: Option<&Foreign>) -> [String; 2] {
    text.map_or_else(|| ["-".into(), String::new()], |text| ["+".into(), text.json().to_owned()])
}

/// What is to be done to a todo. `id` is a whole id or any unique beginning of one, as it was typed.
#[derive(Debug, Clone, PartialEq)]
pub enum TodoDeed {
    /// There is a new one; of a finished or deleted text, a new round of it.
    Add {
        /// What it says.
        content: Foreign,
        /// Its project; `None`: `general`.
        project: Option<String>,
        /// How much it matters.
        priority: Option<Foreign>,
    },
    /// Somebody begins it.
    Start {
        /// Which.
        id: String,
    },
    /// It is done.
    Done {
        /// Which.
        id: String,
    },
    /// It is to be done again.
    Reopen {
        /// Which.
        id: String,
    },
    /// Fields of it are set; `None` leaves a field as it is.
    Edit {
        /// Which.
        id: String,
        /// What it says.
        content: Option<Foreign>,
        /// Who should do it.
        owner: Option<Foreign>,
        /// How much it matters.
        priority: Option<Foreign>,
    },
    /// It is hidden.
    Delete {
        /// Which.
        id: String,
    },
    /// It is given tags, or they are taken from it.
    Tag {
        /// Which.
        id: String,
        /// Which tags.
        tags: Vec<Foreign>,
        /// Whether it has them from now on.
        on: bool,
    },
    /// The last action on it is taken back.
    Undo {
        /// Which.
        id: String,
    },
    /// A conflict of it is settled.
    Resolve {
        /// Which todo, or which conflict.
        id: String,
        /// How.
        keep: Keeping,
    },
}

impl TodoDeed {
    /// Writes itself down, for [`TodoAsk::asked`]. Facts hold what comes of it: a word here never changes.
    fn say(&self, out: &mut Vec<String>) {
        let mut words = |of: &[&str]| out.extend(of.iter().map(|word| (*word).to_owned()));
        match self {
            TodoDeed::Add { content, project, priority } => {
                words(&["add", content.json()]);
                out.extend(given(project.clone().map(Foreign::new).as_ref()));
                out.extend(given(priority.as_ref()));
            }
            TodoDeed::Start { id } => words(&["start", id]),
            TodoDeed::Done { id } => words(&["done", id]),
            TodoDeed::Reopen { id } => words(&["reopen", id]),
            TodoDeed::Delete { id } => words(&["delete", id]),
            TodoDeed::Undo { id } => words(&["undo", id]),
            TodoDeed::Edit { id, content, owner, priority } => {
                words(&["edit", id]);
                out.extend([content, owner, priority].into_iter().flat_map(|text| given(text.as_ref())));
            }
            TodoDeed::Tag { id, tags, on } => {
                words(&[if *on { "tag" } else { "untag" }, id]);
                out.extend(tags.iter().map(|tag| tag.json().to_owned()));
            }
            TodoDeed::Resolve { id, keep } => match keep {
                Keeping::Local => words(&["resolve", id, "local"]),
                Keeping::Remote => words(&["resolve", id, "remote"]),
                Keeping::Both => words(&["resolve", id, "both"]),
                Keeping::Text(text) => words(&["resolve", id, "text", text.json()]),
            },
        }
    }
}

/// How a conflict is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeping {
    /// What the rule chose stays.
    Local,
    /// The other one counts: a status reopens the todo with it, a field is set to it.
    Remote,
    /// The other text becomes a todo of its own.
    Both,
    /// The field is set to this.
    Text(Foreign),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn two_questions_under_one_key_are_told_apart_and_the_same_one_is_not() {
        let id = || "t-7f".to_owned();
        let add = |content: &str, project: Option<&str>, priority: Option<&str>| TodoDeed::Add {
            content: content.into(),
            project: project.map(str::to_owned),
            priority: priority.map(Into::into),
        };
        let edit = |content: Option<&str>, owner: Option<&str>, priority: Option<&str>| {
            let text = |text: Option<&str>| text.map(Foreign::from);
            TodoDeed::Edit { id: id(), content: text(content), owner: text(owner), priority: text(priority) }
        };
        let tag = |tags: &[&str], on| TodoDeed::Tag { id: id(), tags: tags.iter().map(|tag| Foreign::from(*tag)).collect(), on };
        let resolve = |keep| TodoDeed::Resolve { id: id(), keep };
        let deeds = vec![
            add("x", None, None),
            add("y", None, None),
            add("x", Some(""), None),
            add("x", Some("p"), None),
            add("x", None, Some("p")),
            TodoDeed::Start { id: id() },
            TodoDeed::Done { id: id() },
            TodoDeed::Done { id: "t-7g".into() },
            TodoDeed::Reopen { id: id() },
            TodoDeed::Delete { id: id() },
            TodoDeed::Undo { id: id() },
            edit(Some("x"), None, None),
            edit(None, Some("x"), None),
            edit(None, None, Some("x")),
            tag(&["a", "b"], true),
            tag(&["ab"], true),
            tag(&["a", "b"], false),
            resolve(Keeping::Local),
            resolve(Keeping::Remote),
            resolve(Keeping::Both),
            resolve(Keeping::Text("local".into())),
        ];
        let ask = |what: &TodoDeed, agent: Option<&str>, key: &str| {
            TodoAsk { what: what.clone(), agent: agent.map(Into::into), key: Some(key.into()) }.asked().expect("it has a key")
        };
        let mut seen = BTreeSet::new();
        for what in &deeds {
            for (agent, key) in [(None, "k"), (Some(""), "k"), (Some("sam"), "k"), (None, "l")] {
                assert!(seen.insert(ask(what, agent, key)), "{what:?} {agent:?} {key}");
                assert_eq!(ask(what, agent, key), ask(what, agent, key));
            }
        }
        assert_eq!(TodoAsk { what: add("x", None, None), agent: None, key: None }.asked(), None);
        // Facts hold it, so it is the same in every version.
        let told = ask(&add("x", Some("p"), Some("1")), Some("sam"), "k").to_string();
        assert_eq!(told, "q-v8082g422wezmrdqqfsfye3z8m");
    }
}
