//! The joiner's side of a pairing: reads the ticket, dials, proves, and is welcomed; every way to fail has its own reason.
//!
//! The device that answers must be the one that the ticket names, so nobody else can welcome us. Our clock may be wrong:
//! the inviter alone decides whether a ticket is too old, and we ask our clock only to explain why nobody answers.

use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::io::AsyncWriteExt;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Stream, Swarm};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::behaviour::{self, Behaviour, BehaviourEvent, PAIRING_LIMITS};
use super::doorman::Opening;
use super::pairing::{self, Ends, FromInviter, FromJoiner, No, Side, Unheard};
use super::place::Place;
use super::ticket::Ticket;
use super::{dialing, identity};
use crate::model::id::{Asker, DeviceId};
use crate::model::input::{Input, PeerEvent};
use crate::model::reply::{Code, Refusal};
use crate::model::text::Foreign;

/// How long it may take to reach the inviter.
const REACH_MAX: Duration = Duration::from_secs(10);
/// How long all of it may take.
const JOIN_MAX: Duration = Duration::from_secs(60);
/// Bytes of the inviter's own words that are shown.
const WORDS_BYTES_MAX: usize = 300;

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

    /// Ends it.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }

    /// Begins to join; the answer comes later, unless it is no at once.
    pub(crate) fn join(
        &self,
        asker: Asker,
        text: &str,
        name: String,
        only: Option<(BTreeSet<DeviceId>, Refusal)>,
        place: &Place,
    ) -> Option<PeerEvent> {
        let failed = |why| Some(PeerEvent::PairingFailed { asker, why });
        let ticket = match Ticket::read(text) {
            Ok(ticket) => ticket,
            Err(why) => {
                let fix = "copy the whole line that `hubless pair --ticket` printed on the other device";
                return failed(Refusal::new(Code::BadTicket, "this is not a ticket").because(why.to_string()).fix(fix));
            }
        };
        if ticket.device() == place.key.device() {
            return failed(Refusal::new(Code::BadTicket, "this ticket was made on this device").fix("use it on the other device"));
        }
        if let Some((_, refusal)) = only.filter(|(devices, _)| !devices.contains(&ticket.device())) {
            return failed(refusal);
        }
        if self.busy.swap(true, Ordering::AcqRel) {
            return failed(Refusal::new(Code::Busy, "this device is joining already").fix("wait for its answer"));
        }
        let over = CancellationToken::new();
        let late = (place.discovery.clock)() > ticket.until_ms;
        let swarm = place
            .key
            .keypair()
            .and_then(|key| behaviour::build(&key, pairing::prologue(), pairing::PROTOCOL, PAIRING_LIMITS, &place.tasks, &over));
        let joining = Joining { asker, me: place.key.device(), ticket, name, late, inbox: place.inbox.clone() };
        let (busy, stop) = (Arc::clone(&self.busy), self.stop.clone());
        place.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = joining.run(swarm) => {}
            }
            over.cancel();
            busy.store(false, Ordering::Release);
        });
        None
    }
}

struct Joining {
    asker: Asker,
    me: DeviceId,
    ticket: Ticket,
    name: String,
    late: bool,
    inbox: tokio::sync::mpsc::Sender<Input>,
}

impl Joining {
    async fn run(self, swarm: Result<Swarm<Behaviour>, String>) {
        let joined = match swarm {
            Ok(swarm) => timeout(JOIN_MAX, self.join(swarm)).await.unwrap_or_else(|_| Err(timed_out())),
            Err(why) => Err(Refusal::new(Code::Unreachable, "no connection can be made").because(why)),
        };
        if let Err(why) = joined {
            let _ = self.inbox.send(Input::Peer(PeerEvent::PairingFailed { asker: self.asker, why })).await;
        }
    }

    async fn join(&self, mut swarm: Swarm<Behaviour>) -> Result<(), Refusal> {
        let mut stream = timeout(REACH_MAX, self.reach(&mut swarm)).await.unwrap_or_else(|_| Err(self.unreachable("timed out")))?;
        // The swarm's own tasks carry the stream; it must be polled for them to be let go.
        tokio::select! {
            done = self.converse(&mut stream) => done,
            () = async { loop { swarm.select_next_some().await; } } => Err(timed_out()),
        }
    }

    /// A stream to the device that the ticket names.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of a swarm that only dials, all other events are no news")]
    async fn reach(&self, swarm: &mut Swarm<Behaviour>) -> Result<Stream, Refusal> {
        let peer = identity::peer_of(self.ticket.device())
            .ok_or_else(|| Refusal::new(Code::BadTicket, "the ticket names a device that cannot be"))?;
        let addresses = self.ticket.addresses.iter().map(ToString::to_string).collect();
        let (addresses, _) = dialing::sorted(addresses, &super::interfaces::all());
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(addresses.into_iter().map(dialing::multiaddr_of).collect())
            .override_dial_concurrency_factor(NonZeroU8::MAX)
            .allocate_new_port()
            .build();
        swarm.dial(dial).map_err(|why| self.undialled(&why))?;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                    swarm.behaviour_mut().doorman.open(peer_id, connection_id);
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(self.undialled(&error)),
                SwarmEvent::ConnectionClosed { .. } => return Err(self.unreachable("it closed the connection")),
                SwarmEvent::Behaviour(BehaviourEvent::Doorman(opened)) => match opened.stream {
                    Opening::Ours(stream) => return Ok(stream),
                    Opening::Failed(why) => return Err(self.unreachable(&why)),
                    Opening::Theirs(_) => {}
                },
                _ => {}
            }
        }
    }

    async fn converse(&self, stream: &mut Stream) -> Result<(), Refusal> {
        let mut ends = Ends { inviter: self.ticket.device(), joiner: self.me, nonce_i: [0; 32], nonce_j: [0; 32] };
        getrandom::fill(&mut ends.nonce_j).map_err(|e| broken(&e.to_string()))?;
        tell(stream, &FromJoiner::Hello { window: self.ticket.window, nonce: ends.nonce_j }).await?;
        let FromInviter::Nonce(nonce) = ask(stream, pairing::WORD_BYTES_MAX).await? else {
            return Err(broken("it sent no nonce"));
        };
        ends.nonce_i = nonce;
        tell(stream, &FromJoiner::Proof(pairing::proof(&self.ticket.secret, Side::Joiner, &ends).into())).await?;
        let FromInviter::Proof(shown) = ask(stream, pairing::WORD_BYTES_MAX).await? else {
            return Err(broken("it sent no proof"));
        };
        if pairing::proof(&self.ticket.secret, Side::Inviter, &ends) != blake3::Hash::from(shown) {
            return Err(mismatch("the other device does not know the ticket's secret"));
        }
        tell(stream, &FromJoiner::Name(self.name.clone())).await?;
        let FromInviter::Welcome(welcome) = ask(stream, pairing::WELCOME_BYTES_MAX).await? else {
            return Err(broken("it sent no welcome"));
        };
        let welcomed = PeerEvent::Welcomed { asker: self.asker, device: ends.inviter, welcome };
        self.inbox.send(Input::Peer(welcomed)).await.map_err(|_| broken("this daemon stops"))?;
        // From here on we are welcome, whether or not the other end hears that we know.
        let _ = tell(stream, &FromJoiner::Taken).await;
        let _ = timeout(Duration::from_secs(1), stream.close()).await;
        Ok(())
    }

    fn undialled(&self, error: &DialError) -> Refusal {
        if let DialError::WrongPeerId { address, .. } = error {
            return mismatch(&format!("another device than the ticket's answers at {}", dialing::text_of(address)));
        }
        self.unreachable(&dialing::reason(error).unwrap_or_else(|| "that is this device".to_owned()))
    }

    fn unreachable(&self, why: &str) -> Refusal {
        if self.late {
            return Refusal::new(Code::TicketSpent, "the ticket's time is over, and nobody answers any more")
                .because(why)
                .fix("run `hubless pair --ticket` again on the other device");
        }
        let tried: Vec<String> = self.ticket.addresses.iter().map(ToString::to_string).collect();
        Refusal::new(Code::Unreachable, format!("the other device cannot be reached at {}", tried.join(", ")))
            .because(why)
            .fix("check that its daemon runs (`hubless up`) and that both devices are in the same network")
    }
}

async fn tell(stream: &mut Stream, word: &FromJoiner) -> Result<(), Refusal> {
    pairing::say(stream, word).await.map_err(|why| broken(&why))
}

async fn ask(stream: &mut Stream, max: usize) -> Result<FromInviter, Refusal> {
    match pairing::hear(stream, max).await {
        Ok(FromInviter::No(no)) => Err(refusal(no)),
        Ok(word) => Ok(word),
        Err(Unheard::Late) => Err(timed_out()),
        Err(Unheard::Broken(why)) => Err(broken(&why)),
    }
}

fn refusal(no: No) -> Refusal {
    let again = "run `hubless pair --ticket` again on the other device";
    match no {
        No::Busy => Refusal::new(Code::Busy, "the other device is pairing with somebody else").fix("try again in a minute"),
        No::Spent => Refusal::new(Code::TicketSpent, "this ticket was used already, or a newer one was made").fix(again),
        No::Mismatch => mismatch("the other device says that this is not its secret"),
        No::Late => Refusal::new(Code::TimedOut, "the other device's daemon did not decide in time").fix(again),
        No::TurnedAway(word, what, fix) => {
            let codes = [Code::AlreadyPaired, Code::Busy, Code::Storage, Code::TimedOut, Code::TicketSpent, Code::PairMismatch];
            let code = codes.into_iter().find(|c| c.word() == word).unwrap_or(Code::BadRequest);
            let foreign = |text| pairing::cut(Foreign::new(text).plain(), WORDS_BYTES_MAX);
            let refusal = Refusal::new(code, format!("the other device does not let this one in: {}", foreign(what)));
            match fix {
                Some(fix) => refusal.fix(foreign(fix)),
                None => refusal,
            }
        }
    }
}

fn mismatch(cause: &str) -> Refusal {
    Refusal::new(Code::PairMismatch, "the two devices do not agree on the ticket")
        .because(cause)
        .fix("copy the ticket again, or run `hubless pair --ticket` again on the other device")
}

fn broken(cause: &str) -> Refusal {
    Refusal::new(Code::Unreachable, "pairing broke off").because(cause).fix("run `hubless pair --ticket` again on the other device")
}

fn timed_out() -> Refusal {
    Refusal::new(Code::TimedOut, "the other device did not answer in time").fix("run `hubless pair --ticket` again on the other device")
}
