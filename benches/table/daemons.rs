//! Rows 1, 2 and 7: two real daemons on this machine, paired by ticket, each a process in a home of its own. Both ends are
//! watched from here, so one clock measures them.

use std::path::Path;

use hubless::api::client::Events;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::floors;
use crate::home::{Home, WITHIN};
use crate::measure::{Row, Samples, Unit, each, now};
use crate::reconnect::load_all;
use crate::todoset::{SET, TodoSet, item, replace};

/// Writes and changes that are measured.
const TIMES: usize = 300;
/// Whole processes that are measured.
const PROCESSES: usize = 40;

/// What B's stream shows of todos: their texts, and when each came.
struct Ear {
    heard: mpsc::Receiver<(String, std::time::Instant)>,
    _reader: JoinSet<()>,
}

impl Ear {
    async fn open(home: &Home) -> Ear {
        let events = home.client.events(None).await.expect("a stream");
        let (sender, heard) = mpsc::channel(4_096);
        let mut reader = JoinSet::new();
        reader.spawn(listen(events, sender));
        Ear { heard, _reader: reader }
    }

    /// Waits for the todo with that text.
    async fn hear(&mut self, text: &str) -> std::time::Instant {
        let wanted = async {
            loop {
                let (heard, at) = self.heard.recv().await.expect("the stream goes on");
                if heard == text {
                    return at;
                }
            }
        };
        tokio::time::timeout(WITHIN, wanted).await.unwrap_or_else(|_| panic!("no event of “{text}”"))
    }
}

async fn listen(mut events: Events, sender: mpsc::Sender<(String, std::time::Instant)>) {
    while let Some(event) = events.next().await {
        let at = now();
        if event.kind == "todo"
            && let Some(text) = event.data["content"].as_str()
            && sender.send((text.to_owned(), at)).await.is_err()
        {
            return;
        }
    }
}

/// Milliseconds from one moment to another, negative when it came before.
fn between(from: std::time::Instant, to: std::time::Instant) -> f64 {
    let ahead = to.saturating_duration_since(from).as_secs_f64();
    (ahead - from.saturating_duration_since(to).as_secs_f64()) * 1_000.0
}

/// The floors of what goes from A to B, measured in turn with it.
struct Floors {
    disk: floors::Disk,
    watch: floors::Watch,
    way: floors::Way,
    synced: Samples,
    told: Samples,
    trips: Samples,
}

impl Floors {
    async fn open(base: &Path) -> Floors {
        let (disk, watch, way) = (floors::Disk::open(base), floors::Watch::open(base), floors::Way::open().await);
        Floors { disk, watch, way, synced: Samples::default(), told: Samples::default(), trips: Samples::default() }
    }

    async fn measure(&mut self) {
        self.synced.0.push(self.disk.sync());
        self.told.0.push(self.watch.replace());
        self.trips.0.push(self.way.trip().await);
    }
}

/// Two daemons of one fleet: A with the set of todo files, B with none.
struct Pair {
    a: Home,
    b: Home,
    set: TodoSet,
    first_start: f64,
}

impl Pair {
    async fn make(base: &Path) -> Pair {
        let set = TodoSet::write(&base.join("daemons"), SET);
        let (mut a, mut b) = (Home::make(base, "a", &set.root), Home::make(base, "b", &base.join("nothing")));
        let first_start = a.up(SET.groups as u64).await;
        b.up(0).await;
        let invited = a.client.post("/api/v3/pair", &json!({})).await.expect("a ticket");
        let ticket = json!({"ticket": invited["data"]["ticket"]});
        b.client.post_within("/api/v3/pair", &ticket, WITHIN).await.expect("to be let in");
        b.until("/api/v3/todos?all=true&limit=1", |told| told["total"].as_u64() == Some(SET.groups as u64)).await;
        Pair { a, b, set, first_start }
    }

    /// A todo is written on A: from the write's answer, and from its question, to B's event.
    async fn writes(&self, floors: &mut Floors) -> [Samples; 3] {
        let mut ear = Ear::open(&self.b).await;
        let mut out: [Samples; 3] = Default::default();
        for n in 0..TIMES {
            let text = format!("A person's todo {n}");
            let asked = now();
            self.a.client.post("/api/v3/todos", &json!({"content": text})).await.expect("to be taken");
            let answered = now();
            let heard = ear.hear(&text).await;
            for (samples, ms) in out.iter_mut().zip([between(answered, heard), between(asked, heard), between(asked, answered)]) {
                samples.0.push(ms);
            }
            floors.measure().await;
        }
        out
    }

    /// A todo file is replaced on A, each time another one, to B's event.
    async fn replacements(&self, floors: &mut Floors) -> Samples {
        let mut ear = Ear::open(&self.b).await;
        let mut out = Samples::default();
        for n in 0..TIMES {
            let texts = [format!("An agent's step {n}"), format!("What comes after {n}")];
            replace(&self.set.path(n % SET.files), &[item(&texts[0], "in_progress"), item(&texts[1], "pending")]);
            let start = now();
            let heard = ear.hear(&texts[0]).await;
            out.0.push(between(start, heard));
            floors.measure().await;
        }
        out
    }

    /// The command line as whole processes, in turn with the smallest one there is.
    fn queries(&self) -> [Samples; 5] {
        let mut out: [Samples; 5] = Default::default();
        for _ in 0..PROCESSES {
            let took = [
                self.a.run(&["status"]),
                self.a.run(&["todos", "list", "--json"]),
                floors::smallest_process(),
                self.a.run(&["status", "--oneline"]),
                floors::process_that_connects(&self.a.socket()),
            ];
            out.iter_mut().zip(took).for_each(|(samples, ms)| samples.0.push(ms));
        }
        out
    }

    /// How many todos A shows.
    async fn count(&self) -> u64 {
        let told: Value = self.a.client.get("/api/v3/todos?all=true&limit=1").await.expect("an answer");
        told["total"].as_u64().expect("a count")
    }

    /// From `up` to an answer, after a stop and after a kill.
    async fn starts(&mut self, killed: bool) -> Samples {
        let todos = self.count().await;
        let mut out = Samples::default();
        for _ in 0..5 {
            if killed {
                self.a.kill()
            } else {
                self.a.down()
            }
            out.0.push(self.a.up(todos).await);
        }
        out
    }
}

/// The rows of daemons.
pub(crate) async fn rows(base: &Path) -> Vec<Row> {
    let mut pair = Pair::make(base).await;
    // Rows of starts come before the rows that make more todos.
    let (starts, crashes) = (pair.starts(false).await, pair.starts(true).await);
    pair.a.until("/api/v3/devices", |told| told.to_string().contains("\"level\":true")).await;
    let load = each(5, |_| assert!(load_all(&pair.a.data()) > 0, "every document is read")).p50() + floors::smallest_process();
    let [status, list, smallest, oneline, connects] = pair.queries();
    let mut rows = on_the_way(&pair, base).await;
    let queried = |what: &str, samples: Samples| {
        let row = Row::new(format!("`hubless {what}`, whole process, 524 todos"), Unit::Ms, samples);
        row.with_tail().target(20.0, None).floor("`/bin/true`, whole process", smallest.p50())
    };
    let started =
        |what: &str, samples: Samples| Row::new(what, Unit::Ms, samples).target(1_000.0, None).floor("a process, automerge's load", load);
    rows.extend([
        queried("status", status),
        queried("todos list --json", list),
        Row::new("`hubless status --oneline`, whole process, 524 todos", Unit::Ms, oneline)
            .with_tail()
            .target(10.0, None)
            .floor("a process that connects to the socket", connects.p50()),
        started("`up` → answer, 524 todos in store", starts),
        started("the same after `kill -9`", crashes),
        Row::new("first `up` with 264 todo files → 524 todos answered", Unit::Ms, Samples(vec![pair.first_start])),
    ]);
    rows
}

/// What goes from A to B, and its floors.
async fn on_the_way(pair: &Pair, base: &Path) -> Vec<Row> {
    let (mut of_writes, mut of_files) = (Floors::open(&base.join("a")).await, Floors::open(&base.join("b")).await);
    let [acked, whole, own] = pair.writes(&mut of_writes).await;
    let replaced = pair.replacements(&mut of_files).await;
    let way = |floors: &Floors| floors.trips.p50() / 2.0 + floors.synced.p50();
    let (sync, of_file) = (of_writes.synced.p50(), of_files.told.p50() + way(&of_files) + of_files.synced.p50());
    let once = "half a libp2p round trip + fdatasync";
    let twice = "half a libp2p round trip + 2 fdatasync";
    vec![
        Row::new("write on A acknowledged → event on B", Unit::Ms, acked).target(5.0, Some(20.0)).floor(once, way(&of_writes)),
        Row::new("write on A sent → event on B", Unit::Ms, whole).with_tail().floor(twice, way(&of_writes) + sync),
        Row::new("write on A sent → acknowledged", Unit::Ms, own).with_tail().floor("fdatasync", sync),
        Row::new("todo file replaced on A → event on B", Unit::Ms, replaced)
            .target(60.0, Some(250.0))
            .floor(format!("inotify + {twice}"), of_file),
        Row::new("(floor) fdatasync of 300 B", Unit::Ms, of_writes.synced).with_tail(),
        Row::new("(floor) libp2p round trip, 300 B: TCP, Noise, Yamux", Unit::Ms, of_writes.trips).with_tail(),
        Row::new("(floor) inotify of a rename", Unit::Ms, of_files.told).with_tail(),
    ]
}
