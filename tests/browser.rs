//! A headless Chromium, driven by the WebDriver protocol over plain HTTP: the page as a person's browser shows it.
//!
//! It needs `chromium` and `chromedriver` on the path (Debian: packages `chromium` and `chromium-driver`); where they are missing a
//! test says that it was skipped. The driver and its browser are ended with the handle, by their own session and pid.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{SOON, Since, eventually, skipped};

/// How long one command of the driver may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);
/// How long a browser that was told to end may take to do so by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// How long a browser may take to go, with all that belongs to it.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// The key under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Starts a driver on a free port; `None` when it ended at once.
fn driver(home: &Path) -> Option<(Child, u16)> {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").env_remove("HUBLESS_HOME").env("HOME", home).env("TZ", "UTC");
    let mut driver = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("chromedriver starts");
    let mut lines = BufReader::new(driver.stdout.take().expect("piped"));
    match port(&mut lines) {
        Some(port) => {
            // What it says from here on nobody needs; but a full pipe would stop it.
            std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(drop));
            Some((driver, port))
        }
        None => {
            driver.wait().expect("reaped");
            None
        }
    }
}

/// The port that it says it listens on.
fn port(said: &mut impl BufRead) -> Option<u16> {
    let number = |word: &str| word.trim_end_matches('.').parse().ok();
    let mut lines = said.lines().map_while(Result::ok);
    lines.find(|line| line.contains("successfully")).and_then(|line| line.split_whitespace().last().and_then(number))
}

/// A browser of its own, with a profile that goes with it.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// The browser's process.
    browser: i32,
    profile: tempfile::TempDir,
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

impl Browser {
    /// Starts one; `None`, said loudly, where there is none.
    #[track_caller]
    pub(crate) fn start(test: &str) -> Option<Browser> {
        for program in ["chromium", "chromedriver"] {
            if !is_there(program) {
                let must = std::env::var_os("HUBLESS_BROWSER").is_some_and(|word| word == "must");
                assert!(!must, "{program} is not here, and HUBLESS_BROWSER=must says that it has to be");
                skipped(test, &format!("{program} is not on the path (Debian: chromium, chromium-driver)"));
                return None;
            }
        }
        let profile = tempfile::Builder::new().prefix("hlb").tempdir().expect("a directory");
        // It takes its port twice, for both address families, and gives up when somebody else was quicker with the second.
        let (driver, port) = eventually(SOON, "chromedriver listens", || driver(profile.path()));
        let mut browser = Browser { driver, port, session: String::new(), browser: 0, profile };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--window-size=1280,900",
            "--lang=en-GB",
            &format!("--user-data-dir={}", browser.profile.path().join("profile").display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.ask("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned();
        let pid = made["capabilities"]["goog:processID"].as_i64().and_then(|pid| pid.try_into().ok());
        browser.browser = pid.expect("the number of the browser's process");
        Some(browser)
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(COMMAND_WITHIN)).ok()?;
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (&stream).write_all((head + &body).as_bytes()).ok()?;
        // The driver keeps its connections open, whatever it is asked: what it says ends where its head says.
        let mut answer = BufReader::new(&stream);
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).ok()?;
            match line.trim().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
                None if line.starts_with("HTTP/") => status = line.split(' ').nth(1)?.parse().ok()?,
                None if line.trim().is_empty() => break,
                _ => {}
            }
        }
        let mut bytes = vec![0; length];
        answer.read_exact(&mut bytes).ok()?;
        Some((status, serde_json::from_slice(&bytes).ok()?))
    }

    /// Whether the browser's own process is still there.
    fn runs(&self) -> bool {
        rustix::process::Pid::from_raw(self.browser).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
    }

    fn kill(&self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.browser) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_ask(method, path, body);
        let (status, answer) = answer.unwrap_or_else(|| panic!("chromedriver does not answer {method} {path}"));
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer["value"].clone()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}{path}", self.session), body)
    }

    /// Opens an address; returns when it is loaded.
    #[track_caller]
    pub(crate) fn go(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// Runs a function's body in the page and returns what it returns; a promise is waited for.
    #[track_caller]
    pub(crate) fn run(&self, body: &str) -> Value {
        let script =
            format!("const done = arguments[arguments.length - 1]; (async () => {{ {body} }})().then(done, why => done('FAILED ' + why))");
        self.post("/execute/async", &json!({"script": script, "args": []}))
    }

    /// Waits until an expression is true in the page, which may load itself anew meanwhile: then the question is lost, and asked again.
    #[track_caller]
    pub(crate) fn until(&self, limit: Duration, expression: &str) {
        let body = json!({"script": format!("return Boolean({expression})"), "args": []});
        eventually(limit, expression, || {
            let (_, said) = self.try_ask("POST", &format!("/session/{}/execute/sync", self.session), &body).expect("chromedriver answers");
            (said["value"] == true).then_some(())
        });
    }

    /// Opens an address of the page and waits until it is live.
    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.go(url);
        self.until(SOON, "document.body.dataset.live === 'true'");
    }

    /// What a person reads in an element.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let read = format!("return document.querySelector({}).innerText", json!(selector));
        self.run(&read).as_str().unwrap_or_else(|| panic!("{selector} has no text")).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A command of the browser's own protocol.
    #[track_caller]
    pub(crate) fn browser_command(&self, command: &str, params: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    /// Makes the window so many CSS pixels wide and high.
    #[track_caller]
    pub(crate) fn size(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.browser_command("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Asks for light or dark, as a system does.
    #[track_caller]
    pub(crate) fn scheme(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.browser_command("Emulation.setEmulatedMedia", &features);
    }

    /// Shows the page as it would be printed by who has a dark screen, or on the screen again.
    #[track_caller]
    pub(crate) fn media(&self, media: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": if media == "print" { "dark" } else { "light" }}]);
        self.browser_command("Emulation.setEmulatedMedia", &json!({"media": media, "features": features}));
    }

    /// Bytes of the script's memory that are in use, after what nobody holds was let go.
    #[track_caller]
    pub(crate) fn heap(&self) -> f64 {
        self.browser_command("HeapProfiler.collectGarbage", &json!({}));
        self.browser_command("Runtime.getHeapUsage", &json!({}))["usedSize"].as_f64().expect("a number")
    }

    /// Writes a picture of the whole page, at most so high.
    #[track_caller]
    pub(crate) fn picture(&self, path: &Path, height_max: u64) {
        let height = self.run("return document.documentElement.scrollHeight").as_u64().unwrap_or(900).min(height_max);
        let width = self.run("return innerWidth").as_u64().unwrap_or(1280);
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let shot = self.browser_command("Page.captureScreenshot", &json!({"format": "png", "captureBeyondViewport": true, "clip": clip}));
        let bytes = data_encoding::BASE64.decode(shot["data"].as_str().expect("a picture").as_bytes()).expect("base64");
        std::fs::create_dir_all(path.parent().expect("in a directory")).expect("a directory");
        std::fs::write(path, bytes).expect("written");
    }

    /// Presses a key, or types.
    #[track_caller]
    pub(crate) fn press(&self, keys: &str) {
        let steps: Vec<Value> =
            keys.chars().flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]).collect();
        self.post("/actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": steps}]}));
    }

    /// Clicks what a selector finds first.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        let id = found[ELEMENT].as_str().expect("an element").to_owned();
        self.post(&format!("/element/{id}/click"), &json!({}));
    }

    /// Opens another tab and goes there.
    #[track_caller]
    pub(crate) fn tab(&self) -> String {
        let made = self.post("/window/new", &json!({"type": "tab"}));
        let handle = made["handle"].as_str().expect("a handle").to_owned();
        self.switch(&handle);
        handle
    }

    /// Goes to a tab.
    #[track_caller]
    pub(crate) fn switch(&self, handle: &str) {
        self.post("/window", &json!({"handle": handle}));
    }

    /// What the console said since it was last asked: every line that is an error or a warning. A server that is away is no fault
    /// of the page, and browsers say that as an error of the network.
    #[track_caller]
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        let lines = log.as_array().cloned().unwrap_or_default().into_iter();
        let bad = lines.filter(|line| line["level"] == "SEVERE" || line["level"] == "WARNING");
        bad.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            drop(self.try_ask("DELETE", &format!("/session/{}", self.session), &Value::Null));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // The browser and its helpers end a moment later, and write into the profile until then. One that does not would stay for good.
        let begun = Since::now();
        let mut gone = 0;
        while gone < 5 && begun.elapsed() < GONE_WITHIN {
            if self.runs() && begun.elapsed() > ENDS_WITHIN {
                self.kill();
            }
            let _ = std::fs::remove_dir_all(self.profile.path());
            gone = if self.profile.path().exists() || self.runs() { 0 } else { gone + 1 };
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
