//! What would change in one tool's settings, told before anything is done.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::{self, Found};
use super::hooks::{self, Tool, Version};
use super::{diff, pi, shell};

/// Who puts itself into the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// This program's path, from the root.
    pub program: PathBuf,
    /// `HUBLESS_HOME`, if this is a home of its own: the tool's environment may not have it.
    pub home: Option<String>,
    /// The tool's version, as far as it is known.
    pub version: Option<Version>,
}

/// Putting in, or taking out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Our entries are there, once and up to date.
    Install,
    /// None of our entries is there.
    Uninstall,
}

/// What is to be done to one file.
#[derive(Debug)]
pub struct Plan {
    /// Which file.
    pub file: PathBuf,
    /// Events left out because the tool's version does not know them, or is not known.
    pub left_out: Vec<&'static str>,
    /// That version, as far as it is known.
    pub version: Option<Version>,
    /// Whether the file switches all hooks off.
    pub switched_off: bool,
    before: Option<Found>,
    after: Option<String>,
}

/// How a tool's settings stand to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The events on which we are run.
    pub events: Vec<String>,
    /// Whether they are what an installation now would leave.
    pub current: bool,
    /// Whether the file switches all hooks off.
    pub switched_off: bool,
}

/// The settings file of a tool whose directory this is.
#[must_use]
pub fn file(tool: Tool, dir: &Path) -> PathBuf {
    match tool {
        Tool::Claude => dir.join("settings.json"),
        Tool::Codex => dir.join("hooks.json"),
        Tool::Pi => dir.join(pi::PLACE),
    }
}

/// Finds out what would change; touches nothing.
///
/// # Errors
/// The file cannot be read, is no plain file, no JSON, of another shape, or not ours.
pub fn plan(tool: Tool, dir: &Path, caller: &Caller, deed: Deed) -> Result<Plan, Error> {
    let file = file(tool, dir);
    let before = files::read(&file)?;
    let text = before.as_ref().map(|found| found.text.as_str());
    let after = match (tool, deed, text) {
        (Tool::Pi, _, Some(text)) if !pi::is_ours(text) => return Err(Error::Foreign { file }),
        (Tool::Pi, Deed::Install, _) => Some(pi::extension(program(caller)?, caller.home.as_deref())),
        (Tool::Pi, Deed::Uninstall, _) | (Tool::Claude | Tool::Codex, Deed::Uninstall, None) => None,
        (Tool::Claude | Tool::Codex, Deed::Install, _) => {
            let command = shell::command(program(caller)?, caller.home.as_deref(), tool.word());
            Some(hooks::install(text, tool, &command, caller.version).map_err(|wrong| wrong.within(&file))?)
        }
        (Tool::Claude | Tool::Codex, Deed::Uninstall, Some(text)) => {
            let left = hooks::uninstall(text, tool).map_err(|wrong| wrong.within(&file))?;
            // Somebody who links the file elsewhere wants to keep it there.
            let is_linked = before.as_ref().is_some_and(|found| found.is_linked(&file));
            left.or_else(|| is_linked.then(|| "{}\n".to_owned()))
        }
    };
    let left_out = if deed == Deed::Install { hooks::left_out(tool, caller.version) } else { Vec::new() };
    let switched_off = tool != Tool::Pi && text.is_some_and(hooks::is_switched_off);
    Ok(Plan { file, left_out, version: caller.version, switched_off, before, after })
}

/// Its path; what we would not know again is not put anywhere.
fn program(caller: &Caller) -> Result<&str, Error> {
    caller.program.to_str().filter(|path| shell::is_program(path)).ok_or_else(|| Error::Program { program: caller.program.clone() })
}

/// How a tool's settings stand to us; `None` when none of our entries is there.
///
/// # Errors
/// As [`plan`]; a pi extension of somebody else's is simply not ours.
pub fn status(tool: Tool, dir: &Path, caller: &Caller) -> Result<Option<Status>, Error> {
    let file = file(tool, dir);
    let Some(found) = files::read(&file)? else { return Ok(None) };
    let events: Vec<String> = match tool {
        Tool::Pi if pi::is_ours(&found.text) => pi::EVENTS.map(str::to_owned).to_vec(),
        Tool::Pi => return Ok(None),
        Tool::Claude | Tool::Codex => {
            let own = hooks::own(&found.text, tool).map_err(|wrong| wrong.within(&file))?;
            own.into_iter().map(|(event, _)| event).collect()
        }
    };
    if events.is_empty() {
        return Ok(None);
    }
    let plan = plan(tool, dir, caller, Deed::Install)?;
    Ok(Some(Status { events, current: !plan.changes(), switched_off: plan.switched_off }))
}

impl Plan {
    /// Whether anything is to be done.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.before.as_ref().map(|found| &found.text) != self.after.as_ref()
    }

    /// What changes, line by line.
    #[must_use]
    pub fn diff(&self) -> Vec<String> {
        let before = self.before.as_ref().map_or("", |found| found.text.as_str());
        diff::lines(before, self.after.as_deref().unwrap_or_default())
    }

    /// Does it. `stamp` names the copy of what was there; its path is returned.
    ///
    /// # Errors
    /// Something cannot be written, or somebody else wrote the file since it was read. Then it is as it was.
    pub fn carry_out(&self, stamp: &str) -> Result<Option<PathBuf>, Error> {
        if self.changes() { files::replace(&self.file, self.before.as_ref(), self.after.as_deref(), stamp) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn caller() -> Caller {
        Caller { program: "/opt/hubless".into(), home: None, version: None }
    }

    #[test]
    fn every_tool_is_put_in_and_taken_out_and_nothing_but_the_copies_is_left() {
        for tool in Tool::ALL {
            let home = tempfile::tempdir().expect("a directory");
            let dir = home.path().join("tool");
            assert_eq!(status(tool, &dir, &caller()).expect("read"), None);
            let plan_of = |deed| plan(tool, &dir, &caller(), deed).expect("planned");
            assert!(!plan_of(Deed::Uninstall).changes());
            let install = plan_of(Deed::Install);
            assert!(install.changes() && install.diff().iter().skip(1).all(|line| line.starts_with('+')), "{tool:?}");
            assert!(!dir.exists(), "a plan touches nothing");
            assert_eq!(install.carry_out("T").expect("written"), None);
            assert!(!plan_of(Deed::Install).changes(), "{tool:?} twice");
            assert!(status(tool, &dir, &caller()).expect("read").is_some_and(|status| status.current && status.events.len() >= 6));
            let moved = Caller { program: "/usr/bin/hubless".into(), ..caller() };
            assert!(status(tool, &dir, &moved).expect("read").is_some_and(|status| !status.current));
            let copy = plan_of(Deed::Uninstall).carry_out("T").expect("taken out");
            assert!(copy.is_some_and(|copy| copy.exists()) && !file(tool, &dir).exists(), "{tool:?}");
        }
    }

    #[test]
    fn an_extension_that_is_not_ours_is_left_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let file = file(Tool::Pi, home.path());
        fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        fs::write(&file, "export default () => {}").expect("written");
        for deed in [Deed::Install, Deed::Uninstall] {
            assert!(matches!(plan(Tool::Pi, home.path(), &caller(), deed), Err(Error::Foreign { .. })));
        }
        assert_eq!(status(Tool::Pi, home.path(), &caller()).expect("read"), None);
    }

    #[test]
    fn a_link_stays_when_nothing_is_left_behind_it() {
        let home = tempfile::tempdir().expect("a directory");
        let (file, real) = (file(Tool::Claude, home.path()), home.path().join("real.json"));
        plan(Tool::Claude, home.path(), &caller(), Deed::Install).expect("planned").carry_out("T").expect("written");
        fs::rename(&file, &real).expect("moved");
        std::os::unix::fs::symlink(&real, &file).expect("linked");
        plan(Tool::Claude, home.path(), &caller(), Deed::Uninstall).expect("planned").carry_out("T").expect("written");
        assert_eq!(fs::read_to_string(&real).expect("there"), "{}\n");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_file_and_its_fix() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("settings.json"), "{\"hooks\": {},}").expect("written");
        let why = plan(Tool::Claude, home.path(), &caller(), Deed::Install).expect_err("no JSON");
        assert_eq!(why.code(), "settings-not-json");
        assert!(
            why.to_string().contains("settings.json is not valid JSON") && why.to_string().contains("line 1") && !why.fix().is_empty(),
            "{why}"
        );
        fs::write(home.path().join("hooks.json"), "{\"hooks\": 7}").expect("written");
        assert_eq!(plan(Tool::Codex, home.path(), &caller(), Deed::Uninstall).expect_err("a shape").code(), "settings-shape");
    }
}
