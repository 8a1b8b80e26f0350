//! This device's pairing windows, of which the newest one counts: each a swarm of its own, with its own port and prologue,
//! open for three minutes, and one minute longer to say that it is over. Secrets and codes live in memory only.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use libp2p::Swarm;
use libp2p::swarm::SwarmEvent;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::beacon;
use super::chances::{Chances, WRONG_MAX};
use super::code::Code;
use super::joining::Joins;
use super::talks::Talks;
use super::ticket::{self, Ticket};
use super::window::{Decision, Desk, Window, lock, turn_back};
use super::words::{self, STEP_MAX};
use crate::model::id::Asker;
use crate::model::input::PeerEvent;
use crate::model::reply::{Code as Reason, Keys, Refusal};
use crate::network::behaviour::{self, Behaviour, BehaviourEvent, PAIRING_LIMITS};
use crate::network::doorman::{Opened, Opening};
use crate::network::place::Place;
use crate::network::{identity, interfaces, listening};

/// How long a window is open (Matter's enhanced commissioning has the same: P2P E).
pub(crate) const WINDOW: Duration = Duration::from_secs(180);
/// How long it stays after that to say that it is over.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// Streams at once, those among them that are only waited for to read our last word. The connections' own limits come first: 16,
/// of 8 streams each.
const SEEN_OFF_MAX: usize = 128;

/// The windows.
pub(crate) struct Windows {
    /// The newest window, open or over.
    current: Option<Arc<Window>>,
    port: u16,
    open: CancellationToken,
    attending: Option<JoinHandle<()>>,
    desk: Arc<Mutex<Desk>>,
}

impl Windows {
    /// None yet.
    pub(crate) fn new() -> Windows {
        Windows { current: None, port: 0, open: CancellationToken::new(), attending: None, desk: Arc::default() }
    }

    /// Opens a window in place of an older one; what opens it, or why there is none.
    pub(crate) async fn open(&mut self, asker: Asker, code: bool, place: &Place, joins: &Joins) -> PeerEvent {
        self.close();
        if let Some(older) = self.attending.take() {
            let _ = timeout(STEP_MAX, older).await; // it lets go of the port that we want again
        }
        let failed = |why: Refusal| PeerEvent::PairingFailed { asker, why };
        if joins.busy() {
            return failed(Refusal::new(Reason::Busy, "this device is joining another one just now").fix("try again in a minute"));
        }
        self.try_open(asker, code, place, joins).map_or_else(
            |why| failed(Refusal::new(Reason::Unreachable, "no window for pairing could be opened").because(why)),
            |keys| PeerEvent::Invited { asker, keys },
        )
    }

    fn try_open(&mut self, asker: Asker, code: bool, place: &Place, joins: &Joins) -> Result<Keys, String> {
        self.open = CancellationToken::new();
        let mut swarm =
            behaviour::build(&place.key.keypair()?, words::prologue(), words::PROTOCOL, PAIRING_LIMITS, &place.tasks, &self.open)?;
        // The port of the last window again, so that an older ticket hears that it is spent.
        self.port = listening::try_port(self.port).or_else(|_| listening::try_port(0)).map_err(|e| e.to_string())?;
        listening::listen(&mut swarm, self.port).map_err(|e| e.to_string())?;
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut secret)).map_err(|e| e.to_string())?;
        let code = if code { Some(Code::draw()?) } else { None };
        let window = Arc::new(Window {
            asker,
            me: place.key.device(),
            id,
            secret,
            code: code.clone(),
            joining: joins.under_way(),
            desk: Arc::clone(&self.desk),
            inbox: place.inbox.clone(),
            chances: Mutex::new(Chances::default()),
        });
        self.current = Some(Arc::clone(&window));
        tracing::info!("a pairing window is open on port {}", self.port);
        if let Some(code) = &code {
            beacon::announce(&place.discovery, self.port, &code.place(), &place.tasks, &self.open);
        }
        let attending = Attending { window, tasks: place.tasks.clone(), open: self.open.clone() };
        self.attending = Some(place.tasks.spawn(attending.run(swarm)));
        let until_ms = (place.discovery.clock)().saturating_add(i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX));
        let addresses = self.addresses(&place.discovery.interfaces);
        let shown = addresses.iter().map(ToString::to_string).collect();
        let ticket = Ticket { inviter: place.key.device().0, window: id, secret, until_ms, addresses };
        Ok(Keys { ticket: ticket.text(), code: code.map(|code| code.text()), addresses: shown, until_ms, tries: WRONG_MAX })
    }

    /// Where the window listens; IPv6 loopback is nothing that IPv4's does not give.
    fn addresses(&self, wanted: &[String]) -> Vec<SocketAddr> {
        let mut all = interfaces::listening(&interfaces::all(), wanted, self.port);
        all.retain(|a| !(a.is_ipv6() && a.ip().is_loopback()));
        if all.len() > ticket::ADDRESSES_MAX {
            let last = all.pop();
            all.truncate(ticket::ADDRESSES_MAX - 1);
            all.extend(last);
        }
        all
    }

    /// Whether that code was made here.
    pub(crate) fn made(&self, code: &Code) -> bool {
        self.current.as_ref().is_some_and(|window| window.code.as_ref() == Some(code))
    }

    /// Lets a joiner in.
    pub(crate) fn admit(&self, pairing: u64, welcome: Vec<u8>) {
        lock(&self.desk).decide(pairing, Decision::Admit(welcome));
    }

    /// Does not let it in.
    pub(crate) fn turn_away(&self, pairing: u64, why: Refusal) {
        lock(&self.desk).decide(pairing, Decision::TurnAway(why));
    }

    /// Closes the window.
    pub(crate) fn close(&self) {
        self.open.cancel();
    }

    /// Closes the window that this one asked for.
    pub(crate) fn close_of(&self, asker: Asker) {
        if self.current.as_ref().is_some_and(|window| window.asker == asker) {
            self.close();
        }
    }
}

/// Stands at the window.
struct Attending {
    window: Arc<Window>,
    tasks: TaskTracker,
    open: CancellationToken,
}

impl Attending {
    async fn run(self, swarm: Swarm<Behaviour>) {
        let time = async {
            sleep(WINDOW).await;
            if lock(&self.window.chances).expire() {
                let why = Refusal::new(Reason::CodeExpired, "nobody came in time: the window is closed")
                    .because("a code and a ticket are good for three minutes")
                    .fix("hubless pair again");
                self.window.tell_over(why).await;
            }
            sleep(AFTERWARDS).await;
        };
        tokio::select! {
            () = self.open.cancelled() => {}
            () = time => {}
            () = self.let_come(swarm) => {}
        }
        self.open.cancel();
    }

    async fn let_come(&self, mut swarm: Swarm<Behaviour>) {
        let talks = Talks::default();
        let seen_off = Arc::new(Semaphore::new(SEEN_OFF_MAX));
        loop {
            let SwarmEvent::Behaviour(BehaviourEvent::Doorman(Opened { peer, stream: Opening::Theirs(stream), .. })) =
                swarm.select_next_some().await
            else {
                continue;
            };
            let (Some(joiner), Ok(leave)) = (identity::device_of(&peer), Arc::clone(&seen_off).try_acquire_owned()) else {
                continue;
            };
            let (window, open, talk) = (Arc::clone(&self.window), self.open.clone(), talks.begin());
            self.tasks.spawn(async move {
                let done = async {
                    match talk {
                        Some((talk, displaced)) => tokio::select! {
                            () = displaced.cancelled() => {}
                            () = window.serve(stream, joiner, talk) => {}
                        },
                        None => turn_back(stream).await,
                    }
                };
                tokio::select! {
                    () = open.cancelled() => {}
                    () = done => {}
                }
                drop(leave);
            });
        }
    }
}
