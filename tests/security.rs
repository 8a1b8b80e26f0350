//! The security rules of the local API, each by its number, against a real daemon: what other accounts, web pages and programs of this
//! machine can try, and what comes of it.
//!
//! The rules stand in `docs/security.md`. What only a browser can show (no breach of the policy, nothing alive in what agents write) is in
//! `page.rs`; every spelling of a forged head is in `src/api/doorman.rs` and `src/api/listen.rs`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::pictures::transcript;
use crate::support::{Answer, Daemon, Home, Lan, SOON, Since, eventually, exchange, hubless, skipped, text, wall_ms};

/// `127.0.0.1:PORT` of the page.
fn address(home: &Home) -> String {
    home.url().expect("an address").trim_start_matches("http://").to_owned()
}

/// One request at the loopback door.
#[track_caller]
fn knock(address: &str, host: &str, method: &str, target: &str, headers: &str) -> Answer {
    let stream = TcpStream::connect(address).expect("a door");
    stream.set_read_timeout(Some(SOON)).expect("set");
    exchange(stream, host, method, target, headers, b"").unwrap_or_else(|| panic!("no answer to {method} {target}"))
}

/// Every route that the daemon says it has, with something in place of what stands in braces.
fn routes(daemon: &Daemon<'_>, method: &str) -> Vec<String> {
    let told = daemon.ask("GET", "/openapi.json", "", "").json();
    let paths = told["paths"].as_object().expect("paths");
    let of = paths.iter().filter(|(_, item)| item.get(method).is_some());
    let filled = |path: &String| path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
    of.map(|(path, _)| filled(path)).collect()
}

/// The addresses on which anybody of this machine listens at that port (Linux: proc(5), `/proc/net/tcp`, state 0A).
fn listening(port: u16) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).ok()?.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (host, at) = columns.get(1)?.split_once(':')?;
            if columns.get(3) != Some(&"0A") || u16::from_str_radix(at, 16).ok()? != port {
                continue;
            }
            let words = host.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
            let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
            found.push(match <[u8; 4]>::try_from(bytes.as_slice()) {
                Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
                Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
            });
        }
    }
    Some(found)
}

/// An address of this machine that is not loopback's, when it has one. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn rule_1_the_page_listens_on_loopback_alone_and_no_setting_moves_it() {
    let mut home = Lan::new().home("laptop");
    home.config("[http]\nhost = \"0.0.0.0\"\nbind = \"0.0.0.0\"\naddress = \"::\"\n");
    home.set("HUBLESS_HTTP_HOST", "0.0.0.0");
    let _daemon = home.up();
    let address: SocketAddr = address(&home).parse().expect("an address");
    assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
    if let Some(found) = listening(address.port()) {
        assert!(found.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)) && found.iter().all(IpAddr::is_loopback), "{found:?}");
    }
    if let Some(own) = own_address() {
        let refused = TcpStream::connect_timeout(&SocketAddr::new(own, address.port()), Duration::from_secs(2));
        assert!(refused.is_err(), "the page answers at {own}");
    }
    let said = home.said();
    assert!(said.contains("http.host") && said.contains("http.bind"), "a setting that does not exist is said to be none: {said}");
}

#[test]
fn rule_2_only_names_of_loopback_are_answered_before_any_route_is_looked_for() {
    let home = Lan::new().home("laptop");
    let _daemon = home.up();
    let address = address(&home);
    let port = address.rsplit(':').next().expect("a port");
    for host in ["localhost", "LOCALHOST.", "page.localhost", "127.0.0.1", "[::1]", "localhost:1", &address] {
        assert_eq!(knock(&address, host, "GET", "/sync", "").status, 200, "{host}");
    }
    let device = "laptop";
    for host in [
        "evil.test",
        &format!("evil.test:{port}"),
        &format!("{device}.local"),
        device,
        "0.0.0.0",
        "127.0.0.1.nip.io",
        "localhost.evil.test",
        "",
    ] {
        for target in ["/sync", "/no/such/route"] {
            let answer = knock(&address, host, "GET", target, "");
            assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("foreign-host")), "{host} {target}");
        }
    }
}

#[test]
fn rule_3_loopback_takes_get_and_head_alone_whatever_the_route() {
    let home = Lan::new().home("laptop");
    let daemon = home.up();
    let address = address(&home);
    let written = routes(&daemon, "post");
    assert!(written.len() > 20, "{written:?}");
    for target in written.iter().map(String::as_str).chain(["/sync", "/no/such/route"]) {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let answer = knock(&address, "localhost", method, target, "");
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {target}");
            let line = format!("curl --unix-socket {} http://hubless{target}", home.root().join("run/ctl.sock").display());
            assert!(text(&answer.json(), "fix").starts_with(&line), "it says where: {}", answer.text());
        }
    }
    for target in routes(&daemon, "get") {
        if target == "/api/v3/events" {
            continue;
        }
        let (get, head) = (knock(&address, "localhost", "GET", &target, ""), knock(&address, "localhost", "HEAD", &target, ""));
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{target}");
    }
    assert_eq!(daemon.rows("/api/v3/todos?all=1"), Vec::<Value>::new(), "and nothing was done");
}

#[test]
fn rule_4_no_other_page_reads_and_no_answer_permits_it() {
    let home = Lan::new().home("laptop");
    let daemon = home.up();
    let address = address(&home);
    let mut targets = routes(&daemon, "get");
    targets.retain(|target| target != "/api/v3/events");
    let foreign = [
        "origin: https://evil.test\r\n",
        "origin: null\r\n",
        "origin: http://localhost:3000\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
        "sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\nsec-fetch-dest: image\r\n",
    ];
    for target in &targets {
        for headers in foreign {
            let answer = knock(&address, &address, "GET", target, headers);
            assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("foreign-page")), "{target} {headers}");
            permits_nothing(&answer);
        }
        permits_nothing(&knock(&address, &address, "GET", target, ""));
        let own = format!("origin: http://{address}\r\nsec-fetch-site: same-origin\r\n");
        let answer = knock(&address, &address, "GET", target, &own);
        assert_ne!(answer.json_code(), Some("foreign-page".to_owned()), "{target}");
        permits_nothing(&answer);
    }
    let link = "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    assert_eq!(knock(&address, &address, "GET", "/sync", link).status, 200, "a link that a person follows");
    assert_eq!(knock(&address, &address, "GET", "/api/v3/todos", link).status, 403);
    let asks = "origin: https://evil.test\r\naccess-control-request-method: POST\r\naccess-control-request-headers: x\r\n";
    let answer = knock(&address, &address, "OPTIONS", "/api/v3/todos", asks);
    assert!(answer.status == 403 || answer.status == 405, "{}", answer.status);
    permits_nothing(&answer);
}

impl Answer {
    /// The reason that a problem gives, when this is one.
    fn json_code(&self) -> Option<String> {
        serde_json::from_slice::<Value>(&self.body).ok()?["code"].as_str().map(str::to_owned)
    }
}

#[track_caller]
fn permits_nothing(answer: &Answer) {
    assert!(!answer.head.to_lowercase().contains("access-control-"), "{}", answer.head);
}

#[test]
fn rule_5_the_socket_is_this_users_alone_and_refuses_pages() {
    let home = Lan::new().home("laptop");
    let daemon = home.up();
    let run = home.root().join("run");
    let socket = run.join("ctl.sock");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&run), mode(&socket)), (0o700, 0o600));
    for headers in ["origin: http://hubless\r\n", "referer: http://hubless/\r\n", "sec-fetch-site: none\r\n", "sec-fetch-mode: cors\r\n"] {
        assert_eq!(daemon.ask("GET", "/api/v3/todos", headers, "").status, 403, "{headers}");
    }
    for host in ["localhost", "127.0.0.1", "hubless.", "evil.test"] {
        let stream = std::os::unix::net::UnixStream::connect(&socket).expect("the socket");
        assert_eq!(exchange(stream, host, "GET", "/healthz", "", b"").expect("an answer").status, 403, "{host}");
    }
    another_user(&home, &daemon);
}

/// Should the modes ever be opened by somebody, the peer's uid is looked at all the same.
fn another_user(home: &Home, daemon: &Daemon<'_>) {
    const NOBODY: u32 = 65_534;
    let test = "rule_5_the_socket_is_this_users_alone_and_refuses_pages";
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/curl").exists() {
        return skipped(test, "the part of another user needs root and curl");
    }
    let run = home.root().join("run");
    for dir in [&home.at(""), &home.root(), &run] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("opened");
    }
    std::fs::set_permissions(run.join("ctl.sock"), std::fs::Permissions::from_mode(0o666)).expect("opened");
    let ask = |uid: u32| {
        use std::os::unix::process::CommandExt;
        let socket = run.join("ctl.sock").display().to_string();
        let mut curl = home.command("/usr/bin/curl", &["-sS", "-m", "5", "--unix-socket", &socket, "http://hubless/healthz"]);
        let out = curl.uid(uid).gid(uid).current_dir("/").output().expect("curl runs");
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    assert_eq!(ask(0), (true, "{\"status\":\"OK\"}".to_owned()), "its own user");
    assert_eq!(ask(NOBODY), (false, String::new()), "another one");
    eventually(SOON, "the knock is in the log", || home.said().contains("another user knocked").then_some(()));
    assert_eq!(daemon.get("/api/v3/overview")["source"], "daemon");
}

/// Other accounts can connect to loopback: what may be read there has no text of a transcript but its title, and no export.
#[test]
fn rule_6_no_text_of_a_transcript_leaves_by_loopback() {
    let home = Lan::new().home("laptop");
    transcript(&home, "web", 1, (wall_ms(), 30, 30), "The title of it");
    let path = home.claude().join("projects/-work-web/5c0e1f2a-0000-4000-8000-000000000001.jsonl");
    let said = std::fs::read_to_string(&path).expect("the transcript");
    home.write(&path, said.replace("\"text\":\"done\"", "\"text\":\"MARKER the model said\""));
    let daemon = home.up();
    let session =
        eventually(SOON, "the session is read", || daemon.rows("/api/v3/sessions").pop().filter(|row| row["title"] != Value::Null));
    let (address, id) = (address(&home), text(&session, "id").to_owned());
    let mut targets: Vec<String> = routes(&daemon, "get").into_iter().filter(|target| target != "/api/v3/events").collect();
    targets.extend([
        format!("/api/v3/sessions/{id}"),
        format!("/sync/sessions/{id}"),
        format!("/api/session/{id}"),
        "/sync/sessions".into(),
    ]);
    targets.extend([
        format!("/api/v3/sessions/{id}/entries"),
        format!("/api/v3/sessions/{id}/entries?after=0"),
        "/api/v3/search?q=MARKER".into(),
    ]);
    for target in &targets {
        let answer = knock(&address, &address, "GET", target, "");
        assert!(!answer.text().contains("the model said"), "{target}: {}", answer.text());
    }
    assert!(
        knock(&address, &address, "GET", &format!("/sync/sessions/{id}"), "").text().contains("The title of it"),
        "the overview is open"
    );
    for target in [format!("/api/v3/sessions/{id}/entries"), "/api/v3/search?q=MARKER".into(), "/api/v3/export".into()] {
        let status = knock(&address, &address, "GET", &target, "").status;
        assert!(status == 404 || status == 403, "{target}: {status}");
    }
}

#[test]
fn rule_7_every_answer_of_both_doors_carries_the_headers() {
    let home = Lan::new().home("laptop");
    let daemon = home.up();
    let address = address(&home);
    // Until its start is over, what is shown changes.
    let unchanged = eventually(SOON, "nothing changes", || {
        let tag = knock(&address, &address, "GET", "/api/v3/todos", "").header("etag").expect("a tag").to_owned();
        let answer = knock(&address, &address, "GET", "/api/v3/todos", &format!("if-none-match: {tag}\r\n"));
        (answer.status == 304).then_some(answer)
    });
    let mut answers = vec![
        (200, knock(&address, &address, "GET", "/sync", "")),
        (304, unchanged),
        (400, knock(&address, &address, "GET", "/v2/deviceSessions", "")),
        (403, knock(&address, "evil.test", "GET", "/sync", "")),
        (404, knock(&address, &address, "GET", "/no/such/route", "")),
        (404, knock(&address, &address, "GET", "/sync/todos/t-zzzz", "")),
        (405, knock(&address, &address, "POST", "/api/v3/todos", "")),
        (200, daemon.ask("GET", "/api/v3/overview", "", "")),
        (201, daemon.post("/api/v3/todos", &json!({"content": "x"}))),
        (400, daemon.post("/api/v3/todos", &json!({}))),
        (403, daemon.ask("GET", "/", "origin: x\r\n", "")),
    ];
    answers.extend(routes(&daemon, "get").into_iter().filter(|target| target != "/api/v3/events").map(|target| {
        let answer = knock(&address, &address, "GET", &target, "");
        (answer.status, answer)
    }));
    for (status, answer) in answers {
        assert_eq!(answer.status, status, "{}", answer.head);
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}: {}", answer.head);
        }
    }
}

/// In the markup that the server writes; `page.rs` looks at the same in a browser.
#[test]
fn rule_8_what_agents_write_is_text_in_every_answer_and_the_script_makes_no_markup() {
    const EVIL: &str = "<img src=x onerror=alert(1)>\"'</script><script>alert(1)</script> **bold** [x](javascript:alert(1)) \u{1b}[31m";
    let home = Lan::new().home("laptop");
    let daemon = home.up();
    let added = daemon.post("/api/v3/todos", &json!({"content": EVIL, "project": format!("x {}", EVIL.replace('/', ""))}));
    assert_eq!(added.status, 201, "{}", added.text());
    let todo = added.json()["data"].clone();
    let beat = json!({"agent": EVIL, "task": EVIL, "note": EVIL, "file": EVIL, "state": "waiting"});
    assert_eq!(daemon.post("/api/v3/beats", &beat).status, 200);
    let address = address(&home);
    let ids = (text(&todo, "id").to_owned(), text(&daemon.rows("/api/v3/sessions")[0], "id").to_owned());
    for path in [
        "/sync",
        "/sync/agents",
        "/sync/todos",
        "/sync/sessions",
        "/sync/projects",
        &format!("/sync/todos/{}", ids.0),
        &format!("/sync/sessions/{}", ids.1),
    ] {
        let page = knock(&address, &address, "GET", path, "").text();
        assert!(page.contains("&lt;img src=x onerror"), "{path} shows it");
        assert!(
            !page.contains("<img") && !page.contains("<script>") && !page.contains("href=\"javascript") && !page.contains('\u{1b}'),
            "{path}"
        );
        assert!(page.contains("**bold**"), "{path} makes no markup of it");
    }
    let script = include_str!("../src/api/page/page.js");
    for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "setHTML", "javascript:"] {
        assert!(!script.contains(way), "the script makes markup of text: {way}");
    }
}

/// Takes over 10 s, because a head may take 10 s.
#[test]
fn rule_9_connections_streams_heads_bodies_and_patience_are_limited() {
    let home = Lan::new().home("laptop");
    let daemon = home.up();
    let address = address(&home);
    let large = format!("x: {}\r\n", "y".repeat(16 * 1024));
    assert_eq!(knock(&address, &address, "GET", "/sync", &large).status, 431);
    let body = |bytes: usize| json!({"agent": "sam", "task": "x", "metadata": {"y": "z".repeat(bytes)}}).to_string();
    let answer = daemon.ask("POST", "/api/v3/beats", "", body(1024 * 1024));
    assert_eq!((answer.status, answer.json_code().as_deref()), (413, Some("too-large")));
    assert_eq!(daemon.ask("POST", "/api/v3/beats", "", body(1024)).status, 200);
    let streams: Vec<TcpStream> = (0..16).map(|_| stream(&address)).collect();
    let answer = knock(&address, &address, "GET", "/api/v3/events", "");
    assert_eq!((answer.status, answer.json_code().as_deref()), (503, Some("too-many-streams")));
    drop(streams);
    eventually(SOON, "a place is free again", || (stream_status(&address) == 200).then_some(()));

    let begun = Since::now();
    let held: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(&address).expect("taken")).collect();
    let mut one = &held[0];
    one.write_all(b"GET /sync HTTP/1.1\r\nhost: local").expect("the beginning of a head");
    let mut next = TcpStream::connect(&address).expect("it waits");
    next.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("asked");
    next.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
    let mut said = [0; 12];
    assert!(next.read(&mut said).is_err(), "64 are in, and this one waits");
    assert_eq!(daemon.ask("GET", "/healthz", "", "").status, 200, "the socket has doors of its own");
    next.set_read_timeout(Some(SOON)).expect("set");
    next.read_exact(&mut said).expect("who never finished a head is cut off");
    assert_eq!(&said, b"HTTP/1.1 200");
    assert!((Duration::from_secs(8)..Duration::from_secs(25)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

/// A stream of events that has begun.
fn stream(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a door");
    stream.set_read_timeout(Some(SOON)).expect("set");
    write!(stream, "GET /api/v3/events HTTP/1.1\r\nhost: {address}\r\n\r\n").expect("asked");
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).expect("it begins");
    assert_eq!(&begun, b"HTTP/1.1 200");
    stream
}

fn stream_status(address: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("a door");
    stream.set_read_timeout(Some(SOON)).expect("set");
    write!(stream, "GET /api/v3/events HTTP/1.1\r\nhost: {address}\r\n\r\n").expect("asked");
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).expect("an answer");
    String::from_utf8_lossy(&begun[9..]).parse().expect("a status")
}

/// A browser that knows nothing of fetch metadata, or lets a page ask for the local network, finds the same doors shut.
#[test]
fn rule_10_nothing_rests_on_what_a_browser_may_or_may_not_send() {
    let home = Lan::new().home("laptop");
    let daemon = home.up();
    let address = address(&home);
    assert_eq!(knock(&address, "evil.test", "GET", "/api/v3/todos", "").status, 403, "rebinding, without Origin and Sec-Fetch-*");
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    assert_eq!(knock(&address, &address, "POST", "/api/v3/todos", form).status, 405, "a plain form, which no preflight precedes");
    assert_eq!(knock(&address, &address, "POST", "/api/v3/todos", "content-type: text/plain\r\n").status, 405);
    let upgrade =
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    assert_ne!(knock(&address, &address, "GET", "/api/v3/events/ws", upgrade).status, 101, "no way in that browsers do not guard");
    for ask in ["access-control-request-private-network: true\r\n", "access-control-request-local-network: true\r\n"] {
        let answer = knock(&address, &address, "OPTIONS", "/api/v3/todos", &format!("{ask}access-control-request-method: POST\r\n"));
        assert_eq!(answer.status, 405, "{ask}");
        permits_nothing(&answer);
    }
    // What reads changes nothing: the same picture before and after all reading routes were asked.
    let before = daemon.get("/api/v3/overview")["data"].clone();
    for target in routes(&daemon, "get").iter().filter(|target| *target != "/api/v3/events") {
        knock(&address, &address, "GET", target, "");
    }
    assert_eq!(
        (&before["verdict"], &before["todos"]),
        (&daemon.get("/api/v3/overview")["data"]["verdict"], &daemon.get("/api/v3/overview")["data"]["todos"])
    );
}

#[test]
fn what_is_made_is_this_users_alone_whatever_umask_it_was_started_with() {
    for umask in ["0000", "0777"] {
        let home = Lan::new().home("laptop");
        let line = format!("umask {umask}; \"$0\" init --yes --no-service --no-hooks && exec \"$0\" rekey --yes");
        let made = home.command("sh", &["-c", &line, hubless()]).output().expect("sh runs");
        assert!(made.status.success(), "umask {umask}: {}", String::from_utf8_lossy(&made.stderr));
        assert!(all_below(&home.root()) > 4);
        let _daemon = home.up_by(home.command("sh", &["-c", &format!("umask {umask}; exec \"$0\" up"), hubless()]));
        assert!(all_below(&home.root()) > 8);
    }
}

/// How many files and directories there are; each is its owner's alone.
#[track_caller]
fn all_below(dir: &Path) -> usize {
    let mode = |path: &Path| std::fs::symlink_metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(dir), 0o700, "{}", dir.display());
    let entries = std::fs::read_dir(dir).expect("listed").map(|entry| entry.expect("an entry").path());
    entries.fold(0, |count, path| {
        if path.is_dir() {
            return count + 1 + all_below(&path);
        }
        // What goes while the daemon writes is nobody's.
        let is_alone = std::fs::symlink_metadata(&path).map_or(true, |meta| meta.permissions().mode() & 0o777 == 0o600);
        assert!(is_alone, "{} {:o}", path.display(), mode(&path));
        count + 1
    })
}
