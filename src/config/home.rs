//! Where everything lies. `HUBLESS_HOME=DIR` puts it all under one directory, so that two daemons can live on one machine;
//! otherwise each kind of file lies where the XDG base directory specification wants it (INTERFACE §2.1).
//!
//! An empty XDG variable counts as unset, and one that is not absolute is ignored, as the specification says.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::setting::Env;

/// Bytes of a socket's path: macOS has room for 104 with the closing NUL (`sun_path`), Linux for 108.
const SOCKET_BYTES_MAX: usize = 103;

/// The directories and files of one daemon. None of them need exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The configuration file.
    pub config_file: PathBuf,
    /// What is kept: documents, keys, index.
    pub data_dir: PathBuf,
    /// What lives as long as the daemon runs: `ctl.sock`, `http.json`.
    pub run_dir: PathBuf,
    /// The log's files.
    pub logs_dir: PathBuf,
}

impl Home {
    /// Reads `HUBLESS_HOME`, else the XDG variables, else `HOME`.
    ///
    /// # Errors
    /// When none of them says enough, or the socket's path is too long for a socket.
    pub(super) fn of(env: &Env) -> Result<Home, Error> {
        let home = match set(env, "HUBLESS_HOME") {
            Some(dir) => Home::below(&absolute(Path::new(dir))?),
            None => Home::xdg(env)?,
        };
        let (path, bytes, max) = (home.socket(), home.socket().as_os_str().len(), SOCKET_BYTES_MAX);
        if bytes > max { Err(Error::SocketPathTooLong { path, bytes, max }) } else { Ok(home) }
    }

    fn below(dir: &Path) -> Home {
        Home { config_file: dir.join("config.toml"), data_dir: dir.join("data"), run_dir: dir.join("run"), logs_dir: dir.join("logs") }
    }

    fn xdg(env: &Env) -> Result<Home, Error> {
        let base = |variable: &str, otherwise: &str, what: &'static str| match absolute_variable(env, variable) {
            Some(dir) => Ok(dir.join("hubless")),
            None => Ok(of_person(env, what)?.join(otherwise).join("hubless")),
        };
        let logs_dir = base("XDG_STATE_HOME", ".local/state", "the log's directory")?;
        Ok(Home {
            config_file: base("XDG_CONFIG_HOME", ".config", "the configuration's directory")?.join("config.toml"),
            data_dir: base("XDG_DATA_HOME", ".local/share", "the data directory")?,
            run_dir: run_dir(env, &logs_dir)?,
            logs_dir,
        })
    }

    /// The socket of the running daemon.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("ctl.sock")
    }

    /// Where reports wait for a daemon.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        self.data_dir.join("spool")
    }

    /// How agents are called.
    #[must_use]
    pub fn agents_file(&self) -> PathBuf {
        self.config_file.with_file_name("agents.toml")
    }

    /// The file with the page's address.
    #[must_use]
    pub fn http_json(&self) -> PathBuf {
        self.run_dir.join("http.json")
    }
}

/// macOS has no `XDG_RUNTIME_DIR`, and its `TMPDIR` is another one for every way to log in.
fn run_dir(env: &Env, state: &Path) -> Result<PathBuf, Error> {
    if cfg!(target_os = "macos") {
        return Ok(of_person(env, "the socket's directory")?.join("Library/Application Support/hubless"));
    }
    // Without a login session (cron, a container) there is none on Linux either.
    Ok(absolute_variable(env, "XDG_RUNTIME_DIR").map_or_else(|| state.join("run"), |dir| dir.join("hubless")))
}

/// A variable's value, unless it is empty.
pub(super) fn set<'a>(env: &'a Env, variable: &str) -> Option<&'a str> {
    env.get(variable).map(String::as_str).filter(|value| !value.is_empty())
}

/// The value of a tool's variable; a relative one counts as XDG's own rules want it.
pub(super) fn said<'a>(env: &'a Env, variable: &str) -> Option<&'a str> {
    set(env, variable).filter(|value| !variable.starts_with("XDG_") || Path::new(value).is_absolute())
}

fn absolute_variable(env: &Env, variable: &str) -> Option<PathBuf> {
    set(env, variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The person's home directory; `what` is said when there is none.
pub(super) fn of_person(env: &Env, what: &'static str) -> Result<PathBuf, Error> {
    absolute_variable(env, "HOME").ok_or(Error::NoHome { what })
}

/// The same path, from the root; links are left as they are.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|why| Error::NotAbsolute { path: path.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(pairs: &[(&str, &str)]) -> Result<Home, Error> {
        Home::of(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn one_directory_holds_it_all() {
        let home = home(&[("HUBLESS_HOME", "/h"), ("XDG_DATA_HOME", "/elsewhere")]).expect("home");
        assert_eq!(home.config_file, Path::new("/h/config.toml"));
        assert_eq!(home.data_dir, Path::new("/h/data"));
        assert_eq!(home.socket(), Path::new("/h/run/ctl.sock"));
        assert_eq!(home.http_json(), Path::new("/h/run/http.json"));
        assert_eq!(home.logs_dir, Path::new("/h/logs"));
    }

    #[test]
    fn a_relative_directory_is_made_absolute() {
        let home = home(&[("HUBLESS_HOME", "a")]).expect("home");
        assert!(home.data_dir.is_absolute() && home.data_dir.ends_with("a/data"));
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn otherwise_each_lies_where_xdg_wants_it() {
        let all = [("XDG_CONFIG_HOME", "/c"), ("XDG_DATA_HOME", "/d"), ("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r")];
        let set = home(&all).expect("HOME is not needed then");
        assert_eq!(set.config_file, Path::new("/c/hubless/config.toml"));
        assert_eq!(set.data_dir, Path::new("/d/hubless"));
        assert_eq!(set.socket(), Path::new("/r/hubless/ctl.sock"));
        assert_eq!(set.logs_dir, Path::new("/s/hubless"));
        let unset = home(&[("HOME", "/home/lena")]).expect("home");
        assert_eq!(unset.config_file, Path::new("/home/lena/.config/hubless/config.toml"));
        assert_eq!(unset.data_dir, Path::new("/home/lena/.local/share/hubless"));
        assert_eq!(unset.socket(), Path::new("/home/lena/.local/state/hubless/run/ctl.sock"));
        for nothing in ["", "relative"] {
            let mut pairs = all.map(|(name, _)| (name, nothing)).to_vec();
            pairs.extend([("HOME", "/home/lena"), ("HUBLESS_HOME", "")]);
            assert_eq!(home(&pairs).expect("home"), unset, "“{nothing}” counts as unset");
        }
    }

    #[test]
    fn without_any_home_it_is_said_what_is_missing() {
        assert_eq!(home(&[]).expect_err("no home").to_string(), "the log's directory is not known: HOME is not set");
    }

    #[test]
    fn a_socket_has_a_short_path_or_a_clear_error() {
        let longest = format!("/{}", "x".repeat(SOCKET_BYTES_MAX - "/run/ctl.sock".len() - 1));
        assert_eq!(home(&[("HUBLESS_HOME", &longest)]).expect("fits").socket().as_os_str().len(), SOCKET_BYTES_MAX);
        let why = home(&[("HUBLESS_HOME", &format!("{longest}x"))]).expect_err("too long").to_string();
        assert!(why.starts_with("the socket's path is too long (104 bytes, at most 103): /xxx"), "{why}");
    }
}
