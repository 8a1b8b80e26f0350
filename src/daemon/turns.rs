//! The loop: takes what happened, steps, keeps once, performs. It waits for the store and for nothing else.
//!
//! One turn takes along what is already waiting (group commit). A keep that fails ends this replica: nothing of the turn is
//! told, its askers hear that it may have been taken, and a new replica is opened from disk as soon as that goes again.
//! Until then everything that was kept can still be read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::batch::Shelf;
use crate::model::effects::Effects;
use crate::model::id::Life;
use crate::model::input::{Input, LinkAction};
use crate::model::limits::{TURN_BYTES_MAX, TURN_INPUTS_MAX};
use crate::model::member::Fleet;
use crate::model::reply::{Code, Refusal, Reply};
use crate::model::view::{View, Warning};
use crate::replica::{Identity, Replica};
use crate::store::{self, Store};

use super::clock;
use super::error::Error;
use super::perform::Hands;

/// How long after a failed keep the store is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(5);

/// A replica and the store that it was opened from.
struct Pair {
    replica: Replica,
    store: Store,
}

/// The loop's own state.
pub(super) struct Turns {
    me: Identity,
    options: store::Options,
    pair: Option<Pair>,
    /// When to open again, while there is no pair. A moment, not a wait: what comes in meanwhile must not put it off.
    again: Instant,
    shown: Arc<View>,
    fleet: Fleet,
    /// How many turns there were: it goes on while the loop does.
    count: watch::Sender<u64>,
    /// Documents that were read back from disk, for the next turns.
    shelved: VecDeque<Input>,
    /// How much of what had come is still to be heard before the replica has caught up, if it asked.
    behind: Option<usize>,
}

impl Turns {
    /// Opens the replica; its first effects are kept, and are to be performed when there are hands.
    pub(super) fn open(me: Identity, options: store::Options, store: Store) -> Result<(Turns, Effects), Error> {
        let (pair, effects) = Pair::open(me.clone(), store)?;
        let (shown, fleet) = (pair.replica.view(), pair.replica.fleet().clone());
        let count = watch::Sender::new(0);
        Ok((
            Turns { me, options, pair: Some(pair), again: Instant::now(), shown, fleet, shelved: VecDeque::new(), behind: None, count },
            effects,
        ))
    }

    /// How many turns there were, for who watches that there are more.
    pub(super) fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// What is shown.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.shown)
    }

    /// The fleet we are in.
    pub(super) fn fleet(&self) -> Fleet {
        self.fleet.clone()
    }

    /// Runs until `stop`, then keeps and tells the last words.
    pub(super) async fn run(mut self, first: Effects, hands: Hands, mut inbox: mpsc::Receiver<Input>, stop: CancellationToken) {
        hands.perform(first, &self.shown);
        loop {
            if let Some(input) = self.shelved.pop_front() {
                self.turn(input, &mut inbox, &hands);
                continue;
            }
            if self.behind.take_if(|left| *left == 0).is_some() {
                self.turn(Input::CaughtUp, &mut inbox, &hands);
                continue;
            }
            let deadline = self.pair.as_ref().and_then(|pair| pair.replica.deadline());
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(self.again), if self.pair.is_none() => {
                    self.reopen(&hands);
                    continue;
                }
                () = clock::sleep_until(deadline) => Input::Tick,
                Some(input) = inbox.recv() => {
                    came(&mut self.behind);
                    input
                }
            };
            self.turn(input, &mut inbox, &hands);
            self.count.send_modify(|count| *count += 1);
        }
        self.turn(Input::Stopping, &mut inbox, &hands);
    }

    fn turn(&mut self, input: Input, inbox: &mut mpsc::Receiver<Input>, hands: &Hands) {
        let Some(pair) = &mut self.pair else {
            refuse(input, hands);
            return;
        };
        let stopping = input == Input::Stopping;
        let mut turn = pair.replica.step(clock::now(), input);
        for _ in 0..TURN_INPUTS_MAX {
            if stopping || turn.keep.bytes() > TURN_BYTES_MAX {
                break;
            }
            let Ok(input) = inbox.try_recv() else { break };
            came(&mut self.behind);
            turn.absorb(pair.replica.step(clock::now(), input));
        }
        match pair.keep(&turn) {
            Ok(()) => {
                let read = |doc| {
                    let bytes = pair.store.document(&doc);
                    Input::Shelved(doc, bytes)
                };
                if turn.catch_up {
                    self.behind = Some(inbox.len());
                }
                self.shelved.extend(std::mem::take(&mut turn.inspect).into_iter().map(read));
                self.shown = pair.replica.view();
                hands.perform(turn, &self.shown);
            }
            Err(error) => self.fail(&error, turn, hands),
        }
    }

    /// Nothing of the turn is told; its askers hear why.
    fn fail(&mut self, error: &store::Error, turn: Effects, hands: &Hands) {
        tracing::error!(%error, "the store does not keep; nothing is acknowledged until it does");
        self.pair = None;
        self.shelved.clear();
        self.behind = None;
        self.again = Instant::now() + REOPEN_AFTER;
        self.warn(&error.to_string(), hands);
        for (asker, _) in turn.reply {
            hands.api.reply(asker, Reply::Refused(storage(&error.to_string())));
        }
    }

    fn warn(&mut self, why: &str, hands: &Hands) {
        let mut view = View::clone(&self.shown);
        view.seq += 1;
        let fix = Some("make room on the disk, or mend it; hubless tries again by itself".to_owned());
        view.warnings.insert("storage".to_owned(), Warning { what: format!("nothing can be written: {why}"), fix });
        self.shown = Arc::new(view);
        hands.show(&self.shown);
    }

    fn reopen(&mut self, hands: &Hands) {
        let opened = Store::open(&self.options).map_err(Error::from).and_then(|store| Pair::open(self.me.clone(), store));
        match opened {
            Ok((pair, effects)) => {
                tracing::info!("the store keeps again");
                // What the links had heard is gone with the old replica.
                hands.network.tell(LinkAction::Renew);
                self.shown = pair.replica.view();
                hands.perform(effects, &self.shown);
                self.pair = Some(pair);
            }
            Err(error) => {
                tracing::warn!(%error, "the store still does not keep");
                self.again = Instant::now() + REOPEN_AFTER;
                self.warn(&error.to_string(), hands);
            }
        }
    }
}

impl Pair {
    fn open(me: Identity, store: Store) -> Result<(Pair, Effects), Error> {
        for note in store.notes() {
            tracing::warn!("{note}");
        }
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|error| Error::Random(error.to_string()))?;
        let life = Life { counter: store.begin_life()?, nonce: u64::from_le_bytes(nonce) };
        let (replica, effects) = Replica::open(me, life, clock::now(), &store);
        let pair = Pair { replica, store };
        pair.keep(&effects)?;
        Ok((pair, effects))
    }

    fn keep(&self, turn: &Effects) -> Result<(), store::Error> {
        if turn.keep.is_empty() { Ok(()) } else { self.store.keep(&turn.keep) }
    }
}

fn storage(why: &str) -> Refusal {
    Refusal::new(Code::Storage, "it could not be written; it may have been taken")
        .because(why.to_owned())
        .fix("make room on the disk, or mend it; hubless tries again by itself")
}

/// One more of what had come is heard.
fn came(behind: &mut Option<usize>) {
    *behind = behind.map(|left| left.saturating_sub(1));
}

/// While nothing is kept, nothing is taken: who asks hears so at once.
fn refuse(input: Input, hands: &Hands) {
    match input {
        Input::Ask(asker, _) => hands.api.reply(asker, Reply::Refused(storage("the store does not keep"))),
        Input::Source(_) | Input::Peer(_) | Input::Shelved(..) | Input::Written(..) | Input::CaughtUp | Input::Tick | Input::Stopping => {}
    }
}
