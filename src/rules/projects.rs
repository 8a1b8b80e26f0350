//! The same repository is one project at whatever path, for whatever user, over whatever transport; and no credential is
//! ever part of a project's key.
//!
//! The key of a project is, in this order: the git remote as `host/path` (ssh, https, ports, users and `.git` spelled
//! away); the path of a remote that is a directory; the top folder of the repository; the working folder.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

use crate::model::id::ActId;
use crate::model::input::Repo;
use crate::model::text::Foreign;
use crate::model::time::Stamp;

/// Hosts that the forges document as other doors to the same repositories, for networks that block port 22.
const OTHER_DOORS: [(&str, &str); 3] =
    [("ssh.github.com", "github.com"), ("altssh.gitlab.com", "gitlab.com"), ("altssh.bitbucket.org", "bitbucket.org")];

/// The key of the project that a session in `cwd` works on; `None` when neither a repository nor a folder is known.
#[must_use]
pub fn key(cwd: Option<&str>, repo: Option<&Repo>) -> Option<String> {
    let by_repo =
        repo.and_then(|repo| repo.remote.as_deref().and_then(|remote| remote_key(remote, &repo.root)).or_else(|| folder(&repo.root)));
    let key = by_repo.or_else(|| cwd.and_then(folder))?;
    // Paths come as NFC from one system and as NFD from another; what a terminal would obey has no place in a key.
    Some(Foreign::new(key.nfc().collect::<String>()).plain())
}

/// The aliases that people have made: one hop, never chained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases {
    by_from: BTreeMap<String, (Stamp, ActId, String)>,
}

impl Aliases {
    /// Learns that what is listed under `from` belongs to `to`; of several for one `from` the highest (at, id) counts.
    /// Whether this one does now.
    pub fn learn(&mut self, from: &str, to: &str, at: Stamp, id: ActId) -> bool {
        let new = (at, id, to.to_owned());
        let counts = self.by_from.get(from).is_none_or(|old| *old < new);
        if counts {
            self.by_from.insert(from.to_owned(), new);
        }
        counts
    }

    /// The project that `key` belongs to: its alias, else itself.
    #[must_use]
    pub fn aliased<'a>(&'a self, key: &'a str) -> &'a str {
        self.by_from.get(key).map_or(key, |(_, _, to)| to)
    }
}

/// A remote's key, or `None` when it names no place (an `ext::` command, a url without a path).
fn remote_key(remote: &str, root: &str) -> Option<String> {
    let remote = remote.trim();
    // `helper::address` hands the address to a program; only an address that is a url still says where.
    let remote = remote
        .split_once("::")
        .filter(|(helper, _)| helper.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        .map_or(Some(remote), |(_, address)| address.contains("://").then_some(address))?;
    match remote.split_once("://") {
        Some((scheme, rest)) => url_key(scheme, rest),
        None => scp_key(remote).unwrap_or_else(|| directory(remote, root)),
    }
}

/// `scheme://user:token@host:port/path?query`.
fn url_key(scheme: &str, rest: &str) -> Option<String> {
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit('@').next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("file") && (host.is_empty() || host.eq_ignore_ascii_case("localhost")) {
        return folder(&format!("/{path}")).map(without_git);
    }
    let (host, port) = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    // A port that is no number: a password with a `/` in it, and what follows is the rest of that password.
    let port_is_fine = port.strip_prefix(':').unwrap_or(port).bytes().all(|b| b.is_ascii_digit());
    if port_is_fine { host_and_path(host, path) } else { None }
}

/// `user@host:path`, git's short form: a colon before any slash. The outer `None`: it is not of this form.
fn scp_key(remote: &str) -> Option<Option<String>> {
    let first_slash = remote.find(['/', '\\']).unwrap_or(remote.len());
    let front = &remote[..first_slash];
    if !front.contains(':') || is_drive(remote) {
        return None;
    }
    // Up to the last `@`, so that a token typed without its `https://` goes too.
    let rest = &remote[front.rfind('@').map_or(0, |at| at + 1)..];
    let split = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once("]:"),
        None => rest.split_once([':', '/']),
    };
    Some(split.and_then(|(host, path)| host_and_path(host, path)))
}

/// `C:\x` and `C:/x` are paths.
fn is_drive(remote: &str) -> bool {
    matches!(remote.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

fn host_and_path(host: &str, path: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let host = OTHER_DOORS.iter().find(|(door, _)| *door == host).map_or(host.as_str(), |(_, house)| house);
    let path = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/");
    let path = without_git(path);
    (!host.is_empty() && !path.is_empty()).then(|| format!("{host}/{path}"))
}

/// A remote that is a directory, relative ones seen from the repository's top.
fn directory(remote: &str, root: &str) -> Option<String> {
    if remote.starts_with('/') || is_drive(remote) || remote.is_empty() {
        return folder(remote).map(without_git);
    }
    let mut parts: Vec<&str> = root.split('/').filter(|part| !part.is_empty()).collect();
    for part in remote.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    folder(&format!("/{}", parts.join("/"))).map(without_git)
}

fn without_git(path: String) -> String {
    path.strip_suffix(".git").map_or(path.as_str(), |rest| rest.trim_end_matches('/')).to_owned()
}

/// A folder's path without the slashes behind it; `None` when it is blank.
fn folder(path: &str) -> Option<String> {
    if path.trim().is_empty() {
        return None;
    }
    let cut = path.trim_end_matches('/');
    Some(if cut.is_empty() { "/".to_owned() } else { cut.to_owned() })
}
