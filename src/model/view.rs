//! The read model behind page, command line and API: immutable, and O(changed) to update.
//!
//! It holds timestamps and judgements, never ages: ages are computed where they are shown. Every wall time is in
//! milliseconds since 1970; those named `…_here` are by this device's clock at the moment it heard.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;

use super::beat::Beat;
use super::id::{ActId, ConflictId, DeviceId, FleetId, ItemId, SessionId, TodoId};
use super::leaving::Stays;
use super::text::Foreign;
use super::time::Millis;
use super::todo::{By, Side, Status};

/// Everything that is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Raised by every change.
    pub seq: u64,
    /// This device.
    pub me: DeviceId,
    /// The fleet it is in.
    pub fleet: Option<FleetId>,
    /// All members, and those that were.
    pub devices: OrdMap<DeviceId, Arc<DeviceView>>,
    /// All agents, one row for each of their sessions that has a beat.
    pub agents: OrdMap<AgentKey, Arc<AgentView>>,
    /// All sessions.
    pub sessions: OrdMap<SessionId, Arc<SessionView>>,
    /// All todos that hold items, the deleted ones too.
    pub todos: OrdMap<TodoId, Arc<TodoView>>,
    /// Todos that no longer hold items, and where their items went.
    pub moved: OrdMap<TodoId, Arc<[TodoId]>>,
    /// All conflicts, resolved ones too, in the order (todo, field, id).
    pub conflicts: OrdMap<(TodoId, String, ConflictId), Arc<Conflict>>,
    /// Other hubless in reach that are not of this fleet: instance name → address.
    pub strangers: OrdMap<String, String>,
    /// The sources, as they were last read.
    pub sources: OrdMap<String, Arc<SourceView>>,
    /// Sessions of this device that stay here (`sync.exclude`), each with why.
    pub staying: Arc<BTreeMap<SessionId, Stays>>,
    /// Words that tag what names them (`tags.keywords`): tag and word, both in lower case. A setting of this device, so what follows
    /// from it is computed where it is shown.
    pub keywords: Arc<[(String, String)]>,
    /// The ways by which it is learnt what the tools do here; none is there that has not run since the start.
    pub ways: OrdMap<Way, WayView>,
    /// What is held of each collection; `local/…` is what stays on this device.
    pub holdings: OrdMap<String, HoldingView>,
    /// The network around this device, once it was looked at.
    pub around: Option<AroundView>,
    /// What is wrong here and now.
    pub warnings: OrdMap<String, Warning>,
}

impl View {
    /// The view of a device that knows nothing yet.
    #[must_use]
    pub fn of(me: DeviceId) -> View {
        View {
            seq: 0,
            me,
            fleet: None,
            devices: OrdMap::new(),
            agents: OrdMap::new(),
            sessions: OrdMap::new(),
            todos: OrdMap::new(),
            moved: OrdMap::new(),
            conflicts: OrdMap::new(),
            strangers: OrdMap::new(),
            sources: OrdMap::new(),
            staying: Arc::default(),
            keywords: Arc::default(),
            ways: OrdMap::new(),
            holdings: OrdMap::new(),
            around: None,
            warnings: OrdMap::new(),
        }
    }

    /// The name of a device, or the short form of its id; both where another device has the same name.
    #[must_use]
    pub fn device_name(&self, device: &DeviceId) -> Foreign {
        self.devices.get(device).map_or_else(|| Foreign::new(device.short()), |d| d.shown_name())
    }
}

/// One device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceView {
    /// Which.
    pub id: DeviceId,
    /// Its name.
    pub name: Foreign,
    /// Whether another device that is shown has the same name.
    pub has_twin: bool,
    /// `linux`, `macos`, …; empty while unknown.
    pub platform: Foreign,
    /// Under which key an agent is shown that its tools and reports call otherwise.
    pub aliases: BTreeMap<String, String>,
    /// Whether it is a member now.
    pub member: bool,
    /// Whether presence of it is younger than `limits::REACHABLE_MS`; always of this device while its daemon runs.
    pub reachable: bool,
    /// When its presence was last heard, directly or through others, by our clock.
    pub last_contact_here: Option<i64>,
    /// The link to it, while there is one.
    pub link: Option<LinkView>,
    /// Changes of ours that it lacks; `None` when that cannot be known.
    pub they_miss: Option<u64>,
    /// Those changes by collection, as far as they are known one by one.
    pub they_miss_of: std::collections::BTreeMap<super::id::Collection, u64>,
    /// Changes of its that we lack; `None` when that cannot be known.
    pub we_miss: Option<u64>,
    /// Its clock minus ours; `None` while not measured.
    pub clock_skew_ms: Option<i64>,
    /// The last failure to reach it: when, by our clock, and why.
    pub last_error: Option<(i64, String)>,
    /// The last failure at each of the addresses where it was dialled since this start, the newest first.
    pub dials: Vec<DialView>,
    /// What of documents goes to it and comes from it, and when.
    pub flow: FlowView,
    /// Bytes heard and said on all links with it since this daemon started, but for the one that is up.
    pub bytes_before: (u64, u64),
}

/// What of documents goes to a device and comes from it, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowView {
    /// Whether there may be a link with it.
    pub enabled: bool,
    /// Whether a person paused it here.
    pub paused: bool,
    /// Whether its own side takes part; `None` while there is no link.
    pub theirs: Option<super::peering::Terms>,
    /// What this side does now.
    pub ours: super::peering::Terms,
    /// When documents are exchanged, if not always.
    pub schedule: Option<String>,
    /// When that is next, milliseconds since 1970; `None` when it is now, or nothing is scheduled.
    pub next: Option<i64>,
    /// Bytes a second to it, if that is limited.
    pub bandwidth: Option<u64>,
}

impl Default for FlowView {
    fn default() -> FlowView {
        let all = super::peering::Terms::ALL;
        FlowView { enabled: true, paused: false, theirs: None, ours: all, schedule: None, next: None, bandwidth: None }
    }
}

/// Dials of one address of a device that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialView {
    /// Where.
    pub address: String,
    /// When the last one failed, by our clock.
    pub at: i64,
    /// Why.
    pub why: String,
    /// How many did.
    pub times: u64,
}

impl DeviceView {
    /// Its name, and which one it is where another has the same: `mac-mini (3F8T-9WQA)`.
    #[must_use]
    pub fn shown_name(&self) -> Foreign {
        if self.has_twin { Foreign::new(format!("{} ({})", self.name.json(), self.id.short())) } else { self.name.clone() }
    }
}

/// What is held of one collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HoldingView {
    /// Documents.
    pub documents: u64,
    /// Changes in them.
    pub changes: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// The network around this device, as it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AroundView {
    /// Interfaces with an address that are used.
    pub used: Vec<String>,
    /// Those that are passed over, since their names are those of containers, bridges and tunnels.
    pub skipped: Vec<String>,
    /// Our own addresses, each with how many of its first bits are those of its subnet.
    pub subnets: Vec<(IpAddr, u8)>,
    /// Whether mDNS is switched on.
    pub mdns: bool,
    /// Answers about hubless that mDNS has brought, our own among them.
    pub heard: u64,
    /// Whether our own announcement came back to us.
    pub echoed: bool,
    /// Why mDNS does not work, if it does not.
    pub error: Option<String>,
}

/// A link that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    /// The other end.
    pub address: String,
    /// There and back, when it was measured.
    pub rtt_ms: Option<Millis>,
    /// Bytes heard.
    pub bytes_in: u64,
    /// Bytes said.
    pub bytes_out: u64,
    /// Whether both hold the same.
    pub level: bool,
    /// While documents are exchanged: of how many that is done, and of how many it was to be.
    pub documents: Option<(usize, usize)>,
    /// Messages of a kind that is not known here: the other is of a newer version. They were skipped.
    pub unknown: u64,
}

/// A row of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentKey {
    /// Where it works.
    pub device: DeviceId,
    /// `model::beat::agent_key` of its name.
    pub agent: String,
    /// In which run.
    pub session: SessionId,
}

/// What an agent is, judged by `rules/agents` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentState {
    /// ◐ It waits for a person.
    NeedsInput,
    /// ✕ Its device can be reached, and it is silent.
    Stale,
    /// ● It works, beats, and has achieved nothing for long.
    Stuck,
    /// ● It works.
    Working,
    /// ● Its beat is overdue.
    Late,
    /// ○ Its turn ended.
    Idle,
    /// ✓ Its activity ended.
    Done,
    /// ✗ Its activity ended with an error.
    Failed,
    /// ? Its device cannot be reached.
    Unknown,
}

impl AgentState {
    /// Whether it is at work or waits for a person.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, AgentState::NeedsInput | AgentState::Stuck | AgentState::Working | AgentState::Late)
    }

    /// The word that is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            AgentState::NeedsInput => "needs input",
            AgentState::Stale => "stale",
            AgentState::Stuck => "stuck?",
            AgentState::Working => "working",
            AgentState::Late => "late",
            AgentState::Idle => "idle",
            AgentState::Done => "done",
            AgentState::Failed => "failed",
            AgentState::Unknown => "unknown",
        }
    }

    /// The sign that is shown before the word.
    #[must_use]
    pub fn symbol(self) -> char {
        match self {
            AgentState::NeedsInput => '◐',
            AgentState::Stale => '✕',
            AgentState::Stuck | AgentState::Working | AgentState::Late => '●',
            AgentState::Idle => '○',
            AgentState::Done => '✓',
            AgentState::Failed => '✗',
            AgentState::Unknown => '?',
        }
    }
}

/// One agent in one session.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentView {
    /// Its latest report, from presence or from a document, whichever is newer; by the name that its person gave it.
    pub beat: Beat,
    /// What it is there for, as its device's `agents.toml` says.
    pub role: Option<Foreign>,
    /// What its tool or report calls it, where that is another name.
    pub called: Option<Foreign>,
    /// What it is.
    pub state: AgentState,
    /// Its last sign of life, by our clock; `None` when none was heard since this daemon started.
    pub sign_here: Option<i64>,
    /// Its last progress, by our clock, as `sign_here`.
    pub progress_here: Option<i64>,
}

/// What a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionState {
    /// Its agent's state says more.
    Agent(AgentState),
    /// Nothing is known of a living agent, and no end either.
    Quiet,
    /// It is over.
    Ended,
}

impl SessionState {
    /// The word that is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            SessionState::Agent(state) => state.word(),
            SessionState::Quiet => "quiet",
            SessionState::Ended => "ended",
        }
    }
}

/// One run of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionView {
    /// Which.
    pub id: SessionId,
    /// What its device wrote of it.
    pub fact: super::session::SessionFact,
    /// What it is.
    pub state: SessionState,
    /// When something was last seen of it: a beat, a reading of its list; by its device's clock.
    pub last_activity: i64,
    /// Its end, if it is over.
    pub end: Option<super::session::EndFact>,
    /// The todos that its lists hold items of.
    pub todos: Arc<[TodoId]>,
    /// How many of those are open, as its own lists say.
    pub open: u32,
    /// How many of those are done, as its own lists say.
    pub done: u32,
    /// What was counted in its own file.
    pub counts: Option<super::session::Counts>,
    /// The tags that were given to it by hand.
    pub tags: BTreeSet<Foreign>,
    /// Whether its own file is there and can be read, as far as this device can see: of another device's, unknown.
    pub has_file: Option<bool>,
}

/// One todo, computed by `rules/todos`.
#[derive(Debug, Clone, PartialEq)]
pub struct TodoView {
    /// Which.
    pub id: TodoId,
    /// What it says.
    pub content: Foreign,
    /// What the agent calls it while it works on it.
    pub active_form: Option<Foreign>,
    /// How far it is in this round.
    pub status: Status,
    /// How often it has been opened, from 1.
    pub round: u64,
    /// Its project's key.
    pub project: String,
    /// How much it matters.
    pub priority: Option<Foreign>,
    /// Who should do it.
    pub owner: Option<Foreign>,
    /// The tags that people and agents gave it.
    pub tags: BTreeSet<Foreign>,
    /// When its first item was first seen.
    pub created: i64,
    /// When the newest fact that counts for it was made.
    pub updated: i64,
    /// When this round was completed.
    pub completed: Option<i64>,
    /// Who completed this round.
    pub completed_by: Option<By>,
    /// Its items, in order.
    pub origins: Vec<Origin>,
    /// Whether the newest reading of a list still has it; always, of what people added.
    pub listed: bool,
    /// Whether this round was deleted.
    pub deleted: bool,
    /// How many lists still have it although it was deleted.
    pub relisted: u32,
    /// Whether a conflict of it is open.
    pub conflict: bool,
    /// Todos that must be done first.
    pub blocked_by: Vec<TodoId>,
    /// All that happened to it, oldest first.
    pub history: Arc<[Happened]>,
}

/// One item of a todo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Which.
    pub item: ItemId,
    /// The device that reads its list; `None` of what people added.
    pub device: Option<DeviceId>,
    /// The session whose list it is.
    pub session: Option<SessionId>,
    /// What its list says.
    pub status: Status,
    /// Whether its list still has it.
    pub listed: bool,
}

/// One step of a todo's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// When, by the writer's clock.
    pub at: i64,
    /// Who.
    pub by: By,
    /// `status`, `content`, `owner`, `priority`, `deleted`, `listed`, `conflict`.
    pub field: String,
    /// What it was before, as far as that is known.
    pub from: Option<Foreign>,
    /// What it was given.
    pub to: Foreign,
    /// In which round.
    pub round: u64,
    /// The action, if it was one.
    pub act: Option<ActId>,
}

/// Two words that could not both count. Equal on every device: `local` is the winner, `remote` the loser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Which.
    pub id: ConflictId,
    /// Of which todo.
    pub todo: TodoId,
    /// What the todo says.
    pub content: Foreign,
    /// `status`, `content`, `owner`, `priority`.
    pub field: String,
    /// What counts.
    pub local: Side,
    /// What does not.
    pub remote: Side,
    /// Why: `completed-stays`, `relisted`, `deleted-stays`, `later-edit`.
    pub rule: &'static str,
    /// What the todo is by that rule.
    pub result: Foreign,
    /// Whether somebody has settled it.
    pub resolved: bool,
}

/// One directory that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceView {
    /// Where it is.
    pub base: String,
    /// Whether it is there.
    pub present: bool,
    /// How many files of it are known.
    pub files: u64,
    /// When it was last listed, by our clock.
    pub listed_here: Option<i64>,
    /// When something of it was last read, by our clock.
    pub read_here: Option<i64>,
    /// Whether it rests: it is listed, and nothing of it is read.
    pub paused: bool,
    /// How many elements and files could not be read as what they should be.
    pub malformed: u64,
    /// How often each kind of record came that this version does not know, by the tool's name for it.
    pub unknown: BTreeMap<String, u64>,
    /// The last failure.
    pub error: Option<String>,
}

/// A way by which it is learnt what the tools do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// The system says that something changed.
    Watcher,
    /// All directories are listed, from time to time.
    Rescan,
    /// The tools' own hooks say it.
    Hooks,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 3] = [Way::Watcher, Way::Rescan, Way::Hooks];

    /// The word that is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Way::Watcher => "watcher",
            Way::Rescan => "rescan",
            Way::Hooks => "hooks",
        }
    }
}

/// How one of them fares since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WayView {
    /// When it last ran, by our clock.
    pub ran_here: Option<i64>,
    /// Its last failure: when, by our clock, and why.
    pub error: Option<(i64, String)>,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is wrong.
    pub what: String,
    /// What mends it.
    pub fix: Option<String>,
}
