//! Pairing: one device opens a window for three minutes, another one comes to it with a ticket or a short code.
//!
//! Two devices become one fleet only if both know one secret, each proves so to the very key that noise showed it, and the
//! inviter's core keeps the entry that lets the joiner in before anything of the fleet is told.

mod beacon;
mod chances;
mod code;
mod joining;
mod proof;
mod reach;
mod refusals;
mod talks;
mod ticket;
mod window;
mod windows;
mod words;

pub(crate) use joining::{Joins, Wanted};
pub(crate) use windows::Windows;

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of event and passes over the others")]
mod tests {
    use std::collections::BTreeSet;

    use futures::StreamExt;
    use libp2p::swarm::SwarmEvent;
    use libp2p::swarm::dial_opts::DialOpts;
    use libp2p::{Stream, Swarm};
    use tokio::time::{Duration, timeout};
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::chances::WRONG_MAX;
    use super::ticket::Ticket;
    use super::words::{self, FromInviter, FromJoiner, Hello, WELCOME_BYTES_MAX, Way};
    use crate::model::ask::Tries;
    use crate::model::id::{Asker, DeviceId};
    use crate::model::input::{LinkAction, PeerEvent};
    use crate::model::reply::{Code, Keys, Refusal};
    use crate::network::behaviour::{self, Behaviour, BehaviourEvent, PAIRING_LIMITS};
    use crate::network::doorman::{Opened, Opening};
    use crate::network::testbed::{LIMIT, NOW_MS, Node, eventually, fleet, key, silent_port};
    use crate::network::{dialing, listening};

    const JOINER: Asker = Asker(7);
    const INVITER: Asker = Asker(1);

    async fn opened(node: &mut Node, code: bool) -> Keys {
        node.network.tell(LinkAction::Invite { asker: INVITER, code });
        let keys = node
            .until(|e| match e {
                PeerEvent::Invited { asker: INVITER, keys } => Some(keys),
                PeerEvent::PairingFailed { why, .. } => panic!("{why:?}"),
                _ => None,
            })
            .await;
        assert_eq!((keys.until_ms, keys.tries, keys.code.is_some()), (NOW_MS + 180_000, WRONG_MAX, code));
        keys
    }

    async fn invited(node: &mut Node) -> String {
        opened(node, false).await.ticket
    }

    fn join_at(node: &Node, text: &str, at: Option<String>) {
        node.network.tell(LinkAction::Join { asker: JOINER, text: text.to_owned(), at, name: "laptop".to_owned(), only: None });
    }

    fn join(node: &Node, ticket: &str) {
        join_at(node, ticket, None);
    }

    /// Where a window is on this machine.
    fn at(keys: &Keys) -> Option<String> {
        keys.addresses.iter().find(|a| a.starts_with("127.0.0.1:")).cloned()
    }

    /// A code and where its window is.
    async fn coded(node: &mut Node) -> (String, Option<String>) {
        let keys = opened(node, true).await;
        (keys.code.clone().expect("a code"), at(&keys))
    }

    /// The code with its last digit changed.
    fn mistyped(code: &str) -> String {
        let last = code.chars().last().and_then(|c| c.to_digit(10)).expect("a digit");
        format!("{}{}", &code[..code.len() - 1], (last + 1) % 10)
    }

    async fn joining(node: &mut Node) -> (u64, DeviceId) {
        node.until(|e| match e {
            PeerEvent::Joining { pairing, asker, device, name } => {
                assert_eq!((asker, name.as_str()), (INVITER, "laptop"));
                Some((pairing, device))
            }
            _ => None,
        })
        .await
    }

    async fn tried(node: &mut Node) -> Tries {
        node.until(|e| if let PeerEvent::Tried { asker: INVITER, tries } = e { Some(tries) } else { None }).await
    }

    async fn over(node: &mut Node) -> Code {
        node.until(|e| if let PeerEvent::WindowOver { asker: INVITER, why } = e { Some(why.code) } else { None }).await
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
        for _ in 0..WRONG_MAX {
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
        let nowhere = silent_port();
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
        b.network.tell(LinkAction::Invite { asker: Asker(2), code: true });
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
        a.network.tell(LinkAction::Invite { asker: INVITER, code: false });
        eventually(|| a.tasks.len() <= before).await;
    }

    #[tokio::test]
    async fn a_code_lets_one_in_and_each_hears_who_the_other_is() {
        let (mut a, mut b) = pair().await;
        let (code, at) = coded(&mut a).await;
        join_at(&b, &code.replace('-', " "), at.clone());
        let (pairing, device) = joining(&mut a).await;
        assert_eq!(device, b.device);
        a.network.tell(LinkAction::Admit { pairing, welcome: vec![3] });
        assert_eq!(joined(&mut b).await, Ok((a.device, vec![3])));
        let mut c = Node::start(2, fleet(3));
        join_at(&c, &code, at);
        assert_eq!(refused(&mut c).await, Code::CodeSpent, "the right code, too late");
        a.quiet(50).await;
        for node in [a, b, c] {
            node.stopped().await;
        }
    }

    #[tokio::test]
    async fn a_code_finds_its_window_by_mdns_and_one_that_nobody_shows_says_so() {
        let mdns_port = silent_port().port();
        let mut a = Node::with(0, fleet(1), |o| (o.mdns, o.mdns_port) = (true, mdns_port));
        let mut b = Node::with(1, fleet(2), |o| (o.mdns, o.mdns_port) = (true, mdns_port));
        let (code, _) = coded(&mut a).await;
        join(&b, &code);
        let (pairing, _) = joining(&mut a).await;
        a.network.tell(LinkAction::Admit { pairing, welcome: vec![3] });
        assert_eq!(joined(&mut b).await, Ok((a.device, vec![3])));
        let nobodys = format!("{}-0000-000", if code.starts_with("111") { "222" } else { "111" });
        join(&b, &nobodys);
        assert_eq!(refused(&mut b).await, Code::CodeNotFound);
        let mut deaf = Node::start(2, fleet(3));
        join(&deaf, &code);
        let why = joined(&mut deaf).await.expect_err("it does not look around");
        assert!(why.cause.as_deref().is_some_and(|cause| cause.contains("network.mdns")), "{why:?}");
    }

    #[tokio::test]
    async fn a_wrong_code_is_told_to_both_and_three_close_the_window() {
        let (mut a, mut b) = pair().await;
        let (code, at) = coded(&mut a).await;
        for n in 1..=WRONG_MAX {
            join_at(&b, &mistyped(&code), at.clone());
            assert_eq!(refused(&mut b).await, Code::PairMismatch);
            assert_eq!(tried(&mut a).await, Tries { wrong: n, relayed: 0 });
        }
        assert_eq!(over(&mut a).await, Code::CodeSpent, "the person at the window hears it");
        join_at(&b, &code, at);
        assert_eq!(refused(&mut b).await, Code::CodeSpent);
        a.quiet(50).await;
    }

    #[tokio::test]
    async fn a_wrong_code_and_then_the_right_one() {
        let (mut a, mut b) = pair().await;
        let (code, at) = coded(&mut a).await;
        join_at(&b, &mistyped(&code), at.clone());
        assert_eq!(refused(&mut b).await, Code::PairMismatch);
        join_at(&b, &code, at);
        joining(&mut a).await;
    }

    #[tokio::test]
    async fn of_two_joiners_with_the_right_code_one_is_let_in() {
        let (mut a, mut b) = pair().await;
        let mut c = Node::start(2, fleet(3));
        let (code, at) = coded(&mut a).await;
        join_at(&b, &code, at.clone());
        join_at(&c, &code, at.clone());
        let (pairing, device) = joining(&mut a).await;
        let (winner, loser) = if device == b.device { (&mut b, &mut c) } else { (&mut c, &mut b) };
        assert!([Code::Busy, Code::CodeSpent].contains(&refused(loser).await), "while the other is served, or after");
        a.network.tell(LinkAction::Admit { pairing, welcome: vec![1] });
        assert!(joined(winner).await.is_ok());
        join_at(loser, &code, at);
        assert_eq!(refused(loser).await, Code::CodeSpent);
        a.quiet(50).await;
    }

    #[tokio::test]
    async fn a_code_that_is_late_or_of_an_older_window_or_of_our_own_or_none_says_so() {
        let (mut a, mut b) = pair().await;
        let (older, _) = coded(&mut a).await;
        let (newer, at) = loop {
            let (code, at) = coded(&mut a).await;
            if code[..3] != older[..3] {
                break (code, at);
            }
        };
        join_at(&b, &older, at.clone());
        assert_eq!(refused(&mut b).await, Code::CodeSpent, "the older code costs the newer window no attempt");
        join_at(&a, &newer, at.clone());
        assert_eq!(refused(&mut a).await, Code::BadCode);
        join_at(&b, &newer[..10], at.clone());
        assert_eq!(refused(&mut b).await, Code::BadCode);
        join_at(&b, &newer, Some("no such host:1".to_owned()));
        assert_eq!(refused(&mut b).await, Code::BadRequest);
        join_at(&b, &newer, Some(silent_port().to_string()));
        assert_eq!(refused(&mut b).await, Code::Unreachable);
        a.network.tell(LinkAction::CloseWindow { asker: Asker(99) });
        join_at(&b, &newer, at.clone());
        let (pairing, _) = joining(&mut a).await;
        a.network.tell(LinkAction::Admit { pairing, welcome: vec![1] });
        assert!(joined(&mut b).await.is_ok(), "somebody else's word closes no window");
        let (code, at) = coded(&mut a).await;
        a.network.tell(LinkAction::CloseWindow { asker: INVITER });
        eventually(|| std::net::TcpStream::connect(at.as_deref().expect("here")).is_err()).await;
        join_at(&b, &code, at);
        assert_eq!(refused(&mut b).await, Code::Unreachable, "nobody is at a window that was closed");
    }

    #[tokio::test]
    async fn who_may_join_its_own_fleet_only_proves_nothing_to_a_window_of_another() {
        let (mut a, mut b) = pair().await;
        let (code, at) = coded(&mut a).await;
        let why = Refusal::new(Code::AlreadyPaired, "no").fix("leave");
        let only = Some((BTreeSet::from([key(5).device()]), why));
        b.network.tell(LinkAction::Join { asker: JOINER, text: code, at, name: "laptop".to_owned(), only });
        assert_eq!(refused(&mut b).await, Code::AlreadyPaired);
        a.quiet(50).await;
    }

    #[tokio::test]
    async fn when_both_type_the_others_code_at_once_the_lower_device_joins() {
        let (mut a, mut b) = pair().await;
        assert!(a.device < b.device);
        let (code_a, at_a) = coded(&mut a).await;
        let (code_b, at_b) = coded(&mut b).await;
        // The lower one is joining: it waits for the core of the higher one.
        join_at(&a, &code_b, at_b);
        let (pairing, _) = joining(&mut b).await;
        join_at(&b, &code_a, at_a);
        let why = joined(&mut b).await.expect_err("the other is joining this one");
        assert!(why.code == Code::Busy && why.what.contains("already"), "{why:?}");
        b.network.tell(LinkAction::Admit { pairing, welcome: vec![1] });
        assert!(joined(&mut a).await.is_ok());
    }

    /// A relay with a key of its own between the two: it shows itself as a window, and comes to the real one as a joiner.
    struct Relay {
        port: u16,
        door: Swarm<Behaviour>,
        back: Swarm<Behaviour>,
        tasks: TaskTracker,
        over: CancellationToken,
    }

    impl Relay {
        fn new() -> Relay {
            let (tasks, over) = (TaskTracker::new(), CancellationToken::new());
            let swarm = || {
                let keypair = key(6).keypair().expect("a key");
                behaviour::build(&keypair, words::prologue(), words::PROTOCOL, PAIRING_LIMITS, &tasks, &over).expect("a swarm")
            };
            let (mut door, back) = (swarm(), swarm());
            let port = listening::try_port(0).expect("a port");
            listening::listen(&mut door, port).expect("it listens");
            Relay { port, door, back, tasks, over }
        }

        fn at(&self) -> Option<String> {
            Some(format!("127.0.0.1:{}", self.port))
        }

        /// Two streams: of the victim who came, and to the real window.
        async fn between(&mut self, window: &str) -> (Stream, Stream) {
            let theirs = async {
                loop {
                    if let SwarmEvent::Behaviour(BehaviourEvent::Doorman(Opened { stream: Opening::Theirs(stream), .. })) =
                        self.door.select_next_some().await
                    {
                        break stream;
                    }
                }
            };
            let victim = timeout(LIMIT, theirs).await.expect("somebody comes");
            (victim, self.to(window).await)
        }

        /// A stream to a window.
        async fn to(&mut self, window: &str) -> Stream {
            let address = dialing::multiaddr_of(window.parse().expect("an address"));
            self.back.dial(DialOpts::unknown_peer_id().address(address).build()).expect("a dial");
            let ours = async {
                loop {
                    match self.back.select_next_some().await {
                        SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                            self.back.behaviour_mut().doorman.open(peer_id, connection_id);
                        }
                        SwarmEvent::Behaviour(BehaviourEvent::Doorman(Opened { stream: Opening::Ours(stream), .. })) => break stream,
                        _ => {}
                    }
                }
            };
            timeout(LIMIT, ours).await.expect("the window answers")
        }

        /// Hands words on, the victim's first one as `change` makes it, until either side ends.
        async fn run(mut self, window: &str, change: impl Fn(&mut Hello)) {
            let (mut victim, mut inviter) = self.between(window).await;
            let talk = async {
                let (mut first, _) = words::hear::<FromJoiner>(&mut victim, words::WORD_BYTES_MAX).await.map_err(drop)?;
                if let FromJoiner::Hello(hello) = &mut first {
                    change(hello);
                }
                words::say(&mut inviter, &first).await.map_err(drop)?;
                loop {
                    let (answer, _) = words::hear::<FromInviter>(&mut inviter, words::WORD_BYTES_MAX).await.map_err(drop)?;
                    words::say(&mut victim, &answer).await.map_err(drop)?;
                    let (word, _) = words::hear::<FromJoiner>(&mut victim, words::WORD_BYTES_MAX).await.map_err(drop)?;
                    words::say(&mut inviter, &word).await.map_err(drop)?;
                }
                #[expect(unreachable_code, reason = "the loop ends by an error only; this gives the error its type")]
                Ok::<(), ()>(())
            };
            tokio::select! {
                _ = talk => {}
                () = async { loop { self.door.select_next_some().await; } } => {}
                () = async { loop { self.back.select_next_some().await; } } => {}
            }
            // Last words go out before the streams do.
            let rest = async {
                loop {
                    tokio::select! {
                        _ = self.door.select_next_some() => {}
                        _ = self.back.select_next_some() => {}
                    }
                }
            };
            let _ = timeout(Duration::from_millis(500), rest).await;
            self.over.cancel();
            drop(self.tasks);
        }
    }

    #[tokio::test]
    async fn one_who_stands_between_and_hands_everything_on_is_named_as_such_and_costs_no_attempt() {
        let (mut a, mut b) = pair().await;
        let (code, window) = coded(&mut a).await;
        let relay = Relay::new();
        join_at(&b, &code, relay.at());
        relay.run(window.as_deref().expect("here"), |_| {}).await;
        assert_eq!(refused(&mut b).await, Code::PairIntercepted);
        assert_eq!(tried(&mut a).await, Tries { wrong: 0, relayed: 1 });
        join_at(&b, &code, window);
        joining(&mut a).await;
    }

    #[tokio::test]
    async fn one_who_stands_between_and_lies_about_who_it_is_fails_at_the_proof() {
        let (mut a, mut b) = pair().await;
        let (inviter, relay_id) = (a.device, key(6).device());
        let (code, window) = coded(&mut a).await;
        let relay = Relay::new();
        join_at(&b, &code, relay.at());
        let lie = move |hello: &mut Hello| (hello.inviter, hello.joiner) = (inviter.0, relay_id.0);
        relay.run(window.as_deref().expect("here"), lie).await;
        assert_eq!(refused(&mut b).await, Code::PairMismatch);
        assert_eq!(tried(&mut a).await, Tries { wrong: 1, relayed: 0 });
    }

    #[tokio::test]
    async fn one_who_stalls_after_its_first_word_holds_nobody_up() {
        let (mut a, mut b) = pair().await;
        let (code, window) = coded(&mut a).await;
        let mut staller = Relay::new();
        let mut stream = staller.to(window.as_deref().expect("here")).await;
        let (guess, ends) = (
            super::code::Code::read(&mistyped(&code)).expect("a guess"),
            super::proof::Ends { inviter: a.device, joiner: key(6).device() },
        );
        let (_, message) = super::proof::Exchange::begin(super::proof::Side::Joiner, &guess, &ends);
        let way = Way::Code { place: guess.place(), message };
        let hello = Hello { inviter: ends.inviter.0, joiner: ends.joiner.0, nonce: [0; 32], way };
        let (answered, heard) = tokio::sync::oneshot::channel();
        let stalls = async {
            words::say(&mut stream, &FromJoiner::Hello(hello)).await.expect("said");
            words::hear::<FromInviter>(&mut stream, words::WORD_BYTES_MAX).await.expect("an answer");
            answered.send(()).expect("somebody waits for it");
            std::future::pending::<()>().await;
        };
        let comes = async {
            heard.await.expect("it was answered, and says no more");
            join_at(&b, &code, window.clone());
            joining(&mut a).await
        };
        let (pairing, device) = tokio::select! {
            () = stalls => unreachable!("it stalls"),
            () = async { loop { staller.back.select_next_some().await; } } => unreachable!("a swarm never ends"),
            comes = comes => comes,
        };
        assert_eq!(device, b.device);
        a.network.tell(LinkAction::Admit { pairing, welcome: vec![3] });
        assert_eq!(joined(&mut b).await, Ok((a.device, vec![3])));
    }

    #[tokio::test]
    async fn half_of_an_exchange_that_is_none_is_no_guess_and_an_inviter_that_lies_welcomes_nobody() {
        let (mut a, mut b) = pair().await;
        let (code, window) = coded(&mut a).await;
        let relay = Relay::new();
        let (inviter, relay_id) = (a.device, key(6).device());
        join_at(&b, &code, relay.at());
        let spoil = move |hello: &mut Hello| {
            (hello.inviter, hello.joiner) = (inviter.0, relay_id.0);
            if let Way::Code { message, .. } = &mut hello.way {
                *message = b"none".to_vec();
            }
        };
        relay.run(window.as_deref().expect("here"), spoil).await;
        assert_eq!(refused(&mut b).await, Code::Unreachable, "it broke off");
        // One that only shows the digits and says yes to everything.
        let mut liar = Relay::new();
        join_at(&b, &code, liar.at());
        let (mut victim, _inviter) = liar.between(window.as_deref().expect("here")).await;
        let lies = async {
            let (_, _) = words::hear::<FromJoiner>(&mut victim, words::WORD_BYTES_MAX).await.expect("a hello");
            let (_, message) = super::proof::Exchange::begin(
                super::proof::Side::Inviter,
                &super::code::Code::read(&mistyped(&code)).expect("a guess"),
                &super::proof::Ends { inviter: relay_id, joiner: b.device },
            );
            words::say(&mut victim, &FromInviter::Answer { nonce: [0; 32], message }).await.expect("said");
            let (_, _) = words::hear::<FromJoiner>(&mut victim, words::WORD_BYTES_MAX).await.expect("a proof");
            words::say(&mut victim, &FromInviter::Proof([7; 32])).await.expect("said");
            words::hear::<FromJoiner>(&mut victim, words::WORD_BYTES_MAX).await.map(drop)
        };
        let after = tokio::select! {
            after = lies => after,
            () = async { loop { liar.door.select_next_some().await; } } => unreachable!("a swarm never ends"),
        };
        assert!(after.is_err(), "not even a name is told to it");
        assert_eq!(refused(&mut b).await, Code::PairMismatch);
    }

    #[tokio::test]
    async fn a_window_closes_by_itself_and_says_to_who_comes_late_that_it_did() {
        let mut a = Node::start(0, fleet(1));
        let (code, at) = coded(&mut a).await;
        // Time jumps while nobody talks; the conversation afterwards has real time again.
        tokio::time::pause();
        tokio::time::advance(super::windows::WINDOW).await;
        tokio::time::resume();
        assert_eq!(over(&mut a).await, Code::CodeExpired, "the person at the window hears it");
        let mut b = Node::start(1, fleet(2));
        join_at(&b, &code, at);
        assert_eq!(refused(&mut b).await, Code::CodeExpired, "the right code, too late");
        a.quiet(50).await;
    }
}
