//! The inviter's side of one window: hears who comes, lets one in that proves itself, and says to the others why not.
//!
//! The joiner proves first, so that nobody can use the inviter to test guesses. The first right proof spends the window in
//! one step under the lock; so do three wrong ones and the end of its time. A window that is over stays a while to say so.
//! Who a joiner *is* comes from its connection alone, which cannot change while the conversation lasts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::io::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::chances::{Chances, Over};
use super::code::Code;
use super::proof::{self, Ends, Exchange, Side};
use super::talks::Talk;
use super::words::{
    self, FIRST_WORD_MAX, FromInviter, FromJoiner, No, STEP_MAX, Unheard, WELCOME_BYTES_MAX, WORD_BYTES_MAX, Way, hear, hear_within, say,
};
use crate::model::id::{Asker, DeviceId};
use crate::model::input::{Input, PeerEvent};
use crate::model::limits::NAME_BYTES_MAX;
use crate::model::reply::{Code as Reason, Refusal};

/// What the core decides about a joiner.
pub(crate) enum Decision {
    /// It is let in; what it is given.
    Admit(Vec<u8>),
    /// It is not.
    TurnAway(Refusal),
}

/// Conversations that wait for a decision, over all windows.
#[derive(Default)]
pub(crate) struct Desk {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Decision>>,
}

impl Desk {
    fn wait(&mut self) -> (u64, oneshot::Receiver<Decision>) {
        let (decide, decision) = oneshot::channel();
        self.last += 1;
        self.waiting.retain(|_, waiting| !waiting.is_closed());
        self.waiting.insert(self.last, decide);
        (self.last, decision)
    }

    /// What the core decided; nobody may wait for it any more.
    pub(crate) fn decide(&mut self, pairing: u64, decision: Decision) {
        if let Some(waiting) = self.waiting.remove(&pairing) {
            let _ = waiting.send(decision);
        }
    }
}

/// The lock, whoever panicked while it was held.
pub(crate) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One window, shared by its conversations.
pub(crate) struct Window {
    /// Who asked for it.
    pub(crate) asker: Asker,
    /// Us.
    pub(crate) me: DeviceId,
    /// Tells its ticket from that of an earlier window.
    pub(crate) id: [u8; 8],
    /// What its ticket holds.
    pub(crate) secret: [u8; 32],
    /// The code that opens it, too.
    pub(crate) code: Option<Code>,
    /// Whether we are joining somebody ourselves.
    pub(crate) joining: Arc<AtomicBool>,
    /// Who waits for the core.
    pub(crate) desk: Arc<Mutex<Desk>>,
    /// Where events go.
    pub(crate) inbox: mpsc::Sender<Input>,
    /// Who may still try.
    pub(crate) chances: Mutex<Chances>,
}

impl Window {
    /// Serves one who came.
    pub(crate) async fn serve(&self, mut stream: Stream, joiner: DeviceId, talk: Talk) {
        match self.converse(&mut stream, joiner, &talk).await {
            Ok(()) => tracing::info!("{joiner:?} was given the fleet"),
            Err(Refused::Said(no)) => {
                tracing::info!("pairing with {joiner:?} refused: {no:?}");
                let _ = say(&mut stream, &FromInviter::No(no)).await;
            }
            Err(Refused::Broken(why)) => tracing::info!("pairing with {joiner:?} broke off: {why}"),
        }
        drop(talk);
        see_off(stream).await;
    }

    async fn converse(&self, stream: &mut Stream, joiner: DeviceId, talk: &Talk) -> Result<(), Refused> {
        let ends = Ends { inviter: self.me, joiner };
        let (FromJoiner::Hello(hello), heard) = hear_within(FIRST_WORD_MAX, stream, WORD_BYTES_MAX).await? else {
            return Err(Refused::Broken("no hello".to_owned()));
        };
        talk.began();
        if !hello.is_of(&ends.inviter, &ends.joiner) {
            lock(&self.chances).relayed();
            self.tell_tries().await;
            return Err(Refused::Said(No::Relayed));
        }
        self.begin(&hello.way, joiner)?;
        let (key, message) = self.key(hello.way, &ends)?;
        let answer = say(stream, &FromInviter::Answer { nonce: words::nonce()?, message }).await?;
        let said = proof::said(&heard, &answer);
        // No person has to do anything for it.
        let (FromJoiner::Proof(shown), _) = hear_within(FIRST_WORD_MAX, stream, WORD_BYTES_MAX).await? else {
            return Err(Refused::Broken("no proof".to_owned()));
        };
        self.judge(&key, &ends, &said, shown).await?;
        let admitted = self.admit(stream, &key, &ends, &said).await;
        if admitted.is_err() {
            let why = Refusal::new(Reason::Unreachable, "the other device knew the code, and then broke off: it was not let in")
                .fix("hubless pair again, on both devices");
            self.tell_over(why).await;
        }
        admitted
    }

    /// Begins with one joiner, whose ticket or code must be of this window.
    pub(super) fn begin(&self, way: &Way, joiner: DeviceId) -> Result<(), Refused> {
        let is_ours = match way {
            Way::Ticket { window } => *window == self.id,
            Way::Code { place, .. } => self.code.as_ref().is_some_and(|code| code.place() == *place),
        };
        if !is_ours {
            return Err(Refused::Said(No::Replaced));
        }
        // Both typed the other's code: the lower device joins, the other one lets it in.
        if self.joining.load(Ordering::Acquire) && joiner > self.me {
            return Err(Refused::Said(No::Joining));
        }
        lock(&self.chances).begin().map_err(Refused::Said)
    }

    /// The key that both must know, and our half of finding it.
    fn key(&self, way: Way, ends: &Ends) -> Result<([u8; 32], Vec<u8>), Refused> {
        match (way, &self.code) {
            (Way::Code { message, .. }, Some(code)) => {
                let (exchange, ours) = Exchange::begin(Side::Inviter, code, ends);
                let key = exchange.end(&message).ok_or_else(|| Refused::Broken("its half of the code's exchange is none".to_owned()))?;
                Ok((key, ours))
            }
            (Way::Code { .. }, None) => Err(Refused::Said(No::Replaced)),
            (Way::Ticket { .. }, _) => Ok((self.secret, Vec::new())),
        }
    }

    /// Spends the window for a right proof; counts a wrong one.
    pub(super) async fn judge(&self, key: &[u8; 32], ends: &Ends, said: &[u8; 32], shown: [u8; 32]) -> Result<(), Refused> {
        let is_right = proof::proof(key, Side::Joiner, ends, said) == blake3::Hash::from(shown);
        let judged = lock(&self.chances).shown(is_right);
        if judged == Err(No::Mismatch) {
            self.tell_tries().await;
            if lock(&self.chances).over() == Some(Over::Tried) {
                let why = Refusal::new(Reason::CodeSpent, "the window is closed: three tries were wrong")
                    .because("somebody mistyped the code, or tried to guess it; nobody was let in")
                    .fix("hubless pair again");
                self.tell_over(why).await;
            }
        }
        judged.map_err(Refused::Said)
    }

    /// All that follows a right proof.
    async fn admit(&self, stream: &mut Stream, key: &[u8; 32], ends: &Ends, said: &[u8; 32]) -> Result<(), Refused> {
        say(stream, &FromInviter::Proof(proof::proof(key, Side::Inviter, ends, said).into())).await?;
        let (FromJoiner::Name(name), _) = hear(stream, WORD_BYTES_MAX).await? else {
            return Err(Refused::Broken("no name".to_owned()));
        };
        match self.ask(ends.joiner, words::cut(name, NAME_BYTES_MAX)).await? {
            Decision::Admit(welcome) if welcome.len() < WELCOME_BYTES_MAX => say(stream, &FromInviter::Welcome(welcome)).await?,
            Decision::Admit(_) => return Err(Refused::Broken("the fleet's log is too long for a welcome".to_owned())),
            Decision::TurnAway(why) => return Err(Refused::Said(No::TurnedAway(why.code.word().to_owned(), why.what, why.fix))),
        };
        // It is admitted, whether it says that it took the welcome or hangs up at once to listen as a member.
        let _: Result<(FromJoiner, _), _> = hear(stream, WORD_BYTES_MAX).await;
        Ok(())
    }

    /// Asks the core whether the joiner may come in.
    async fn ask(&self, device: DeviceId, name: String) -> Result<Decision, Refused> {
        let (pairing, decision) = lock(&self.desk).wait();
        let asked = self.inbox.send(Input::Peer(PeerEvent::Joining { pairing, asker: self.asker, device, name }));
        asked.await.map_err(|_| Refused::Broken("this daemon stops".to_owned()))?;
        match timeout(STEP_MAX, decision).await {
            Ok(Ok(decision)) => Ok(decision),
            Ok(Err(_)) | Err(_) => Err(Refused::Said(No::Late)),
        }
    }

    async fn tell_tries(&self) {
        let tries = lock(&self.chances).tries();
        let _ = self.inbox.send(Input::Peer(PeerEvent::Tried { asker: self.asker, tries })).await;
    }

    /// Says that nobody is let in any more.
    pub(crate) async fn tell_over(&self, why: Refusal) {
        let _ = self.inbox.send(Input::Peer(PeerEvent::WindowOver { asker: self.asker, why })).await;
    }
}

/// One who came when there was room for no more hears so.
pub(crate) async fn turn_back(mut stream: Stream) {
    let _ = say(&mut stream, &FromInviter::No(No::Busy)).await;
    see_off(stream).await;
}

/// Closes a stream and waits a moment for the other to have read it.
async fn see_off(mut stream: Stream) {
    let _ = timeout(STEP_MAX, async {
        let _ = stream.close().await;
        let mut rest = [0; 64];
        while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
    })
    .await;
}

/// Why a conversation ended before its end.
#[derive(Debug)]
pub(super) enum Refused {
    Said(No),
    Broken(String),
}

impl From<String> for Refused {
    fn from(why: String) -> Refused {
        Refused::Broken(why)
    }
}

impl From<Unheard> for Refused {
    fn from(why: Unheard) -> Refused {
        Refused::Broken(why.to_string())
    }
}
