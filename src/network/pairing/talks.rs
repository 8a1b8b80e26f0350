//! Conversations at a window, of which there are few: **who says nothing makes room for who comes.**
//!
//! A joiner says its first word as it comes. So of those who fill the room without a word the oldest goes, and who comes when
//! all of them have spoken, and none of them has shown its proof, hears *busy*: for 5 s at most, unless they come again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::window::lock;

/// Conversations at once.
const TALKS_MAX: usize = 8;

/// Those that are under way.
#[derive(Default)]
pub(crate) struct Talks(Arc<Mutex<Room>>);

#[derive(Default)]
struct Room {
    last: u64,
    /// By their number, oldest first: whether the joiner spoke, and what ends it.
    talks: BTreeMap<u64, (bool, CancellationToken)>,
}

/// One of them; it is over when this is dropped.
pub(crate) struct Talk {
    room: Arc<Mutex<Room>>,
    number: u64,
}

impl Talks {
    /// Room for one more, and what will end it for another's sake; none when all have spoken.
    pub(crate) fn begin(&self) -> Option<(Talk, CancellationToken)> {
        let mut room = lock(&self.0);
        if room.talks.len() >= TALKS_MAX {
            let silent = room.talks.iter().find(|(_, (spoke, _))| !spoke).map(|(number, _)| *number)?;
            if let Some((_, ends)) = room.talks.remove(&silent) {
                ends.cancel();
            }
        }
        room.last += 1;
        let (number, ends) = (room.last, CancellationToken::new());
        room.talks.insert(number, (false, ends.clone()));
        Some((Talk { room: Arc::clone(&self.0), number }, ends))
    }
}

impl Talk {
    /// The joiner spoke.
    pub(crate) fn began(&self) {
        if let Some((spoke, _)) = lock(&self.room).talks.get_mut(&self.number) {
            *spoke = true;
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        lock(&self.room).talks.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_makes_room_and_when_all_have_spoken_it_is_busy() {
        let talks = Talks::default();
        let mut silent: Vec<_> = (0..TALKS_MAX).filter_map(|_| talks.begin()).collect();
        let (honest, ends) = talks.begin().expect("the oldest silent one goes");
        honest.began();
        assert!(silent[0].1.is_cancelled() && !silent[1].1.is_cancelled());
        for _ in 0..100 {
            silent.extend(talks.begin());
        }
        assert!(!ends.is_cancelled(), "who has spoken stays");
        silent.iter().for_each(|(talk, _)| talk.began());
        assert!(talks.begin().is_none());
        drop(honest);
        assert!(talks.begin().is_some());
    }
}
