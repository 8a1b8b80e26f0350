//! The joiner's side of a pairing: reads what was typed, finds the window, proves, and is welcomed; every way to fail has its
//! own reason.
//!
//! With a ticket the device that answers must be the one that the ticket names. With a code whoever answers must prove that it
//! knows the code, bound to the key that noise showed; it gets one guess, and few get one. Our clock may be wrong: the
//! inviter alone decides whether a ticket is too old, and we ask our clock only to explain why nobody answers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::io::AsyncWriteExt;
use libp2p::Stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::code::Code;
use super::proof::{self, Ends, Exchange, Side};
use super::reach::{self, Target, Unreached};
use super::refusals::{self, By};
use super::ticket::Ticket;
use super::words::{self, FromInviter, FromJoiner, Hello, Unheard, Way};
use super::{beacon, windows::Windows};
use crate::model::id::{Asker, DeviceId};
use crate::model::input::{Input, PeerEvent};
use crate::model::reply::{Code as Reason, Refusal};
use crate::network::behaviour::{self, PAIRING_LIMITS};
use crate::network::discovery::Plan;
use crate::network::identity::DeviceKey;
use crate::network::place::Place;

/// How long it may take to reach the inviter.
const REACH_MAX: Duration = Duration::from_secs(10);
/// How long all of it may take; the command that waits for it has a minute.
const JOIN_MAX: Duration = Duration::from_secs(55);
/// How long a window is looked for by its digits; and after one came to nothing, for another with the same ones.
const FIND_MAX: Duration = Duration::from_secs(8);
const FIND_MORE: Duration = Duration::from_secs(1);
/// Windows that one code is tried at: each that is a liar's has one guess at it.
const WINDOWS_MAX: usize = 3;

/// What somebody wants to join by.
pub(crate) struct Wanted {
    /// Who asked.
    pub(crate) asker: Asker,
    /// A ticket or a code, as it was typed.
    pub(crate) text: String,
    /// Where the window is, `host:port`, if somebody said so.
    pub(crate) at: Option<String>,
    /// What we say of ourselves.
    pub(crate) name: String,
    /// Whose window alone is used, and what is answered to any other.
    pub(crate) only: Option<(BTreeSet<DeviceId>, Refusal)>,
}

/// Whether this device is joining another.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    busy: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Joins {
    /// Whether one is under way.
    pub(crate) fn busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// The same, for who has to ask later.
    pub(crate) fn under_way(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.busy)
    }

    /// Ends it.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }

    /// Begins to join; the answer comes later, unless it is no at once.
    pub(crate) fn join(&self, wanted: Wanted, place: &Place, windows: &Windows) -> Option<PeerEvent> {
        let asker = wanted.asker;
        let failed = |why| Some(PeerEvent::PairingFailed { asker, why });
        let way = match read(&wanted, place, windows) {
            Ok(way) => way,
            Err(why) => return failed(why),
        };
        if self.busy.swap(true, Ordering::AcqRel) {
            return failed(Refusal::new(Reason::Busy, "this device is joining already").fix("wait for its answer"));
        }
        let joining = Joining {
            me: place.key.device(),
            key: place.key.clone(),
            plan: place.discovery.clone(),
            tasks: place.tasks.clone(),
            inbox: place.inbox.clone(),
            wanted,
            way,
        };
        let (busy, stop) = (Arc::clone(&self.busy), self.stop.clone());
        place.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = joining.run() => {}
            }
            busy.store(false, Ordering::Release);
        });
        None
    }
}

/// By what we join.
enum Known {
    Ticket { ticket: Ticket, is_late: bool },
    Code(Code),
}

/// What was typed, if it can be used at all.
fn read(wanted: &Wanted, place: &Place, windows: &Windows) -> Result<Known, Refusal> {
    let text = wanted.text.as_str();
    if Code::looks_like_one(text) {
        let no_code = || Refusal::new(Reason::BadCode, "this is not a code").because("a code has ten digits: 318-4402-771");
        let code = Code::read(text).ok_or_else(|| no_code().fix("type it as `hubless pair` shows it on the other device"))?;
        if windows.made(&code) {
            let ours = Refusal::new(Reason::BadCode, "this code was made on this device");
            return Err(ours.because("a device does not pair with itself").fix("type it on the other device"));
        }
        return Ok(Known::Code(code));
    }
    let ticket = Ticket::read(text).map_err(|why| {
        let fix =
            "copy the whole line that `hubless pair --ticket` printed on the other device, or type the code that `hubless pair` shows";
        Refusal::new(Reason::BadTicket, "this is neither a ticket nor a code").because(why.to_string()).fix(fix)
    })?;
    if ticket.device() == place.key.device() {
        return Err(Refusal::new(Reason::BadTicket, "this ticket was made on this device").fix("use it on the other device"));
    }
    is_wanted(wanted, ticket.device())?;
    let is_late = (place.discovery.clock)() > ticket.until_ms;
    Ok(Known::Ticket { ticket, is_late })
}

/// Who shares a fleet with others goes to windows of that fleet only.
fn is_wanted(wanted: &Wanted, device: DeviceId) -> Result<(), Refusal> {
    match &wanted.only {
        Some((devices, why)) if !devices.contains(&device) => Err(why.clone()),
        Some(_) | None => Ok(()),
    }
}

struct Joining {
    me: DeviceId,
    key: DeviceKey,
    plan: Plan,
    tasks: TaskTracker,
    inbox: mpsc::Sender<Input>,
    wanted: Wanted,
    way: Known,
}

impl Joining {
    async fn run(self) {
        let joined = timeout(JOIN_MAX, self.join()).await.unwrap_or_else(|_| Err(self.by().timed_out()));
        if let Err(why) = joined {
            let _ = self.inbox.send(Input::Peer(PeerEvent::PairingFailed { asker: self.wanted.asker, why })).await;
        }
    }

    fn by(&self) -> By {
        match self.way {
            Known::Ticket { .. } => By::Ticket,
            Known::Code(_) => By::Code,
        }
    }

    async fn join(&self) -> Result<(), Refusal> {
        match (&self.way, &self.wanted.at) {
            (_, Some(at)) => {
                let addresses = look_up(at).await?;
                self.attempt(Target { device: self.device(), addresses }).await
            }
            (Known::Ticket { ticket, .. }, None) => {
                self.attempt(Target { device: self.device(), addresses: ticket.addresses.clone() }).await
            }
            (Known::Code(code), None) => self.search(code).await,
        }
    }

    /// Whom a ticket names.
    fn device(&self) -> Option<DeviceId> {
        match &self.way {
            Known::Ticket { ticket, .. } => Some(ticket.device()),
            Known::Code(_) => None,
        }
    }

    /// Tries the windows that show the code's first digits, one after the other.
    async fn search(&self, code: &Code) -> Result<(), Refusal> {
        let mut found = beacon::find(&self.plan, &code.place(), &self.tasks);
        let mut why: Option<Refusal> = None;
        for _ in 0..WINDOWS_MAX {
            let patience = if why.is_none() { FIND_MAX } else { FIND_MORE };
            let Ok(Some(addresses)) = timeout(patience, found.recv()).await else { break };
            match self.attempt(Target { device: None, addresses }).await {
                Ok(()) => return Ok(()),
                // Of several reasons the first one that somebody gave us says most.
                Err(new) if why.as_ref().is_none_or(|why| why.code == Reason::Unreachable) => why = Some(new),
                Err(_) => {}
            }
        }
        Err(why.unwrap_or_else(|| refusals::not_found(&code.place(), self.plan.mdns)))
    }

    /// One window, from the dial to the welcome.
    async fn attempt(&self, target: Target) -> Result<(), Refusal> {
        let over = CancellationToken::new();
        let _ends = over.clone().drop_guard();
        let built = self
            .key
            .keypair()
            .and_then(|key| behaviour::build(&key, words::prologue(), words::PROTOCOL, PAIRING_LIMITS, &self.tasks, &over));
        let mut swarm = built.map_err(|why| self.by().broken(&why))?;
        let reached = timeout(REACH_MAX, reach::reach(&mut swarm, &target)).await;
        let reached = reached.unwrap_or_else(|_| Err(Unreached::Nobody("timed out".to_owned())));
        let (inviter, mut stream) = reached.map_err(|why| self.unreached(&target.addresses, why))?;
        is_wanted(&self.wanted, inviter)?;
        // The swarm's own tasks carry the stream; it must be polled for them to be let go.
        tokio::select! {
            done = self.converse(&mut stream, inviter) => done,
            () = async { loop { swarm.select_next_some().await; } } => Err(self.by().timed_out()),
        }
    }

    async fn converse(&self, stream: &mut Stream, inviter: DeviceId) -> Result<(), Refusal> {
        let by = self.by();
        let ends = Ends { inviter, joiner: self.me };
        let (exchange, way) = match &self.way {
            Known::Ticket { ticket, .. } => (Err(ticket.secret), Way::Ticket { window: ticket.window }),
            Known::Code(code) => {
                let (exchange, message) = Exchange::begin(Side::Joiner, code, &ends);
                (Ok(exchange), Way::Code { place: code.place(), message })
            }
        };
        let nonce = words::nonce().map_err(|why| by.broken(&why))?;
        let hello = self.tell(stream, &FromJoiner::Hello(Hello { inviter: inviter.0, joiner: self.me.0, nonce, way })).await?;
        let (FromInviter::Answer { message, .. }, answer) = self.hear(stream, words::WORD_BYTES_MAX).await? else {
            return Err(by.broken("it sent no answer"));
        };
        let key = match exchange {
            Ok(exchange) => exchange.end(&message).ok_or_else(|| by.broken("its half of the code's exchange is none"))?,
            Err(secret) => secret,
        };
        let said = proof::said(&hello, &answer);
        self.tell(stream, &FromJoiner::Proof(proof::proof(&key, Side::Joiner, &ends, &said).into())).await?;
        let (FromInviter::Proof(shown), _) = self.hear(stream, words::WORD_BYTES_MAX).await? else {
            return Err(by.broken("it sent no proof"));
        };
        if proof::proof(&key, Side::Inviter, &ends, &said) != blake3::Hash::from(shown) {
            return Err(by.mismatch("the other device does not know the secret; nothing was shared"));
        }
        self.tell(stream, &FromJoiner::Name(self.wanted.name.clone())).await?;
        let (FromInviter::Welcome(welcome), _) = self.hear(stream, words::WELCOME_BYTES_MAX).await? else {
            return Err(by.broken("it sent no welcome"));
        };
        let welcomed = PeerEvent::Welcomed { asker: self.wanted.asker, device: inviter, welcome };
        self.inbox.send(Input::Peer(welcomed)).await.map_err(|_| by.broken("this daemon stops"))?;
        // From here on we are welcome, whether or not the other end hears that we know.
        let _ = self.tell(stream, &FromJoiner::Taken).await;
        let _ = timeout(Duration::from_secs(1), stream.close()).await;
        Ok(())
    }

    fn unreached(&self, tried: &[SocketAddr], why: Unreached) -> Refusal {
        match (why, &self.way) {
            (Unreached::Another(at), _) => self.by().mismatch(&format!("another device than the ticket's answers at {at}")),
            (Unreached::Nobody(why), Known::Ticket { is_late: true, .. }) => By::Ticket.late(Some(&why)),
            (Unreached::Nobody(why), _) => self.by().unreachable(tried, &why),
            (Unreached::Ourselves, _) => self.by().unreachable(tried, "that is this device"),
        }
    }

    async fn tell(&self, stream: &mut Stream, word: &FromJoiner) -> Result<Vec<u8>, Refusal> {
        words::say(stream, word).await.map_err(|why| self.by().broken(&why))
    }

    async fn hear(&self, stream: &mut Stream, max: usize) -> Result<(FromInviter, Vec<u8>), Refusal> {
        match words::hear(stream, max).await {
            Ok((FromInviter::No(no), _)) => Err(self.by().refusal(no)),
            Ok(heard) => Ok(heard),
            Err(Unheard::Late) => Err(self.by().timed_out()),
            Err(Unheard::Broken(why)) => Err(self.by().broken(&why)),
        }
    }
}

/// The addresses of `host:port`.
async fn look_up(at: &str) -> Result<Vec<SocketAddr>, Refusal> {
    let bad = |cause: String| Refusal::new(Reason::BadRequest, "the address cannot be used").because(cause).fix("--addr HOST:PORT");
    let found = timeout(REACH_MAX, tokio::net::lookup_host(at)).await.map_err(|_| bad("looking it up timed out".to_owned()))?;
    let found: Vec<SocketAddr> = found.map_err(|why| bad(why.to_string()))?.take(super::ticket::ADDRESSES_MAX).collect();
    if found.is_empty() { Err(bad("the name has no address".to_owned())) } else { Ok(found) }
}
