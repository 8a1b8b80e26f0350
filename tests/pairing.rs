//! A short code between real daemons on loopback: what both people see, and what everybody else sees.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Lan, Ran, SOON, Since, eventually, hubless, measured, text};

/// `hubless pair` in a terminal of its own that shows its code; ended by its own pid when dropped.
struct Inviting {
    child: Child,
    code: String,
    out: BufReader<std::process::ChildStdout>,
    err: Option<ChildStderr>,
}

impl Inviting {
    #[track_caller]
    fn begin(home: &Home) -> Inviting {
        let mut child =
            home.command(hubless(), &["pair"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let err = child.stderr.take();
        let mut code = String::new();
        out.read_line(&mut code).expect("a line");
        let code = code.trim().to_owned();
        assert_eq!((code.len(), code.matches('-').count()), (12, 2), "the code stands alone on its line: {code:?}");
        Inviting { child, code, out, err }
    }

    /// The code with its last digit changed.
    fn mistyped(&self) -> String {
        let last = self.code.chars().last().and_then(|c| c.to_digit(10)).expect("a digit");
        format!("{}{}", &self.code[..11], (last + 1) % 10)
    }

    /// What it said until it ended by itself: exit code, stdout after the code, stderr.
    #[track_caller]
    fn ended(mut self) -> (i32, String, String) {
        let status = eventually(SOON, "the command ends", || self.child.try_wait().expect("watched"));
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).expect("read");
        self.err.take().expect("piped").read_to_string(&mut err).expect("read");
        (status.code().unwrap_or(-1), out, err)
    }
}

impl Drop for Inviting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn refused(home: &Home, args: &[&str]) -> Value {
    let ran = home.run(&[args, &["--json"]].concat());
    assert_ne!(ran.code, 0, "{}", ran.out);
    let problem = ran.problem();
    assert!(problem["cause"].is_string() && problem["fix"].is_string(), "an error has its cause and its fix: {problem}");
    problem
}

fn members(daemon: &Daemon<'_>) -> usize {
    daemon.rows("/api/v3/devices").iter().filter(|row| row["member"] == true).count()
}

#[test]
fn ten_digits_make_two_devices_one_and_both_screens_name_the_other() {
    let lan = Lan::new();
    let (anna, bert) = (lan.home("anna"), lan.home("bert"));
    let (a, b) = (anna.up(), bert.up());
    let begun = Since::now();
    let inviting = Inviting::begin(&anna);
    // Nobody says where: the code is all that goes from one screen to the other.
    let joined = bert.run(&["pair", &inviting.code.replace('-', "")]);
    assert_eq!((joined.code, joined.out.starts_with("✓ paired with anna (")), (0, true), "{joined:?}");
    let (code, out, err) = inviting.ended();
    assert_eq!((code, out.starts_with("✓ paired with bert (")), (0, true), "{out} {err}");
    measured(&format!("code shown → both paired, by mDNS on loopback: {:?}", begun.elapsed()));
    assert_eq!((members(&a), members(&b)), (2, 2));
    a.add("shared at once");
    b.todo_is("shared at once", "pending");
}

#[test]
fn a_wrong_code_is_said_on_both_screens_and_the_third_closes_the_window() {
    let lan = Lan::new();
    let (anna, bert) = (lan.home("anna"), lan.home("bert"));
    let (a, _b) = (anna.up(), bert.up());
    let inviting = Inviting::begin(&anna);
    let wrong = inviting.mistyped();
    for _ in 0..3 {
        let problem = refused(&bert, &["pair", &wrong]);
        assert_eq!(
            (&problem["code"], problem["detail"].as_str()),
            (&json!("pair-mismatch"), Some("pairing refused: the code does not match"))
        );
    }
    let right = inviting.code.clone();
    assert_eq!(refused(&bert, &["pair", &right])["code"], "code-spent", "the right one comes too late");
    let (code, out, err) = inviting.ended();
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("a wrong code was tried: 2 attempts left") && err.contains("1 attempt left"), "{err}");
    assert!(err.contains("[code-spent]") && err.contains("fix:   hubless pair again"), "{err}");
    assert_eq!(members(&a), 1);
}

#[test]
fn of_two_who_type_the_code_one_is_in_and_the_other_is_told() {
    let lan = Lan::new();
    let (anna, bert, carl) = (lan.home("anna"), lan.home("bert"), lan.home("carl"));
    let (a, _b, _c) = (anna.up(), bert.up(), carl.up());
    let inviting = Inviting::begin(&anna);
    let code = inviting.code.clone();
    let args = ["pair", &code, "--json"];
    let both = std::thread::scope(|scope| {
        let runs = [&bert, &carl].map(|home| scope.spawn(|| Ran::of(home.command(hubless(), &args), &args)));
        runs.map(|run| run.join().expect("ran"))
    });
    let (won, lost): (Vec<&Ran>, Vec<&Ran>) = both.iter().partition(|ran| ran.code == 0);
    assert_eq!((won.len(), lost.len()), (1, 1), "{both:?}");
    let problem = lost[0].problem();
    assert!(["busy", "code-spent"].contains(&text(&problem, "code")), "{problem}");
    assert!(problem["fix"].is_string(), "{problem}");
    let (ended, out, _) = inviting.ended();
    assert!(ended == 0 && out.starts_with("✓ paired with "), "{out}");
    assert_eq!(members(&a), 2);
    let loser = if both[0].code == 0 { &carl } else { &bert };
    assert!(["code-spent", "code-not-found"].contains(&text(&refused(loser, &["pair", &code]), "code")), "one use");
}

#[test]
fn the_window_closes_with_the_command_that_shows_its_code_however_it_ends() {
    let lan = Lan::new();
    let (mut anna, bert) = (lan.home("anna"), lan.home("bert"));
    anna.set("HUBLESS_NETWORK_MDNS", false);
    let (a, _b) = (anna.up(), bert.up());
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::HUP, rustix::process::Signal::KILL] {
        let before = Inviting::begin(&anna);
        let window = windows_at(&anna);
        let pid = rustix::process::Pid::from_child(&before.child);
        rustix::process::kill_process(pid, signal).expect("our own child");
        eventually(SOON, "the window is closed", || std::net::TcpStream::connect(&window).is_err().then_some(()));
        let problem = refused(&bert, &["pair", &before.code, "--addr", &window]);
        assert_eq!(problem["code"], "unreachable", "{problem}");
        let (code, _, err) = before.ended();
        if signal == rustix::process::Signal::INT {
            assert!(code == 130 && err.contains("nobody was let in"), "{code} {err}");
        }
    }
    assert_eq!(members(&a), 1);
}

/// Where the newest window of a home's daemon listens, by its log.
fn windows_at(home: &Home) -> String {
    let said = home.said();
    let line = said.lines().rev().find_map(|line| line.split_once("a pairing window is open on port ")).expect("it is logged");
    let port: String = line.1.chars().take_while(char::is_ascii_digit).collect();
    format!("127.0.0.1:{port}")
}

#[test]
fn without_multicast_an_address_finds_the_window_and_what_is_wrong_is_named() {
    let lan = Lan::new();
    let (mut anna, mut bert) = (lan.home("anna"), lan.home("bert"));
    for home in [&mut anna, &mut bert] {
        home.set("HUBLESS_NETWORK_MDNS", false);
    }
    let (_a, _b) = (anna.up(), bert.up());
    // For programs it returns at once, and the window stays.
    let shown = anna.json(&["pair"]);
    let code = text(&shown["data"], "code");
    assert!(text(&shown["data"], "ticket").starts_with("hubless1-"), "{shown}");
    let at = shown["data"]["addresses"].as_array().and_then(|all| all.last()?.as_str()).expect("an address").to_owned();
    let lost = refused(&bert, &["pair", code]);
    assert_eq!(lost["code"], "code-not-found", "{lost}");
    assert!(text(&lost, "fix").contains("--addr"), "{lost}");
    assert_eq!(refused(&bert, &["pair", &code[..9]])["code"], "bad-code");
    assert_eq!(refused(&anna, &["pair", code, "--addr", &at])["code"], "bad-code", "its own code");
    let joined = bert.json(&["pair", code, "--addr", &at]);
    assert_eq!(joined["data"]["device"]["name"], "anna");
}

#[test]
fn a_newer_window_ends_the_older_command() {
    let lan = Lan::new();
    let anna = lan.home("anna");
    let _a = anna.up();
    let (older, _newer) = (Inviting::begin(&anna), Inviting::begin(&anna));
    let (code, _, err) = older.ended();
    assert!(code == 1 && err.contains("a newer one was opened"), "{code} {err}");
    let waited = anna.run(&["pair", "--timeout", "1s"]);
    assert!(waited.code == 8 && waited.err.contains("[timed-out]"), "{waited:?}");
    let drawn = anna.run(&["pair", "--ticket", "--qr"]);
    assert!(drawn.code == 0 && drawn.err.contains('█') && drawn.out.starts_with("hubless1-"), "{drawn:?}");
}
