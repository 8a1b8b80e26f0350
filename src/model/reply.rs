//! What can be answered, and every way to be refused: with its cause and its fix.

use super::id::{DeviceId, SessionId, TodoId};
use super::time::Millis;

/// One answer. It leaves only after everything it speaks of was kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A report was taken.
    Beat {
        /// The session it counts for.
        session: SessionId,
        /// Whether that session was known before.
        updated: bool,
        /// Whether it is on disk; a beat between transitions is told to peers and not written.
        durable: bool,
        /// Names of the devices that were reachable when it was told.
        told: Vec<String>,
    },
    /// A list was taken: for each of its items, in order, where it is now.
    Listed(Vec<Placed>),
    /// Records of sessions were taken; the view now shows them.
    Sessions {
        /// All of them.
        sessions: Vec<SessionId>,
        /// How many of those were not known before.
        new: usize,
    },
    /// A todo was changed; the view now shows it.
    Todo {
        /// Which.
        id: TodoId,
        /// Whether it, or a new round of it, began with this.
        created: bool,
    },
    /// A session has its tags; the view now shows them.
    Tagged {
        /// Which.
        session: SessionId,
    },
    /// The window is open.
    Invited {
        /// Its number, for `Ask::AwaitJoiner` and `Ask::CloseWindow`.
        window: u64,
        /// What opens it.
        keys: Keys,
    },
    /// Somebody came to the window and was not let in; it is still open.
    Tried(super::ask::Tries),
    /// The window is closed.
    WindowClosed,
    /// This device is in a fleet with that one.
    Paired {
        /// The other device, whichever of the two invited.
        device: DeviceId,
        /// Its name.
        name: String,
    },
    /// This device is alone in a new fleet.
    Left,
    /// A device is shut out of the fleet.
    Removed {
        /// Which.
        device: DeviceId,
        /// Its name.
        name: String,
    },
    /// A device has another name.
    Renamed {
        /// Which.
        device: DeviceId,
        /// The new one.
        name: String,
    },
    /// A device answered.
    Pong {
        /// Which.
        device: DeviceId,
        /// There and back.
        rtt_ms: Millis,
        /// Over which address.
        address: String,
        /// Whether both hold the same.
        level: bool,
    },
    /// Everything is being listed and read again.
    Rescanning,
    /// Sources rest, or go on.
    Paused {
        /// Their words.
        sources: Vec<String>,
        /// Whether they rest now.
        paused: bool,
    },
    /// Documents are not exchanged with these devices, or they are again.
    Resting {
        /// Which, by their names.
        devices: Vec<String>,
        /// Whether that holds for devices that are paired later, too.
        all: bool,
        /// Whether they rest now.
        rests: bool,
    },
    /// What `Ask::Check` came to.
    Checked(super::checkup::Checked),
    /// An automerge document.
    Document(Vec<u8>),
    /// No, and why.
    Refused(Refusal),
}

/// What became of one item of a list that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The todo that holds it.
    pub todo: TodoId,
    /// What was written because of it.
    pub news: News,
}

/// What was written because of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The list did not hold it before.
    Added,
    /// The list said something else of it before.
    Updated,
    /// Nothing: it was known.
    Known,
}

/// What opens a pairing window. Each of them is good once, and with one of them used the other is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// One line for the other device, to be copied.
    pub ticket: String,
    /// Ten digits for the other device, to be typed: `318-4402-771`.
    pub code: Option<String>,
    /// Where the window is, `ip:port`, best first: for `--addr`.
    pub addresses: Vec<String>,
    /// Until when, milliseconds since 1970.
    pub until_ms: i64,
    /// How many wrong tries close it.
    pub tries: u8,
}

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// The reason, as a word for programs.
    pub code: Code,
    /// What is wrong, in one sentence.
    pub what: String,
    /// What lies behind it, when more is known.
    pub cause: Option<String>,
    /// The command or step that mends it.
    pub fix: Option<String>,
    /// Names that were perhaps meant.
    pub did_you_mean: Vec<String>,
}

impl Refusal {
    /// A refusal with nothing but its sentence.
    pub fn new(code: Code, what: impl Into<String>) -> Refusal {
        Refusal { code, what: what.into(), cause: None, fix: None, did_you_mean: Vec::new() }
    }

    /// Says what lies behind it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Refusal {
        self.cause = Some(cause.into());
        self
    }

    /// Says what mends it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Refusal {
        self.fix = Some(fix.into());
        self
    }
}

/// The reasons for refusals. Each has one word, one exit code (INTERFACE §2.4) and one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The question itself is wrong.
    BadRequest,
    /// No such todo.
    TodoNotFound,
    /// No such device.
    DeviceNotFound,
    /// No such agent.
    AgentNotFound,
    /// No such conflict.
    ConflictNotFound,
    /// No such source.
    SourceNotFound,
    /// The beginning of an id fits several.
    AmbiguousId,
    /// The `Idempotency-Key` is that of another question.
    KeyReused,
    /// Nothing to undo.
    NothingToUndo,
    /// The run is over, and ended otherwise.
    AlreadyEnded,
    /// The device's name is another member's.
    NotThisDevice,
    /// It could not be written: full disk, failing disk. It may have been taken.
    Storage,
    /// The device cannot be reached.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// This device is in a fleet with others already.
    AlreadyPaired,
    /// The text is no ticket, or one of another version.
    BadTicket,
    /// The ticket was used, is too old, or its window was closed.
    TicketSpent,
    /// The other side does not know the ticket's secret.
    PairMismatch,
    /// The text is no code.
    BadCode,
    /// No window with that code is in reach.
    CodeNotFound,
    /// The code was used, or a newer one was made, or it was tried too often.
    CodeSpent,
    /// The code's time is over.
    CodeExpired,
    /// Somebody stands between the two devices and hands on what they say.
    PairIntercepted,
    /// The person at the window closed it.
    WindowClosed,
    /// Another pairing is under way.
    Busy,
    /// It does not exist yet.
    NotImplemented,
    /// This device may not do that.
    NotPermitted,
    /// This device has no identity yet.
    NotInitialised,
    /// Nothing answers on the socket.
    DaemonDown,
}

impl Code {
    /// The word that `code` in a problem and the brackets behind an error show.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Code::BadRequest => "bad-request",
            Code::TodoNotFound => "todo-not-found",
            Code::DeviceNotFound => "device-not-found",
            Code::AgentNotFound => "agent-not-found",
            Code::ConflictNotFound => "conflict-not-found",
            Code::SourceNotFound => "source-not-found",
            Code::AmbiguousId => "ambiguous-id",
            Code::KeyReused => "key-reused",
            Code::NothingToUndo => "nothing-to-undo",
            Code::AlreadyEnded => "already-ended",
            Code::NotThisDevice => "not-this-device",
            Code::Storage => "storage",
            Code::Unreachable => "unreachable",
            Code::TimedOut => "timed-out",
            Code::AlreadyPaired => "already-paired",
            Code::BadTicket => "bad-ticket",
            Code::TicketSpent => "ticket-spent",
            Code::PairMismatch => "pair-mismatch",
            Code::BadCode => "bad-code",
            Code::CodeNotFound => "code-not-found",
            Code::CodeSpent => "code-spent",
            Code::CodeExpired => "code-expired",
            Code::PairIntercepted => "pair-intercepted",
            Code::WindowClosed => "window-closed",
            Code::Busy => "busy",
            Code::NotImplemented => "not-implemented",
            Code::NotPermitted => "not-permitted",
            Code::NotInitialised => "not-initialised",
            Code::DaemonDown => "daemon-down",
        }
    }

    /// The process's exit code (INTERFACE §2.4).
    #[must_use]
    pub fn exit(self) -> u8 {
        match self {
            Code::BadRequest | Code::KeyReused | Code::BadTicket | Code::BadCode => 2,
            Code::TodoNotFound
            | Code::DeviceNotFound
            | Code::AgentNotFound
            | Code::ConflictNotFound
            | Code::SourceNotFound
            | Code::CodeNotFound => 3,
            Code::DaemonDown => 4,
            Code::NotInitialised | Code::NotPermitted | Code::AlreadyPaired => 5,
            Code::AmbiguousId => 6,
            Code::TimedOut | Code::CodeExpired => 8,
            Code::NothingToUndo
            | Code::AlreadyEnded
            | Code::NotThisDevice
            | Code::Storage
            | Code::Unreachable
            | Code::TicketSpent
            | Code::PairMismatch
            | Code::PairIntercepted
            | Code::CodeSpent
            | Code::WindowClosed
            | Code::Busy
            | Code::NotImplemented => 1,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Code::BadRequest | Code::BadTicket | Code::BadCode => 400,
            Code::TodoNotFound
            | Code::DeviceNotFound
            | Code::AgentNotFound
            | Code::ConflictNotFound
            | Code::SourceNotFound
            | Code::CodeNotFound => 404,
            Code::AmbiguousId | Code::NothingToUndo | Code::AlreadyEnded | Code::NotThisDevice | Code::AlreadyPaired | Code::Busy => 409,
            Code::TicketSpent | Code::CodeSpent | Code::CodeExpired | Code::WindowClosed => 410,
            Code::PairMismatch | Code::PairIntercepted | Code::NotPermitted => 403,
            Code::KeyReused => 422,
            Code::NotImplemented => 501,
            Code::Unreachable => 502,
            Code::Storage | Code::NotInitialised | Code::DaemonDown => 503,
            Code::TimedOut => 504,
        }
    }
}
