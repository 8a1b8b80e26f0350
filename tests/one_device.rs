//! One daemon: how it starts, stops, refuses to start, and answers with and without its process, its index and its port.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hubless::model::tool::FOLDERS;
use serde_json::{Value, json};

use crate::support::{Answer, Daemon, Detached, Home, Lan, Ran, SOON, eventually, exchange, text};

/// `GET` over loopback, as a browser asks; `url` is `http://127.0.0.1:PORT`.
#[track_caller]
pub(crate) fn browse(url: &str, target: &str) -> Answer {
    let host = url.strip_prefix("http://").expect("an address");
    let stream = TcpStream::connect(host).expect("the page is served");
    stream.set_read_timeout(Some(SOON)).expect("set");
    exchange(stream, host, "GET", target, "", b"").expect("an answer")
}

/// Some of everything: a list of a session whose transcript names a repository, a person's todos, an agent.
fn fill(home: &Home, daemon: &Daemon<'_>) {
    home.list("dddddddd-0000-4000-8000-000000000001", &[("from a list", "in_progress"), ("and one more", "pending")]);
    home.list("dddddddd-0000-4000-8000-000000000002", &[("from another", "completed")]);
    let todo = daemon.add("from a person");
    daemon.deed(&todo, "done");
    let beat = daemon.post("/api/v3/beats", &json!({"agent": "sam", "task": "AGT-280", "state": "working"}));
    assert_eq!(beat.status, 200, "{}", beat.text());
    daemon.todo_is("and one more", "pending");
    daemon.todo_is("from another", "completed");
}

/// An answer without what is about the moment it was given.
fn timeless(mut value: Value) -> Value {
    for key in ["asOf", "source", "warnings"] {
        value.as_object_mut().expect("an envelope").remove(key);
    }
    for (rows, key) in [("sources", "listedAt"), ("sources", "lastRead"), ("ways", "lastRun")] {
        if let Some(rows) = value["data"].get_mut(rows).and_then(Value::as_array_mut) {
            rows.iter_mut().for_each(|row| row[key] = Value::Null);
        }
    }
    // What mDNS has heard so far; an overview from before its first look has none.
    if let Some(data) = value["data"].as_object_mut() {
        data.remove("network");
    }
    value
}

fn shown(daemon: &Daemon<'_>) -> Vec<Value> {
    let targets = [
        "/api/v3/overview",
        "/api/v3/todos?all=1&limit=0",
        "/api/v3/sessions?limit=0",
        "/api/v3/agents?limit=0",
        "/api/v3/conflicts?limit=0",
    ];
    targets.iter().map(|target| timeless(daemon.get(target))).collect()
}

/// What is shown once the first listing after a start has been read.
#[track_caller]
fn settled(daemon: &Daemon<'_>) -> Vec<Value> {
    eventually(SOON, "the sources were listed", || {
        let overview = daemon.get("/api/v3/overview");
        let sources = overview["data"]["sources"].as_array()?;
        (sources.len() == FOLDERS.len() && sources.iter().all(|source| !source["listedAt"].is_null())).then_some(())
    });
    shown(daemon)
}

#[test]
fn the_index_deleted_between_two_starts_changes_no_answer() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    fill(&home, &daemon);
    daemon.stop();
    // A restart says the same of an agent that nobody hears: compare one restart with another.
    let daemon = home.up();
    let before = settled(&daemon);
    let counts = || document_bytes(&home);
    let kept = counts();
    daemon.stop();
    fs::remove_dir_all(home.data().join("index")).expect("there was an index");
    let daemon = home.up();
    assert_eq!(settled(&daemon), before);
    // The mark of a file that is read again is kept after it: then the files have been read.
    home.list("dddddddd-0000-4000-8000-000000000003", &[("read after all the others", "pending")]);
    daemon.todo_is("read after all the others", "pending");
    let after = settled(&daemon);
    let old = |all: &[Value]| {
        let rows = all[1]["data"].as_array().expect("a list").iter();
        rows.filter(|todo| todo["content"] != "read after all the others").cloned().collect::<Vec<_>>()
    };
    assert_eq!(old(&after), old(&before));
    assert!(home.data().join("index").is_dir(), "it was made again");
    assert!(counts().iter().filter(|(name, _)| name.starts_with("todos")).all(|(name, bytes)| *bytes >= kept[name]), "nothing shrank");
}

fn document_bytes(home: &Home) -> std::collections::BTreeMap<String, u64> {
    let docs = home.data().join("docs");
    let mut found = std::collections::BTreeMap::new();
    let mut dirs = vec![docs.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(&docs).expect("below").to_string_lossy().into_owned();
                found.insert(name, fs::metadata(&path).expect("there").len());
            }
        }
    }
    found
}

#[test]
fn with_the_daemon_down_the_same_queries_answer_from_disk_and_writes_say_no() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    fill(&home, &daemon);
    let questions = [
        &["todos", "list", "--all", "--limit", "0"][..],
        &["todos", "ready"],
        &["todos", "conflicts"],
        &["sessions", "list"],
        &["agents"],
        &["devices"],
        &["status"],
        &["sync", "status"],
        &["status", "anna"],
    ];
    let todo = text(&daemon.todo("from a person").expect("there"), "id").to_owned();
    let up: Vec<Value> = questions.iter().map(|question| home.json(question)).collect();
    let history = home.json(&["todos", "history", &todo]);
    assert!(up.iter().all(|answer| answer["source"] == "daemon"));
    daemon.kill();
    let before = document_bytes(&home);
    for (question, live) in questions.iter().zip(&up) {
        let disk = home.json(question);
        assert_eq!((&disk["source"], &disk["schema"], &disk["device"]), (&json!("disk"), &json!(1), &json!("anna")), "{question:?}");
        assert!(disk["asOf"].is_string());
        assert_eq!(disk["total"], live["total"], "{question:?}");
        if question[0] == "todos" {
            assert_eq!(disk["data"], live["data"], "{question:?}");
        }
    }
    assert_eq!(home.json(&["todos", "history", &todo])["data"], history["data"]);
    let said = home.run(&["todos"]);
    assert!(said.err.contains("answered from disk") && said.err.contains("hubless up"), "{}", said.err);
    let writes = [
        &["todos", "add", "x"][..],
        &["todos", "done", &todo],
        &["todos", "undo", &todo],
        &["pair", "--ticket"],
        &["leave"],
        &["devices", "ping", "x"],
        &["todos", "edit", &todo, "--text", "y"],
    ];
    for write in writes {
        let ran = home.run(&[write, &["--json"]].concat());
        let problem = ran.problem();
        assert_eq!((ran.code, &problem["code"]), (4, &json!("daemon-down")), "{write:?}");
        assert_eq!(problem["fix"], "hubless up");
    }
    assert_eq!(document_bytes(&home), before, "reading from disk changes nothing there");
    // What a dead daemon left does not keep the next from starting.
    assert!(home.root().join("run/ctl.sock").exists());
    let daemon = home.up();
    assert_eq!(daemon.rows("/api/v3/todos?all=1").len(), 4);
}

#[test]
fn nothing_there_yet_is_said_with_the_command() {
    let home = Lan::new().home("anna");
    let ran = home.run(&["status", "--json"]);
    assert_eq!((ran.code, ran.problem()["fix"].as_str()), (5, Some("hubless up")));
    assert!(!home.root().exists(), "asking makes nothing");
    assert_eq!(home.run(&["down"]).code, 0, "not running is what was wanted");
    let made = home.json(&["init"]);
    let id = text(&made["data"]["device"], "id").to_owned();
    assert_eq!(home.json(&["init"])["data"]["device"]["id"], json!(id), "twice is once");
    let modes = ["data", "data/keys"].map(|dir| fs::metadata(home.root().join(dir)).expect("made").permissions().mode() & 0o777);
    assert_eq!(modes, [0o700, 0o700]);
    assert_eq!(fs::metadata(home.data().join("keys/device")).expect("the key").permissions().mode() & 0o777, 0o600);
    let daemon = home.up();
    assert_eq!(daemon.get("/api/v3/overview")["deviceId"], json!(id));
}

#[test]
fn a_second_daemon_ends_with_9_and_names_the_first() {
    let mut home = Lan::new().home("anna");
    let pid = {
        let daemon = home.up();
        let ran = home.run(&["up", "--json"]);
        assert_eq!(ran.code, 9);
        assert!(text(&ran.problem(), "detail").contains(&format!("pid {}", daemon.pid())), "{}", ran.err);
        let fine = home.json(&["up", "--detach"]);
        assert_eq!((&fine["data"]["state"], fine["data"]["pid"].as_u64()), (&json!("running"), Some(u64::from(daemon.pid()))));
        // The lock holds even where the first cannot be asked.
        fs::remove_file(home.root().join("run/ctl.sock")).expect("the socket");
        let ran = home.run(&["up", "--json"]);
        assert_eq!((ran.code, ran.problem()["code"].as_str()), (9, Some("locked")));
        assert!(ran.err.contains(&daemon.pid().to_string()), "{}", ran.err);
        daemon.pid()
    };
    home.set("HUBLESS_DEVICE_NAME", "still anna");
    let daemon = home.up();
    assert_ne!(daemon.pid(), pid, "a killed one is no hindrance");
}

#[test]
fn a_busy_port_is_reported_and_everything_else_works() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let mut home = Lan::new().home("anna");
    home.set("HUBLESS_HTTP_PORT", port);
    let daemon = home.up();
    daemon.add("by the socket");
    let envelope = home.json(&["status"]);
    assert!(envelope["warnings"].to_string().contains(&format!("port {port} is in use")), "{}", envelope["warnings"]);
    assert!(home.said().contains(&format!("port {port} is in use")), "{}", home.said());
    assert_eq!(daemon.ask("GET", "/readyz", "", "").status, 503);
    assert_eq!(home.url(), None, "nobody is sent to somebody else's port");
    daemon.stop();
    drop(taken);
    let daemon = home.up();
    assert_eq!(home.url(), Some(format!("http://127.0.0.1:{port}")));
    assert_eq!(daemon.ask("GET", "/readyz", "", "").status, 200);
    assert_eq!(browse(&home.url().expect("a page"), "/sync").status, 200);
}

#[test]
fn a_data_directory_that_others_can_read_is_refused_with_the_fix() {
    let home = Lan::new().home("anna");
    home.up().stop();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    for (path, open, closed) in
        [(home.data(), 0o755, 0o700), (home.data().join("keys"), 0o750, 0o700), (home.data().join("keys/device"), 0o644, 0o600)]
    {
        mode(&path, open);
        for args in [&["up", "--json"][..], &["todos", "--json"]] {
            let ran = home.run(args);
            assert_eq!((ran.code, ran.problem()["code"].as_str()), (5, Some("exposed")), "{args:?} {}", path.display());
            assert!(ran.err.contains(&format!("chmod {closed:o} {}", path.display())), "{}", ran.err);
        }
        mode(&path, closed);
    }
    let daemon = home.up();
    assert_eq!(daemon.get("/healthz")["status"], "OK");
}

#[test]
fn a_newer_format_is_left_as_it_is() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    daemon.add("of a newer version");
    daemon.stop();
    fs::write(home.data().join("format"), "2\n").expect("written");
    let all = || {
        let mut all: Vec<_> = document_bytes(&home).into_iter().collect();
        for name in ["format", "life", "lock"] {
            all.push((fs::read_to_string(home.data().join(name)).expect("read"), 0));
        }
        all
    };
    let before = all();
    for args in [&["up", "--json"][..], &["up", "--detach", "--json"], &["todos", "--json"], &["status", "--json"], &["init", "--json"]] {
        let ran = home.run(args);
        assert_eq!((ran.code, ran.problem()["code"].as_str()), (10, Some("newer-format")), "{args:?}");
    }
    assert_eq!(all(), before);
}

#[test]
fn an_unknown_key_warns_with_the_nearest_and_a_wrong_value_is_refused() {
    let mut home = Lan::new().home("anna");
    home.unset("HUBLESS_DEVICE_NAME");
    home.config("[device]\nname = \"from the file\"\nnmae = \"x\"\n[netwrok]\nport = 1\n");
    let _daemon = home.up();
    let ran = home.run(&["status"]);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("device.nmae") && ran.err.contains("device.name"), "{}", ran.err);
    assert!(ran.err.contains("netwrok") && ran.err.contains("network.port"), "{}", ran.err);
    let quiet = home.run(&["status", "--json"]);
    assert_eq!(quiet.err, "", "programs are told nothing beside");
    assert_eq!(home.json(&["status"])["device"], "from the file");
    let mut mistyped = home.command(crate::support::hubless(), &["status"]);
    mistyped.env("HUBLESS_HTTP_PROT", "1");
    assert!(Ran::of(mistyped, &["status"]).err.contains("HUBLESS_HTTP_PORT"));
    for (text, expected) in [
        ("[http]\nport = 70000\n", "0 to 65535"),
        ("http = 1\n", "[http]"),
        ("[http\n", "config.toml"),
        ("[log]\nlevel = \"loud\"\n", "debug"),
    ] {
        home.config(text);
        // A variable above it hides no mistake in the file.
        let ran = home.run(&["status", "--json"]);
        assert_eq!((ran.code, ran.problem()["code"].as_str()), (2, Some("bad-config")), "{text:?}");
        assert!(ran.err.contains(expected), "{text:?}: {}", ran.err);
    }
}

#[test]
fn ten_restarts_change_no_count() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    fill(&home, &daemon);
    daemon.stop();
    let daemon = home.up();
    let first = settled(&daemon);
    let documents = document_bytes(&home);
    daemon.stop();
    for n in 0..10 {
        let daemon = home.up();
        assert_eq!(settled(&daemon), first, "after restart {n}");
        daemon.stop();
    }
    let grown: Vec<_> =
        document_bytes(&home).into_iter().filter(|(name, _)| name.starts_with("todos") || name.starts_with("sessions")).collect();
    assert!(
        grown.iter().all(|(name, bytes)| documents.get(name) == Some(bytes)),
        "reading the same files again writes nothing: {documents:?} {grown:?}"
    );
}

#[test]
fn detached_it_answers_when_the_command_returns_and_ends_by_down() {
    let home = Lan::new().home("anna");
    let _ends = Detached(&home);
    let up = home.json(&["up", "--detach"]);
    let pid = up["data"]["pid"].as_u64().expect("a pid");
    assert_eq!(home.json(&["todos", "add", "at once"])["data"]["status"], "pending");
    assert_eq!(up["data"]["url"], json!(format!("{}/sync", home.url().expect("a page"))));
    let down = home.json(&["down"]);
    assert_eq!((&down["data"]["was"], down["data"]["pid"].as_u64()), (&json!("running"), Some(pid)));
    assert!(!home.root().join("run/ctl.sock").exists() && home.url().is_none(), "nothing is left in run/");
    assert!(
        !Path::new(&format!("/proc/{pid}/cmdline")).exists() || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
    );
    assert_eq!(home.json(&["todos"])["data"][0]["content"], "at once");
}

#[test]
fn every_verb_with_json_gives_one_envelope_and_errors_leave_stdout_empty() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    fill(&home, &daemon);
    let id = text(&daemon.todo("from a person").expect("there"), "id").to_owned();
    let reads = [
        &["status"][..],
        &["agents"],
        &["agents", "list"],
        &["agents", "show", "sam"],
        &["devices"],
        &["devices", "list"],
        &["sessions"],
        &["sessions", "list"],
        &["todos"],
        &["todos", "list"],
        &["todos", "ready"],
        &["todos", "conflicts"],
        &["todos", "history", &id],
        &["sync"],
        &["sync", "status"],
    ];
    for read in reads {
        let answer = home.json(read);
        for key in ["schema", "asOf", "source", "device", "total", "truncated", "next", "warnings", "data"] {
            assert!(answer.get(key).is_some(), "{read:?} has no “{key}”");
        }
        assert_eq!(answer["schema"], 1);
    }
    for write in [
        &["todos", "start", &id][..0],
        &["todos", "reopen", &id],
        &["todos", "edit", &id, "-p", "2"],
        &["beat", "sam", "x"],
        &["doctor"],
        &["version"],
        &["pair", "--ticket"],
    ] {
        if !write.is_empty() {
            let answer = home.json(write);
            assert!(answer["schema"] == 1 && answer.get("data").is_some(), "{write:?}: {answer}");
        }
    }
    let wrong: [(&[&str], i32, &str); 12] = [
        (&["todos", "done", "t-zzzzzzzzzzzz"], 3, "todo-not-found"),
        (&["todos", "history", "nothing"], 3, "todo-not-found"),
        (&["status", "nobody"], 3, "device-not-found"),
        (&["devices", "ping", "nobody"], 3, "device-not-found"),
        (&["todos", "resolve", "c-zzzz", "--keep", "1"], 3, "conflict-not-found"),
        (&["todos", "done"], 2, "wrong-usage"),
        (&["todos", "edit", "t-1"], 2, "wrong-usage"),
        (&["todos", "resolve", "t-1", "--keep", "3"], 2, "wrong-usage"),
        (&["frobnicate"], 2, "wrong-usage"),
        (&["status", "--nope"], 2, "wrong-usage"),
        (&["beat", " "], 2, "wrong-usage"),
        (&["beat", "sam", "--state", "dancing"], 2, "bad-request"),
    ];
    for (args, code, word) in wrong {
        let ran = home.run(&[args, &["--json"]].concat());
        let problem = ran.problem();
        assert_eq!((ran.code, &problem["code"]), (code, &json!(word)), "{args:?}: {}", ran.err);
        assert!(problem["detail"].is_string() && problem["title"].is_string() && problem["status"].is_number(), "{problem}");
        let plain = home.run(args);
        assert_eq!((plain.code, plain.out.as_str()), (code, ""), "{args:?}");
        assert!(plain.err.starts_with("error: ") && plain.err.contains(&format!("[{word}]")), "{args:?}: {}", plain.err);
    }
    let gone = home.json(&["agents", "show", "nobody-of-that-name"]);
    assert_eq!((&gone["data"]["is_active"], &gone["data"]["sessions"]), (&json!(false), &json!([])), "{gone}");
}

#[test]
fn loopback_reads_and_an_unknown_route_is_404_on_both_doors() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let url = home.url().expect("a page");
    let host = url.strip_prefix("http://").expect("an address").to_owned();
    let knock = |method: &str, target: &str, host_line: &str, headers: &str, body: &[u8]| {
        let stream = TcpStream::connect(&host).expect("served");
        stream.set_read_timeout(Some(SOON)).expect("set");
        exchange(stream, host_line, method, target, headers, body).expect("an answer")
    };
    for target in ["/nope", "/api/v3/nope", "/api/v3/todos/x/y/z", "/v2/nope", "/sync/../etc/passwd", "//", "/%2e%2e/%2e%2e/etc/passwd"] {
        for answer in [browse(&url, target), daemon.ask("GET", target, "", "")] {
            assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("route-not-found")), "{target}");
        }
    }
    for target in ["/sync", "/healthz", "/api/v3/overview", "/v2/syncOverview", "/version"] {
        assert_eq!(browse(&url, target).status, 200, "{target}");
    }
    let write = knock("POST", "/api/v3/todos", &host, "", b"{\"content\": \"x\"}");
    assert_eq!((write.status, write.header("allow")), (405, Some("GET, HEAD")));
    assert!(text(&write.json(), "fix").contains("--unix-socket"));
    for (host_line, headers) in [("evil.test", ""), (&*host, "origin: https://evil.test\r\n"), (&*host, "sec-fetch-site: cross-site\r\n")] {
        let answer = knock("GET", "/api/v3/todos", host_line, headers, b"");
        assert_eq!(answer.status, 403, "{host_line} {headers}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(daemon.ask("GET", "/api/v3/todos", "origin: http://localhost\r\n", "").status, 403, "no browser comes by the socket");
    assert!(daemon.rows("/api/v3/todos").is_empty());
    let tagged = daemon.ask("GET", "/api/v3/todos", "", "");
    let tag = tagged.header("etag").expect("a tag").to_owned();
    assert_eq!(daemon.ask("GET", "/api/v3/todos", &format!("if-none-match: {tag}\r\n"), "").status, 304);
    daemon.add("news");
    assert_eq!(daemon.ask("GET", "/api/v3/todos", &format!("if-none-match: {tag}\r\n"), "").status, 200);
}

#[test]
fn a_sigterm_ends_it_with_a_stream_open_and_a_hanging_client() {
    let home = Lan::new().home("anna");
    let mut daemon = home.up();
    let _stream = daemon.events("");
    let mut half = std::os::unix::net::UnixStream::connect(home.root().join("run/ctl.sock")).expect("the socket");
    std::io::Write::write_all(&mut half, b"POST /api/v3/todos HTTP/1.1\r\nhost: hubless\r\ncontent-length: 100\r\n\r\n{").expect("written");
    assert!(daemon.runs());
    daemon.stop();
}

#[test]
fn damaged_small_files_are_named_or_made_again() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    daemon.add("kept");
    daemon.stop();
    // What cannot be made again is never written over.
    for (name, code) in [("keys/device", "identity"), ("keys/fleet", "identity"), ("format", "storage")] {
        let path = home.data().join(name);
        let whole = fs::read(&path).expect("there");
        fs::write(&path, "junk").expect("written");
        for args in [&["up", "--json"][..], &["todos", "--json"]] {
            let ran = home.run(args);
            let problem = ran.problem();
            assert_eq!((ran.code, &problem["code"]), (1, &json!(code)), "{args:?} {name}: {problem}");
            assert!(problem.to_string().contains(name), "{problem}");
        }
        assert_eq!(fs::read(&path).expect("there"), b"junk");
        fs::write(&path, whole).expect("written");
    }
    fs::write(home.data().join("life"), "junk").expect("written");
    fs::remove_dir_all(home.data().join("index")).expect("there was one");
    fs::write(home.data().join("index"), "junk").expect("written");
    fs::write(home.data().join("docs/stray"), "junk").expect("written");
    fs::write(home.root().join("run/http.json"), "junk").expect("written");
    let daemon = home.up();
    daemon.todo_is("kept", "pending");
    assert!(home.said().contains("stray") && home.said().contains("life counter"), "{}", home.said());
    daemon.stop();
    fs::remove_file(home.data().join("keys/fleet")).expect("there");
    let daemon = home.up();
    daemon.todo_is("kept", "pending");
    eventually(SOON, "a new fleet where there was one is said", || home.said().contains("alone in a new one").then_some(()));
}
