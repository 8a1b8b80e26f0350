//! One line for each turn, and the hash of all lines: the same plan leaves the same trace (I11).

use std::collections::VecDeque;

use hubless::model::ask::Ask;
use hubless::model::input::{Input, PeerEvent, SourceEvent};
use hubless::model::message::Message;

/// Lines that are remembered for a failure's report.
const LAST: usize = 400;

/// The lines of a run.
#[derive(Default)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    last: VecDeque<String>,
    loud: bool,
}

impl Trace {
    /// Begins; `loud` prints every line as it comes.
    pub(crate) fn new(loud: bool) -> Trace {
        Trace { loud, ..Trace::default() }
    }

    /// One line at a time in microseconds.
    #[expect(clippy::print_stderr, reason = "a loud trace is what SIM_TRACE asks for")]
    pub(crate) fn line(&mut self, time: u64, device: usize, what: &str) {
        let line = format!("{:>9}.{:03} {device} {what}", time / 1000, time % 1000);
        self.hasher.update(line.as_bytes()).update(b"\n");
        if self.loud {
            eprintln!("{line}");
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The hash of all lines.
    pub(crate) fn hash(&self) -> blake3::Hash {
        self.hasher.finalize()
    }

    /// The last lines.
    pub(crate) fn last(&self) -> impl Iterator<Item = &String> {
        self.last.iter()
    }
}

/// An input in a few words.
pub(crate) fn input(input: &Input) -> String {
    match input {
        Input::CaughtUp => "caught up".to_owned(),
        Input::Written(name, trouble) => format!("written {name} {trouble:?}"),
        Input::Tick => "tick".into(),
        Input::Shelved(doc, bytes) => format!("on disk {doc} {:?} b", bytes.as_ref().map(Vec::len)),
        Input::Stopping => "stopping".into(),
        Input::Ask(asker, ask) => format!("ask {} {}", asker.0, ask_word(ask)),
        Input::Source(event) => match event {
            SourceEvent::Hint { path, .. } => format!("hint {}", path.as_deref().unwrap_or("everywhere")),
            SourceEvent::Looked { files, .. } => format!("looked {} files", files.len()),
            SourceEvent::Read { path, bytes, .. } => format!("read {path} {} b", bytes.len()),
            SourceEvent::Followed { path, bytes, .. } => format!("followed {path} {} b", bytes.len()),
            SourceEvent::Rows { path, tables, .. } => format!("rows of {path}: {}", tables.is_some()),
            SourceEvent::Living { alive, held } => format!("living {alive:?} {held:?}"),
            SourceEvent::Found { files, .. } => format!("found {}", files.iter().filter(|(_, path)| path.is_some()).count()),
            SourceEvent::Repo { cwd, .. } | SourceEvent::Unsure { cwd, .. } => format!("repo of {cwd}"),
            SourceEvent::Denied { path, .. } => format!("denied {path:?}"),
            SourceEvent::Polling { .. } => "polling".into(),
        },
        Input::Peer(event) => match event {
            PeerEvent::Listening { addresses } => format!("listening {addresses:?}"),
            PeerEvent::Around(around) => format!("around: {} interfaces", around.used.len()),
            PeerEvent::Sighted { instance, ours, .. } => format!("sighted {instance} {ours}"),
            PeerEvent::Gone { instance } => format!("gone {instance}"),
            PeerEvent::Up { link, device, .. } => format!("up {} to {}", link.0, device.short()),
            PeerEvent::Frame { link, bytes } => format!("{} b on {}", bytes.len(), link.0),
            PeerEvent::Room { link } => format!("room on {}", link.0),
            PeerEvent::Down { link, why } => format!("down {}: {why}", link.0),
            PeerEvent::DialFailed { address, why, .. } => format!("no way to {address}: {why}"),
            PeerEvent::Invited { .. } => "invited".into(),
            PeerEvent::Joining { name, .. } => format!("joining: {name}"),
            PeerEvent::Tried { tries, .. } => format!("tried {tries:?}"),
            PeerEvent::WindowOver { why, .. } => format!("window over: {why}"),
            PeerEvent::Welcomed { .. } => "welcomed".into(),
            PeerEvent::PairingFailed { why, .. } => format!("pairing failed: {why}"),
        },
    }
}

fn ask_word(ask: &Ask) -> String {
    match ask {
        Ask::Beat(report) => format!("beat {:?} {:?}", report.agent.json(), report.state),
        Ask::Run(run) => format!("run {:?} {}", run.key.json(), run.deed.word()),
        Ask::List(list) => format!("list {:?} of {}", list.session.as_ref().map(hubless::model::text::Foreign::json), list.items.len()),
        Ask::Sessions(records) => format!("{} sessions", records.len()),
        Ask::Todo(ask) => format!("{:?}", ask.what),
        Ask::Invite { .. } => "invite".into(),
        Ask::AwaitJoiner { window, .. } => format!("wait at window {window}"),
        Ask::Revoke { device, .. } => format!("revoke {device}"),
        Ask::Rename { device, name } => format!("rename {device} to {}", name.plain()),
        Ask::CloseWindow { window, .. } => format!("close window {window}"),
        Ask::Join { text, .. } => format!("join {text}"),
        Ask::Leave => "leave".into(),
        Ask::Ping { .. } => "ping".into(),
        Ask::Rescan => "rescan".into(),
        Ask::Pause { source, rests } => format!("pause {source} {rests}"),
        Ask::Tag { session, tags, on, .. } => format!("tag {session} {} {on}", tags.len()),
        Ask::Rest { device, rests } => format!("rest {device:?} {rests}"),
        Ask::Check { device, task } => format!("check {device:?} {task:?}"),
        Ask::Export => "export".into(),
    }
}

/// A message in a few words.
pub(crate) fn message(message: &Message) -> String {
    match message {
        Message::Members(entries) => format!("Members {}", entries.len()),
        Message::Hello(hello) => format!("Hello life {}", hello.life.counter),
        Message::Heads(heads) => format!("Heads {}", heads.len()),
        Message::Sync { doc, first, bytes } => format!("Sync {doc} {first} {} b", bytes.len()),
        Message::Changes { doc, bytes } => format!("Changes {doc} {} b", bytes.len()),
        Message::Presence(presence) => format!("Presence {} {} of {}", presence.device.short(), presence.seq, presence.agents.len()),
        Message::Ping { n } => format!("Ping {n}"),
        Message::Pong { n, .. } => format!("Pong {n}"),
        Message::Secrets(secrets) => format!("Secrets {}", secrets.len()),
        Message::Held { doc } => format!("Held {doc}"),
        Message::Bye(why) => format!("Bye {why:?}"),
        Message::Terms(terms) => format!("Terms gives {} takes {}", terms.gives, terms.takes),
        Message::Look { n, .. } => format!("Look {n}"),
        Message::Holding { n, docs } => format!("Holding {n} of {}", docs.len()),
    }
}
