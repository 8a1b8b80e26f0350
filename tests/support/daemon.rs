//! A daemon that runs: what it is asked, how it is ended, and what its first moments cost.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Answer, Events, ask};
use super::{Home, KILL, SOON, Since, eventually, text};

/// How long a process's first thread has waited for a processor (Linux: `Documentation/scheduler/sched-stats.rst`).
fn waited(pid: u32) -> Option<Duration> {
    let stats = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    stats.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// A running daemon, ended by its pid when this is dropped.
pub(crate) struct Daemon<'h> {
    home: &'h Home,
    child: Child,
    began: Since,
    /// From its start to its first answer.
    pub(crate) took: Duration,
    /// How long of that its first thread was ready to run and no processor was free; `None` where the system does not say.
    pub(crate) waited: Option<Duration>,
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'h> Daemon<'h> {
    /// Waits until the daemon of `home` that was just begun answers.
    #[track_caller]
    pub(super) fn answering(home: &'h Home, child: Child) -> Daemon<'h> {
        let mut daemon = Daemon { home, child, began: Since::now(), took: Duration::ZERO, waited: None };
        eventually(SOON, "the daemon answers", || {
            if let Some(status) = daemon.child.try_wait().expect("watched") {
                panic!("the daemon ended at once ({status}): {}", home.said());
            }
            daemon.try_get("/healthz").filter(|answer| answer.status == 200)
        });
        daemon.took = daemon.began.elapsed();
        daemon.waited = waited(daemon.child.id());
        daemon
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("watched").is_none()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("our own child");
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our own child");
        assert_eq!(self.child.wait().expect("reaped").signal(), Some(KILL), "it did not end by itself before");
    }

    /// Asks it to stop, and waits until it has.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = eventually(SOON, "the daemon stops", || self.child.try_wait().expect("watched"));
        assert_eq!(status.code(), Some(0), "it stops in order: {}", self.home.said());
    }

    /// One exchange, or `None` when nobody answers.
    pub(crate) fn try_ask(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Option<Answer> {
        ask(&self.home.socket(), method, target, headers, body)
    }

    pub(crate) fn try_get(&self, target: &str) -> Option<Answer> {
        self.try_ask("GET", target, "", b"")
    }

    #[track_caller]
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let answer = self.try_ask(method, target, headers, body.as_ref());
        answer.unwrap_or_else(|| panic!("no answer to {method} {target}: {}", self.home.said()))
    }

    /// The whole envelope of a `GET`.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Value {
        let answer = self.ask("GET", target, "", "");
        assert_eq!(answer.status, 200, "GET {target}: {}", answer.text());
        answer.json()
    }

    /// What `GET` of a list holds, all of it.
    #[track_caller]
    pub(crate) fn rows(&self, target: &str) -> Vec<Value> {
        let target = format!("{target}{}limit=0", if target.contains('?') { '&' } else { '?' });
        self.get(&target)["data"].as_array().unwrap_or_else(|| panic!("{target} is a list")).clone()
    }

    #[track_caller]
    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask("POST", target, "", body.to_string())
    }

    /// The row of the device called `name`.
    #[track_caller]
    pub(crate) fn device(&self, name: &str) -> Option<Value> {
        self.rows("/api/v3/devices").into_iter().find(|device| device["name"] == name)
    }

    /// Adds a todo and returns it.
    #[track_caller]
    pub(crate) fn add(&self, content: &str) -> Value {
        let answer = self.post("/api/v3/todos", &json!({"content": content}));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["data"].clone()
    }

    /// Does something to a todo and returns it.
    #[track_caller]
    pub(crate) fn deed(&self, todo: &Value, deed: &str) -> Value {
        let answer = self.post(&format!("/api/v3/todos/{}/{deed}", text(todo, "id")), &json!({}));
        assert_eq!(answer.status, 200, "{deed}: {}", answer.text());
        answer.json()["data"].clone()
    }

    /// The todo that says `content`, when there is one.
    #[track_caller]
    pub(crate) fn todo(&self, content: &str) -> Option<Value> {
        self.rows("/api/v3/todos?all=1").into_iter().find(|todo| todo["content"] == content)
    }

    /// Waits until the todo that says `content` is as `is` wants it.
    #[track_caller]
    pub(crate) fn todo_when(&self, content: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(SOON, &format!("“{content}” is {what}"), || self.todo(content).filter(&is))
    }

    #[track_caller]
    pub(crate) fn todo_is(&self, content: &str, status: &str) -> Value {
        self.todo_when(content, status, |todo| todo["status"] == status)
    }

    /// The stream of events, from now on.
    #[track_caller]
    pub(crate) fn events(&self, headers: &str) -> Events {
        Events::of(&self.home.socket(), headers)
    }
}
