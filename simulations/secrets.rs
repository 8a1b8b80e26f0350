//! What the first device keeps to itself: a repository, a directory and an agent. Whatever is written of them while that is
//! so carries a mark, and the mark stands in no document that is told, and in no frame, of any device.
//!
//! A session is named after the place in which it works, so that its first place is where it goes on.

use hubless::model::ask::{Ask, Report, SessionRecord, TodoAsk, TodoDeed};
use hubless::model::beat::Reported;
use hubless::model::fact::FactKey;
use hubless::model::id::{DeviceId, DocId};
use hubless::model::input::Input;
use hubless::model::leaving::Exclude;
use hubless::model::message::{Head, Message, Presence};
use hubless::model::session::SessionFact;
use hubless::model::text::Foreign;
use hubless::replica::document::Document;
use hubless::replica::saved;

use super::agreement::AGREE_WITHIN;
use super::book::Book;
use super::chance::Chance;
use super::oracle::Broken;
use super::plan::SecretDeed;
use super::world::{MS, World};

/// What stands in every text that must stay.
const MARK: &str = "SECRET";
/// What the first device excludes.
const PATTERNS: [&str; 3] = ["github.com/sam/secret", "/home/sam/hidden", "agent:mole"];
/// Where it works: the first two are told of.
const PLACES: [&str; 5] = ["/home/sam/hub", "/srv/y7", "/home/sam/secret", "/srv/x9", "/home/sam/hidden/deep"];
const OPEN: u8 = 2;

/// Nothing that is marked stands in these changes, unless their document is never told.
pub(crate) fn stand_apart(d: usize, changes: &[Head], book: &Book) -> Result<(), Broken> {
    for written in changes.iter().filter_map(|hash| book.get(hash)).filter(|written| !written.doc.is_local()) {
        if let Some((key, value)) = written.puts.iter().find(|(_, value)| value.contains(MARK)) {
            return Err(Broken::new("S14", format!("device {d} has in {}: {key} {value}", written.doc)));
        }
    }
    Ok(())
}

/// Nothing that is marked is told of the living.
pub(crate) fn are_unseen(d: usize, presence: &Presence) -> Result<(), Broken> {
    let told = presence.agents.iter().map(|living| saved::json(&living.beat.0)).find(|beat| beat.contains(MARK));
    told.map_or(Ok(()), |beat| Err(Broken::new("S14", format!("device {d} tells: {beat}"))))
}

impl World {
    /// From the next start on, the first device keeps to itself what it is to keep.
    pub(crate) fn exclude(&mut self) {
        self.devices[0].exclude = Exclude::parse(PATTERNS).expect("patterns");
    }

    /// A text of that place: marked, if it must stay.
    fn text(&mut self, place: u8, what: &str) -> Foreign {
        self.askers += 1;
        let mark = if place % 5 >= OPEN && !self.devices[0].exclude.is_empty() { MARK } else { "told" };
        Foreign::new(format!("{mark} {what} {}", self.askers))
    }

    pub(crate) fn secret(&mut self, deed: SecretDeed) -> Result<(), Broken> {
        let cwd = |place: u8| PLACES[usize::from(place % 5)];
        match deed {
            SecretDeed::Hook(n, place) => self.report("claude", ("claude", format!("h{n}p{place}")), Some(place), place),
            SecretDeed::Script(n, place) => {
                let of = ("aider", format!("x{n}p{place}"));
                self.report("sam", of, (n != 0).then_some(place), if n == 0 { 0 } else { place });
            }
            SecretDeed::Mole(n, place) => self.report("mole", ("claude", format!("h{n}p{place}")), Some(place), OPEN),
            SecretDeed::Record(n, place) => {
                let record = SessionRecord {
                    tool: "aider".into(),
                    id: Foreign::new(format!("r{n}p{place}")),
                    agent: None,
                    cwd: Some(cwd(place).into()),
                    remote: None,
                    branch: None,
                    title: Some(self.text(place, "title")),
                    started: None,
                };
                self.ask(0, Ask::Sessions(vec![record]));
            }
            SecretDeed::List(n, place) => {
                // Of a session that nobody tells the place of, nothing may be told at all.
                let hidden = if n == 3 { OPEN } else { place };
                let (front, text) = (if n == 3 { "l" } else { "h" }, self.text(hidden, "todo"));
                let session = format!("{front}{n}p{place}");
                let bytes = format!("[{{\"content\":\"{}\",\"status\":\"pending\",\"activeForm\":\"x\"}}]", text.json());
                let wall_ms = self.now(0).wall_ms;
                let hint = self.devices[0].files.put_list(&session, bytes, wall_ms);
                self.give(0, MS, Input::Source(hint));
            }
            SecretDeed::SubAgent(n, place) => {
                let text = self.text(place, "step");
                let todo = format!("{{\"content\":\"{}\",\"status\":\"pending\",\"activeForm\":\"x\"}}", text.json());
                let call = format!("{{\"type\":\"tool_use\",\"id\":\"u\",\"name\":\"TodoWrite\",\"input\":{{\"todos\":[{todo}]}}}}");
                self.lines(n, place, Some(&format!("{{\"id\":\"m\",\"content\":[{call}]}}")));
            }
            SecretDeed::Parent(n, place) => self.lines(n, place, None),
            SecretDeed::Add(n) => {
                let (agent, project) = if n.is_multiple_of(2) { (None, Some("github.com/sam/secret")) } else { (Some("mole"), None) };
                let content = self.text(OPEN, "chore");
                let what = TodoDeed::Add { content, project: project.map(str::to_owned), priority: None };
                self.ask(0, Ask::Todo(TodoAsk { what, agent: agent.map(Foreign::new), key: None }));
            }
            SecretDeed::Edit(pick, how) => self.edit_secretly(pick, how),
            SecretDeed::Forge(pick) => self.forge(pick),
            SecretDeed::Held => {
                let doc = DocId::parse(&format!("heartbeats/{}/1", self.devices[0].id)).expect("a good name");
                self.as_member(0, 0, vec![Message::Held { doc }.frames()]);
            }
            SecretDeed::Rekey => self.rekey(),
            SecretDeed::Begin if self.devices[0].exclude.is_empty() && self.devices[0].replica.is_some() => {
                self.fall(0, 20 * MS);
                self.exclude();
            }
            SecretDeed::Begin => {}
        }
        Ok(())
    }

    fn report(&mut self, agent: &str, (tool, session): (&str, String), cwd: Option<u8>, of: u8) {
        let task = self.text(of, "task");
        let report = Report {
            agent: agent.into(),
            state: Some(Reported::Working),
            task: Some(task),
            tool: Some(tool.to_owned()),
            session: Some(Foreign::new(session)),
            source: "hook",
            cwd: cwd.map(|place| PLACES[usize::from(place % 5)].into()),
            ..Report::default()
        };
        self.ask(0, Ask::Beat(report));
    }

    /// A sub-agent's file, or that of the session that it works for.
    fn lines(&mut self, n: u8, place: u8, said: Option<&str>) {
        let session = format!("q{n}p{place}");
        let cwd = PLACES[usize::from(place % 5)];
        let head = format!("\"sessionId\":\"{session}\",\"cwd\":\"{cwd}\",\"timestamp\":\"2026-11-20T00:00:00Z\"");
        let (path, line) = match said {
            Some(message) => {
                let line = format!(
                    "{{\"type\":\"assistant\",\"uuid\":\"c{n}{place}\",{head},\"isSidechain\":true,\"agentId\":\"a{n}\",\"message\":{message}}}"
                );
                (format!("p{place}/{session}/subagents/agent-a{n}.jsonl"), line)
            }
            None => {
                let prompt = self.text(place, "prompt");
                let message = format!("{{\"role\":\"user\",\"content\":\"{}\"}}", prompt.json());
                (
                    format!("p{place}/{session}.jsonl"),
                    format!("{{\"type\":\"user\",\"uuid\":\"d{n}{place}\",{head},\"message\":{message}}}"),
                )
            }
        };
        let wall_ms = self.now(0).wall_ms;
        let hint = self.devices[0].files.put_transcript(&path, line + "\n", wall_ms);
        self.give(0, MS, Input::Source(hint));
    }

    /// Sets a text or an owner. What is set of a todo that stays must stay, and all that the mole sets.
    fn edit_secretly(&mut self, pick: u8, how: u8) {
        let Some(replica) = self.devices[0].replica.as_ref() else { return };
        let view = replica.view();
        let shown: Vec<_> = view.todos.values().collect();
        let Some(todo) = shown.get(usize::from(pick) % shown.len().max(1)) else { return };
        let is_marked = |item| replica.library().facts().get(&FactKey::Item(item)).is_some_and(|fact| fact.shown().contains(MARK));
        let stays = todo.project.contains("secret") || todo.origins.iter().any(|origin| is_marked(origin.item));
        let agent = (how == 3).then(|| Foreign::new("mole"));
        let text = self.text(if stays || agent.is_some() { OPEN } else { 0 }, "word");
        let (content, owner) = if how.is_multiple_of(2) { (Some(text), None) } else { (None, Some(text)) };
        let what = TodoDeed::Edit { id: todo.id.to_string(), content, owner, priority: None };
        self.ask(0, Ask::Todo(TodoAsk { what, agent, key: (how == 1).then(|| format!("key {}", self.askers)) }));
    }

    /// A member says of a session of the first device, which was told of, that it works elsewhere; or even that it is another device's.
    fn forge(&mut self, pick: u8) {
        let Some(replica) = self.devices[0].replica.as_ref() else { return };
        let documents = replica.library().iter().filter(|(id, _)| !id.is_local());
        let sessions = documents.flat_map(|(id, document)| document.keys().into_iter().map(move |key| (id.clone(), document, key)));
        let told: Vec<_> = sessions.filter(|(_, _, key)| matches!(key, FactKey::Session(_))).collect();
        let Some((doc, document, key)) = told.get(usize::from(pick) % told.len().max(1)) else { return };
        let Some(mut fact) = document.values(key).first().and_then(|value| serde_json::from_str::<SessionFact>(value).ok()) else { return };
        (fact.rev, fact.project, fact.cwd, fact.parent) = (fact.rev + 5, Some("x".into()), None, None);
        if pick % 2 == 1 {
            fact.device = self.devices[1].id;
        }
        let (doc, key) = (doc.clone(), key.clone());
        let mut actor = [0; 16];
        actor.copy_from_slice(&Chance::of(self.seed, "forger", self.wires_made).bytes(16));
        let bytes = Document::born(actor).put(&[(key, saved::json(&fact))]);
        self.as_member(0, 0, vec![Message::Changes { doc, bytes }.frames()]);
    }

    /// As `hubless rekey`: key and fleet are put away, all else stays.
    fn rekey(&mut self) {
        if self.devices[0].replica.is_none() {
            return;
        }
        self.fall(0, 50 * MS);
        let mut key = [0; 32];
        key.copy_from_slice(&Chance::of(self.seed, "another key", self.devices[0].process).bytes(32));
        let device = &mut self.devices[0];
        device.key = ed25519_dalek::SigningKey::from_bytes(&key);
        device.id = DeviceId(device.key.verifying_key().to_bytes());
        device.disk.kept.fleet = None;
    }

    /// In the end all devices agree on what is told; nothing is lost here, and nothing stays that need not.
    pub(crate) fn secrets_were_kept(&mut self) -> Result<(), Broken> {
        self.until_quiet(AGREE_WITHIN)?;
        let Some(replica) = self.devices[0].replica.as_ref() else { return Ok(()) };
        let heads = replica.library().heads();
        for d in self.honest() {
            if self.devices[d].replica.as_ref().is_some_and(|other| other.library().heads() != heads) {
                return Err(Broken::new("I2", format!("devices 0 and {d} do not agree on what is told")));
            }
        }
        let view = replica.view();
        for session in view.staying.keys().filter_map(|session| view.sessions.get(session)) {
            let fact = &session.fact;
            let is_open = fact.cwd.as_ref().is_some_and(|cwd| PLACES[..usize::from(OPEN)].contains(&cwd.json()));
            // A parent is known by our own word alone.
            let is_known = |parent| view.sessions.get(&parent).is_some_and(|session| session.fact.device == fact.device);
            let waits = fact.parent.is_some_and(|parent| !is_known(parent) || view.staying.contains_key(&parent));
            if is_open && !waits && fact.agent.json() != "mole" {
                return Err(Broken::new("S14", format!("device 0 keeps what need not stay: {fact:?}")));
            }
        }
        Ok(())
    }
}
