//! A daemon as people run it: a process of its own in a home of its own, ended by its own number.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hubless::api::client::Client;

use crate::measure::{ms_since, now};

/// Longer than anything here takes on a machine that is not stuck.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);
/// Where our daemons look for each other, apart from others on this machine.
const MDNS_PORT: &str = "5460";

/// A home, and its daemon while one runs.
pub(crate) struct Home {
    dir: PathBuf,
    claude: PathBuf,
    name: String,
    child: Option<Child>,
    /// The way to it.
    pub(crate) client: Client,
}

impl Home {
    /// An empty home of mode 0700 below `base`; its Claude root may be anywhere.
    pub(crate) fn make(base: &Path, name: &str, claude: &Path) -> Home {
        let dir = base.join(name);
        DirBuilder::new().mode(0o700).create(&dir).expect("a directory of ours");
        let client = Client::new(&dir.join("run"));
        Home { dir, claude: claude.to_owned(), name: name.to_owned(), child: None, client }
    }

    /// Where it keeps what it keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("run/ctl.sock")
    }

    /// The command line in this home.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hubless"));
        command.args(words).env_clear();
        // Other tools have their directories below it: there are none.
        command.env("HOME", &self.dir).env("HUBLESS_HOME", &self.dir).env("HUBLESS_DEVICE_NAME", &self.name);
        command.env("HUBLESS_SOURCES_CLAUDE_ROOT", &self.claude);
        command.env("HUBLESS_HTTP_PORT", "0").env("HUBLESS_NETWORK_PORT", "0").env("HUBLESS_NETWORK_MDNS_PORT", MDNS_PORT);
        command.stdin(Stdio::null());
        command
    }

    /// Starts the daemon and waits until it answers with at least so many todos. Gives the milliseconds from its start on.
    pub(crate) async fn up(&mut self, todos: u64) -> f64 {
        let log = fs::File::create(self.dir.join("log")).expect("a file of ours");
        let start = now();
        let mut command = self.command(&["up"]);
        command.stdout(log.try_clone().expect("a file of ours")).stderr(log);
        self.child = Some(command.spawn().expect("the program that cargo built"));
        self.until("/api/v3/todos?all=true&limit=1", |told| told["total"].as_u64() >= Some(todos)).await;
        ms_since(start)
    }

    /// Asks again and again until the answer is as wanted.
    pub(crate) async fn until(&self, target: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
        let start = now();
        loop {
            match self.client.get(target).await {
                Ok(told) if wanted(&told) => return,
                Ok(_) | Err(_) => {}
            }
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(start.elapsed() < WITHIN, "{}: {target} was never as it should be\n{}", self.name, log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Runs the command line as a whole process. Gives its milliseconds.
    pub(crate) fn run(&self, words: &[&str]) -> f64 {
        let mut command = self.command(words);
        command.stdout(Stdio::null());
        let start = now();
        let status = command.status().expect("the program that cargo built");
        let took = ms_since(start);
        assert!(status.success(), "hubless {words:?} ended with {status}");
        took
    }

    /// Tells the daemon to stop and waits for its end.
    pub(crate) fn down(&mut self) {
        self.run(&["down"]);
        if let Some(mut child) = self.child.take() {
            assert!(child.wait().expect("our child").success(), "the daemon ended well");
        }
    }

    /// Ends the daemon on the spot.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill();
    }
}
