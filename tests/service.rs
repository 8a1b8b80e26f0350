//! What a service manager hears of the daemon, and what it is told to start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::json;

use crate::support::{Home, Lan, Running, SOON, eventually, hubless, skipped};

/// systemd's own protocol: datagrams to the socket that NOTIFY_SOCKET names.
#[test]
fn a_manager_hears_that_it_is_ready_that_it_lives_and_that_it_stops() {
    let mut home = Lan::new().home("anna");
    let path = home.at("notify.sock");
    let heard = UnixDatagram::bind(&path).expect("bound");
    heard.set_read_timeout(Some(Duration::from_millis(100))).expect("settable");
    home.set("NOTIFY_SOCKET", path.display());
    home.set("WATCHDOG_USEC", 2_000_000);
    let daemon = home.up();
    let next = |word: &str| {
        eventually(SOON, word, || {
            let mut bytes = [0; 512];
            let count = heard.recv(&mut bytes).ok()?;
            String::from_utf8_lossy(&bytes[..count]).lines().any(|line| line == word).then_some(())
        });
    };
    next("READY=1");
    next("WATCHDOG=1");
    next("WATCHDOG=1");
    // A core that does not turn is not said to live: stopped as a whole it says nothing, and goes on where it was.
    daemon.signal(rustix::process::Signal::STOP);
    while heard.recv(&mut [0; 512]).is_ok() {}
    assert!(heard.recv(&mut [0; 512]).is_err());
    daemon.signal(rustix::process::Signal::CONT);
    next("WATCHDOG=1");
    daemon.stop();
    next("STOPPING=1");
}

/// A manager that writes down what it is told, and starts the daemon when it is told to restart it.
fn with_manager(home: &mut Home, name: &str) -> std::path::PathBuf {
    let bin = home.at("bin");
    fs::create_dir_all(&bin).expect("made");
    let told = home.at("told");
    let systemctl = format!(
        "#!/bin/sh\necho \"systemctl $*\" >> {told}\ncase \"$*\" in *restart*) touch {started};; *\\ show\\ *) printf 'ActiveState=active\\nUnitFileState=enabled\\nMainPID=0\\n';; esac\n",
        told = told.display(),
        started = home.at("started").display(),
    );
    let script = |name: &str, text: &str| {
        fs::write(bin.join(name), text).expect("written");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("set");
    };
    script(name, &systemctl);
    script("loginctl", "#!/bin/sh\necho no\n");
    script("journalctl", &format!("#!/bin/sh\necho \"journalctl $*\" >> {}\necho said\n", told.display()));
    let path = std::env::var("PATH").unwrap_or_default();
    home.set("PATH", format!("{}:{path}", bin.display()));
    home.set("HOME", home.root().display());
    told
}

#[test]
fn a_service_is_installed_seen_and_taken_out_and_the_data_stays() {
    if !cfg!(target_os = "linux") {
        return skipped("service", "this system's manager is another one");
    }
    let mut home = Lan::new().home("anna");
    home.unset("XDG_CONFIG_HOME");
    let told = with_manager(&mut home, "systemctl");
    let said = || fs::read_to_string(&told).unwrap_or_default();
    let shown = home.run(&["service", "install", "--print"]);
    assert!(shown.out.contains("Type=notify") && shown.out.contains("Environment=\"HUBLESS_HOME=") && said().is_empty(), "{}", shown.out);
    assert!(home.run(&["service", "status"]).out.contains("not installed"));
    // One that was started by hand has to go, or the service would find the directory taken.
    let by_hand = home.up();
    let pid = by_hand.pid();
    let mut installing = Running::start(home.command(hubless(), &["service", "install", "--json"]));
    eventually(SOON, "the manager was told", || home.at("started").exists().then_some(()));
    drop(by_hand);
    let daemon = home.up();
    let status = eventually(SOON, "it is installed", || installing.ended());
    assert_eq!(status.code(), Some(0));
    let units: Vec<_> = fs::read_dir(home.root().join(".config/systemd/user")).expect("listed").flatten().collect();
    assert_eq!(units.len(), 1, "{units:?}");
    let unit = fs::read_to_string(units[0].path()).expect("the unit");
    assert_eq!(unit, shown.out, "what was shown is what was written");
    let name = units[0].file_name().into_string().expect("a name");
    assert!(said().contains("--user daemon-reload") && said().contains(&format!("--user enable {name}")), "{}", said());
    let state = home.json(&["service", "status"]);
    assert_eq!(
        (&state["data"]["installed"], &state["data"]["current"], &state["data"]["lingers"]),
        (&json!(true), &json!(true), &json!(false))
    );
    assert!(home.run(&["service", "status"]).out.contains("enable-linger") && daemon.pid() != pid);
    let logs = home.run(&["service", "logs", "-n", "7"]);
    assert!(logs.out.contains("said") && said().contains(&format!("journalctl --user --unit {name} --output cat --lines 7")), "{}", said());
    daemon.stop();
    let out = home.run(&["service", "uninstall"]);
    assert!(out.code == 0 && out.out.contains(&home.data().display().to_string()) && !units[0].path().exists(), "{}", out.out);
    assert!(home.data().join("docs").exists() && said().contains(&format!("--user disable --now {name}")));
    assert_eq!(home.run(&["service", "uninstall"]).code, 0, "twice is once");
}

#[test]
fn without_a_manager_it_says_so_and_what_to_do() {
    let mut home = Lan::new().home("anna");
    with_manager(&mut home, "another");
    home.set("PATH", home.at("bin").display());
    let no = home.run(&["service", "install", "--json"]);
    assert_eq!((no.code, no.problem()["code"].clone()), (1, json!("service-manager")), "{}", no.err);
    assert!(no.problem()["fix"].as_str().is_some_and(|fix| fix.contains("hubless up --detach")), "{}", no.err);
}
