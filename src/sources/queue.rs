//! The looks that wait. Bounded, and yet no look is lost for good: one that finds no room becomes a hint to look
//! everywhere below its root, which is handed out when the others are done. The core then lists again and asks for what
//! it still lacks.
//!
//! There are two lanes, so that gigabytes of transcripts keep no small file waiting: what is small and whole goes first, and
//! after [`FIRST_MAX`] of those one piece of a followed file, so that neither starves the other. A lane keeps its order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::effects::Look;
use crate::model::input::RelPath;
use crate::model::tool::Root;

/// Looks that wait at a time. A cold start asks for every file at once; a look is some 150 bytes, so these are 2.5 MB.
pub(super) const LOOKS_MAX: usize = 16_384;

/// Small looks that go before one piece of a followed file: at 4 MiB a piece and some 50 µs a small file, both lanes get
/// about as much time when both are full.
const FIRST_MAX: usize = 32;

/// New directories that wait to be watched; more are a hint to look everywhere.
const NEW_MAX: usize = 1_024;

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// This look.
    Look(Look),
    /// Watch a directory that has just appeared below the root, and hint at what is in it.
    Enter(Root, RelPath),
    /// Looks below this root found no room.
    Again(Root),
}

/// A bounded queue with one taker.
#[derive(Debug)]
pub(super) struct Queue {
    roots: Vec<Root>,
    waiting: Mutex<Waiting>,
    rang: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    new: BTreeSet<(Root, RelPath)>,
    first: VecDeque<Look>,
    follow: VecDeque<Look>,
    /// Small looks since the last piece of a followed file.
    since: usize,
    again: BTreeSet<Root>,
}

impl Queue {
    /// A queue of no looks; `roots` are those that can be looked at again. The core lists the tools' own directories by itself; of
    /// the others it learns by a hint.
    pub(super) fn new(roots: Vec<Root>) -> Queue {
        let again = roots.iter().copied().filter(|root| root.nth > 0).collect();
        Queue { roots, waiting: Mutex::new(Waiting { again, ..Waiting::default() }), rang: Notify::new() }
    }

    /// Adds a look, or remembers that there was no room for it. The same listing need not wait twice.
    pub(super) fn push(&self, look: Look) {
        let mut waiting = self.lock();
        if matches!(look, Look::List { .. } | Look::Rows { .. }) && waiting.first.contains(&look) {
            return;
        }
        let lane = if matches!(look, Look::Follow { .. }) { &mut waiting.follow } else { &mut waiting.first };
        if lane.len() < LOOKS_MAX {
            lane.push_back(look);
        } else {
            match look {
                Look::List { root }
                | Look::Read { root, .. }
                | Look::Follow { root, .. }
                | Look::Rows { root, .. }
                | Look::Find { root, .. } => {
                    waiting.again.extend([root]);
                }
                // A working directory or a process belongs to no root: whoever lists again asks for it again.
                Look::Repo { .. } | Look::Living { .. } => waiting.again.extend(self.roots.iter().copied()),
            }
        }
        drop(waiting);
        self.rang.notify_one();
    }

    /// Adds a directory that has just appeared, before all looks: until it is watched, nothing in it is noticed.
    pub(super) fn enter(&self, root: Root, below: RelPath) {
        let mut waiting = self.lock();
        if waiting.new.len() < NEW_MAX {
            waiting.new.insert((root, below));
        } else {
            waiting.again.insert(root);
        }
        drop(waiting);
        self.rang.notify_one();
    }

    /// Waits for the next job; dropped while it waits, it has taken nothing.
    pub(super) async fn next(&self) -> Job {
        loop {
            if let Some(job) = self.take() {
                return job;
            }
            self.rang.notified().await;
        }
    }

    fn take(&self) -> Option<Job> {
        let mut waiting = self.lock();
        if let Some((root, below)) = waiting.new.pop_first() {
            return Some(Job::Enter(root, below));
        }
        let is_turn = waiting.since >= FIRST_MAX || waiting.first.is_empty();
        if is_turn && let Some(look) = waiting.follow.pop_front() {
            waiting.since = 0;
            return Some(Job::Look(look));
        }
        if let Some(look) = waiting.first.pop_front() {
            waiting.since = waiting.since.saturating_add(1);
            return Some(Job::Look(look));
        }
        waiting.again.pop_first().map(Job::Again)
    }

    /// A panic while the lock was held leaves a queue that is still whole: every change of it is one call.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(n: usize) -> Look {
        Look::Read { root: Root::CLAUDE_TODOS, path: format!("{n}.json"), offset: 0, max: 1 }
    }

    fn follow(n: usize) -> Look {
        Look::Follow { root: Root::CLAUDE_PROJECTS, path: format!("{n}.jsonl"), offset: 0, max: u64::MAX }
    }

    #[test]
    fn small_looks_go_first_and_neither_lane_starves_the_other() {
        let queue = Queue::new(vec![Root::CLAUDE_TODOS, Root::CLAUDE_PROJECTS]);
        for n in 0..100 {
            queue.push(follow(n));
        }
        for n in 0..2 * FIRST_MAX + 1 {
            queue.push(read(n));
        }
        let jobs: Vec<Job> = std::iter::from_fn(|| queue.take()).collect();
        let places = |of: fn(&Look) -> bool| jobs.iter().enumerate().filter(move |(_, job)| matches!(job, Job::Look(look) if of(look)));
        let small: Vec<usize> = places(|look| matches!(look, Look::Read { .. })).map(|(at, _)| at).collect();
        let wanted: Vec<usize> = (0..FIRST_MAX).chain(FIRST_MAX + 1..2 * FIRST_MAX + 1).chain([2 * FIRST_MAX + 2]).collect();
        assert_eq!(small, wanted, "one piece between {FIRST_MAX} small ones");
        let pieces: Vec<&Job> = places(|look| matches!(look, Look::Follow { .. })).map(|(_, job)| job).collect();
        assert!(pieces.into_iter().eq((0..100).map(|n| Job::Look(follow(n))).collect::<Vec<_>>().iter()), "in their order");
    }

    #[test]
    fn a_full_lane_leaves_room_in_the_other() {
        let queue = Queue::new(vec![Root::CLAUDE_TODOS, Root::CLAUDE_PROJECTS]);
        for n in 0..LOOKS_MAX + 1 {
            queue.push(follow(n));
        }
        queue.push(read(1));
        assert_eq!(queue.take(), Some(Job::Look(read(1))));
        let last = std::iter::from_fn(|| queue.take()).last();
        assert_eq!(last, Some(Job::Again(Root::CLAUDE_PROJECTS)), "only its own root is looked at again");
    }

    #[test]
    fn a_new_directory_goes_before_all_looks_and_once() {
        let queue = Queue::new(vec![Root::CLAUDE_TODOS]);
        queue.push(read(1));
        queue.enter(Root::CLAUDE_PROJECTS, "a".to_owned());
        queue.enter(Root::CLAUDE_PROJECTS, "a".to_owned());
        assert_eq!(queue.take(), Some(Job::Enter(Root::CLAUDE_PROJECTS, "a".to_owned())));
        assert_eq!(queue.take(), Some(Job::Look(read(1))));
        for n in 0..=NEW_MAX {
            queue.enter(Root::CLAUDE_PROJECTS, n.to_string());
        }
        let jobs: Vec<Job> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!((jobs.len(), jobs.last()), (NEW_MAX + 1, Some(&Job::Again(Root::CLAUDE_PROJECTS))));
    }

    #[test]
    fn looks_come_out_in_order_and_the_same_listing_waits_once() {
        let queue = Queue::new(vec![Root::CLAUDE_TODOS]);
        queue.push(read(1));
        queue.push(Look::List { root: Root::CLAUDE_TODOS });
        queue.push(Look::List { root: Root::CLAUDE_TODOS });
        queue.push(read(2));
        assert_eq!(queue.take(), Some(Job::Look(read(1))));
        assert_eq!(queue.take(), Some(Job::Look(Look::List { root: Root::CLAUDE_TODOS })));
        assert_eq!(queue.take(), Some(Job::Look(read(2))));
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn a_look_without_room_becomes_one_hint_after_all_others() {
        let queue = Queue::new(vec![Root::CLAUDE_TODOS, Root::CLAUDE_PROJECTS]);
        for n in 0..LOOKS_MAX + 3 {
            queue.push(read(n));
        }
        for n in 0..LOOKS_MAX {
            assert_eq!(queue.take(), Some(Job::Look(read(n))));
        }
        assert_eq!(queue.take(), Some(Job::Again(Root::CLAUDE_TODOS)));
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn a_repository_without_room_is_asked_for_again_by_every_root() {
        let queue = Queue::new(vec![Root::CLAUDE_TODOS, Root::CLAUDE_PROJECTS]);
        for n in 0..LOOKS_MAX {
            queue.push(read(n));
        }
        queue.push(Look::Repo { cwd: "/x".to_owned() });
        let after: Vec<Job> = std::iter::from_fn(|| queue.take()).skip(LOOKS_MAX).collect();
        assert_eq!(after, [Job::Again(Root::CLAUDE_TODOS), Job::Again(Root::CLAUDE_PROJECTS)]);
    }
}
