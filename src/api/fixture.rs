//! A small fleet for tests: two devices, some agents, todos and a conflict; and a core that answers as it is told.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Api, Options, start};
use crate::model::ask::Ask;
use crate::model::beat::{Beat, Reported, agent_key};
use crate::model::id::{ConflictId, DeviceId, ItemId, SessionId, TodoId};
use crate::model::input::Input;
use crate::model::reply::Reply;
use crate::model::session::{SessionFact, session_id};
use crate::model::text::Foreign;
use crate::model::todo::{By, Side, Status, todo_id};
use crate::model::view::{
    AgentKey, AgentState, AgentView, Conflict, DeviceView, Happened, LinkView, Origin, SessionState, SessionView, TodoView, View,
};

/// 2026-03-02T14:02:11Z.
pub(crate) const NOW: i64 = 1_772_460_131_000;
/// This device.
pub(crate) const MBP: DeviceId = DeviceId([1; 32]);
/// The other one.
pub(crate) const MINI: DeviceId = DeviceId([2; 32]);

/// A device that can be reached.
pub(crate) fn device(id: DeviceId, name: &str) -> DeviceView {
    DeviceView {
        has_twin: false,
        id,
        name: Foreign::new(name),
        platform: Foreign::new("linux"),
        aliases: std::collections::BTreeMap::new(),
        member: true,
        reachable: true,
        last_contact_here: None,
        link: None,
        they_miss: None,
        they_miss_of: Default::default(),
        we_miss: None,
        clock_skew_ms: None,
        last_error: None,
        dials: Vec::new(),
        flow: Default::default(),
        bytes_before: (0, 0),
    }
}

/// A beat of 30 s ago.
pub(crate) fn beat(device: DeviceId, agent: &str, state: Reported, task: &str) -> Beat {
    Beat {
        rev: 1,
        device,
        agent: Foreign::new(agent),
        session: session_id(&device, "custom", agent),
        state,
        task: (!task.is_empty()).then(|| Foreign::new(task)),
        file: None,
        note: None,
        pid: None,
        metadata: None,
        counts: None,
        claimed_device: None,
        source: "cli".into(),
        interval_s: 60,
        since: NOW - 720_000,
        at: NOW - 30_000,
    }
}

/// A todo without a past.
pub(crate) fn todo(project: &str, content: &str, status: Status) -> TodoView {
    let by = By { device: MINI, agent: Some(Foreign::new("leo")), session: None };
    TodoView {
        id: todo_id(project, &Foreign::new(content)),
        content: Foreign::new(content),
        active_form: None,
        status,
        round: 1,
        project: project.into(),
        priority: None,
        owner: None,
        tags: std::collections::BTreeSet::new(),
        created: NOW - 3_600_000,
        updated: NOW - 60_000,
        completed: status.is_finished().then_some(NOW - 60_000),
        completed_by: status.is_finished().then_some(by.clone()),
        origins: vec![Origin { item: ItemId::of(&[content.as_bytes()]), device: Some(MINI), session: Some(leos()), status, listed: true }],
        listed: true,
        deleted: false,
        relisted: 0,
        conflict: false,
        blocked_by: Vec::new(),
        history: Arc::new([Happened {
            at: NOW - 60_000,
            by,
            field: "status".into(),
            from: Some(Foreign::new("pending")),
            to: Foreign::new(status.word()),
            round: 1,
            act: None,
        }]),
    }
}

/// Leo's session on the mini.
pub(crate) fn leos() -> SessionId {
    session_id(&MINI, "claude", "7e1f")
}

/// Changes a view as a test wants it.
pub(crate) struct Fleet(pub(crate) View);

impl Fleet {
    /// `mbp-lena` (this device) and `mac-mini`, in step; nobody at work.
    pub(crate) fn new() -> Fleet {
        let mut view = View::of(MBP);
        view.devices.insert(MBP, Arc::new(device(MBP, "mbp-lena")));
        let link = LinkView {
            address: "192.168.1.20:41733".into(),
            rtt_ms: Some(4),
            bytes_in: 1_200,
            bytes_out: 310,
            level: true,
            documents: None,
            unknown: 0,
        };
        let mini = DeviceView {
            link: Some(link),
            last_contact_here: Some(NOW - 6_000),
            they_miss: Some(0),
            we_miss: Some(0),
            clock_skew_ms: Some(40),
            ..device(MINI, "mac-mini")
        };
        view.devices.insert(MINI, Arc::new(mini));
        Fleet(view)
    }

    /// Adds an agent.
    pub(crate) fn agent(mut self, beat: Beat, state: AgentState) -> Fleet {
        let key = AgentKey { device: beat.device, agent: agent_key(&beat.agent), session: beat.session };
        let sign_here = (state != AgentState::Unknown).then_some(NOW - 29_000);
        self.0.agents.insert(key, Arc::new(AgentView { beat, state, sign_here, progress_here: None, role: None, called: None }));
        self.0.seq += 1;
        self
    }

    /// Adds or replaces a todo.
    pub(crate) fn todo(mut self, todo: TodoView) -> Fleet {
        self.0.todos.insert(todo.id, Arc::new(todo));
        self.0.seq += 1;
        self
    }

    /// Adds Leo's session.
    pub(crate) fn session(mut self, state: SessionState, todos: &[TodoId]) -> Fleet {
        let fact = SessionFact {
            rev: 1,
            device: MINI,
            tool: "claude".into(),
            tool_session: Foreign::new("7e1f"),
            agent: Foreign::new("leo"),
            project: Some("github.com/acme/api-server".into()),
            cwd: Some(Foreign::new("/home/leo/api-server")),
            branch: Some(Foreign::new("main")),
            title: None,
            parent: None,
            side: false,
            started: NOW - 7_200_000,
        };
        let view = SessionView {
            id: leos(),
            fact,
            state,
            last_activity: NOW - 9_000,
            end: None,
            todos: todos.into(),
            open: 2,
            done: 1,
            counts: None,
            tags: Default::default(),
            has_file: None,
        };
        self.0.sessions.insert(view.id, Arc::new(view));
        self
    }

    /// Adds a conflict of a todo.
    pub(crate) fn conflict(mut self, todo: &TodoView, resolved: bool) -> Fleet {
        let side = |value: &str, device| Side { value: Foreign::new(value), device, session: None, at: NOW - 1_000 };
        let conflict = Conflict {
            id: ConflictId::of(&[&todo.id.0]),
            todo: todo.id,
            content: todo.content.clone(),
            field: "status".into(),
            local: side("completed", MBP),
            remote: side("pending", MINI),
            rule: "completed-stays",
            result: Foreign::new("completed"),
            resolved,
        };
        self.0.conflicts.insert((todo.id, conflict.field.clone(), conflict.id), Arc::new(conflict));
        self
    }

    /// Sam works on the mini, leo waits there, max is idle here; three todos, one of them done, one conflict, one session.
    pub(crate) fn busy() -> Fleet {
        let done = todo("web", "Rotate staging key", Status::Completed);
        let (retry, dark) =
            (todo("github.com/acme/api-server", "Add retry budget", Status::Pending), todo("web", "Dark mode", Status::InProgress));
        let todos = [retry.id, dark.id, done.id];
        let mut asks = beat(MINI, "Leo", Reported::Waiting, "AGT-324");
        asks.note = Some(Foreign::new("run migration?"));
        Fleet::new()
            .agent(beat(MINI, "sam", Reported::Working, "AGT-280"), AgentState::Working)
            .agent(asks, AgentState::NeedsInput)
            .agent(beat(MBP, "max", Reported::Idle, ""), AgentState::Idle)
            .session(SessionState::Agent(AgentState::Working), &todos)
            .conflict(&done, false)
            .todo(TodoView { conflict: true, ..done })
            .todo(retry)
            .todo(dark)
    }
}

/// Open doors before a core that a test plays.
pub(crate) struct House {
    pub(crate) api: Api,
    pub(crate) show: watch::Sender<Arc<View>>,
    pub(crate) asked: Option<mpsc::Receiver<Input>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) run_dir: tempfile::TempDir,
}

impl House {
    /// Opens doors on any port.
    pub(crate) async fn open(view: View) -> House {
        House::open_on(view, 0).await
    }

    /// Opens doors on that port.
    pub(crate) async fn open_on(view: View, http_port: u16) -> House {
        let run_dir = tempfile::tempdir().expect("a directory");
        let options = Options {
            http_port,
            run_dir: run_dir.path().join("run"),
            computers: std::collections::BTreeMap::new(),
            spool_dir: run_dir.path().join("spool"),
        };
        let (inbox, asked) = mpsc::channel(16);
        let (show, shown) = watch::channel(Arc::new(view));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let api = start(options, inbox, shown, || NOW, &tasks, stop.clone()).await.expect("open doors");
        House { api, show, asked: Some(asked), tasks, stop, run_dir }
    }

    /// Where the socket is.
    pub(crate) fn run(&self) -> std::path::PathBuf {
        self.run_dir.path().join("run")
    }

    /// Answers the next question as `core` says; the question comes back.
    pub(crate) async fn answer(&mut self, core: impl FnOnce(&Ask) -> Reply) -> Ask {
        let asked = self.asked.as_mut().expect("a core").recv();
        let asked = tokio::time::timeout(std::time::Duration::from_secs(5), asked).await.expect("a question within 5 s");
        let Some(Input::Ask(asker, ask)) = asked else { panic!("not a question: {asked:?}") };
        self.api.reply(asker, core(&ask));
        ask
    }

    /// The next question, which is not answered.
    pub(crate) async fn hear(&mut self) -> Ask {
        let asked = self.asked.as_mut().expect("a core").recv();
        let asked = tokio::time::timeout(std::time::Duration::from_secs(5), asked).await.expect("a question within 5 s");
        let Some(Input::Ask(_, ask)) = asked else { panic!("not a question: {asked:?}") };
        ask
    }

    /// Stops everything; all tasks must end within two seconds.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(std::time::Duration::from_secs(2), self.tasks.wait()).await.expect("all tasks end within 2 s");
        assert!(!self.run().join("ctl.sock").exists() && !self.run().join("http.json").exists(), "nothing is left behind");
    }
}

/// What a raw request brings: status, headers (lower case) and body.
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Raw {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &'_ str| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).is_some();
        self.head.lines().find(|line| named(line)).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

/// Says `lines` (a request line and headers, without the last empty line) and `body`, and reads to the end.
pub(crate) async fn say<S>(mut stream: S, lines: &str, body: &str) -> Raw
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let text = format!("{lines}\r\nconnection: close\r\n{length}\r\n{body}");
    stream.write_all(text.as_bytes()).await.expect("to be heard");
    let mut heard = Vec::new();
    let read = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut heard)).await;
    read.expect("an answer within 5 s").expect("an answer");
    let heard = String::from_utf8_lossy(&heard).into_owned();
    let (head, body) = heard.split_once("\r\n\r\n").unwrap_or((&heard, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Raw { status, head: head.to_owned(), body: body.to_owned() }
}

/// A connection to the loopback door.
pub(crate) async fn knock(house: &House) -> tokio::net::TcpStream {
    let url = house.api.url().expect("an address").to_owned();
    tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.expect("an open door")
}

/// A connection to the socket door.
pub(crate) async fn knock_socket(run: &Path) -> tokio::net::UnixStream {
    tokio::net::UnixStream::connect(run.join("ctl.sock")).await.expect("an open door")
}

/// GET over loopback, as a plain program would.
pub(crate) async fn get(house: &House, target: &str) -> Raw {
    say(knock(house).await, &format!("GET {target} HTTP/1.1\r\nhost: localhost"), "").await
}

/// A request over the socket.
pub(crate) async fn control(house: &House, line: &str, body: &str) -> Raw {
    say(knock_socket(&house.run()).await, &format!("{line} HTTP/1.1\r\nhost: hubless"), body).await
}
