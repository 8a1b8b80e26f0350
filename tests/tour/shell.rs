//! The stage of a walk-through: some devices, each a person's home directory with a shell in a terminal, and stand-ins for the tools.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use super::shapes::Bound;
use crate::support::{Home, Lan, Since, hubless};

/// How long a command may take, and how long it is asked again for what the page says.
const ENDS_WITHIN: Duration = Duration::from_secs(90);
const SETTLES_WITHIN: Duration = Duration::from_secs(75);
/// When the page is written: what is there after so long is what is there.
const SETTLED_AFTER: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What only reads, and may be said again.
const READS: &[&str] = &[
    "status",
    "agents",
    "devices",
    "sessions",
    "todos",
    "todos list",
    "todos ready",
    "todos history",
    "todos conflicts",
    "projects",
    "sync",
    "sources",
    "doctor",
    "open",
];
/// The home directory that the pages speak of.
const PAGE_HOME: &str = "/home/lena";

struct Device {
    home: Home,
    shared: PathBuf,
}

/// The devices of one page.
pub(crate) struct Stage {
    devices: BTreeMap<String, Device>,
    open: Option<(String, Terminal)>,
    /// `$SHARE`: what a person carries from one device to the other.
    _shared: tempfile::TempDir,
}

impl Stage {
    /// `None` where a tool is missing that the runner needs. A device with a `*` behind its name has no name set and begins bare.
    pub(crate) fn new(devices: &[&str]) -> Option<Stage> {
        let has = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        if !cfg!(target_os = "linux") || !["bash", "curl", "script"].into_iter().all(has) {
            return None;
        }
        let (lan, shared) = (Lan::new(), tempfile::tempdir().expect("a directory"));
        let devices = devices.iter().map(|name| (name.trim_end_matches('*').to_owned(), Device::new(lan, name, shared.path()))).collect();
        Some(Stage { devices, open: None, _shared: shared })
    }

    fn device(&self, name: &str) -> &Device {
        let only = (name.is_empty() && self.devices.len() == 1).then(|| self.devices.values().next()).flatten();
        only.or_else(|| self.devices.get(name)).unwrap_or_else(|| panic!("no device is called “{name}”"))
    }

    #[track_caller]
    pub(crate) fn run_hidden(&self, at: &str, device: &str, command: &str) {
        let device = self.device(device);
        let (said, code) = Terminal::start(device, command, Vec::new()).ended();
        assert_eq!(code, 0, "{at}: {command}\n{}", device.as_paged(&said).join("\n"));
    }

    /// Runs it until it says what the page says; what it said otherwise.
    pub(crate) fn run(&self, device: &str, command: &str, page: &[String], bound: &mut Bound, writes: bool) -> Result<(), Vec<String>> {
        let device = self.device(device);
        let begun = Since::now();
        let limit = if writes { SETTLED_AFTER } else { SETTLES_WITHIN };
        loop {
            let (said, code) = Terminal::start(device, command, answers(page)).ended();
            let mut lines = device.as_paged(&said);
            if code != 0 {
                lines.push(format!("(exit code {code})"));
            }
            // An empty line in front of the next prompt is there for the eye.
            let trimmed: Vec<String> =
                page.iter().rev().skip_while(|line| line.is_empty()).cloned().collect::<Vec<_>>().into_iter().rev().collect();
            if bound.matches(&trimmed, &lines) {
                return Ok(());
            }
            if !reads(command) || begun.elapsed() > limit {
                return Err(lines);
            }
            sleep(LOOK_EVERY * 10);
        }
    }

    pub(crate) fn open(&mut self, device: &str, command: &str, page: &[String], bound: &mut Bound) -> Result<(), Vec<String>> {
        let on = self.device(device);
        let terminal = Terminal::start(on, command, answers(page));
        let begun = Since::now();
        let mut lines;
        let fits = loop {
            lines = on.as_paged(&terminal.said());
            if bound.matches(page, &lines) {
                break true;
            }
            if begun.elapsed() > SETTLES_WITHIN {
                break false;
            }
            sleep(LOOK_EVERY);
        };
        self.open = Some((device.to_owned(), terminal));
        if fits { Ok(()) } else { Err(lines) }
    }

    pub(crate) fn close(&mut self, page: &[String], bound: &mut Bound) -> Result<(), Vec<String>> {
        let (name, terminal) = self.open.take().expect("something was left open");
        let device = self.device(&name);
        let (said, _) = terminal.ended();
        let lines = device.as_paged(&said);
        let last: Vec<String> = lines.iter().rev().take(page.len().max(1)).rev().cloned().collect();
        if bound.matches(page, &last) { Ok(()) } else { Err(last) }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.open = None;
        for device in self.devices.values() {
            let _ = device.home.command(hubless(), &["down"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

impl Device {
    fn new(lan: Lan, name: &str, shared: &Path) -> Device {
        let mut home = lan.home(name.trim_end_matches('*'));
        let (user, bin) = (home.at("user"), home.at("bin"));
        fs::create_dir_all(&user).expect("made");
        fs::create_dir_all(&bin).expect("made");
        std::os::unix::fs::symlink(hubless(), bin.join("hubless")).expect("linked");
        let stands_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tour/bin");
        for entry in fs::read_dir(&stands_in).expect("tests/tour/bin").flatten() {
            std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name())).expect("linked");
        }
        home.set("SHARE", shared.display());
        // Where login sessions have it: the socket is at $XDG_RUNTIME_DIR/hubless/ctl.sock.
        home.set("XDG_RUNTIME_DIR", home.at("run").display());
        fs::create_dir_all(home.at("run")).expect("made");
        home.set("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()));
        for (key, value) in
            [("USER", "lena"), ("SHELL", "/bin/bash"), ("PAGER", "cat"), ("TERM", "dumb"), ("NO_COLOR", "1"), ("LANG", "C.UTF-8")]
        {
            home.set(key, value);
        }
        // Everything where it is for everybody: ~/.local/share/hubless, ~/.claude, …
        home.unset("HUBLESS_HOME");
        home.unset("HUBLESS_SOURCES_CLAUDE_ROOT");
        if name.ends_with('*') {
            home.unset("HUBLESS_DEVICE_NAME");
        }
        fs::write(home.at("cwd"), user.display().to_string()).expect("written");
        Device { home, shared: shared.to_owned() }
    }

    /// Lines as the page has them: without this run's directories.
    fn as_paged(&self, said: &str) -> Vec<String> {
        let (user, bin) = (self.home.at("user").display().to_string(), self.home.at("bin").display().to_string());
        let (run, shared) = (self.home.at("run").display().to_string(), self.shared.display().to_string());
        // What a terminal drew over is not there.
        let drawn = |line: &str| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
        let text = said
            .split('\n')
            .map(drawn)
            .collect::<Vec<_>>()
            .join("\n")
            .replace(&user, PAGE_HOME)
            .replace(&run, "/run/user/1000")
            .replace(&shared, "/media/stick")
            .replace(&bin, &format!("{PAGE_HOME}/.cargo/bin"));
        let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }
}

fn reads(command: &str) -> bool {
    let words = command.split('|').next().unwrap_or_default().trim();
    if words.starts_with("curl -s http") || words.starts_with("curl -s \"$(hubless open") {
        return true;
    }
    let Some(verb) = words.strip_prefix("hubless ") else { return false };
    let bare: Vec<&str> = verb.split_whitespace().filter(|word| !word.starts_with('-')).collect();
    READS.iter().any(|read| {
        let read: Vec<&str> = read.split(' ').collect();
        let is_deed = [
            "add", "start", "done", "edit", "undo", "resolve", "revoke", "rename", "ping", "pause", "resume", "rescan", "reopen", "delete",
        ];
        bare.starts_with(&read)
            && !bare.get(1).is_some_and(|word| is_deed.contains(word))
            && !verb.contains("--fix")
            && !verb.contains("--bundle")
    })
}

/// What a person types where they are asked: what stands behind the brackets.
fn answers(page: &[String]) -> Vec<String> {
    let asked = page.iter().filter(|line| line.starts_with("? "));
    asked.map(|line| line.rsplit_once(']').map(|(_, answer)| answer.trim().to_owned()).unwrap_or_default()).collect()
}

/// A command in a terminal of its own; ended by its own process when dropped.
struct Terminal {
    child: Child,
    stdin: ChildStdin,
    said: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    answers: Vec<String>,
    answered: usize,
}

impl Terminal {
    fn start(device: &Device, command: &str, answers: Vec<String>) -> Terminal {
        let at = |name: &str| device.home.at(name).display().to_string();
        let (cwd, env, line) = (at("cwd"), at("env"), PathBuf::from(at("line.sh")));
        let text = format!(
            "stty cols 140 rows 60 2>/dev/null\ncd \"$(cat '{cwd}')\"\n[ -f '{env}' ] && . '{env}'\n{command}\ncode=$?\npwd > '{cwd}'\nexport -p | grep -v ' PWD=\\| OLDPWD=\\| SHLVL=' > '{env}'\nexit $code\n"
        );
        fs::write(&line, text).expect("written");
        let line = format!("bash {}", line.display());
        let mut command = device.home.command("script", &["-qec", &line, "/dev/null"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("script is there");
        let stdin = child.stdin.take().expect("piped");
        let mut stdout = child.stdout.take().expect("piped");
        let said = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut some) {
                into.lock().expect("nobody panics with it").extend_from_slice(&some[..read]);
            }
        });
        Terminal { child, stdin, said, reader: Some(reader), answers, answered: 0 }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("nobody panics with it")).into_owned()
    }

    /// Everything it said, and its exit code; questions are answered as they come.
    fn ended(mut self) -> (String, i32) {
        let begun = Since::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("watched") {
                break status;
            }
            let said = self.said();
            let asked = said.matches("? ").count() > self.answered
                && said.ends_with("] ")
                && said.lines().last().is_some_and(|line| line.starts_with("? "));
            if asked {
                // What the page does not say is Enter.
                let answer = self.answers.get(self.answered).cloned().unwrap_or_default();
                writeln!(self.stdin, "{answer}").expect("it listens");
                self.stdin.flush().expect("it listens");
                self.answered += 1;
            }
            assert!(begun.elapsed() < ENDS_WITHIN, "it does not end: {said}");
            sleep(LOOK_EVERY);
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read");
        }
        (self.said(), status.code().unwrap_or(-1))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
