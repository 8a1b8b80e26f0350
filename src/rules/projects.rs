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

/// Bytes of a path that can be one (`PATH_MAX` of Linux); what is longer is no place and no key.
const PATH_BYTES_MAX: usize = 4096;
/// Hosts that the forges document as other doors to the same repositories, for networks that block port 22.
const OTHER_DOORS: [(&str, &str); 3] =
    [("ssh.github.com", "github.com"), ("altssh.gitlab.com", "gitlab.com"), ("altssh.bitbucket.org", "bitbucket.org")];

/// The key of the project that a session in `cwd` works on; `None` when neither a repository nor a folder is known.
#[must_use]
pub fn key(cwd: Option<&str>, repo: Option<&Repo>) -> Option<String> {
    let remote = repo.and_then(|repo| remote_key(repo.remote.as_deref()?, &repo.root));
    let key = remote.or_else(|| repo.and_then(|repo| folder(&repo.root))).or_else(|| cwd.and_then(folder))?;
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
    let address = address(remote.trim())?;
    if let Some((scheme, rest)) = address.split_once("://") {
        return url_key(scheme, rest);
    }
    let front = address.split(['/', '\\']).next().unwrap_or_default();
    if front.contains([':', '@']) && !is_drive(address) { short_key(address) } else { directory(address, root) }
}

/// What stands behind `helper::`, if that is a url and so still says where; all of it, if there is no helper.
fn address(remote: &str) -> Option<&str> {
    let is_helper = |front: &str| !front.is_empty() && front.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match remote.split_once("::") {
        Some((helper, address)) if is_helper(helper) => address.contains("://").then_some(address),
        Some(_) | None => Some(remote),
    }
}

/// `scheme://user:token@host:port/path?query`.
fn url_key(scheme: &str, rest: &str) -> Option<String> {
    if let Some(path) = rest.strip_prefix("localhost").unwrap_or(rest).strip_prefix('/').filter(|_| scheme.eq_ignore_ascii_case("file")) {
        return repository(&format!("/{path}"));
    }
    let (authority, path) = without_user(rest).split_once('/')?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port_is_fine = port.strip_prefix(':').unwrap_or(port).bytes().all(|b| b.is_ascii_digit());
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if port_is_fine { host_and_path(host, path) } else { None }
}

/// `user@host:path`, git's short form: a colon before any slash; and, so that a token typed without its `https://` goes
/// too, `user:token@host/path`.
fn short_key(address: &str) -> Option<String> {
    let rest = without_user(address);
    let (host, path) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once("]:")?,
        None => rest.split_once([':', '/'])?,
    };
    host_and_path(host, path)
}

/// What stands behind the last `@`, whatever stands before it: passwords hold any character. Only `/@scope` is a name.
fn without_user(rest: &str) -> &str {
    let user = rest.rmatch_indices('@').map(|(at, _)| at).find(|at| !rest[..*at].ends_with('/'));
    user.map_or(rest, |at| &rest[at + 1..])
}

/// `C:\x` and `C:/x` are paths.
fn is_drive(address: &str) -> bool {
    matches!(address.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

fn host_and_path(host: &str, path: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let host = OTHER_DOORS.iter().find(|(door, _)| *door == host).map_or(host.as_str(), |(_, house)| house);
    let host_is_fine = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'));
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let path = without_git(parts.join("/"));
    let fits = (1..=PATH_BYTES_MAX).contains(&path.len());
    (host_is_fine && fits).then(|| format!("{host}/{path}"))
}

/// A remote that is a directory, relative ones seen from the repository's top.
fn directory(address: &str, root: &str) -> Option<String> {
    if address.starts_with('/') || is_drive(address) || address.is_empty() {
        return repository(address);
    }
    let mut parts: Vec<&str> = root.split('/').filter(|part| !part.is_empty()).collect();
    for part in address.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    repository(&format!("/{}", parts.join("/")))
}

/// The folder of a repository, whether its `.git` was named or not.
fn repository(path: &str) -> Option<String> {
    folder(&without_git(folder(path)?))
}

fn without_git(path: String) -> String {
    path.strip_suffix(".git").map_or(path.as_str(), |rest| rest.trim_end_matches('/')).to_owned()
}

/// A folder's path without the slashes behind it; `None` when it is blank, or too long to be one.
fn folder(path: &str) -> Option<String> {
    if path.trim().is_empty() || path.len() > PATH_BYTES_MAX {
        return None;
    }
    let cut = path.trim_end_matches('/');
    Some(if cut.is_empty() { "/".to_owned() } else { cut.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::{TestResult, quickcheck};

    fn repo(remote: &str) -> Repo {
        Repo { remote: Some(remote.to_owned()), root: "/home/sam/work/demo".to_owned(), branch: None }
    }

    fn of(remote: &str) -> String {
        key(Some("/home/sam/work/demo/src"), Some(&repo(remote))).expect("a repository always has a key")
    }

    #[test]
    fn one_repository_is_one_project_however_it_is_spelled() {
        for remote in [
            "https://example.com/owner/repo",
            "https://example.com/owner/repo.git",
            "https://Example.COM/owner/repo.git/",
            "https://sam@example.com/owner/repo.git",
            "https://sam:ghp_1234@example.com:8443/owner//repo.git",
            "https://example.com./owner/repo?private_token=ghp_1234",
            "http://example.com/owner/repo.git",
            "git://example.com/owner/repo.git",
            "ssh://git@example.com/owner/repo.git",
            "ssh://git@example.com:2222/owner/repo.git",
            "git+ssh://git@example.com/owner/repo",
            "git@example.com:owner/repo.git",
            "git@EXAMPLE.com:owner/repo",
            "example.com:/owner/repo.git",
            " git@example.com:owner/repo.git\n",
            "sam:ghp_1234@example.com/owner/repo",
            "ghp_1234@example.com/owner/repo",
            "gcrypt::ssh://git@example.com/owner/repo",
        ] {
            assert_eq!(of(remote), "example.com/owner/repo", "{remote}");
        }
    }

    #[test]
    fn what_differs_stays_apart() {
        assert_eq!(of("git@example.com:owner/Repo"), "example.com/owner/Repo", "servers may tell case apart");
        assert_eq!(of("git@example.com:2222/repo"), "example.com/2222/repo", "the short form has no ports");
        assert_eq!(of("ssh://git@[2001:DB8::1]:22/owner/repo"), "2001:db8::1/owner/repo");
        assert_eq!(of("git@[2001:db8::1]:owner/repo"), "2001:db8::1/owner/repo");
        assert_eq!(of("https://git.example.com/~sam/repo"), "git.example.com/~sam/repo");
        assert_eq!(of("https://example.com/@scope/repo"), "example.com/@scope/repo");
        assert_eq!(of("ssh://git@ssh.github.com:443/owner/repo.git"), of("https://github.com/owner/repo"));
    }

    #[test]
    fn a_remote_may_be_a_directory() {
        for remote in ["/srv/git/x.git", "/srv/git/x/", "file:///srv/git/x.git", "file://localhost/srv/git/x", "/srv/git/x/.git"] {
            assert_eq!(of(remote), "/srv/git/x", "{remote}");
        }
        assert_eq!(of("../x.git"), "/home/sam/work/x");
        assert_eq!(of("../../../../../x"), "/x");
        assert_eq!(of("C:\\git\\x"), "C:\\git\\x");
        assert_eq!(of("file://nas/share/x.git"), "nas/share/x");
    }

    #[test]
    fn without_a_remote_that_says_where_it_is_the_root_and_without_that_the_folder() {
        for remote in [
            "",
            "  ",
            "https://",
            "https://example.com",
            "https://example.com/",
            "ext::sh -c 'ssh %S'",
            "git@example.com:",
            "https://a b/c",
            "https://example.com:port/x",
            "/.git",
        ] {
            assert_eq!(of(remote), "/home/sam/work/demo", "{remote}");
        }
        let bare = Repo { remote: None, root: "/home/sam/work/demo/".into(), branch: None };
        assert_eq!(key(Some("/x"), Some(&bare)).as_deref(), Some("/home/sam/work/demo"));
        assert_eq!(key(Some("/srv/demo//"), None).as_deref(), Some("/srv/demo"));
        assert_eq!(key(Some("/"), None).as_deref(), Some("/"));
        assert_eq!(key(Some(" "), None), None);
        assert_eq!(key(Some(&"/x".repeat(PATH_BYTES_MAX)), None), None);
        assert_eq!(key(None, None), None);
        assert_ne!(key(Some("/a/lap"), None), key(Some("/a/laptop"), None));
        assert_eq!(key(Some("/a/e\u{301}"), None), key(Some("/a/\u{e9}"), None), "macOS decomposes names");
    }

    #[test]
    fn an_alias_is_one_hop_and_the_latest_word_counts_in_any_order() {
        let learn =
            |aliases: &mut Aliases, from: &str, to: &str, at: i64| aliases.learn(from, to, Stamp::at(at), ActId::of(&[to.as_bytes()]));
        let (mut one, mut other) = (Aliases::default(), Aliases::default());
        assert!(learn(&mut one, "a", "b", 1) && learn(&mut one, "b", "c", 2) && learn(&mut one, "a", "d", 3));
        assert!(!learn(&mut one, "a", "b", 1));
        assert!(learn(&mut other, "a", "d", 3) && !learn(&mut other, "a", "b", 1) && learn(&mut other, "b", "c", 2));
        assert_eq!(one, other);
        assert_eq!((one.aliased("a"), one.aliased("b"), one.aliased("c")), ("d", "c", "c"));
        assert!(learn(&mut one, "a", "b", 4));
        assert_eq!(one.aliased("a"), "b", "never chained on to c");
        assert!(learn(&mut one, "a", "a", 5));
        assert_eq!(one.aliased("a"), "a", "an alias to itself takes the alias back");
    }

    quickcheck! {
        fn no_credential_is_ever_part_of_a_key(noise: u64, user: String, shape: u8, slashed: bool) -> TestResult {
            let token = format!("ghp_{noise:016x}");
            if user.contains(['/', '\\']) {
                return TestResult::discard();
            }
            let secret = if slashed { format!("4{token}/{token}") } else { token.clone() };
            let remote = match shape % 8 {
                0 => format!("https://{user}:{secret}@example.com/owner/repo.git"),
                1 => format!("https://{secret}@example.com/owner/repo.git"),
                2 => format!("ssh://{user}:{secret}@example.com:22/owner/repo"),
                3 => format!("{user}:{secret}@example.com/owner/repo"),
                4 => format!("{user}:{secret}@example.com:owner/repo"),
                5 => format!("https:/{user}:{secret}@example.com/owner/repo"),
                6 => format!("https://example.com/owner/repo?token={secret}"),
                _ => format!("https://example.com/owner/repo#{secret}"),
            };
            let key = of(&remote);
            TestResult::from_bool(!key.contains(&token) && !key.contains("ghp_"))
        }

        fn no_address_panics_and_every_repository_has_a_key(remote: String, root: String, cwd: String) -> bool {
            let repo = Repo { remote: Some(remote), root: format!("/{root}"), branch: None };
            key(Some(&cwd), Some(&repo)).is_some_and(|key| !key.is_empty() && !key.chars().any(char::is_control))
        }

        fn a_key_does_not_depend_on_where_the_repository_is(host: u16, path: Vec<u16>, root: String, cwd: String) -> bool {
            let path: Vec<String> = path.iter().map(|part| format!("p{part}")).collect();
            let path = format!("x/{}", path.join("/"));
            let here = Repo { remote: Some(format!("git@h{host}:{path}.git")), root, branch: None };
            let there = Repo { remote: Some(format!("https://H{host}/{path}/")), root: "/elsewhere".into(), branch: None };
            key(Some(&cwd), Some(&here)) == key(None, Some(&there))
        }
    }
}
