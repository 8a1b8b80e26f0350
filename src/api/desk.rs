//! The desk between the doors and the core: questions go out with a number, answers find who waits for that number.
//!
//! A question is an `Input` like any other, so nothing here knows the core; an answer has been kept before it comes. Whoever
//! gives up is forgotten at once, and an answer to nobody is no fault.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::doorman::Door;
use super::events::{Feed, STREAMS_MAX};
use super::metrics::Rejected;
use super::problem::Problem;
use super::strips::Strips;
use crate::model::ask::Ask;
use crate::model::id::Asker;
use crate::model::input::Input;
use crate::model::reply::{Code, Reply};
use crate::model::view::View;

/// How long an answer of our own core is waited for.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer that needs another device is waited for.
pub(crate) const FAR_ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How long somebody may stand at a pairing window: longer than any is open.
pub(crate) const JOINER_WITHIN: Duration = Duration::from_secs(240);

/// Long answers and pages that are made at a time.
const DRAWS_MAX: usize = 4;

/// What both doors share.
pub(crate) struct Desk {
    inbox: mpsc::Sender<Input>,
    view: watch::Receiver<Arc<View>>,
    clock: fn() -> i64,
    /// Tells this run of the daemon from all others.
    pub(crate) boot: String,
    /// Where the control socket is, for fixes.
    pub(crate) socket: String,
    /// What is wrong with the doors, as one line of `warnings`.
    pub(crate) trouble: Option<String>,
    /// The computers from which sources are copied here.
    pub(crate) computers: BTreeMap<String, String>,
    /// Where work of both doors is born.
    pub(crate) tasks: TaskTracker,
    /// When everything ends.
    pub(crate) stop: CancellationToken,
    /// What has changed.
    pub(crate) feed: Arc<Feed>,
    /// When each agent was heard.
    pub(crate) strips: Strips,
    /// Room for streams of events on loopback, and on the control socket: readers of one door keep nobody from the other.
    streams: [Arc<Semaphore>; 2],
    /// Room for long answers that are made beside. Whoever hangs up meanwhile leaves the making behind, and it counts until it is done.
    draws: Arc<Semaphore>,
    /// Somebody reported: the spool is worth a look.
    pub(crate) spooled: Notify,
    /// What was refused at the doors.
    pub(crate) rejected: Rejected,
    next: AtomicU64,
    waiting: Mutex<BTreeMap<Asker, oneshot::Sender<Reply>>>,
}

impl Desk {
    /// A desk with nobody waiting.
    pub(crate) fn new(
        inbox: mpsc::Sender<Input>,
        view: watch::Receiver<Arc<View>>,
        clock: fn() -> i64,
        socket: String,
        trouble: Option<String>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Desk {
        let boot = format!("{:x}.{:x}", clock(), std::process::id());
        let (feed, draws) = (Arc::new(Feed::new()), Arc::new(Semaphore::new(DRAWS_MAX)));
        let streams = [Arc::new(Semaphore::new(STREAMS_MAX)), Arc::new(Semaphore::new(STREAMS_MAX))];
        let (spooled, next, waiting, strips) = (Notify::new(), AtomicU64::new(1), Mutex::default(), Strips::default());
        let rejected = Rejected::default();
        let computers = BTreeMap::new();
        Desk {
            inbox,
            view,
            clock,
            boot,
            socket,
            trouble,
            computers,
            tasks,
            stop,
            feed,
            strips,
            streams,
            draws,
            spooled,
            rejected,
            next,
            waiting,
        }
    }

    /// Room for streams of that door.
    pub(crate) fn streams(&self, door: Door) -> &Arc<Semaphore> {
        match door {
            Door::Loopback => &self.streams[0],
            Door::Socket => &self.streams[1],
        }
    }

    /// Makes an answer beside, so that others are not kept waiting: at most [`DRAWS_MAX`] at a time.
    pub(crate) async fn draw<T: Send + 'static>(&self, make: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let Ok(place) = self.draws.clone().acquire_owned().await else { return Err(stopping()) };
        let made = self.tasks.spawn_blocking(move || {
            let _place = place;
            make()
        });
        made.await.map_err(|_| Problem::new(500, "internal", "the answer could not be made"))
    }

    /// What is shown now.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// A receiver of its own, for who follows the view.
    pub(crate) fn views(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Milliseconds since 1970 by this machine's clock.
    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Asks the core and waits for its answer; a refusal comes back as a problem.
    pub(crate) async fn ask(&self, ask: Ask, within: Duration) -> Result<Reply, Problem> {
        let (place, answer) = self.place();
        let mut sent = false;
        let asked = async {
            self.inbox.send(Input::Ask(place.asker, ask)).await.map_err(|_| stopping())?;
            sent = true;
            answer.await.map_err(|_| stopping())
        };
        match timeout(within, asked).await {
            Ok(Ok(Reply::Refused(why))) => Err(why.into()),
            Ok(answered) => answered,
            Err(_) if sent => Err(Problem::of(Code::TimedOut, "no answer in time; it may have been taken").fix("look before asking again")),
            Err(_) => Err(Problem::of(Code::TimedOut, "the daemon is too busy; it was not taken").fix("ask again")),
        }
    }

    /// Hands an answer to whoever waits for it.
    pub(crate) fn reply(&self, asker: Asker, reply: Reply) {
        let waiter = self.waiting().remove(&asker);
        if let Some(waiter) = waiter {
            drop(waiter.send(reply));
        }
    }

    /// Asks the core for something whose answer nobody waits for.
    pub(crate) fn leave_word(&self, ask: Ask) {
        let (inbox, asker) = (self.inbox.clone(), Asker(self.next.fetch_add(1, Ordering::Relaxed)));
        self.tasks.spawn(async move {
            // A core that is gone has forgotten it anyhow.
            let _ = inbox.send(Input::Ask(asker, ask)).await;
        });
    }

    fn place(&self) -> (Place<'_>, oneshot::Receiver<Reply>) {
        let asker = Asker(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(asker, sender);
        (Place { desk: self, asker }, answer)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Asker, oneshot::Sender<Reply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, given up when its holder goes away.
struct Place<'a> {
    desk: &'a Desk,
    asker: Asker,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.desk.waiting().remove(&self.asker);
    }
}

fn stopping() -> Problem {
    Problem::of(Code::DaemonDown, "the daemon is stopping").fix("hubless up")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::DeviceId;

    fn desk(room: usize) -> (Arc<Desk>, mpsc::Receiver<Input>) {
        let (inbox, asked) = mpsc::channel(room);
        let (_show, view) = watch::channel(Arc::new(View::of(DeviceId([1; 32]))));
        (Arc::new(Desk::new(inbox, view, || 7, String::new(), None, (TaskTracker::new(), CancellationToken::new()))), asked)
    }

    async fn asker(asked: &mut mpsc::Receiver<Input>) -> Asker {
        match asked.recv().await {
            Some(Input::Ask(asker, _)) => asker,
            other => panic!("not a question: {other:?}"),
        }
    }

    #[tokio::test]
    async fn only_so_many_answers_are_made_at_a_time_whoever_hangs_up() {
        let (desk, _asked) = desk(1);
        let (go, gate) = std::sync::mpsc::sync_channel::<()>(DRAWS_MAX + 1);
        let gate = Arc::new(Mutex::new(gate));
        let begun = Arc::new(AtomicU64::new(0));
        let draw = || {
            let (gate, begun) = (gate.clone(), begun.clone());
            desk.draw(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                gate.lock().unwrap_or_else(PoisonError::into_inner).recv().expect("let go");
            })
        };
        // Each is asked for and left at once, as by somebody who hangs up.
        for _ in 0..DRAWS_MAX + 3 {
            drop(timeout(Duration::from_millis(50), draw()).await);
        }
        assert_eq!(begun.load(Ordering::SeqCst), DRAWS_MAX as u64);
        (0..DRAWS_MAX).for_each(|_| go.send(()).expect("waited for"));
        go.send(()).expect("waited for");
        draw().await.expect("there is room again");
    }

    #[tokio::test]
    async fn an_answer_finds_who_asked_whatever_the_order() {
        let (desk, mut asked) = desk(4);
        let first = desk.ask(Ask::Rescan, ANSWER_WITHIN);
        let second = desk.ask(Ask::Leave, ANSWER_WITHIN);
        let core = async {
            let (a, b) = (asker(&mut asked).await, asker(&mut asked).await);
            assert_ne!(a, b);
            desk.reply(b, Reply::Left);
            desk.reply(a, Reply::Rescanning);
        };
        let (first, second, ()) = tokio::join!(first, second, core);
        assert_eq!((first, second), (Ok(Reply::Rescanning), Ok(Reply::Left)));
        assert!(desk.waiting().is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_is_forgotten_and_an_answer_to_nobody_is_no_fault() {
        let (desk, mut asked) = desk(4);
        let given_up = desk.ask(Ask::Rescan, Duration::from_millis(5)).await;
        let problem = given_up.expect_err("nobody answers");
        assert_eq!((problem.status, problem.code.as_ref()), (504, "timed-out"));
        assert!(problem.detail.contains("may have been taken"));
        assert!(desk.waiting().is_empty());
        let late = asker(&mut asked).await;
        desk.reply(late, Reply::Rescanning);
    }

    #[tokio::test]
    async fn a_question_that_was_not_taken_says_so() {
        let (desk, asked) = desk(1);
        let (first, second) =
            tokio::join!(desk.ask(Ask::Rescan, Duration::from_millis(5)), desk.ask(Ask::Rescan, Duration::from_millis(5)));
        assert!(first.expect_err("nobody answers").detail.contains("may have been taken"));
        assert!(second.expect_err("no room").detail.contains("was not taken"));
        drop(asked);
        let down = desk.ask(Ask::Rescan, ANSWER_WITHIN).await.expect_err("the core is gone");
        assert_eq!(down.status, 503);
    }
}
