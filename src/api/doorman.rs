//! Who may come in: decided from the head of a request alone, before any route is looked for (INTERFACE §4, rules 2–5 and 7).
//!
//! The invariant: no web page can read or act through the local page. A page is known by its `Host` (DNS rebinding), by its
//! `Origin` and by `Sec-Fetch-Site`; what is none of ours gets 403 and no permission of any kind, and no answer ever carries a
//! CORS header. Whether a door takes writes is a property of the door, not of a route.

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Uri};

use super::problem::Problem;

/// The control socket's name in the run directory.
pub(crate) const SOCKET_NAME: &str = "ctl.sock";
/// The only `Host` that the control socket answers to.
pub(crate) const SOCKET_HOST: &str = "hubless";
/// Names the agent that acts.
pub(crate) const AGENT_HEADER: &str = "x-hubless-agent";
/// The same key on the same device is the same action.
pub(crate) const KEY_HEADER: &str = "idempotency-key";
/// The page that other sites may link to.
const PAGE: &str = "/sync";

/// One of the two doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Loopback TCP: every account of this machine and every browser can knock here. It reads.
    Loopback,
    /// The unix socket: only this user's processes. It takes everything.
    Socket,
}

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

impl Door {
    /// Lets a request in, or says why not. `socket` is where the control socket is, for the fix.
    pub(crate) fn admit(self, head: Head<'_>, socket: &str) -> Result<(), Problem> {
        match self {
            Door::Loopback => loopback(head, socket),
            Door::Socket => control(head),
        }
    }
}

fn loopback(head: Head<'_>, socket: &str) -> Result<(), Problem> {
    let host = the_host(head).filter(|host| is_local(host));
    let Some(host) = host else {
        let detail = "this address answers only as localhost, *.localhost, 127.0.0.1 and [::1]";
        return Err(Problem::new(403, "foreign-host", detail).because("a web page may have pointed its own name here (DNS rebinding)"));
    };
    if let Some(origin) = head.headers.get(header::ORIGIN)
        && !is_own_origin(origin, &host)
    {
        return Err(foreign_page("it carries the Origin of another page"));
    }
    if !site_is_fine(head) {
        return Err(foreign_page("its Sec-Fetch-Site is another site's"));
    }
    if !matches!(*head.method, Method::GET | Method::HEAD) {
        let path = head.uri.path();
        let body = if *head.method == Method::POST { " --json '{…}'" } else { "" };
        let mut problem = Problem::new(405, "method-not-allowed", "this door takes GET and HEAD only; the control socket takes the rest")
            .fix(format!("curl --unix-socket {socket} http://{SOCKET_HOST}{path}{body}"));
        problem.allow = Some("GET, HEAD");
        return Err(problem);
    }
    Ok(())
}

fn control(head: Head<'_>) -> Result<(), Problem> {
    if the_host(head).as_deref() != Some(SOCKET_HOST) {
        return Err(Problem::new(403, "foreign-host", "the control socket answers only to the Host “hubless”")
            .fix("curl --unix-socket … http://hubless/…"));
    }
    let from_page = |name: &HeaderName| *name == header::ORIGIN || *name == header::REFERER || name.as_str().starts_with("sec-fetch-");
    if head.headers.keys().any(from_page) {
        return Err(foreign_page("it carries what only browsers send: Origin, Referer or Sec-Fetch-*"));
    }
    Ok(())
}

fn foreign_page(cause: &str) -> Problem {
    Problem::new(403, "foreign-page", "web pages of others may neither read nor act here").because(cause)
}

/// The one host that the request names, in lower case; `None` when it names none, several, or two that differ.
fn the_host(head: Head<'_>) -> Option<String> {
    let mut named = head.headers.get_all(header::HOST).iter();
    let host = named.next()?.to_str().ok()?.to_ascii_lowercase();
    if named.next().is_some() {
        return None;
    }
    match head.uri.authority() {
        Some(target) if !target.as_str().eq_ignore_ascii_case(&host) => None,
        _ => Some(host),
    }
}

/// Whether a `Host` (in lower case, with any port: tunnels remap ports) is one of loopback's names. Names of the LAN are not:
/// mDNS can spoof them.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match name {
        "localhost" | "127.0.0.1" | "[::1]" => true,
        _ => name.strip_suffix(".localhost").is_some_and(|front| front.split('.').all(label)),
    }
}

/// Whether an `Origin` is the page that this very door serves under this very name and port.
fn is_own_origin(origin: &HeaderValue, host: &str) -> bool {
    let origin = origin.to_str().map(str::to_ascii_lowercase).unwrap_or_default();
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host)
}

/// Whether the browser says that the request comes from our own page, from the address bar, or is a link to the page that a
/// person followed. What sends no such header is no browser of this decade, and its `Origin` was looked at.
fn site_is_fine(head: Head<'_>) -> bool {
    let all = |name: &str| head.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect::<Vec<_>>();
    match all("sec-fetch-site").as_slice() {
        [] | ["same-origin" | "none"] => true,
        [_] => head.uri.path() == PAGE && all("sec-fetch-mode") == ["navigate"] && all("sec-fetch-dest") == ["document"],
        _ => false,
    }
}

/// What every answer of either door carries (rule 7).
pub(crate) fn guard(headers: &mut HeaderMap) {
    const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                       base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn knock(door: Door, method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), value.parse().expect("a value"));
        }
        let (method, uri) = (method.parse().expect("a method"), target.parse().expect("a target"));
        let head = Head { method: &method, uri: &uri, headers: &map };
        door.admit(head, "/run/ctl.sock").map_or_else(|problem| problem.status, |()| 200)
    }

    #[test]
    fn names_of_loopback_are_known_in_any_spelling() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "localhost:4825",
            "LocalHost.:80",
            "127.0.0.1",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:4825",
            "page.localhost",
            "a.b-c.localhost:3000",
        ] {
            assert_eq!(knock(Door::Loopback, "GET", "/sync", &[("host", host)]), 200, "{host}");
        }
    }

    #[test]
    fn names_that_others_can_point_here_are_refused() {
        for host in [
            "",
            ":",
            ":4825",
            "evil.test",
            "evil.test:4825",
            "localhost.evil.test",
            "evillocalhost",
            ".localhost",
            "a..localhost",
            "evil.test.localhost.evil.test",
            "127.0.0.1.nip.io",
            "127.0.0.2",
            "0.0.0.0",
            "[::]",
            "::1",
            "[::ffff:127.0.0.1]",
            "2130706433",
            "mac-mini.local",
            "localhost@evil.test",
            "evil.test@localhost",
            "localhost:4825@evil.test",
            "localhost:",
            "localhost:x",
            "localhost:123456",
            "localhost..",
            "127.0.0.1/x",
            "hubless",
            "ab cd.localhost",
        ] {
            assert_eq!(knock(Door::Loopback, "GET", "/sync", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(knock(Door::Loopback, "GET", "/sync", &[]), 403, "no host");
        assert_eq!(knock(Door::Loopback, "GET", "/sync", &[("host", "localhost"), ("host", "evil.test")]), 403, "two hosts");
        assert_eq!(knock(Door::Loopback, "GET", "http://evil.test/sync", &[("host", "localhost")]), 403, "another target");
    }

    #[test]
    fn another_page_is_known_by_its_origin_and_its_site() {
        let local = ("host", "localhost:4825");
        let from = |headers: &[(&str, &str)]| knock(Door::Loopback, "GET", "/api/v3/overview", &[&[local], headers].concat());
        for origin in [
            "https://evil.test",
            "null",
            "",
            "http://localhost:3000",
            "http://localhost",
            "http://127.0.0.1:4825",
            "file://",
            "http://localhost:4825.evil.test",
            "ws://localhost:4825",
            "chrome-extension://abc",
        ] {
            assert_eq!(from(&[("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(from(&[("origin", "http://localhost:4825")]), 200);
        assert_eq!(from(&[("origin", "HTTP://LOCALHOST:4825")]), 200);
        for (site, status) in
            [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("", 403), ("Same-Origin", 403)]
        {
            assert_eq!(from(&[("sec-fetch-site", site)]), status, "{site}");
        }
        assert_eq!(from(&[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]), 403, "two sites");
    }

    #[test]
    fn only_a_link_that_a_person_follows_to_the_page_comes_from_another_site() {
        let link = |path: &str, mode: &str, dest: &str| {
            let headers = [("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
            knock(Door::Loopback, "GET", path, &headers)
        };
        assert_eq!(link("/sync", "navigate", "document"), 200);
        for (path, mode, dest) in [
            ("/sync", "navigate", "iframe"),
            ("/sync", "no-cors", "image"),
            ("/sync", "cors", "empty"),
            ("/api/v3/overview", "navigate", "document"),
            ("/sync/", "navigate", "document"),
            ("/", "navigate", "document"),
            ("/sync", "navigate", "object"),
        ] {
            assert_eq!(link(path, mode, dest), 403, "{path} {mode} {dest}");
        }
    }

    #[test]
    fn loopback_only_reads_and_says_where_to_write() {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"] {
            assert_eq!(knock(Door::Loopback, method, "/v2/sessionState", &[("host", "localhost")]), 405, "{method}");
            assert_eq!(knock(Door::Loopback, method, "/v2/sessionState", &[("host", "evil.test")]), 403, "{method}, foreign host first");
        }
        assert_eq!(knock(Door::Loopback, "HEAD", "/sync", &[("host", "localhost")]), 200);
        let (method, uri, mut headers) = (Method::POST, Uri::from_static("/v2/sessionState"), HeaderMap::new());
        headers.insert("host", HeaderValue::from_static("localhost"));
        let problem = Door::Loopback.admit(Head { method: &method, uri: &uri, headers: &headers }, "/run/ctl.sock").expect_err("a write");
        assert_eq!(problem.allow, Some("GET, HEAD"));
        assert_eq!(problem.fix.as_deref(), Some("curl --unix-socket /run/ctl.sock http://hubless/v2/sessionState --json '{…}'"));
    }

    #[test]
    fn the_socket_takes_everything_from_programs_and_nothing_from_pages() {
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(knock(Door::Socket, method, "/x", &[("host", "hubless")]), 200, "{method}");
        }
        for host in ["localhost", "127.0.0.1", "hubless:80", "hubless.", "evil.test", ""] {
            assert_eq!(knock(Door::Socket, "GET", "/x", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(knock(Door::Socket, "GET", "/x", &[]), 403, "no host");
        for header in ["origin", "referer", "sec-fetch-site", "sec-fetch-mode", "Sec-Fetch-Dest", "sec-fetch-user", "sec-fetch-anything"] {
            assert_eq!(knock(Door::Socket, "POST", "/x", &[("host", "hubless"), (header, "same-origin")]), 403, "{header}");
        }
    }

    quickcheck! {
        fn no_name_outside_the_list_is_let_in(host: String) -> bool {
            let shown = host.to_ascii_lowercase();
            !is_local(&shown) || shown.contains("localhost") || shown.contains("127.0.0.1") || shown.contains("[::1]")
        }
    }
}
