//! Who may still try at a window: **three wrong proofs, one right one.** Pure.
//!
//! Every question is one call under the window's lock, so two joiners with the right code cannot both hear yes, and a wrong
//! proof is counted before anybody hears of it. Several may be in the middle of their conversations: each has its own half of the exchange and one guess, and
//! whoever stalls there keeps nobody else from showing a proof.

use super::words::No;
use crate::model::ask::Tries;

/// Wrong proofs after which a window is over.
pub(crate) const WRONG_MAX: u8 = 3;

/// How a window ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// A joiner proved itself.
    Used,
    /// Too many did not.
    Tried,
    /// Its time is over.
    Expired,
}

/// What a window has left.
#[derive(Debug, Default)]
pub(crate) struct Chances {
    tries: Tries,
    over: Option<Over>,
}

impl Chances {
    /// Begins a conversation.
    ///
    /// # Errors
    /// The window is over.
    pub(crate) fn begin(&self) -> Result<(), No> {
        self.over.map_or(Ok(()), |over| Err(no(over)))
    }

    /// A proof was shown: a right one uses the window up, a wrong one is counted.
    ///
    /// # Errors
    /// It is wrong, or the window was over before it came.
    pub(crate) fn shown(&mut self, is_right: bool) -> Result<(), No> {
        if let Some(over) = self.over {
            return Err(no(over));
        }
        if is_right {
            self.over = Some(Over::Used);
            return Ok(());
        }
        self.tries.wrong += 1;
        if self.tries.wrong >= WRONG_MAX {
            self.over = Some(Over::Tried);
        }
        Err(No::Mismatch)
    }

    /// Somebody stood between: nothing was guessed, so nothing is spent, but the person at the window must hear of it.
    pub(crate) fn relayed(&mut self) {
        self.tries.relayed = self.tries.relayed.saturating_add(1);
    }

    /// The time is over. True: it ended by that.
    pub(crate) fn expire(&mut self) -> bool {
        let ends = self.over.is_none();
        self.over.get_or_insert(Over::Expired);
        ends
    }

    /// What came that was not let in.
    pub(crate) fn tries(&self) -> Tries {
        self.tries
    }

    /// Whether it is over.
    pub(crate) fn over(&self) -> Option<Over> {
        self.over
    }
}

fn no(over: Over) -> No {
    match over {
        Over::Used => No::Used,
        Over::Tried => No::Tried,
        Over::Expired => No::Expired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        /// However many conversations come and show whatever: at most one is right, and none after three wrong ones.
        fn one_is_let_in_and_three_wrong_ones_close_it(shown: Vec<bool>, expires_at: u8) -> bool {
            let mut chances = Chances::default();
            let (mut right, mut wrong) = (0, 0);
            for (n, is_right) in shown.into_iter().enumerate() {
                if n == usize::from(expires_at) {
                    chances.expire();
                }
                if chances.begin().is_err() {
                    continue;
                }
                match chances.shown(is_right) {
                    Ok(()) => right += 1,
                    Err(No::Mismatch) => wrong += 1,
                    Err(_) => return false,
                }
            }
            right <= 1 && wrong <= WRONG_MAX && (right == 0 || wrong < WRONG_MAX)
        }
    }

    #[test]
    fn each_end_has_its_own_word_and_the_first_end_counts() {
        let mut used = Chances::default();
        assert_eq!((used.begin(), used.begin()), (Ok(()), Ok(())), "one that stalls holds nobody up");
        assert_eq!((used.shown(true), used.shown(true)), (Ok(()), Err(No::Used)), "of two right proofs one is let in");
        assert!(!used.expire() && used.over() == Some(Over::Used));
        let mut tried = Chances::default();
        for n in 1..=WRONG_MAX {
            assert_eq!((tried.begin(), tried.shown(false), tried.tries().wrong), (Ok(()), Err(No::Mismatch), n));
        }
        assert_eq!((tried.begin(), tried.shown(true)), (Err(No::Tried), Err(No::Tried)));
        let mut late = Chances::default();
        late.begin().expect("open");
        assert!(late.expire());
        assert_eq!(late.shown(true), Err(No::Expired), "time ran out between hello and proof");
    }
}
