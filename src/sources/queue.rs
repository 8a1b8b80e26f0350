//! The looks that wait. Bounded, and yet no look is lost for good: one that finds no room becomes a hint to look
//! everywhere below its root, which is handed out when the others are done. The core then lists again and asks for what
//! it still lacks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::effects::Look;
use crate::model::tool::Root;

/// Looks that wait at a time. A cold start asks for every file at once; a look is some 150 bytes, so these are 2.5 MB.
pub(super) const LOOKS_MAX: usize = 16_384;

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// This look.
    Look(Look),
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
    looks: VecDeque<Look>,
    again: BTreeSet<Root>,
}

impl Queue {
    /// An empty queue; `roots` are those that can be looked at again.
    pub(super) fn new(roots: Vec<Root>) -> Queue {
        Queue { roots, waiting: Mutex::default(), rang: Notify::new() }
    }

    /// Adds a look, or remembers that there was no room for it. The same listing need not wait twice.
    pub(super) fn push(&self, look: Look) {
        let mut waiting = self.lock();
        if matches!(look, Look::List { .. }) && waiting.looks.contains(&look) {
            return;
        }
        if waiting.looks.len() < LOOKS_MAX {
            waiting.looks.push_back(look);
        } else {
            match look {
                Look::List { root } | Look::Read { root, .. } | Look::Find { root, .. } => waiting.again.extend([root]),
                // A working directory belongs to no root: whoever lists again asks for it again.
                Look::Repo { .. } => waiting.again.extend(self.roots.iter().copied()),
            }
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
        if let Some(look) = waiting.looks.pop_front() {
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
