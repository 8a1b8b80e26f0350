//! All that can happen to a replica. Whatever is not a variant here does not happen.

use std::collections::BTreeSet;

use super::ask::Ask;
use super::id::{Asker, DeviceId, DocId, LinkId};
use super::message::Bye;
use super::rows::Row;
use super::time::Millis;
use super::tool::Root;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A directory or file of a tool was looked at, or should be.
    Source(SourceEvent),
    /// Something came from the network.
    Peer(PeerEvent),
    /// A person, a script or a hook asks.
    Ask(Asker, Ask),
    /// A file that is written on change was written, or not: its name, and why not, in the system's words.
    Written(&'static str, Option<String>),
    /// What lies on disk of a document, read back because `Effects::inspect` asked; `None`: it cannot be read.
    Shelved(DocId, Option<Vec<u8>>),
    /// Everything has been heard that had come when `Effects::catch_up` asked.
    CaughtUp,
    /// The deadline has come.
    Tick,
    /// The daemon is about to stop: last beats are written, peers are told.
    Stopping,
}

/// A path below a root, with `/`, never absolute, never with `..`.
pub type RelPath = String;

/// What tells one file from another that later has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct FileStat {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// When it was last written, milliseconds since 1970.
    pub mtime_ms: i64,
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where.
    pub path: RelPath,
    /// Which, and how large.
    pub stat: FileStat,
}

/// A git repository above a working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// The url of its remote (`origin`, else the first), as it is spelled there.
    pub remote: Option<String>,
    /// Its top directory.
    pub root: String,
    /// Its branch, if its head names one.
    pub branch: Option<String>,
}

/// What the sources say. Hints may be lost; what was looked at is the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// Something happened there; without a path, anywhere (events were lost).
    Hint {
        /// Below which root.
        root: Root,
        /// Where.
        path: Option<RelPath>,
    },
    /// The answer to `Look::List`: every regular file.
    Looked {
        /// Which root.
        root: Root,
        /// Where it is.
        base: String,
        /// Whether the directory is there.
        present: bool,
        /// Its files, in order.
        files: Vec<Seen>,
        /// How many entries were passed over: links, pipes, unreadable, over the limit.
        skipped: u64,
    },
    /// The answer to `Look::Read`.
    Read {
        /// Below which root.
        root: Root,
        /// Which file.
        path: RelPath,
        /// What it was while it was read.
        stat: FileStat,
        /// From where.
        offset: u64,
        /// What it says there.
        bytes: Vec<u8>,
        /// Whether the file ends there.
        at_end: bool,
    },
    /// The answer to `Look::Follow`: the same as `Read`, with what the checkpoint wants to see again.
    Followed {
        /// Below which root.
        root: Root,
        /// Which file.
        path: RelPath,
        /// What it was while it was read.
        stat: FileStat,
        /// Its first bytes, at most `ingest/tail`'s window.
        head: Vec<u8>,
        /// The bytes right before `offset`, at most the window.
        behind: Vec<u8>,
        /// From where.
        offset: u64,
        /// What it says there.
        bytes: Vec<u8>,
        /// Whether the file ends there.
        at_end: bool,
    },
    /// The answer to `Look::Rows`.
    Rows {
        /// Below which root.
        root: Root,
        /// Which file.
        path: RelPath,
        /// What it was; its time is that of its log, when that was written later.
        stat: FileStat,
        /// The rows of each table, all of one moment; `None` when it is damaged, or was written all the while.
        tables: Option<Vec<Vec<Row>>>,
    },
    /// The answer to `Look::Living`.
    Living {
        /// The processes that were asked for and live.
        alive: Vec<u32>,
        /// The files that were asked for and that a process of this person holds open, with its number.
        held: Vec<(Root, RelPath, u32)>,
    },
    /// The answer to `Look::Find`: for each name, the first file with it.
    Found {
        /// Below which root.
        root: Root,
        /// The names that were asked for, each with its path if there is one.
        files: Vec<(String, Option<RelPath>)>,
    },
    /// The answer to `Look::Repo`.
    Repo {
        /// The working directory that was asked for.
        cwd: String,
        /// The repository above it, if there is one.
        repo: Option<Repo>,
    },
    /// The answer to `Look::Repo` where it cannot be known: the directory is gone, or git's files there cannot be read to their
    /// end.
    Unsure {
        /// The working directory that was asked for.
        cwd: String,
        /// What it would be as far as can be seen.
        repo: Option<Repo>,
    },
    /// A look that failed: the file is gone, or may not be read.
    Denied {
        /// Below which root.
        root: Root,
        /// Which file; `None`: the root itself.
        path: Option<RelPath>,
        /// Why, in the system's words.
        why: String,
    },
    /// The watcher does not work (any more); everything is listed from time to time instead.
    Polling {
        /// Why, in the system's words.
        why: String,
    },
}

/// What the network says.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerEvent {
    /// We listen here, `ip:port` each, all interfaces that are not skipped.
    Listening {
        /// Where.
        addresses: Vec<String>,
    },
    /// The network was looked at.
    Around(super::view::AroundView),
    /// mDNS shows another hubless.
    Sighted {
        /// Its random name of this life.
        instance: String,
        /// Whether its token was made with a secret of our fleet.
        ours: bool,
        /// Where it listens.
        addresses: Vec<String>,
    },
    /// mDNS no longer shows it.
    Gone {
        /// Its random name.
        instance: String,
    },
    /// A stream to a device is open; the transport has proved its key.
    Up {
        /// The stream.
        link: LinkId,
        /// The key that was proved.
        device: DeviceId,
        /// The other end.
        address: String,
    },
    /// One frame came, without its length.
    Frame {
        /// On which link.
        link: LinkId,
        /// `kind` and body, see `model::message`.
        bytes: Vec<u8>,
    },
    /// All that was said on the link has been taken.
    Room {
        /// Which link.
        link: LinkId,
    },
    /// The stream is closed.
    Down {
        /// Which link.
        link: LinkId,
        /// Why, in words.
        why: String,
    },
    /// A dial did not succeed.
    DialFailed {
        /// Whom it was meant for, if that was known.
        device: Option<DeviceId>,
        /// The address.
        address: String,
        /// Why, in words.
        why: String,
    },
    /// A window was opened for `Ask::Invite`.
    Invited {
        /// Who asked.
        asker: Asker,
        /// What opens it.
        keys: super::reply::Keys,
    },
    /// Somebody came to the window and was not let in.
    Tried {
        /// Who had asked for the window.
        asker: Asker,
        /// All that came so far.
        tries: super::ask::Tries,
    },
    /// The window lets nobody in any more.
    WindowOver {
        /// Who had asked for it.
        asker: Asker,
        /// Why.
        why: super::reply::Refusal,
    },
    /// Somebody who knows our ticket's secret or our code wants to join.
    Joining {
        /// The pairing; answered by `LinkAction::Admit`.
        pairing: u64,
        /// Who had asked for the window.
        asker: Asker,
        /// The key that was proved.
        device: DeviceId,
        /// What it says of itself.
        name: String,
    },
    /// We were let in.
    Welcomed {
        /// Who asked.
        asker: Asker,
        /// Who let us in.
        device: DeviceId,
        /// `postcard(Welcome)`, still to be checked.
        welcome: Vec<u8>,
    },
    /// Pairing came to nothing.
    PairingFailed {
        /// Who asked.
        asker: Asker,
        /// Why.
        why: super::reply::Refusal,
    },
}

/// How a peer's link may end by our word, or a peer be treated.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkAction {
    /// Opens a connection, unless there is one that is not doubted.
    Dial {
        /// To whom, if that is known.
        device: Option<DeviceId>,
        /// Where, best first.
        addresses: Vec<String>,
    },
    /// Says frames, in this order, after all that was said before.
    Say {
        /// On which link.
        link: LinkId,
        /// `kind` and body each.
        frames: Vec<Vec<u8>>,
    },
    /// Says the frames of one message, in this order, behind all that was poured before: what is said goes ahead of it, and it keeps to
    /// the pace.
    Pour {
        /// On which link.
        link: LinkId,
        /// `kind` and body each.
        frames: Vec<Vec<u8>>,
    },
    /// From now on no more than so many bytes a second go on the link, besides the limit of all together.
    Pace {
        /// Which link.
        link: LinkId,
        /// Bytes a second.
        bandwidth: u64,
    },
    /// Says all that is waiting, then ends the link.
    HangUp {
        /// Which link.
        link: LinkId,
        /// Why.
        why: Bye,
    },
    /// The other end does not answer: the next connection that is made to its device replaces the link. Until then it stays.
    Doubt {
        /// Which link.
        link: LinkId,
    },
    /// Lets no connection of that device through for a while.
    Block {
        /// Whom.
        device: DeviceId,
        /// For how long.
        for_ms: Millis,
    },
    /// We are of another fleet now: listen and announce as one of it; every link ends. Of the same one with other secrets:
    /// announce and recognise with those.
    Fleet(super::member::Fleet),
    /// Everything is closed, sockets are opened anew, announced anew.
    Renew,
    /// Opens the window for one joiner.
    Invite {
        /// Who asked.
        asker: Asker,
        /// Whether a short code opens it, too.
        code: bool,
    },
    /// Closes the window, if it is still that one.
    CloseWindow {
        /// Who had asked for it.
        asker: Asker,
    },
    /// Tells a joiner that it is in.
    Admit {
        /// Of `PeerEvent::Joining`.
        pairing: u64,
        /// `postcard(Welcome)`.
        welcome: Vec<u8>,
    },
    /// Tells a joiner that it is not let in.
    TurnAway {
        /// Of `PeerEvent::Joining`.
        pairing: u64,
        /// Why.
        why: super::reply::Refusal,
    },
    /// Joins with a ticket or a code.
    Join {
        /// Who asked.
        asker: Asker,
        /// The ticket's text, or the code's.
        text: String,
        /// Where the window is, `host:port`, if somebody said so.
        at: Option<String>,
        /// What we say of ourselves.
        name: String,
        /// Whose window alone is used, and what is answered to any other; `None`: anybody's.
        only: Option<(BTreeSet<DeviceId>, super::reply::Refusal)>,
    },
}

/// What a joiner is given: the fleet, and the log that proves both sides.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Welcome {
    /// The fleet's id and secrets.
    pub fleet: super::member::Fleet,
    /// `postcard(Signed)` each.
    pub entries: Vec<Vec<u8>>,
    /// The inviter's name.
    pub name: String,
    /// Where the inviter listens.
    pub addresses: Vec<String>,
}
