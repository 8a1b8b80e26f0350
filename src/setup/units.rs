//! The texts that make a service manager start hubless at login: a systemd user unit and a launchd agent. Pure.
//!
//! Every path and value may hold anything a path may hold; each is written so that the manager reads it back as it was.

use std::path::Path;

use super::error::Error;

/// Stands in every text that is ours, so that nothing else is ever replaced or removed.
pub(super) const MARK: &str = "written by hubless service install";

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start<'a> {
    /// This program's path, from the root.
    pub program: &'a Path,
    /// The variables that it has here and would not have there.
    pub env: &'a [(String, String)],
    /// Where launchd puts what is said before the log begins.
    pub said: &'a Path,
}

/// A systemd user unit. `Type=notify` and `WatchdogSec`: the daemon says that it is ready and that it lives. Exit 9 is another
/// daemon of the same home and 5 a data directory that is not ours to use: to start again would change neither.
pub(super) fn systemd(start: &Start<'_>) -> Result<String, Error> {
    let mut env = String::new();
    for (name, value) in start.env {
        env.push_str(&format!("Environment={}\n", quoted(&format!("{name}={}", line(value, start)?))));
    }
    let program = quoted(text(start.program)?);
    Ok(format!(
        "# {MARK}; hubless service uninstall takes it out again\n\
         [Unit]\n\
         Description=hubless, one picture of all your coding agents\n\
         StartLimitIntervalSec=300\n\
         StartLimitBurst=10\n\
         \n\
         [Service]\n\
         Type=notify\n\
         NotifyAccess=main\n\
         ExecStart=:{program} up\n\
         {env}\
         Restart=on-failure\n\
         RestartSec=5\n\
         RestartPreventExitStatus=5 9\n\
         WatchdogSec=30\n\
         TimeoutStartSec=120\n\
         TimeoutStopSec=20\n\
         UMask=0077\n\
         NoNewPrivileges=yes\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n"
    ))
}

/// A launchd agent: started at login, and again when it ends with an error.
pub(super) fn launchd(label: &str, start: &Start<'_>) -> Result<String, Error> {
    let mut env = String::new();
    for (name, value) in start.env {
        env.push_str(&format!("    <key>{}</key><string>{}</string>\n", escaped(name), escaped(line(value, start)?)));
    }
    let (program, said) = (escaped(text(start.program)?), escaped(text(start.said)?));
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <!-- {MARK}; hubless service uninstall takes it out again -->\n\
         <plist version=\"1.0\">\n<dict>\n\
         \x20 <key>Label</key><string>{label}</string>\n\
         \x20 <key>ProgramArguments</key><array><string>{program}</string><string>up</string></array>\n\
         \x20 <key>EnvironmentVariables</key><dict>\n{env}  </dict>\n\
         \x20 <key>RunAtLoad</key><true/>\n\
         \x20 <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>\n\
         \x20 <key>ThrottleInterval</key><integer>10</integer>\n\
         \x20 <key>ProcessType</key><string>Background</string>\n\
         \x20 <key>Umask</key><integer>63</integer>\n\
         \x20 <key>StandardOutPath</key><string>{said}</string>\n\
         \x20 <key>StandardErrorPath</key><string>{said}</string>\n\
         </dict>\n</plist>\n"
    ))
}

fn text(path: &Path) -> Result<&str, Error> {
    let fits = |text: &&str| !text.contains(char::is_control);
    path.to_str().filter(fits).ok_or_else(|| Error::Program { program: path.to_owned() })
}

/// A value that fits on a line.
fn line<'v>(value: &'v str, start: &Start<'_>) -> Result<&'v str, Error> {
    if value.contains(char::is_control) { Err(Error::Program { program: start.program.to_owned() }) } else { Ok(value) }
}

/// A word as systemd reads it: in quotes, and `%` twice, or it would be a specifier (systemd.service(5), "Command lines").
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start<'a>(program: &'a str, env: &'a [(String, String)]) -> Start<'a> {
        Start { program: Path::new(program), env, said: Path::new("/home/l/.local/state/hubless/up.err") }
    }

    #[test]
    fn a_unit_runs_this_program_with_what_it_needs() {
        let env = [("HUBLESS_HOME".to_owned(), "/home/l/my \"hub\" 100%".to_owned())];
        let unit = systemd(&start("/opt/a b/hubless", &env)).expect("a unit");
        for line in [
            "ExecStart=:\"/opt/a b/hubless\" up",
            "Environment=\"HUBLESS_HOME=/home/l/my \\\"hub\\\" 100%%\"",
            "Type=notify",
            "WatchdogSec=30",
            "RestartPreventExitStatus=5 9",
            "WantedBy=default.target",
        ] {
            assert!(unit.lines().any(|told| told == line), "{line} is not in\n{unit}");
        }
        assert!(unit.contains(MARK));
        let plist = launchd("dev.hubless", &start("/opt/a & b/hubless", &env)).expect("an agent");
        assert!(plist.contains("<string>/opt/a &amp; b/hubless</string><string>up</string>") && plist.contains(MARK), "{plist}");
    }

    #[test]
    fn what_would_break_out_of_its_line_is_refused() {
        let env = [("X".to_owned(), "a\nExecStartPre=/bin/evil".to_owned())];
        assert!(systemd(&start("/bin/hubless", &env)).is_err() && launchd("l", &start("/bin/hubless", &env)).is_err());
        assert!(systemd(&start("/bin/hub\nless", &[])).is_err());
    }
}
