//! People and agents: what they ask of their own device, how devices are paired, restarted and removed.

use std::collections::BTreeSet;
use std::rc::Rc;

use hubless::model::ask::{Ask, Keeping, Report, TodoAsk, TodoDeed};
use hubless::model::beat::Reported;
use hubless::model::fact::FactKey;
use hubless::model::id::{Asker, DeviceId};
use hubless::model::input::{Input, PeerEvent};
use hubless::model::message::Message;
use hubless::model::reply::{Code, Keys, Refusal, Reply};
use hubless::model::text::Foreign;
use hubless::rules::members::{self, Log};

use super::files::TEXTS;
use super::oracle::Broken;
use super::plan::{Deed, Word};
use super::world::{MS, World};

/// Projects that people name.
const PROJECTS: [Option<&str>; 3] = [None, Some("github.com/sam/hub"), Some("garden")];
/// Whom people name as owners and as priorities.
const OWNERS: [&str; 3] = ["sam", "kim", ""];

impl World {
    /// A person or agent asks for a todo.
    pub(crate) fn todo(&mut self, d: usize, deed: Deed) -> Option<Asker> {
        let what = self.todo_deed(d, deed)?;
        self.ask(d, Ask::Todo(TodoAsk { what, agent: None, key: None }))
    }

    fn todo_deed(&self, d: usize, deed: Deed) -> Option<TodoDeed> {
        let view = self.devices[d].replica.as_ref()?.view();
        let pick = |n: u8| {
            let shown: Vec<_> = view.todos.keys().collect();
            (!shown.is_empty()).then(|| shown[usize::from(n) % shown.len()].to_string())
        };
        let text = |n: u8| Foreign::new(TEXTS[usize::from(n) % TEXTS.len()]);
        let owner = |n: u8| Foreign::new(OWNERS[usize::from(n) % OWNERS.len()]);
        Some(match deed {
            Deed::Add(n, project) => TodoDeed::Add {
                content: text(n),
                project: PROJECTS[usize::from(project) % PROJECTS.len()].map(str::to_owned),
                priority: None,
            },
            Deed::Start(n) => TodoDeed::Start { id: pick(n)? },
            Deed::Done(n) => TodoDeed::Done { id: pick(n)? },
            Deed::Reopen(n) => TodoDeed::Reopen { id: pick(n)? },
            Deed::Retext(n, to) => TodoDeed::Edit { id: pick(n)?, content: Some(text(to)), owner: None, priority: None },
            Deed::Owner(n, to) => TodoDeed::Edit { id: pick(n)?, content: None, owner: Some(owner(to)), priority: None },
            Deed::Tag(n, tag) => TodoDeed::Tag { id: pick(n)?, tags: vec![["db", "ui"][usize::from(tag) % 2].into()], on: tag < 3 },
            Deed::Delete(n) => TodoDeed::Delete { id: pick(n)? },
            Deed::Undo(n) => TodoDeed::Undo { id: pick(n)? },
            Deed::Resolve(n, how) => {
                let open: Vec<_> = view.conflicts.values().filter(|conflict| !conflict.resolved).collect();
                let conflict = open.get(usize::from(n) % open.len().max(1))?;
                let keep = [Keeping::Local, Keeping::Remote, Keeping::Both, Keeping::Text("settled".into())][usize::from(how) % 4].clone();
                TodoDeed::Resolve { id: conflict.id.to_string(), keep }
            }
        })
    }

    /// An agent reports.
    pub(crate) fn beat(&mut self, d: usize, agent: u8, word: Word) -> Option<Asker> {
        let (state, task) = match word {
            Word::Working(task) => (Some(Reported::Working), Some(Foreign::new(format!("task {task}")))),
            Word::Tick => (None, None),
            Word::Waiting => (Some(Reported::Waiting), None),
            Word::Done => (Some(Reported::Done), Some(Foreign::new(""))),
        };
        let report = Report { agent: Foreign::new(format!("agent {agent}")), state, task, source: "cli", ..Report::default() };
        self.ask(d, Ask::Beat(report))
    }

    /// Asks, and lets time pass until the answer is there.
    pub(crate) fn answer(&mut self, d: usize, ask: Ask) -> Result<Reply, Broken> {
        let unreached = || Reply::Refused(Refusal::new(Code::DaemonDown, "nobody is there"));
        let Some(asker) = self.ask(d, ask) else { return Ok(unreached()) };
        for _ in 0..2_000 {
            if let Some(reply) = self.replies.remove(&asker) {
                return Ok(reply);
            }
            if !self.waiting.contains_key(&asker) {
                return Ok(unreached());
            }
            self.pass(20 * MS)?;
        }
        Ok(unreached())
    }

    /// Pairs two devices with a ticket, if both run and the second is alone; gives the last answer.
    pub(crate) fn pair(&mut self, inviter: usize, joiner: usize) -> Result<Reply, Broken> {
        match self.answer(inviter, Ask::Invite { code: false })? {
            Reply::Invited { keys, .. } => self.answer(joiner, Ask::Join { text: keys.ticket, at: None }),
            other => Ok(other),
        }
    }

    /// Pairs two devices that run and that nothing keeps apart; who is in another fleet leaves it first.
    pub(crate) fn pair_surely(&mut self, inviter: usize, joiner: usize) -> Result<(), Broken> {
        let mut reply = self.pair(inviter, joiner)?;
        if matches!(&reply, Reply::Refused(why) if why.code == Code::AlreadyPaired) {
            self.answer(joiner, Ask::Leave)?;
            reply = self.pair(inviter, joiner)?;
        }
        if matches!(reply, Reply::Paired { .. }) { Ok(()) } else { Err(Broken::new("pairing", format!("{reply:?}"))) }
    }

    pub(crate) fn invite(&mut self, d: usize, asker: Asker) {
        let ticket = format!("ticket-{d}-{}", asker.0);
        self.tickets.insert(ticket.clone(), (d, asker));
        let until_ms = self.now(d).wall_ms + 180_000;
        let keys = Keys { ticket, code: None, addresses: Vec::new(), until_ms, tries: 3 };
        self.give(d, MS, Input::Peer(PeerEvent::Invited { asker, keys }));
    }

    pub(crate) fn join(&mut self, d: usize, asker: Asker, ticket: &str, name: &str, only: Option<(BTreeSet<DeviceId>, Refusal)>) {
        let of = self.tickets.get(ticket).map(|(inviter, _)| self.devices[*inviter].id);
        if let Some((_, why)) = only.filter(|(devices, _)| of.is_some_and(|of| !devices.contains(&of))) {
            return self.give(d, MS, Input::Peer(PeerEvent::PairingFailed { asker, why }));
        }
        let Some((inviter, window)) = self.tickets.remove(ticket).filter(|(inviter, _)| self.is_up(*inviter)) else {
            let why = Refusal::new(Code::TicketSpent, "nobody is at the window");
            return self.give(d, MS, Input::Peer(PeerEvent::PairingFailed { asker, why }));
        };
        let pairing = asker.0;
        self.pairings.insert(pairing, (d, self.devices[d].process, asker));
        let device = self.devices[d].id;
        self.give(inviter, 3 * MS, Input::Peer(PeerEvent::Joining { pairing, asker: window, device, name: name.into() }));
    }

    pub(crate) fn admit(&mut self, d: usize, pairing: u64, welcome: Vec<u8>) {
        if let Some((joiner, process, asker)) = self.pairings.remove(&pairing) {
            let device = self.devices[d].id;
            if self.devices[joiner].process == process {
                self.give(joiner, 3 * MS, Input::Peer(PeerEvent::Welcomed { asker, device, welcome }));
            }
        }
    }

    pub(crate) fn turn_away(&mut self, pairing: u64, why: Refusal) {
        if let Some((joiner, _, asker)) = self.pairings.remove(&pairing) {
            self.give(joiner, 3 * MS, Input::Peer(PeerEvent::PairingFailed { asker, why }));
        }
    }

    /// What these devices know of the membership, together. Every signature is judged once for each set of entries: the oracles
    /// ask after every step, and nothing is slower.
    pub(crate) fn log(&self, devices: impl IntoIterator<Item = usize>) -> Rc<Log> {
        let entries: BTreeSet<Vec<u8>> = devices.into_iter().flat_map(|d| self.entries(d)).collect();
        let judge = |entries: &BTreeSet<Vec<u8>>| {
            let mut log = Log::default();
            for entry in entries {
                log.learn(entry).expect("a device holds entries only");
            }
            Rc::new(log)
        };
        let mut logs = self.logs.borrow_mut();
        if !logs.contains_key(&entries) {
            let log = judge(&entries);
            logs.insert(entries.clone(), log);
        }
        Rc::clone(&logs[&entries])
    }

    pub(crate) fn entries(&self, d: usize) -> Vec<Vec<u8>> {
        use hubless::replica::saved::{Noun, read};
        let Some(replica) = self.devices[d].replica.as_ref() else { return Vec::new() };
        let said = replica.library().facts().iter().filter(|(key, _)| matches!(key, FactKey::Member(_)));
        let nouns = said.flat_map(|(key, joined)| joined.values().filter_map(|value| read(key, value)).collect::<Vec<_>>());
        nouns.filter_map(|noun| if let Noun::Member(bytes) = noun { Some(bytes) } else { None }).collect()
    }

    /// One device removes another: its entry is told to it as members are told, on a link from a member.
    pub(crate) fn remove(&mut self, by: usize, whom: usize) {
        let (Some(replica), id, me) = (self.devices[by].replica.as_ref(), self.devices[whom].id, self.devices[by].id) else { return };
        let fleet = replica.fleet().id;
        let log = self.log([by]);
        let signing = self.devices[by].key.clone();
        let parents = log.parents(&fleet, &self.devices[by].id.0);
        let (_, entry) = members::remove(&signing, &parents, id);
        self.removed.insert(whom);
        self.tell_members(by, me, entry);
    }

    /// Somebody with that key tells a device one more entry, and hangs up.
    pub(crate) fn tell_members(&mut self, d: usize, as_key: hubless::model::id::DeviceId, entry: Vec<u8>) {
        let mut entries = self.entries(d);
        entries.push(entry);
        let wire = self.connect_stranger(d, as_key, true);
        self.say_as_stranger(wire, Message::Members(entries).frames());
        self.leave_as_stranger(wire);
    }
}
