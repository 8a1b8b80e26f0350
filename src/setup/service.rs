//! hubless as a service of this user: a file that a manager reads, and the few commands by which the manager is told.
//!
//! Only a file with our mark is ever replaced or removed. Data, keys and configuration are no part of a service: taking it out
//! leaves all of them where they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::Error;
use super::files;
use super::units::{self, MARK, Start};

/// What starts services at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// systemd's instance of a user.
    Systemd,
    /// launchd, in the session of the one who is logged in.
    Launchd,
}

impl Manager {
    /// The manager of this system.
    #[must_use]
    pub fn here() -> Manager {
        if cfg!(target_os = "macos") { Manager::Launchd } else { Manager::Systemd }
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Manager::Systemd => "systemd",
            Manager::Launchd => "launchd",
        }
    }
}

/// A service as it would be.
#[derive(Debug, Clone)]
pub struct Service {
    /// Who starts it.
    pub manager: Manager,
    /// The file that the manager reads.
    pub file: PathBuf,
    /// What stands in it.
    pub text: String,
    /// What the manager calls it.
    pub name: String,
}

/// What became of a service file that was to be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// There is none, or it is as it should be.
    Needless,
    /// It is now what this program writes.
    Done,
    /// It sets what is not set here, in this line; nothing was touched.
    Sets(String),
}

/// How a service stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Whether the file is there, and ours.
    pub installed: bool,
    /// Whether it is what an installation now would write.
    pub current: bool,
    /// Whether it is started at login, where the manager says so.
    pub enabled: Option<bool>,
    /// The manager's own word for how it is: `active`, `failed`, `activating`, …; `None` when the manager does not answer.
    pub active: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Whether it goes on when the person logs out; `None` where that is not known, or is no question.
    pub lingers: Option<bool>,
}

impl Service {
    /// The service of a home: `home` is `HUBLESS_HOME`, if it has one of its own, so that each home has a service of its own.
    /// `person` is the person's home directory, `config` the directory of their configuration (`XDG_CONFIG_HOME`).
    ///
    /// # Errors
    /// The program's path, or a variable, cannot stand in such a file.
    pub fn of(manager: Manager, home: Option<&str>, (person, config): (&Path, &Path), start: &Start<'_>) -> Result<Service, Error> {
        let own = home.map(|home| format!("-{}", &blake3::hash(home.as_bytes()).to_hex()[..8])).unwrap_or_default();
        Ok(match manager {
            Manager::Systemd => {
                let name = format!("hubless{own}.service");
                Service { manager, file: config.join("systemd/user").join(&name), text: units::systemd(start)?, name }
            }
            Manager::Launchd => {
                let name = format!("dev.hubless.daemon{own}");
                let file = person.join("Library/LaunchAgents").join(format!("{name}.plist"));
                Service { manager, file, text: units::launchd(&name, start)?, name }
            }
        })
    }

    /// Writes the file, and has it started now and at every login. Returns when the manager has taken it, not when it runs.
    ///
    /// # Errors
    /// A file of that name is there and is not ours; it cannot be written; the manager says no.
    pub fn install(&self) -> Result<(), Error> {
        self.ours()?;
        files::put(&self.file, &self.text)?;
        match self.manager {
            Manager::Systemd => {
                self.tell("systemctl", &["--user", "daemon-reload"])?;
                self.tell("systemctl", &["--user", "enable", &self.name])?;
                self.tell("systemctl", &["--user", "restart", "--no-block", &self.name])
            }
            Manager::Launchd => {
                // One that is loaded has to go first; that there is none is no fault.
                drop(self.tell("launchctl", &["bootout", &self.target()]));
                let file = self.file.display().to_string();
                self.tell("launchctl", &["bootstrap", &domain(), &file])
            }
        }
    }

    /// Writes the file anew where it is there and is not what this program would write. A daemon that runs goes on as it was begun.
    /// A variable that the old one sets and this one would not is no mistake to mend: then nothing is touched.
    ///
    /// # Errors
    /// The file is not ours; it cannot be read or written.
    pub fn renew(&self) -> Result<Renewed, Error> {
        let old = match self.ours()? {
            None => return Ok(Renewed::Needless),
            Some(old) if old == self.text => return Ok(Renewed::Needless),
            Some(old) => old,
        };
        let is_variable = |line: &&str| line.starts_with("Environment=") || line.starts_with("    <key>");
        if let Some(line) = old.lines().filter(is_variable).find(|line| !self.text.lines().any(|own| own == *line)) {
            return Ok(Renewed::Sets(line.trim().to_owned()));
        }
        files::put(&self.file, &self.text)?;
        if self.manager == Manager::Systemd {
            // Where it does not answer it reads the file when it comes.
            drop(self.tell("systemctl", &["--user", "daemon-reload"]));
        }
        Ok(Renewed::Done)
    }

    /// Whether the manager answers at all; in a container, or over `su`, there is none.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        match self.manager {
            Manager::Systemd => said("systemctl", &["--user", "show", "-p", "Version"]).is_some(),
            Manager::Launchd => said("launchctl", &["print", &domain()]).is_some(),
        }
    }

    /// Stops it, and takes the file away. Whether there was one.
    ///
    /// # Errors
    /// The file is not ours; it cannot be removed; the manager says no.
    pub fn uninstall(&self) -> Result<bool, Error> {
        if self.ours()?.is_none() {
            return Ok(false);
        }
        // A manager that is not there has nothing running, and the file goes all the same.
        let told = match self.manager {
            Manager::Systemd => self.tell("systemctl", &["--user", "disable", "--now", &self.name]),
            Manager::Launchd => self.tell("launchctl", &["bootout", &self.target()]),
        };
        fs::remove_file(&self.file).map_err(|why| Error::Unwritable { file: self.file.clone(), why })?;
        if self.manager == Manager::Systemd {
            drop(self.tell("systemctl", &["--user", "daemon-reload"]));
            told?;
        }
        Ok(true)
    }

    /// How it stands.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is not ours.
    pub fn state(&self) -> Result<State, Error> {
        let there = self.ours()?;
        let mut state = State { installed: there.is_some(), current: there.as_ref() == Some(&self.text), ..State::default() };
        match self.manager {
            Manager::Systemd => {
                let shown =
                    said("systemctl", &["--user", "show", &self.name, "-p", "ActiveState,UnitFileState,MainPID"]).unwrap_or_default();
                let value = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
                state.active = value("ActiveState");
                state.enabled = value("UnitFileState").map(|word| word == "enabled");
                state.pid = value("MainPID").and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0);
                let uid = rustix::process::getuid().as_raw().to_string();
                let lingers = said("loginctl", &["show-user", &uid, "-p", "Linger", "--value"]);
                state.lingers = lingers.and_then(|word| match word.trim() {
                    "yes" => Some(true),
                    "no" => Some(false),
                    _ => None,
                });
            }
            Manager::Launchd => {
                let shown = said("launchctl", &["print", &self.target()]);
                let value = |name: &str| shown.as_ref()?.lines().find_map(|line| line.trim().strip_prefix(name).map(str::to_owned));
                state.active = value("state = ");
                state.pid = value("pid = ").and_then(|pid| pid.parse().ok());
                state.enabled = shown.as_ref().map(|_| true);
            }
        }
        Ok(state)
    }

    /// The command that shows what it said: on systemd its journal, else `log`.
    #[must_use]
    pub fn logs(&self, log: &Path, lines: u32, follow: bool) -> Command {
        let mut command = match self.manager {
            Manager::Systemd => {
                let mut command = Command::new("journalctl");
                command.args(["--user", "--unit", &self.name, "--output", "cat", "--lines", &lines.to_string()]);
                command
            }
            Manager::Launchd => {
                let mut command = Command::new("tail");
                command.args(["-n", &lines.to_string()]);
                command
            }
        };
        if follow {
            command.arg(if self.manager == Manager::Systemd { "--follow" } else { "-F" });
        }
        if self.manager == Manager::Launchd {
            command.arg(log);
        }
        command
    }

    /// The file's text, if it is there; one without our mark is somebody else's.
    fn ours(&self) -> Result<Option<String>, Error> {
        let Some(found) = files::read(&self.file)? else { return Ok(None) };
        if found.text.contains(MARK) { Ok(Some(found.text)) } else { Err(Error::Foreign { file: self.file.clone() }) }
    }

    fn target(&self) -> String {
        format!("{}/{}", domain(), self.name)
    }

    fn tell(&self, program: &'static str, args: &[&str]) -> Result<(), Error> {
        let manager = self.manager.name();
        let told = Command::new(program).args(args).stdin(Stdio::null()).output();
        let no = |why: String| Error::Manager { manager, command: format!("{program} {}", args.join(" ")), why };
        let told = told.map_err(|why| {
            no(if why.kind() == io::ErrorKind::NotFound { format!("there is no {program} here") } else { why.to_string() })
        })?;
        if told.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&told.stderr).trim().to_owned();
        Err(no(if words.is_empty() { told.status.to_string() } else { words }))
    }
}

/// Where launchd has the services of the one who is logged in.
fn domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}

fn said(program: &str, args: &[&str]) -> Option<String> {
    let told = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    told.status.success().then(|| String::from_utf8_lossy(&told.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(manager: Manager, dir: &Path, home: Option<&str>) -> Service {
        let start = Start { program: Path::new("/usr/bin/hubless"), env: &[], said: Path::new("/l/up.err") };
        Service::of(manager, home, (dir, dir), &start).expect("a service")
    }

    #[test]
    fn each_home_has_a_service_of_its_own_at_the_managers_place() {
        let dir = Path::new("/home/l");
        let default = service(Manager::Systemd, dir, None);
        assert_eq!((default.name.as_str(), default.file.as_path()), ("hubless.service", Path::new("/home/l/systemd/user/hubless.service")));
        let own = service(Manager::Systemd, dir, Some("/a"));
        assert!(own.name.starts_with("hubless-") && own.name != service(Manager::Systemd, dir, Some("/b")).name);
        let agent = service(Manager::Launchd, dir, None);
        assert_eq!(agent.file, Path::new("/home/l/Library/LaunchAgents/dev.hubless.daemon.plist"));
    }

    #[test]
    fn an_old_file_is_renewed_and_none_that_sets_more_than_is_known_here() {
        let dir = tempfile::tempdir().expect("dir");
        let service = service(Manager::Systemd, dir.path(), None);
        assert_eq!(service.renew().expect("nothing there"), Renewed::Needless);
        fs::create_dir_all(service.file.parent().expect("a directory")).expect("made");
        let old = service.text.replace("/usr/bin/hubless", "/old/hubless");
        fs::write(&service.file, &old).expect("written");
        assert_eq!(service.renew().expect("ours"), Renewed::Done);
        assert_eq!(fs::read_to_string(&service.file).expect("there"), service.text);
        let more = old.replace("Restart=", "Environment=\"CODEX_HOME=/c\"\nRestart=");
        fs::write(&service.file, &more).expect("written");
        assert!(matches!(service.renew().expect("ours"), Renewed::Sets(line) if line.contains("CODEX_HOME")));
        assert_eq!(fs::read_to_string(&service.file).expect("there"), more);
    }

    #[test]
    fn what_is_not_ours_stays() {
        let dir = tempfile::tempdir().expect("dir");
        let service = service(Manager::Systemd, dir.path(), None);
        fs::create_dir_all(service.file.parent().expect("a directory")).expect("made");
        fs::write(&service.file, "[Service]\nExecStart=/usr/bin/other\n").expect("written");
        assert!(matches!(service.install(), Err(Error::Foreign { .. })));
        assert!(matches!(service.uninstall(), Err(Error::Foreign { .. })));
        assert!(fs::read_to_string(&service.file).expect("there").contains("/usr/bin/other"));
    }
}
