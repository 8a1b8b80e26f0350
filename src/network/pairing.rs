//! The inviter's window: a swarm of its own, open for three minutes, that lets one holder of the ticket prove itself.
//!
//! It has its own port and prologue, since the two fleets differ. Both sides prove that they know the ticket's secret by a
//! keyed hash over both device ids, as noise has proved them, and both nonces; the joiner first, so that nobody can use the
//! inviter to test guesses. The first right proof spends the ticket, in one step under the lock; so do three wrong ones
//! and a newer ticket. A spent window stays to say so until its time is over. The secret lives in memory only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use libp2p::swarm::SwarmEvent;
use libp2p::{Stream, StreamProtocol, Swarm};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behaviour::{self, Behaviour, BehaviourEvent, PAIRING_LIMITS};
use super::doorman::{Opened, Opening};
use super::identity::{self, DeviceKey};
use super::place::Place;
use super::ticket::{self, Ticket};
use super::{frames, interfaces, listening};
use crate::model::id::{Asker, DeviceId};
use crate::model::input::{Input, PeerEvent};
use crate::model::reply::{Code, Refusal};

/// The protocol of a window.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/hubless/pair/1");
/// How long a window is open.
const WINDOW: Duration = Duration::from_secs(180);
/// Wrong proofs after which a ticket is spent.
const ATTEMPTS_MAX: u8 = 3;
/// How long either side waits for the other's next word, and the inviter for the core's decision.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(10);
/// Bytes of a word before the welcome.
pub(crate) const WORD_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the welcome: the fleet's secrets and its whole membership log.
pub(crate) const WELCOME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a device's name.
const NAME_BYTES_MAX: usize = 256;
/// Conversations at once; all but one of them hear *busy* or *spent*.
const TALKS_MAX: usize = 8;

/// The prologue of every window: those who pair are of two fleets.
pub(crate) fn prologue() -> [u8; 32] {
    *blake3::hash(b"hubless pair 1").as_bytes()
}

/// What a joiner says, in this order.
#[derive(Serialize, Deserialize)]
pub(crate) enum FromJoiner {
    /// Which window the ticket is of, and a nonce.
    Hello { window: [u8; 8], nonce: [u8; 32] },
    /// That it knows the secret.
    Proof([u8; 32]),
    /// What it says of itself.
    Name(String),
    /// It has the welcome.
    Taken,
}

/// What the inviter answers.
#[derive(Serialize, Deserialize)]
pub(crate) enum FromInviter {
    /// Its nonce.
    Nonce([u8; 32]),
    /// That it knows the secret, too.
    Proof([u8; 32]),
    /// `postcard(Welcome)`.
    Welcome(Vec<u8>),
    /// No.
    No(No),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum No {
    /// Another pairing is under way.
    Busy,
    /// The ticket was used, replaced, or tried too often.
    Spent,
    /// The proof is wrong.
    Mismatch,
    /// The inviter's daemon did not decide in time.
    Late,
    /// The inviter's core says no: a reason's word, its sentence, its fix.
    TurnedAway(String, String, Option<String>),
}

/// Which side a proof is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// The one with the ticket.
    Joiner,
    /// The one that made it.
    Inviter,
}

/// Both ends of one pairing, as both know them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// The inviter's id, as noise proved it.
    pub(crate) inviter: DeviceId,
    /// The joiner's.
    pub(crate) joiner: DeviceId,
    /// The inviter's nonce.
    pub(crate) nonce_i: [u8; 32],
    /// The joiner's.
    pub(crate) nonce_j: [u8; 32],
}

/// The proof of one side. Compared as `blake3::Hash`, whose `==` takes the same time for every pair.
pub(crate) fn proof(secret: &[u8; 32], side: Side, ends: &Ends) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(match side {
        Side::Joiner => b"hubless pair 1 joiner",
        Side::Inviter => b"hubless pair 1 inviter",
    });
    for part in [&ends.inviter.0, &ends.joiner.0, &ends.nonce_i, &ends.nonce_j] {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Says one word.
pub(crate) async fn say(to: &mut Stream, word: &impl Serialize) -> Result<(), String> {
    let body = postcard::to_stdvec(word).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    frames::append(&mut bytes, &body);
    let said = async {
        to.write_all(&bytes).await?;
        to.flush().await
    };
    timeout(STEP_MAX, said).await.map_err(|_| "timed out".to_owned())?.map_err(|e| e.to_string())
}

/// Hears one word.
pub(crate) async fn hear<T: for<'a> Deserialize<'a>>(from: &mut Stream, max: usize) -> Result<T, Unheard> {
    let frame = timeout(STEP_MAX, frames::read(from, max)).await.map_err(|_| Unheard::Late)?;
    let frame = frame.map_err(|e| Unheard::Broken(e.to_string()))?.ok_or_else(|| Unheard::Broken("it hung up".to_owned()))?;
    postcard::from_bytes(&frame).map_err(|_| Unheard::Broken("what it said could not be read".to_owned()))
}

/// Why no word came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unheard {
    /// Not in time.
    #[error("it did not answer in time")]
    Late,
    /// The stream ended, or what came was none.
    #[error("{0}")]
    Broken(String),
}

/// What the core decides about a joiner.
enum Decision {
    Admit(Vec<u8>),
    TurnAway(Refusal),
}

/// One window, shared by its conversations.
struct Window {
    me: DeviceId,
    id: [u8; 8],
    secret: [u8; 32],
    desk: Arc<Mutex<Desk>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wrong: u8,
    spent: bool,
    busy: bool,
}

/// Conversations that wait for a decision, over all windows.
#[derive(Default)]
struct Desk {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Decision>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This device's windows, of which the newest one counts.
pub(crate) struct Windows {
    key: DeviceKey,
    clock: fn() -> i64,
    interfaces: Vec<String>,
    port: u16,
    open: CancellationToken,
    attending: Option<JoinHandle<()>>,
    desk: Arc<Mutex<Desk>>,
}

impl Windows {
    /// None yet.
    pub(crate) fn new(key: DeviceKey, clock: fn() -> i64, interfaces: Vec<String>) -> Windows {
        Windows { key, clock, interfaces, port: 0, open: CancellationToken::new(), attending: None, desk: Arc::default() }
    }

    /// Opens a window in place of an older one; its ticket, or why there is none.
    pub(crate) async fn open(&mut self, asker: Asker, place: &Place, joining: bool) -> PeerEvent {
        self.close();
        if let Some(older) = self.attending.take() {
            let _ = timeout(STEP_MAX, older).await; // it lets go of the port that we want again
        }
        let failed = |why: Refusal| PeerEvent::PairingFailed { asker, why };
        if joining {
            return failed(Refusal::new(Code::Busy, "this device is joining another one just now").fix("try again in a minute"));
        }
        self.try_open(place).map_or_else(
            |why| failed(Refusal::new(Code::Unreachable, "no window for pairing could be opened").because(why)),
            |ticket| PeerEvent::Invited { asker, ticket: ticket.text(), until_ms: ticket.until_ms },
        )
    }

    fn try_open(&mut self, place: &Place) -> Result<Ticket, String> {
        self.open = CancellationToken::new();
        let mut swarm = behaviour::build(&self.key.keypair()?, prologue(), PROTOCOL, PAIRING_LIMITS, &place.tasks, &self.open)?;
        // The port of the last window again, so that an older ticket hears that it is spent.
        self.port = listening::try_port(self.port).or_else(|_| listening::try_port(0)).map_err(|e| e.to_string())?;
        listening::listen(&mut swarm, self.port).map_err(|e| e.to_string())?;
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut secret)).map_err(|e| e.to_string())?;
        let window = Window { me: self.key.device(), id, secret, desk: Arc::clone(&self.desk), state: Mutex::default() };
        let shared = Shared { window: Arc::new(window), inbox: place.inbox.clone(), tasks: place.tasks.clone(), open: self.open.clone() };
        self.attending = Some(place.tasks.spawn(shared.attend(swarm)));
        let until_ms = (self.clock)().saturating_add(i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX));
        Ok(Ticket { inviter: self.key.device().0, window: id, secret, until_ms, addresses: self.addresses() })
    }

    /// Where the window listens; IPv6 loopback is nothing that IPv4's does not give.
    fn addresses(&self) -> Vec<SocketAddr> {
        let mut all = interfaces::listening(&interfaces::all(), &self.interfaces, self.port);
        all.retain(|a| !(a.is_ipv6() && a.ip().is_loopback()));
        if all.len() > ticket::ADDRESSES_MAX {
            let last = all.pop();
            all.truncate(ticket::ADDRESSES_MAX - 1);
            all.extend(last);
        }
        all
    }

    /// Lets a joiner in.
    pub(crate) fn admit(&self, pairing: u64, welcome: Vec<u8>) {
        self.decide(pairing, Decision::Admit(welcome));
    }

    /// Does not let it in.
    pub(crate) fn turn_away(&self, pairing: u64, why: Refusal) {
        self.decide(pairing, Decision::TurnAway(why));
    }

    fn decide(&self, pairing: u64, decision: Decision) {
        if let Some(waiting) = lock(&self.desk).waiting.remove(&pairing) {
            let _ = waiting.send(decision);
        }
    }

    /// Closes the window.
    pub(crate) fn close(&self) {
        self.open.cancel();
    }
}

/// What every conversation of a window shares.
#[derive(Clone)]
struct Shared {
    window: Arc<Window>,
    inbox: mpsc::Sender<Input>,
    tasks: TaskTracker,
    open: CancellationToken,
}

impl Shared {
    /// Takes streams until the window's time is over.
    async fn attend(self, mut swarm: Swarm<Behaviour>) {
        let talks = Arc::new(tokio::sync::Semaphore::new(TALKS_MAX));
        let serve = async {
            loop {
                let SwarmEvent::Behaviour(BehaviourEvent::Doorman(Opened { peer, stream: Opening::Theirs(stream), .. })) =
                    swarm.select_next_some().await
                else {
                    continue;
                };
                let (Some(joiner), Ok(talk)) = (identity::device_of(&peer), Arc::clone(&talks).try_acquire_owned()) else {
                    continue;
                };
                let (shared, open) = (self.clone(), self.open.clone());
                self.tasks.spawn(async move {
                    tokio::select! {
                        () = open.cancelled() => {}
                        () = shared.serve(stream, joiner) => {}
                    }
                    drop(talk);
                });
            }
        };
        tokio::select! {
            () = self.open.cancelled() => {}
            () = sleep(WINDOW) => {}
            () = serve => {}
        }
        self.open.cancel();
    }

    async fn serve(&self, mut stream: Stream, joiner: DeviceId) {
        match self.converse(&mut stream, joiner).await {
            Ok(()) => tracing::info!("{joiner:?} was given the fleet"),
            Err(Refused::Said(no)) => {
                tracing::info!("pairing with {joiner:?} refused: {no:?}");
                let _ = say(&mut stream, &FromInviter::No(no)).await;
            }
            Err(Refused::Broken(why)) => tracing::info!("pairing with {joiner:?} broke off: {why}"),
        }
        let _ = timeout(STEP_MAX, async {
            let _ = stream.close().await;
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
        })
        .await;
    }

    async fn converse(&self, stream: &mut Stream, joiner: DeviceId) -> Result<(), Refused> {
        let FromJoiner::Hello { window, nonce } = hear(stream, WORD_BYTES_MAX).await? else {
            return Err(Refused::Broken("no hello".to_owned()));
        };
        let _turn = self.window.begin(window)?;
        let mut ends = Ends { inviter: self.window.me, joiner, nonce_i: [0; 32], nonce_j: nonce };
        getrandom::fill(&mut ends.nonce_i).map_err(|e| Refused::Broken(e.to_string()))?;
        say(stream, &FromInviter::Nonce(ends.nonce_i)).await?;
        let FromJoiner::Proof(shown) = hear(stream, WORD_BYTES_MAX).await? else {
            return Err(Refused::Broken("no proof".to_owned()));
        };
        self.window.spend(&ends, shown)?;
        say(stream, &FromInviter::Proof(proof(&self.window.secret, Side::Inviter, &ends).into())).await?;
        let FromJoiner::Name(name) = hear(stream, WORD_BYTES_MAX).await? else {
            return Err(Refused::Broken("no name".to_owned()));
        };
        match self.ask(joiner, cut(name, NAME_BYTES_MAX)).await? {
            Decision::Admit(welcome) if welcome.len() < WELCOME_BYTES_MAX => say(stream, &FromInviter::Welcome(welcome)).await?,
            Decision::Admit(_) => return Err(Refused::Broken("the fleet's log is too long for a welcome".to_owned())),
            Decision::TurnAway(why) => return Err(Refused::Said(No::TurnedAway(why.code.word().to_owned(), why.what, why.fix))),
        }
        // It is admitted, whether it says that it took the welcome or hangs up at once to listen as a member.
        let _: Result<FromJoiner, _> = hear(stream, WORD_BYTES_MAX).await;
        Ok(())
    }

    /// Asks the core whether the joiner may come in.
    async fn ask(&self, device: DeviceId, name: String) -> Result<Decision, Refused> {
        let (decide, decision) = oneshot::channel();
        let pairing = {
            let mut desk = lock(&self.window.desk);
            desk.last += 1;
            desk.waiting.retain(|_, waiting| !waiting.is_closed());
            let pairing = desk.last;
            desk.waiting.insert(pairing, decide);
            pairing
        };
        let asked = self.inbox.send(Input::Peer(PeerEvent::Joining { pairing, device, name }));
        asked.await.map_err(|_| Refused::Broken("this daemon stops".to_owned()))?;
        match timeout(STEP_MAX, decision).await {
            Ok(Ok(decision)) => Ok(decision),
            Ok(Err(_)) | Err(_) => Err(Refused::Said(No::Late)),
        }
    }
}

/// Why a conversation ended before its end.
enum Refused {
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

/// Holds the window for one joiner.
struct Turn<'a>(&'a Window);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).busy = false;
    }
}

impl Window {
    /// Takes the window for one joiner, whose ticket must be of this window.
    fn begin(&self, window: [u8; 8]) -> Result<Turn<'_>, Refused> {
        let mut state = lock(&self.state);
        if window != self.id || state.spent {
            return Err(Refused::Said(No::Spent));
        }
        if state.busy {
            return Err(Refused::Said(No::Busy));
        }
        state.busy = true;
        drop(state);
        Ok(Turn(self))
    }

    /// Spends the ticket for a right proof; counts a wrong one.
    fn spend(&self, ends: &Ends, shown: [u8; 32]) -> Result<(), Refused> {
        let right = proof(&self.secret, Side::Joiner, ends) == blake3::Hash::from(shown);
        let mut state = lock(&self.state);
        if state.spent {
            return Err(Refused::Said(No::Spent));
        }
        state.wrong += u8::from(!right);
        state.spent = right || state.wrong >= ATTEMPTS_MAX;
        if right { Ok(()) } else { Err(Refused::Said(No::Mismatch)) }
    }
}

/// At most so many bytes of a text.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of event and passes over the others")]
mod tests {
    use super::*;
    use crate::model::input::LinkAction;
    use crate::network::testbed::{NOW_MS, Node, eventually, fleet, key};

    const JOINER: Asker = Asker(7);

    async fn invited(node: &mut Node) -> String {
        node.network.tell(LinkAction::Invite { asker: Asker(1) });
        let told = node
            .until(|e| match e {
                PeerEvent::Invited { asker: Asker(1), ticket, until_ms } => Some((ticket, until_ms)),
                PeerEvent::PairingFailed { why, .. } => panic!("{why:?}"),
                _ => None,
            })
            .await;
        assert_eq!(told.1, NOW_MS + 180_000);
        told.0
    }

    fn join(node: &Node, ticket: &str) {
        node.network.tell(LinkAction::Join { asker: JOINER, ticket: ticket.to_owned(), name: "laptop".to_owned(), only: None });
    }

    async fn joining(node: &mut Node) -> (u64, DeviceId) {
        node.until(|e| match e {
            PeerEvent::Joining { pairing, device, name } => {
                assert_eq!(name, "laptop");
                Some((pairing, device))
            }
            _ => None,
        })
        .await
    }

    /// What came of a join: the welcome, or why not.
    async fn joined(node: &mut Node) -> Result<(DeviceId, Vec<u8>), Refusal> {
        node.until(|e| match e {
            PeerEvent::Welcomed { asker: JOINER, device, welcome } => Some(Ok((device, welcome))),
            PeerEvent::PairingFailed { asker: JOINER, why } => Some(Err(why)),
            _ => None,
        })
        .await
    }

    async fn refused(node: &mut Node) -> Code {
        let why = joined(node).await.expect_err("a refusal");
        assert!(why.fix.is_some() && !why.what.is_empty(), "{why:?}");
        why.code
    }

    /// The ticket with something of it changed.
    fn changed(ticket: &str, change: impl FnOnce(&mut Ticket)) -> String {
        let mut ticket = Ticket::read(ticket).expect("a ticket");
        ticket.addresses.retain(|a| a.ip().is_loopback());
        change(&mut ticket);
        ticket.text()
    }

    async fn pair() -> (Node, Node) {
        let (mut a, mut b) = (Node::start(0, fleet(1)), Node::start(1, fleet(2)));
        a.address().await;
        b.address().await;
        (a, b)
    }

    #[tokio::test]
    async fn a_joiner_is_let_in_once() {
        let (mut a, mut b) = pair().await;
        let ticket = invited(&mut a).await;
        join(&b, &ticket.to_uppercase());
        let (pairing, device) = joining(&mut a).await;
        assert_eq!(device, b.device);
        let welcome = vec![3; WELCOME_BYTES_MAX - 100];
        a.network.tell(LinkAction::Admit { pairing, welcome: welcome.clone() });
        assert!(joined(&mut b).await == Ok((a.device, welcome)));
        let mut c = Node::start(2, fleet(3));
        join(&c, &ticket);
        assert_eq!(refused(&mut c).await, Code::TicketSpent);
        a.quiet(50).await;
        for node in [a, b, c] {
            node.stopped().await;
        }
    }

    #[tokio::test]
    async fn a_wrong_secret_is_a_mismatch_and_three_spend_the_ticket() {
        let (mut a, mut b) = pair().await;
        let ticket = invited(&mut a).await;
        let wrong = changed(&ticket, |t| t.secret[5] ^= 1);
        for _ in 0..ATTEMPTS_MAX {
            join(&b, &wrong);
            assert_eq!(refused(&mut b).await, Code::PairMismatch);
        }
        join(&b, &ticket);
        assert_eq!(refused(&mut b).await, Code::TicketSpent);
    }

    #[tokio::test]
    async fn a_ticket_that_names_another_device_is_a_mismatch() {
        let (mut a, mut b) = pair().await;
        let ticket = invited(&mut a).await;
        join(&b, &changed(&ticket, |t| t.inviter = key(3).device().0));
        assert_eq!(refused(&mut b).await, Code::PairMismatch);
        join(&b, &changed(&ticket, |_| {}));
        joining(&mut a).await;
    }

    #[tokio::test]
    async fn a_newer_ticket_spends_the_older() {
        let (mut a, mut b) = pair().await;
        let older = invited(&mut a).await;
        let newer = invited(&mut a).await;
        join(&b, &older);
        assert_eq!(refused(&mut b).await, Code::TicketSpent);
        join(&b, &newer);
        joining(&mut a).await;
    }

    #[tokio::test]
    async fn one_joiner_at_a_time_and_one_in_all() {
        let (mut a, mut b) = pair().await;
        let ticket = invited(&mut a).await;
        join(&b, &ticket);
        let (pairing, _) = joining(&mut a).await;
        let mut c = Node::start(2, fleet(3));
        join(&c, &ticket);
        assert!([Code::Busy, Code::TicketSpent].contains(&refused(&mut c).await));
        a.network.tell(LinkAction::TurnAway { pairing, why: Refusal::new(Code::AlreadyPaired, "\u{1b}[31mno").fix("leave") });
        let why = joined(&mut b).await.expect_err("turned away");
        assert_eq!((why.code, why.fix.as_deref()), (Code::AlreadyPaired, Some("leave")));
        assert!(why.what.contains("no") && !why.what.contains('\u{1b}'), "foreign words are made plain: {}", why.what);
    }

    #[tokio::test]
    async fn nobody_there_no_ticket_and_our_own_ticket_have_their_own_reasons() {
        let (mut a, mut b) = pair().await;
        let ticket = invited(&mut a).await;
        join(&a, &ticket);
        assert_eq!(refused(&mut a).await, Code::BadTicket);
        join(&b, &ticket[..ticket.len() - 3]);
        assert_eq!(refused(&mut b).await, Code::BadTicket);
        let nowhere = crate::network::testbed::silent_port();
        join(&b, &changed(&ticket, |t| t.addresses = vec![nowhere]));
        let why = joined(&mut b).await.expect_err("nobody listens");
        assert!(why.code == Code::Unreachable && why.what.contains(&nowhere.to_string()), "{why:?}");
        join(&b, &changed(&ticket, |t| (t.addresses, t.until_ms) = (vec![nowhere], NOW_MS - 1)));
        assert_eq!(refused(&mut b).await, Code::TicketSpent);
        // A wrong clock alone keeps nobody out.
        join(&b, &changed(&ticket, |t| t.until_ms = NOW_MS - 1));
        joining(&mut a).await;
    }

    #[tokio::test]
    async fn while_joining_our_own_window_is_busy() {
        let (mut a, mut b) = pair().await;
        let ticket = invited(&mut a).await;
        join(&b, &ticket);
        joining(&mut a).await;
        b.network.tell(LinkAction::Invite { asker: Asker(2) });
        let busy = |e| if let PeerEvent::PairingFailed { asker: Asker(2), why } = e { Some(why.code) } else { None };
        assert_eq!(b.until(busy).await, Code::Busy);
        join(&b, &ticket);
        assert_eq!(refused(&mut b).await, Code::Busy);
    }

    #[tokio::test]
    async fn garbage_at_the_window_disturbs_nobody() {
        let (mut a, mut b) = pair().await;
        let ticket = invited(&mut a).await;
        let at = Ticket::read(&ticket).expect("a ticket").addresses.pop().expect("an address");
        let mut noise = std::net::TcpStream::connect(at).expect("it listens");
        std::io::Write::write_all(&mut noise, &[0x17; 3_000]).expect("taken");
        join(&b, &ticket);
        let (pairing, _) = joining(&mut a).await;
        a.network.tell(LinkAction::Admit { pairing, welcome: vec![1] });
        assert_eq!(joined(&mut b).await.expect("welcome").1, [1]);
        let before = a.tasks.len();
        a.network.tell(LinkAction::Invite { asker: Asker(1) });
        eventually(|| a.tasks.len() <= before).await;
    }

    #[test]
    fn a_proof_holds_for_one_side_of_one_pairing_only() {
        let ends = Ends { inviter: key(0).device(), joiner: key(1).device(), nonce_i: [1; 32], nonce_j: [2; 32] };
        let right = proof(&[9; 32], Side::Joiner, &ends);
        assert_eq!(right, proof(&[9; 32], Side::Joiner, &ends));
        let others = [
            proof(&[8; 32], Side::Joiner, &ends),
            proof(&[9; 32], Side::Inviter, &ends),
            proof(&[9; 32], Side::Joiner, &Ends { inviter: ends.joiner, joiner: ends.inviter, ..ends }),
            proof(&[9; 32], Side::Joiner, &Ends { joiner: key(2).device(), ..ends }),
            proof(&[9; 32], Side::Joiner, &Ends { inviter: key(2).device(), ..ends }),
            proof(&[9; 32], Side::Joiner, &Ends { nonce_i: [3; 32], ..ends }),
            proof(&[9; 32], Side::Joiner, &Ends { nonce_j: [3; 32], ..ends }),
        ];
        assert!(others.iter().all(|other| *other != right));
    }

    #[test]
    fn of_two_right_proofs_one_spends_the_ticket() {
        let window = Window { me: key(0).device(), id: [1; 8], secret: [9; 32], desk: Arc::default(), state: Mutex::default() };
        let ends = Ends { inviter: window.me, joiner: key(1).device(), nonce_i: [1; 32], nonce_j: [2; 32] };
        let shown = *proof(&window.secret, Side::Joiner, &ends).as_bytes();
        assert!(window.spend(&ends, shown).is_ok());
        assert!(matches!(window.spend(&ends, shown), Err(Refused::Said(No::Spent))));
        assert!(window.begin([1; 8]).is_err() && window.begin([2; 8]).is_err());
    }
}
