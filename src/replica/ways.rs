//! The ways by which it is learnt what the tools do: the watcher hints, listings find, hooks say it. Any two may fail and
//! everything is still seen, only later; so a way that fell silent is noticed only because it is shown when it last ran.
//!
//! Here, too, a source rests when a person says so: it is listed and shown, and nothing in it is read until it goes on. What was
//! missed meanwhile is found by the next listing, for what was read is known by its marks and not by when it was read.

use std::collections::BTreeMap;

use crate::model::effects::Effects;
use crate::model::input::SourceEvent;
use crate::model::reply::{Code, Refusal, Reply};
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::model::tool::Root;
use crate::model::view::{SourceView, Way, WayView};

use super::machine::Replica;

/// A way that runs all the time is shown anew only this often: each new view costs those who follow it.
pub(super) const SHOWN_EVERY_MS: i64 = 1_000;

/// When each way last ran, and what last went wrong with it, since this start.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways(pub(super) BTreeMap<Way, WayView>);

impl Ways {
    /// The sources said something.
    pub(super) fn heard(&mut self, event: &SourceEvent, shown: &BTreeMap<Root, SourceView>, now: Now) {
        match event {
            SourceEvent::Hint { .. } => self.ran(Way::Watcher, now),
            SourceEvent::Polling { why } => self.failed(Way::Watcher, why.clone(), now),
            SourceEvent::Looked { root, skipped, .. } => {
                self.ran(Way::Rescan, now);
                if *skipped > 0 {
                    self.failed(Way::Rescan, format!("{}: {skipped} entries passed over", root.word()), now);
                }
            }
            // A directory that nobody configured is no failure.
            SourceEvent::Denied { root, path: None, why } if shown.contains_key(root) => {
                self.failed(Way::Rescan, format!("{}: {why}", root.word()), now)
            }
            SourceEvent::Denied { .. }
            | SourceEvent::Read { .. }
            | SourceEvent::Followed { .. }
            | SourceEvent::Rows { .. }
            | SourceEvent::Living { .. }
            | SourceEvent::Found { .. }
            | SourceEvent::Repo { .. }
            | SourceEvent::Unsure { .. } => {}
        }
    }

    /// A hook reported, and was taken or refused.
    pub(super) fn hooked(&mut self, refused: Option<&Refusal>, now: Now) {
        self.ran(Way::Hooks, now);
        if let Some(refusal) = refused {
            self.failed(Way::Hooks, refusal.what.clone(), now);
        }
    }

    fn ran(&mut self, way: Way, now: Now) {
        let ran = &mut self.0.entry(way).or_default().ran_here;
        if ran.is_none_or(|ran| (now.wall_ms - ran).abs() >= SHOWN_EVERY_MS) {
            *ran = Some(now.wall_ms);
        }
    }

    fn failed(&mut self, way: Way, why: String, now: Now) {
        let error = &mut self.0.entry(way).or_default().error;
        if error.as_ref().is_none_or(|(at, before)| *before != why || (now.wall_ms - at).abs() >= SHOWN_EVERY_MS) {
            *error = Some((now.wall_ms, why));
        }
    }
}

impl Replica {
    /// What rested before this start rests on. It is said among the facts of this device, for what is kept beside the documents
    /// may be lost.
    pub(super) fn rest_again(&mut self) {
        let said = self.showing.devices().get(&self.me.device).map(|said| said.paused.clone()).unwrap_or_default();
        said.iter().filter_map(|word| Root::named(word)).for_each(|root| self.reading.pause(root));
        self.keep_resting();
    }

    /// Sources rest, or go on: all those of a tool, or one by its own word. It holds until the contrary is said, over restarts.
    pub(super) fn pause(&mut self, source: &str, rests: bool, out: &mut Effects) -> Result<Reply, Refusal> {
        let shown = self.reading.shown.keys().copied();
        let named: Vec<Root> = shown.filter(|root| root.word() == source || root.folder().tool == source).collect();
        if named.is_empty() {
            let what = format!("no source is called “{}”", Foreign::new(source).plain());
            return Err(Refusal::new(Code::SourceNotFound, what).fix("hubless sources"));
        }
        for root in &named {
            if rests { self.reading.pause(*root) } else { self.reading.resume(*root, out) }
        }
        self.introduce(out);
        Ok(Reply::Paused { sources: named.into_iter().map(Root::word).collect(), paused: rests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::input::RelPath;

    fn at(ms: u64) -> Now {
        Now { wall_ms: i64::try_from(ms).expect("small"), mono_ms: ms, boot_ms: ms }
    }

    #[test]
    fn each_way_has_its_last_run_and_its_last_error() {
        let (mut ways, root) = (Ways::default(), Root::CLAUDE_TODOS);
        let hint = SourceEvent::Hint { root, path: Some(RelPath::from("a.json")) };
        let shown = BTreeMap::new();
        ways.heard(&hint, &shown, at(5_000));
        ways.heard(&hint, &shown, at(5_001));
        assert_eq!(ways.0.get(&Way::Watcher).and_then(|way| way.ran_here), Some(5_000), "a storm is shown once a second");
        ways.heard(&hint, &shown, at(6_000));
        ways.heard(&SourceEvent::Polling { why: "no watches left".into() }, &shown, at(7_000));
        let expected = WayView { ran_here: Some(6_000), error: Some((7_000, "no watches left".into())) };
        assert_eq!(ways.0.get(&Way::Watcher), Some(&expected));
        let denied = SourceEvent::Denied { root, path: None, why: "not readable".into() };
        ways.heard(&denied, &shown, at(8_000));
        assert_eq!(ways.0.get(&Way::Rescan), None, "a directory that nobody configured");
        let known = SourceView {
            base: "/t".into(),
            present: true,
            files: 0,
            listed_here: None,
            read_here: None,
            paused: false,
            malformed: 0,
            unknown: BTreeMap::new(),
            error: None,
        };
        ways.heard(&denied, &BTreeMap::from([(root, known)]), at(8_000));
        assert_eq!(ways.0.get(&Way::Rescan).and_then(|way| way.error.clone()), Some((8_000, "claude-todos: not readable".into())));
        ways.hooked(None, at(9_000));
        ways.hooked(Some(&Refusal::new(Code::NotThisDevice, "“b” is another device")), at(9_500));
        let expected = WayView { ran_here: Some(9_000), error: Some((9_500, "“b” is another device".into())) };
        assert_eq!(ways.0.get(&Way::Hooks), Some(&expected));
    }
}
