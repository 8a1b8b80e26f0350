//! The first step on a device, what `doctor` mends, and what a report of a bug holds: with real files, and with secrets planted everywhere.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Detached, Home, Lan, SOON, eventually, hubless, text};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|why| panic!("{}: {why}", path.display())).permissions().mode() & 0o777
}

/// A home where no manager of services answers, whatever the machine has.
fn home() -> Home {
    let mut home = Lan::new().home("anna");
    let bin = home.at("bin");
    for (name, said) in [("systemctl", "exit 1"), ("loginctl", "exit 1"), ("claude", "echo 2.1.50")] {
        home.write(&bin.join(name), format!("#!/bin/sh\n{said}\n"));
        fs::set_permissions(bin.join(name), Permissions::from_mode(0o700)).expect("set");
    }
    home.set("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    for tool in ["CODEX", "PI"] {
        home.set(&format!("HUBLESS_SOURCES_{tool}_ROOT"), home.at(&format!("no-{tool}")).display());
    }
    home
}

#[test]
fn without_anybody_to_ask_init_makes_the_identity_and_says_what_it_left_out() {
    let home = home();
    let data = home.json(&["init"])["data"].clone();
    assert_eq!((&data["made"], &data["leftOut"]), (&json!(true), &json!(["service", "hooks"])), "{data}");
    assert_eq!(text(&data["service"], "fix"), "hubless service install");
    assert!(!home.claude().join("settings.json").exists(), "nothing else was touched");
    for args in [&["init"][..], &["init", "--no-input"]] {
        let ran = home.run(args);
        assert_eq!(ran.code, 0, "{}", ran.err);
        for word in ["there already", "hubless service install", "hubless hooks install", "sync.exclude", "may hold secrets"] {
            assert!(ran.out.contains(word), "{word}: {}", ran.out);
        }
    }
    assert!(!home.claude().join("settings.json").exists());
}

#[test]
fn init_does_everything_where_no_service_manager_answers_and_twice_is_once() {
    let mut home = home();
    home.unset("HUBLESS_DEVICE_NAME");
    home.config("# mine\n[http]\nport = 0 # any\n");
    let ran = home.run(&["init", "--yes", "--name", "attic"]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    for word in ["✓ identity   attic · ", "systemd does not answer here", "+++ ", "✓ claude: ", "Next:  hubless up --detach"] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    let config = fs::read_to_string(home.root().join("config.toml")).expect("there");
    assert!(config.starts_with("# mine\n[http]\nport = 0 # any\n") && config.contains("name = \"attic\""), "{config}");
    let settings = fs::read_to_string(home.claude().join("settings.json")).expect("put in");
    let again = home.json(&["init", "--yes"])["data"].clone();
    assert_eq!((&again["made"], &again["hooks"]["state"], &again["leftOut"]), (&json!(false), &json!("there"), &json!([])), "{again}");
    assert_eq!(text(&again["device"], "name"), "attic");
    assert_eq!(fs::read_to_string(home.claude().join("settings.json")).expect("there"), settings);
    let none = home.json(&["init", "--yes", "--no-hooks", "--no-service"])["data"].clone();
    assert_eq!(none["leftOut"], json!(["service", "hooks"]), "{none}");
}

#[test]
fn what_fails_in_one_part_of_init_keeps_no_other_from_being_done() {
    let home = home();
    home.write(&home.claude().join("settings.json"), "{ not json");
    let ran = home.run(&["init", "--yes", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    let data: Value = serde_json::from_str(&ran.out).expect("an envelope");
    assert_eq!((&data["data"]["made"], &data["data"]["hooks"]["state"]), (&json!(true), &json!("failed")), "{data}");
    assert_eq!(fs::read_to_string(home.claude().join("settings.json")).expect("there"), "{ not json");
}

#[test]
fn doctor_mends_what_is_ours_and_touches_no_document_no_key_and_nothing_foreign() {
    let home = home();
    home.json(&["init", "--yes"]);
    let daemon = home.up();
    daemon.add("Write the migration");
    daemon.kill();
    let (run, data) = (home.root().join("run"), home.data());
    assert!(run.join("ctl.sock").exists() && run.join("http.json").exists(), "a daemon that was killed leaves them");
    fs::write(data.join("foreign.txt"), "mine").expect("written");
    fs::set_permissions(data.join("foreign.txt"), Permissions::from_mode(0o644)).expect("set");
    fs::set_permissions(&data, Permissions::from_mode(0o755)).expect("set");
    fs::set_permissions(data.join("keys/device"), Permissions::from_mode(0o644)).expect("set");
    fs::remove_file(data.join("index/conf")).expect("an index is there");
    let settings = home.claude().join("settings.json");
    let theirs = fs::read_to_string(&settings).expect("there").replacen('{', "{\n  \"model\": \"opus\",", 1);
    let old = theirs.replace(hubless(), "/opt/old/bin/hubless");
    assert_ne!(old, theirs);
    fs::write(&settings, &old).expect("written");
    let key = fs::read(data.join("keys/device")).expect("a key");
    let told = home.run(&["doctor", "--fix", "--json"]);
    let envelope: Value = serde_json::from_str(&told.out).unwrap_or_else(|why| panic!("{why}: {} {}", told.out, told.err));
    let mended: Vec<&str> = envelope["mended"].as_array().expect("a list").iter().map(|row| text(row, "check")).collect();
    for check in ["mode", "socket.dead", "page.dead", "index", "hooks"] {
        assert!(mended.contains(&check), "{check}: {envelope}");
    }
    assert_eq!((mode(&data), mode(&data.join("keys/device"))), (0o700, 0o600));
    assert!(!run.join("ctl.sock").exists() && !run.join("http.json").exists() && !data.join("index").exists());
    assert_eq!(fs::read_to_string(&settings).expect("there"), theirs, "our entries, and nothing else");
    assert_eq!(
        (fs::read(data.join("keys/device")).expect("a key"), fs::read_to_string(data.join("foreign.txt")).expect("there")),
        (key, "mine".to_owned())
    );
    assert_eq!(mode(&data.join("foreign.txt")), 0o644);
    let again = home.run(&["doctor", "--fix"]);
    assert!(again.out.starts_with("· nothing to mend"), "{}", again.out);
    let daemon = home.up();
    assert!(daemon.todo("Write the migration").is_some());
    let beside = home.run(&["doctor", "--fix"]);
    assert!(
        beside.out.starts_with("· nothing to mend") && daemon.try_get("/healthz").is_some(),
        "a living daemon is left alone: {}",
        beside.out
    );
}

#[test]
fn a_service_file_is_renewed_and_a_foreign_one_left_alone() {
    let home = home();
    let file = home.run(&["service", "status", "--json"]);
    let path = serde_json::from_str::<Value>(&file.out).expect("an envelope")["data"]["file"].as_str().expect("a path").to_owned();
    let path = Path::new(&path);
    let unit = home.run(&["service", "install", "--print"]).out;
    home.write(path, unit.replace("RestartSec=5", "RestartSec=1"));
    let ran = home.run(&["doctor", "--fix"]);
    assert!(ran.out.contains("✓ mended: ") && ran.out.contains("up to date"), "{}", ran.out);
    assert_eq!(fs::read_to_string(path).expect("there"), unit);
    home.write(path, "[Service]\nExecStart=/bin/true\n");
    assert!(home.run(&["doctor", "--fix"]).out.starts_with("· nothing to mend"));
    assert_eq!(fs::read_to_string(path).expect("there"), "[Service]\nExecStart=/bin/true\n");
}

/// Every file in a bundle, by its name.
fn unpacked(file: &Path) -> Vec<(String, String)> {
    let packed = fs::File::open(file).expect("the bundle");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        (name, text)
    });
    entries.collect()
}

#[test]
fn a_bundle_tells_nothing_of_whom_it_comes_from() {
    let mut home = Lan::new().home("zqdevice one");
    home.set("USER", "zquser");
    home.set("HOME", home.at("zqhome").display());
    let lan_peer = "zqpeer.example:4826";
    let work = home.at("zqwork dir/zqproject");
    home.config(&format!(
        "[network]\npeers = [\"{lan_peer}\"]\n[sync]\nexclude = [\"zqexclude/*\", \"agent:zqagentout\"]\n[log]\nlevel = \"debug\"\n"
    ));
    home.write(&work.join(".git/config"), "[remote \"origin\"]\n\turl = git@zqhost.example:zqorg/zqrepo.git\n");
    home.write(&work.join(".git/HEAD"), "ref: refs/heads/zqbranch\n");
    let line = json!({"type": "user", "uuid": "u-1", "parentUuid": null, "sessionId": "5c0e1f2a-0000-4000-8000-0000000000aa",
        "timestamp": "2026-03-02T14:00:00.000Z", "cwd": work.display().to_string(), "gitBranch": "zqbranch", "version": "2.0.0",
        "message": {"role": "user", "content": "zqtitle of a prompt"}});
    home.write(&home.claude().join("projects/-zqfolder/5c0e1f2a-0000-4000-8000-0000000000aa.jsonl"), format!("{line}\n"));
    home.list(
        "5c0e1f2a-0000-4000-8000-0000000000aa",
        &[("zqtodo from a list", "pending"), ("Zqtodo: \"quoted\" /zqtodo/path", "completed")],
    );
    assert_eq!(home.run(&["up", "--detach"]).code, 0);
    let ended = Detached(&home);
    assert_eq!(home.run(&["beat", "zqagent", "zqtask text", "src/zqfile.rs", "--msg", "zqnote words"]).code, 0);
    assert_eq!(home.run(&["todos", "add", "zqadded", "todo", "--project", "zqotherproject", "--as", "zqowner"]).code, 0);
    eventually(SOON, "the session is shown", || home.run(&["sessions"]).out.contains("zqtitle").then_some(()));
    home.write(&home.data().join("quarantine/todos/zqquarantine.1"), "x");
    home.write(&home.claude().join("todos/zqmalformed-agent-zqmalformed.json"), "{ zq");
    fs::set_permissions(home.claude().join("todos"), Permissions::from_mode(0o700)).expect("set");
    let bundle = |name: &str| {
        let file = home.at(name);
        let ran = home.run(&["doctor", "--bundle", &file.display().to_string()]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        for part in ["version.json", "doctor.json", "config.json", "status.json", "sizes.json", "quarantine.txt", "log.txt"] {
            assert!(ran.out.contains(part), "what is inside is listed: {}", ran.out);
        }
        assert_eq!(mode(&file), 0o600);
        (file.clone(), unpacked(&file))
    };
    let (file, beside) = bundle("one.tar.gz");
    let again = home.run(&["doctor", "--bundle", &file.display().to_string()]);
    assert_eq!((again.code, again.err.contains("file-exists")), (6, true), "{}", again.err);
    drop(ended);
    // Whoever has no daemon to ask, and a log with everything in it that ever gets into one.
    let log = home.root().join("logs/hubless.log");
    let mut said = fs::read_to_string(&log).unwrap_or_default();
    said.push_str("2026-03-02T14:00:00Z INFO hubless: new session from zqdevice one device=\"zqdevice one\" agent=\"zqagent\"\n");
    said.push_str(&format!("2026-03-02T14:00:01Z WARN hubless: {}: Permission denied\n", work.join("zqsecret/x y.json").display()));
    said.push_str("{\"timestamp\":\"2026-03-02T14:00:02Z\",\"level\":\"WARN\",\"fields\":{\"message\":\"zqpeer.example:4826 cannot be looked up\",\"why\":\"zquser@zqhost.example\"}}\n");
    fs::write(&log, said).expect("written");
    let (_, alone) = bundle("two.tar.gz");
    for (name, text) in beside.iter().chain(&alone) {
        let low = text.to_lowercase();
        let found = low.find("zq").map(|at| text.get(at.saturating_sub(40)..(at + 40).min(text.len())).unwrap_or_default().to_owned());
        assert_eq!((found, name.contains("zq")), (None, false), "a secret is in {name}");
    }
    let part = |name: &str| &alone.iter().find(|(found, _)| found.ends_with(name)).expect("a part").1;
    assert!(
        part("log.txt").contains("<device-") && part("log.txt").contains("new session from"),
        "it can still be read: {}",
        part("log.txt")
    );
    let config: Value = serde_json::from_str(part("config.json")).expect("JSON");
    let set = config.as_array().expect("a list").iter().find(|row| row["key"] == "network.peers").expect("a key").clone();
    assert_eq!((&set["value"], &set["source"]), (&json!("1 value"), &json!("file")));
    let status: Value = serde_json::from_str(part("status.json")).expect("JSON");
    assert_eq!(status["sessions"]["total"].as_u64().map(|total| total >= 1), Some(true), "{status}");
}
