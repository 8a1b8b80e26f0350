//! The command line as it is met in the wild: settings by hand, a shell that completes, no browser, no home, words that are no
//! text. Whatever comes, there is an answer or one clear error, and never a panic.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Home, Lan, Ran, SOON, eventually, hubless, text};

fn config(home: &Home) -> String {
    std::fs::read_to_string(home.root().join("config.toml")).expect("the file")
}

#[test]
fn a_setting_is_set_shown_and_taken_back_in_a_file_that_keeps_its_comments() {
    let home = Lan::new().home("one");
    let written = "# mine\n[log]\nlevel = \"info\" # quiet\nstale_threshold = \"7m\"\n";
    home.config(written);
    let file = home.root().join("config.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("set");
    assert_eq!(home.run(&["config", "path"]).out.trim_end(), file.display().to_string());
    let set = home.run(&["config", "set", "log.level", "debug"]);
    assert_eq!((set.code, set.out.as_str()), (0, "✓ log.level = debug\n"), "{}", set.err);
    assert_eq!(config(&home), written.replace("\"info\"", "\"debug\""));
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o640);
    let shown = home.run(&["config", "get", "agents.stale_after"]);
    assert_eq!(shown.out, "7m\n", "the replaced system's spelling counts");
    assert!(shown.err.contains("“stale_threshold” of EVOX is called agents.stale_after here"), "{}", shown.err);
    let origin = home.run(&["config", "show", "--origin"]).out;
    let line = |key: &str| origin.lines().find(|line| line.starts_with(&format!("{key}\t"))).unwrap_or_default().to_owned();
    assert_eq!(line("log.level"), format!("log.level\tdebug\tfile {}", file.display()));
    assert_eq!(
        (line("http.port").as_str(), line("log.format").as_str()),
        ("http.port\t0\tenv HUBLESS_HTTP_PORT", "log.format\ttext\tdefault")
    );
    assert!(home.run(&["config", "set", "http.port", "4835"]).err.contains("HUBLESS_HTTP_PORT is set in the environment"));
    assert_eq!(home.run(&["config", "set", "http.port", "--default"]).code, 0);
    let wrong = home.run(&["config", "set", "http.port", "soon", "--json"]);
    assert_eq!((wrong.code, text(&wrong.problem(), "code")), (2, "wrong-usage"));
    let unknown = home.run(&["config", "set", "http.prot", "1"]);
    assert!(unknown.code == 3 && unknown.err.contains("did you mean “http.port”"), "{}", unknown.err);
    assert_eq!(home.json(&["config", "show", "--limit", "2"])["data"].as_array().map(Vec::len), Some(2));
    let _daemon = home.up();
    let told = home.run(&["config", "set", "log.format", "json"]);
    assert!(told.err.contains("hubless down && hubless up --detach"), "{}", told.err);
}

#[test]
fn a_single_device_is_set_by_its_name_whatever_stands_in_it() {
    let home = Lan::new().home("one");
    home.config("# mine\n[peers.Desk]\nsend = true # why\n");
    let key = "peers.\"mac mini\".schedule";
    let set = home.run(&["config", "set", key, "*/15 * * * *"]);
    assert_eq!((set.code, set.out.as_str()), (0, "✓ peers.\"mac mini\".schedule = */15 * * * *\n"), "{}", set.err);
    assert_eq!(home.run(&["config", "set", "peers.desk.send", "false"]).code, 0);
    assert_eq!(config(&home), "# mine\n[peers.Desk]\nsend = false # why\n\n[peers.\"mac mini\"]\nschedule = \"*/15 * * * *\"\n");
    assert_eq!(home.run(&["config", "get", key]).out, "*/15 * * * *\n");
    assert_eq!(home.run(&["config", "get", "peers.DESK.receive"]).out, "true\n", "its default");
    let origin = home.run(&["config", "show", "--origin"]).out;
    assert!(origin.contains(&format!("peers.Desk.send\tfalse\tfile {}\n", home.root().join("config.toml").display())), "{origin}");
    for (key, value) in [("peers.desk.schedule", "often"), ("peers.desk.bandwidth", "7"), ("peers.desk.send", "perhaps")] {
        let wrong = home.run(&["config", "set", key, value]);
        assert!(wrong.code == 2 && wrong.err.contains(&format!("{key} cannot be “{value}”")), "{}", wrong.err);
    }
    let unknown = home.run(&["config", "set", "peers.desk.sent", "no"]);
    assert!(unknown.code == 3 && unknown.err.contains("did you mean “peers.desk.send”"), "{}", unknown.err);
    let mut named = home.command(crate::support::hubless(), &["config", "set", key, "--default"]);
    named.env("HUBLESS_PEERS_MAC_MINI_SCHEDULE", "0 1 * * *");
    let out = named.output().expect("it runs");
    assert!(String::from_utf8_lossy(&out.stderr).contains("HUBLESS_PEERS_MAC_MINI_SCHEDULE is set in the environment"));
    assert!(!config(&home).contains("*/15"), "{}", config(&home));
    // The daemon takes what was written here.
    let daemon = home.up();
    let problems = daemon.get("/api/v3/overview")["data"]["problems"].clone();
    assert!(problems.to_string().contains("the configuration has peers.Desk, and no device of this fleet is called so"), "{problems}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_can_be_mended() {
    let home = Lan::new().home("one");
    home.config("[http]\nport = \"soon\"\n");
    let broken = home.run(&["status"]);
    assert!(broken.code == 2 && broken.err.contains("hubless config path"), "{}", broken.err);
    assert_eq!(home.run(&["config", "path"]).code, 0);
    assert_eq!(home.run(&["config", "set", "http.port", "4835"]).code, 0, "mended by the verb for it");
    assert_eq!(config(&home), "[http]\nport = 4835\n");
    home.config("[http\n");
    assert_eq!(home.run(&["config", "set", "http.port", "1"]).code, 2);
    assert_eq!(config(&home), "[http\n", "nothing is guessed");
}

#[test]
fn a_shell_completes_verbs_flags_and_the_names_that_are_there() {
    let home = Lan::new().home("one");
    let tab = |words: &[&str]| {
        let mut args = vec!["--", "hubless"];
        args.extend(words);
        let mut command = home.command(hubless(), &args);
        // As clap_complete's script for fish asks: the last word is the one under the cursor.
        command.env("HUBLESS_COMPLETE", "fish");
        let ran = Ran::of(command, words);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words:?}");
        ran.out
    };
    assert!(tab(&["sta"]).contains("status") && tab(&["status", "--one"]).contains("--oneline"));
    assert_eq!(tab(&["agents", "show", ""]).lines().filter(|line| !line.starts_with('-')).count(), 0, "no daemon, no names, no noise");
    let daemon = home.up();
    daemon.post("/api/v3/beats", &json!({"agent": "leo-of-the-attic", "task": "x"}));
    let todo = daemon.add("Add a retry budget");
    assert!(tab(&["agents", "show", "le"]).contains("leo-of-the-attic"));
    assert!(tab(&["beat", ""]).contains("leo-of-the-attic"));
    let short: String = text(&todo, "id").chars().take(6).collect();
    assert!(tab(&["todos", "done", "t-"]).contains(&short), "{}", tab(&["todos", "done", "t-"]));
    assert!(tab(&["devices", "rename", ""]).contains("one"));
    assert!(tab(&["config", "set", "http."]).contains("http.port"));
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]);
        assert!(script.code == 0 && script.out.contains("HUBLESS_COMPLETE"), "{shell}: {}", script.out);
    }
    let bash = home.at("complete.bash");
    std::fs::write(&bash, home.run(&["completions", "bash"]).out).expect("written");
    if std::path::Path::new("/bin/bash").exists() {
        let checked = home.command("/bin/bash", &["-n", &bash.display().to_string()]).status().expect("bash");
        assert!(checked.success(), "bash reads it");
    }
}

#[test]
fn the_page_is_opened_where_there_is_a_browser_and_named_where_there_is_none() {
    let mut home = Lan::new().home("one");
    assert_eq!(home.run(&["open"]).code, 4, "no daemon, no page");
    let bin = home.at("bin");
    std::fs::create_dir_all(&bin).expect("made");
    let opener = bin.join(if cfg!(target_os = "macos") { "open" } else { "xdg-open" });
    std::fs::write(&opener, format!("#!/bin/sh\necho \"$1\" > {}\n", home.at("opened").display())).expect("written");
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).expect("set");
    home.set("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let _daemon = home.up();
    let url = format!("{}/sync", home.url().expect("a page"));
    assert_eq!(home.run(&["open", "--print"]).out.trim_end(), url);
    if !cfg!(target_os = "macos") {
        let blind = home.run(&["open"]);
        assert_eq!((blind.code, blind.out.trim_end()), (0, url.as_str()));
        assert!(blind.err.contains("no display"), "{}", blind.err);
    }
    assert!(!home.at("opened").exists());
    let with = |name: &str, value: &str| {
        let mut command = home.command(hubless(), &["open"]);
        command.env("DISPLAY", ":0").env(name, value);
        Ran::of(command, &["open"])
    };
    assert!(with("X", "").out.contains("✓ opened"));
    let opened = eventually(SOON, "the opener ran", || std::fs::read_to_string(home.at("opened")).ok().filter(|text| !text.is_empty()));
    assert_eq!(opened.trim_end(), url);
    let far = with("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22");
    assert!(far.out.trim_end() == url && far.err.contains("ssh -L"), "{}", far.err);
}

#[test]
fn a_name_that_is_nearly_right_comes_back_as_the_command_that_was_meant() {
    let home = Lan::new().home("attic");
    let daemon = home.up();
    daemon.post("/api/v3/beats", &json!({"agent": "leo", "task": "x"}));
    let todo = daemon.add("Add a retry budget");
    let short: String = text(&todo, "id").chars().take(10).collect();
    let fix = |line: &[&str], meant: &str| {
        let ran = home.run(line);
        assert!(ran.code == 3 && ran.err.contains(&format!("did you mean  {meant}\n")), "{line:?}: {}", ran.err);
    };
    fix(&["devices", "ping", "atic"], "hubless devices ping attic");
    fix(&["agents", "--device", "atic"], "hubless agents --device attic");
    fix(&["agents", "show", "leoo"], "hubless agents show leo");
    fix(&["todos", "done", "retry budget"], &format!("hubless todos done {short}"));
    assert!(home.run(&["stattus"]).err.contains("did you mean  hubless status"));
    assert!(home.run(&["status", "--onelin"]).err.contains("did you mean  hubless status --oneline"));
}

#[test]
fn rude_words_get_an_answer_or_one_clear_error() {
    let home = Lan::new().home("one");
    let _daemon = home.up();
    let long = "x".repeat(100_000);
    let lines: [&[&str]; 12] = [
        &["agents", "show", &long],
        &["devices", "ping", "\u{1b}[2Jmac"],
        &["status", "no\u{7}body"],
        &["todos", "done", "\u{202e}t-1"],
        &["todos", "add", &long],
        &["beat", &long, &long],
        &["sessions", "--since", "yesterday\u{1b}"],
        &["config", "get", "\u{1b}]0;x\u{7}"],
        &["projects", "%00%ff"],
        &["watch", "--since", "nonsense"],
        &["sources", "pause", "../../etc"],
        &["help", "\u{1b}[31m"],
    ];
    for line in lines {
        let ran = home.run(line);
        let shown = format!("{:?}", line.iter().map(|word| word.chars().take(20).collect::<String>()).collect::<Vec<_>>());
        assert!((0..=8).contains(&ran.code), "{shown}: {} {}", ran.code, ran.err);
        assert!(!(ran.out.clone() + &ran.err).contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown}: {}", ran.err);
        assert!(!ran.err.contains("panicked"), "{shown}: {}", ran.err);
        if ran.code != 0 {
            assert!(ran.err.starts_with("error: ") && ran.err.contains(']'), "{shown}: {}", ran.err);
            assert!(ran.err.len() < 4_000, "{shown}: an error is not as long as what caused it ({} bytes)", ran.err.len());
        }
    }
    for args in [&["agents", "show"][..], &["todos", "add"], &["beat"]] {
        let mut command = home.command(hubless(), args);
        command.arg(OsStr::from_bytes(b"caf\xe9"));
        let ran = Ran::of(command, args);
        assert_eq!((ran.code, ran.err.contains("UTF-8")), (2, true), "{args:?}: {}", ran.err);
    }
}

#[test]
fn no_home_a_closed_stdin_and_a_home_that_cannot_be_written_are_said() {
    let mut home = Lan::new().home("one");
    let closed =
        Ran::of(home.command("sh", &["-c", &format!("{} status <&- ; {} devices revoke x <&-", hubless(), hubless())]), &["closed"]);
    assert!(!closed.err.contains("panicked"), "{}", closed.err);
    let locked = home.at("locked");
    std::fs::create_dir_all(&locked).expect("made");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).expect("set");
    home.set("HUBLESS_HOME", locked.join("h").display());
    let is_root = rustix::process::geteuid().is_root();
    for args in [&["status"][..], &["beat", "sam", "x"], &["config", "show"], &["doctor"], &["version"], &["agents"], &["open", "--print"]]
    {
        let ran = home.run(args);
        assert!(!ran.err.contains("panicked") && (0..=8).contains(&ran.code), "{args:?}: {}", ran.err);
    }
    if !is_root {
        let set = home.run(&["config", "set", "http.port", "1"]);
        assert!(set.code == 1 && set.err.contains("cannot be written"), "{}", set.err);
        assert_eq!(home.run(&["beat", "sam", "x", "--", "true"]).code, 0, "the command runs all the same");
    }
    home.unset("HUBLESS_HOME");
    home.unset("HOME");
    let lost = home.run(&["status"]);
    assert!(lost.code == 2 && lost.err.contains("HOME is not set") && lost.err.contains("fix:"), "{}", lost.err);
    assert_eq!(home.run(&["help", "env"]).code, 0);
    assert_eq!(home.run(&["completions", "bash"]).code, 0);
    let lost = home.run(&["beat", "sam", "x", "--", "sh", "-c", "exit 3"]);
    assert_ne!(lost.code, 0, "nothing says where to report");
}
