//! A session is over when somebody said so and nobody in it has spoken since; until then it is what its agent is; and
//! when nothing is known of an agent, it is quiet.
//!
//! Facts in any order give the same view: of several ends the lowest is shown, of several agents the one that
//! `agents::voice` lets speak. A session may go on after its end (`--resume`, or an agent that begins again under its own
//! name): a beat of a living agent that is younger than every end reopens it, by the clock of the one device that writes both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::agents;
use crate::model::id::{ActId, SessionId, TodoId};
use crate::model::session::{Counts, EndFact, SessionFact, TagFact};
use crate::model::text::Foreign;
use crate::model::time::Stamp;
use crate::model::todo::tag_key;
use crate::model::view::{AgentState, SessionState, SessionView};

/// What the lists of one session say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// When the newest of them was read as changed: the file's time, milliseconds since 1970.
    pub read_at: Option<i64>,
    /// The todos that hold their items.
    pub todos: Arc<[TodoId]>,
    /// How many items are open, as the lists themselves say.
    pub open: u32,
    /// How many items are done, as the lists themselves say.
    pub done: u32,
}

/// The view of one session: its fact, its ends, for each of its beats what the agent is, when it was reported
/// (milliseconds since 1970, by its device's clock) and what was counted by then, and its lists.
#[must_use]
pub fn view<'a>(
    id: SessionId,
    fact: &SessionFact,
    ends: impl IntoIterator<Item = &'a EndFact>,
    beats: impl IntoIterator<Item = (AgentState, i64, Option<Counts>)>,
    lists: Lists,
) -> SessionView {
    let beats: Vec<(AgentState, i64, Option<Counts>)> = beats.into_iter().collect();
    let alive_at = beats.iter().filter(|(state, ..)| agents::is_alive(*state)).map(|(_, at, _)| *at).max();
    let ends: Vec<&EndFact> = ends.into_iter().collect();
    // The last that was counted, not the most: a file may be cut or written anew.
    let counted = beats.iter().filter_map(|(_, at, counts)| Some((*at, true, (*counts)?)));
    let counted = counted.chain(ends.iter().filter_map(|end| Some((end.at, false, end.counts?))));
    let counts = counted.max().map(|(.., counts)| counts);
    let newest_beat = beats.iter().map(|(_, at, _)| *at).max();
    let since = |from: Option<i64>| ends.iter().filter(|end| from.is_none_or(|from| from <= end.at)).min().map(|end| (*end).clone());
    // A run that went on and ended again has an end for each time; the last word came with the one that counts.
    let end = since(newest_beat).or_else(|| since(alive_at));
    let speaker = beats.iter().min_by_key(|(state, at, _)| agents::voice(*state, *at));
    let state = match (&end, speaker) {
        (Some(_), _) => SessionState::Ended,
        (None, Some((state, ..))) => SessionState::Agent(*state),
        (None, None) => SessionState::Quiet,
    };
    let last_activity = newest_beat.max(lists.read_at).map_or(fact.started, |at| at.max(fact.started));
    let Lists { todos, open, done, .. } = lists;
    let (tags, has_file) = (BTreeSet::new(), None);
    SessionView { id, fact: fact.clone(), state, last_activity, end, todos, open, done, counts, tags, has_file }
}

/// What is said of one session's tags. Of each tag the word with the highest revision counts, of several the later, then the one with
/// the higher name: the same in any order, and however often it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    words: BTreeMap<String, ((u64, Stamp, ActId), bool)>,
}

impl Tags {
    /// Somebody's word.
    pub fn learn(&mut self, id: ActId, fact: &TagFact) {
        let word = ((fact.rev, fact.at, id), fact.on);
        let held = self.words.entry(tag_key(&fact.tag)).or_insert(word);
        *held = word.max(*held);
    }

    /// The tags that it has.
    #[must_use]
    pub fn shown(&self) -> BTreeSet<Foreign> {
        self.words.iter().filter(|(_, (_, on))| *on).map(|(tag, _)| Foreign::new(tag.clone())).collect()
    }

    /// The last word on one tag: its revision, and whether the session has it.
    #[must_use]
    pub fn word(&self, key: &str) -> (u64, bool) {
        self.words.get(key).map_or((0, false), |((rev, ..), on)| (*rev, *on))
    }

    /// When somebody last said anything of them.
    #[must_use]
    pub fn at(&self) -> Stamp {
        self.words.values().map(|((_, at, _), _)| *at).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::DeviceId;
    use crate::model::todo::By;
    use quickcheck::quickcheck;

    fn fact() -> SessionFact {
        SessionFact {
            rev: 1,
            device: DeviceId([1; 32]),
            tool: "claude".into(),
            tool_session: "5c".into(),
            agent: "sam".into(),
            project: None,
            cwd: None,
            branch: None,
            title: None,
            parent: None,
            side: false,
            started: 1000,
        }
    }

    fn end(outcome: &str, at: i64) -> EndFact {
        EndFact { outcome: outcome.into(), agent: None, result: None, counts: None, at }
    }

    fn seen(ends: &[EndFact], beats: &[(AgentState, i64)]) -> SessionView {
        view(SessionId::of(&[b"s"]), &fact(), ends, beats.iter().map(|(state, at)| (*state, *at, None)), Lists::default())
    }

    #[test]
    fn it_is_over_else_what_its_agent_is_else_quiet() {
        assert_eq!(seen(&[], &[]).state, SessionState::Quiet);
        let two = [(AgentState::Done, 3000), (AgentState::Working, 2000)];
        assert_eq!(seen(&[], &two).state, SessionState::Agent(AgentState::Working));
        assert_eq!(seen(&[], &two[..1]).state, SessionState::Agent(AgentState::Done));
        let over = seen(&[end("done", 2000)], &two);
        assert_eq!((over.state, over.end), (SessionState::Ended, Some(end("done", 2000))));
    }

    #[test]
    fn who_speaks_after_the_end_goes_on() {
        let ends = [end("done", 2000), end("inferred", 2500)];
        assert_eq!(seen(&ends, &[(AgentState::Unknown, 2400)]).end, Some(end("inferred", 2500)));
        let on = seen(&ends, &[(AgentState::Late, 2501)]);
        assert_eq!((on.state, on.end), (SessionState::Agent(AgentState::Late), None));
        assert_eq!(seen(&ends, &[(AgentState::Done, 9000)]).state, SessionState::Ended, "a last word is no going on");
        let again = [end("done", 2000), end("failed", 3000)];
        assert_eq!(seen(&again, &[(AgentState::Failed, 3000)]).end, Some(end("failed", 3000)), "it went on and ended otherwise");
        assert_eq!(seen(&again, &[(AgentState::Done, 2000)]).end, Some(end("done", 2000)), "a later guess is no other end");
    }

    #[test]
    fn the_last_activity_is_the_newest_of_beat_and_list() {
        assert_eq!(seen(&[], &[]).last_activity, 1000);
        assert_eq!(seen(&[], &[(AgentState::Idle, 500)]).last_activity, 1000, "never before it began");
        let lists = Lists { read_at: Some(4000), open: 2, done: 1, ..Lists::default() };
        let whole = view(SessionId::of(&[b"s"]), &fact(), &[], [(AgentState::Idle, 3000, None)], lists);
        assert_eq!((whole.last_activity, whole.open, whole.done), (4000, 2, 1));
    }

    #[test]
    fn what_was_counted_last_is_shown_even_if_it_is_less() {
        let counts = |records| Some(Counts { records, ..Counts::default() });
        let over = |at, records| EndFact { counts: counts(records), ..end("done", at) };
        let shown = |ends: &[EndFact], beats: &[(AgentState, i64, Option<Counts>)]| {
            view(SessionId::of(&[b"s"]), &fact(), ends, beats.iter().copied(), Lists::default()).counts
        };
        let (idle, silent) = ((AgentState::Idle, 3000, counts(2)), (AgentState::Idle, 9000, None));
        assert_eq!(shown(&[over(2000, 7)], &[idle, silent]), counts(2), "the file was cut, or written anew");
        assert_eq!(shown(&[over(3000, 7)], &[idle]), counts(2), "of one moment: the beat's");
        assert_eq!(shown(&[over(4000, 7)], &[idle]), counts(7));
    }

    quickcheck! {
        fn tags_are_the_same_in_any_order_and_the_highest_revision_counts(words: Vec<(u8, u8, bool)>, by: usize) -> bool {
            let fact = |(tag, rev, on): &(u8, u8, bool)| TagFact {
                tag: ["a", " A", "b"][usize::from(tag % 3)].into(),
                on: *on,
                rev: u64::from(rev % 4),
                by: By { device: DeviceId([1; 32]), agent: None, session: None },
                at: Stamp { ms: i64::from(rev / 64), n: 0 },
            };
            let all: Vec<(ActId, TagFact)> = words.iter().map(|word| (ActId::of(&[&[word.0, word.1, u8::from(word.2)]]), fact(word))).collect();
            let (mut there, mut back) = (Tags::default(), Tags::default());
            all.iter().for_each(|(id, fact)| there.learn(*id, fact));
            all.iter().cycle().skip(by % (all.len() + 1)).take(2 * all.len()).for_each(|(id, fact)| back.learn(*id, fact));
            let highest = |key: &str| all.iter().filter(|(_, fact)| tag_key(&fact.tag) == key).map(|(_, fact)| fact.rev).max().unwrap_or(0);
            there == back && ["a", "b"].iter().all(|key| there.word(key).0 == highest(key) && there.shown().contains(&Foreign::from(*key)) == there.word(key).1)
        }

        fn the_order_of_facts_changes_nothing(ends: Vec<(String, i8)>, beats: Vec<(u8, i8)>) -> bool {
            let states = [AgentState::Working, AgentState::NeedsInput, AgentState::Done, AgentState::Stale, AgentState::Idle];
            let mut ends: Vec<EndFact> = ends.iter().map(|(outcome, at)| end(outcome, i64::from(*at))).collect();
            let mut beats: Vec<_> = beats.iter().map(|(state, at)| (states[usize::from(*state) % states.len()], i64::from(*at))).collect();
            let one = seen(&ends, &beats);
            ends.reverse();
            beats.reverse();
            seen(&ends, &beats) == one && (one.state == SessionState::Ended) == one.end.is_some()
        }
    }
}
