//! The person's end of a lab: hosts with daemons, and a few words to do things to them.

use std::fs;
use std::io::{self, BufRead};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use hubless_lab::switch::Weather;
use hubless_lab::{Host, Lab};
use tempfile::TempDir;

const HELP: &str = "\
  up N, down N        starts, or kills, the hubless of host N
  run N VERB...       runs a verb there: run 1 devices; run 1 pair --ticket; run 2 pair hubless1-…
  cut N M, join N M   nothing passes between two hosts; everything does again
  weather MS LOSS     every frame is MS under way, LOSS of a hundred are lost; weather 0 0
  multicast on|off    whether frames for many arrive
  quit                ends everything";

/// One line, or the end.
enum Word {
    Line(String),
    Quit,
}

struct Desk {
    lab: Lab,
    dir: TempDir,
    program: PathBuf,
    daemons: Vec<Option<Child>>,
}

/// Builds a lab, starts a daemon on each host, and does what it is told until the end.
pub(crate) fn up(hosts: usize) -> Result<(), String> {
    if let Some(why) = hubless_lab::missing() {
        return Err(why);
    }
    let words = listen().map_err(|why| why.to_string())?;
    let mut desk = Desk::open(hosts).map_err(|why| why.to_string())?;
    println!("{HELP}\n");
    for number in 1..=hosts {
        desk.answer(&format!("up {number}"));
    }
    while let Ok(Word::Line(line)) = words.recv() {
        if line.trim() == "quit" {
            break;
        }
        desk.answer(&line);
    }
    Ok(())
}

/// Lines of the terminal, and the end of it: an interrupt, or a closed input.
fn listen() -> io::Result<Receiver<Word>> {
    let (to, words) = sync_channel(16);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let quit = to.clone();
    thread::spawn(move || {
        let ends = async {
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                done = tokio::signal::ctrl_c() => done,
                _ = term.recv() => Ok(()),
            }
        };
        let _ = runtime.block_on(ends);
        let _ = quit.send(Word::Quit);
    });
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if to.send(Word::Line(line)).is_err() {
                return;
            }
        }
        let _ = to.send(Word::Quit);
    });
    Ok(words)
}

impl Desk {
    fn open(hosts: usize) -> io::Result<Desk> {
        let beside = std::env::current_exe()?.with_file_name("hubless");
        let program = std::env::var_os("HUBLESS_BIN").map_or(beside, PathBuf::from);
        if !program.exists() {
            return Err(io::Error::other(format!("there is no {}; cargo build makes it", program.display())));
        }
        let lab = Lab::of(hosts)?;
        Ok(Desk { lab, dir: tempfile::tempdir()?, program, daemons: (0..hosts).map(|_| None).collect() })
    }

    /// Does one line.
    fn answer(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = match words[..] {
            [] => Ok(()),
            ["up", n] => self.number(n).and_then(|n| self.start(n)),
            ["down", n] => self.number(n).map(|n| self.daemons[n].take().into_iter().for_each(end)),
            ["run", n, ref verb @ ..] => self.number(n).and_then(|n| self.run(n, verb)),
            ["cut", n, m] => self.both(n, m).map(|(n, m)| self.lab.switch.cut(n, m)),
            ["join", n, m] => self.both(n, m).map(|(n, m)| self.lab.switch.join(n, m)),
            ["weather", ms, loss] => self.weather(ms, loss),
            ["multicast", on @ ("on" | "off")] => {
                let weather = self.lab.switch.weather();
                self.lab.switch.set_weather(Weather { multicast: on == "on", ..weather });
                Ok(())
            }
            _ => Err(HELP.to_owned()),
        };
        if let Err(why) = done {
            println!("{why}");
        }
    }

    fn number(&self, word: &str) -> Result<usize, String> {
        let known = word.parse::<usize>().ok().filter(|n| (1..=self.daemons.len()).contains(n));
        known.map(|n| n - 1).ok_or_else(|| format!("there is no host {word}"))
    }

    fn both(&self, n: &str, m: &str) -> Result<(usize, usize), String> {
        Ok((self.number(n)?, self.number(m)?))
    }

    fn weather(&self, ms: &str, loss: &str) -> Result<(), String> {
        let (Ok(ms), Ok(loss_percent)) = (ms.parse(), loss.parse()) else {
            return Err("weather MS LOSS, two numbers".to_owned());
        };
        let weather = self.lab.switch.weather();
        self.lab.switch.set_weather(Weather { delay: Duration::from_millis(ms), loss_percent, ..weather });
        Ok(())
    }

    fn command(&self, host: &Host) -> Result<Command, String> {
        let home = self.dir.path().join(format!("{}", host.number + 1));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(home.join("user")).map_err(|why| why.to_string())?;
        let [ip, words @ ..] = host.prefix();
        let mut command = Command::new(ip);
        command.args(words).arg(&self.program).env_remove("CLAUDE_CONFIG_DIR");
        command.env("HUBLESS_HOME", home.join("h")).env("HOME", home.join("user"));
        command.env("HUBLESS_DEVICE_NAME", format!("host{}", host.number + 1)).stdin(Stdio::null());
        Ok(command)
    }

    fn start(&mut self, n: usize) -> Result<(), String> {
        if self.daemons[n].as_mut().is_some_and(|daemon| matches!(daemon.try_wait(), Ok(None))) {
            return Err("it runs".to_owned());
        }
        let host = &self.lab.hosts()[n];
        let log = self.dir.path().join(format!("{}.log", n + 1));
        let said = fs::File::options().create(true).append(true).open(&log).map_err(|why| why.to_string())?;
        let started = self.command(host)?.arg("up").stdout(Stdio::null()).stderr(said).spawn();
        println!("host {}: {}, ip netns exec {} …, log {}", n + 1, host.ip(), host.namespace(), log.display());
        self.daemons[n] = Some(started.map_err(|why| why.to_string())?);
        Ok(())
    }

    fn run(&self, n: usize, verb: &[&str]) -> Result<(), String> {
        let ended = self.command(&self.lab.hosts()[n])?.args(verb).status();
        ended.map(drop).map_err(|why| why.to_string())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().filter_map(Option::take) {
            end(daemon);
        }
    }
}

fn end(mut daemon: Child) {
    let _ = daemon.kill();
    let _ = daemon.wait();
}
