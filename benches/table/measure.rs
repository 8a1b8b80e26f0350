//! Samples, their medians, and the table that they end in. The only place of the bench that reads the clock or prints.

use std::fmt::Write;
use std::time::Instant;

/// The moment it is.
#[expect(clippy::disallowed_methods, reason = "a benchmark is there to read the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since `start`.
pub(crate) fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1_000.0
}

/// What a deed gave, and how many milliseconds it took.
pub(crate) fn timed<T>(deed: impl FnOnce() -> T) -> (T, f64) {
    let start = now();
    let done = deed();
    (done, ms_since(start))
}

/// The milliseconds that each of `times` repetitions took.
pub(crate) fn each(times: usize, mut deed: impl FnMut(usize)) -> Samples {
    Samples((0..times).map(|n| timed(|| deed(n)).1).collect())
}

/// The milliseconds that each of `times` repetitions took, and those of them that this process was on a core: on a machine
/// that others use too, the second number is what the first would be without them.
pub(crate) fn each_on_cpu(times: usize, mut deed: impl FnMut(usize)) -> (Samples, Samples) {
    let mut on_cpu = Samples::default();
    let whole = each(times, |n| {
        let before = cpu_ms();
        deed(n);
        on_cpu.0.push(cpu_ms() - before);
    });
    (whole, on_cpu)
}

fn cpu_ms() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 * 1_000.0 + spent.tv_nsec as f64 / 1_000_000.0
}

/// What was measured, once for each repetition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    /// The sample below which this part of all lies (nearest rank).
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1).min(last)).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    pub(crate) fn p50(&self) -> f64 {
        self.quantile(0.50)
    }
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Ms,
    KiB,
    /// More is better.
    MbPerS,
}

impl Unit {
    fn show(self, value: f64) -> String {
        let digits = if value.abs() < 1.0 { 3 } else { usize::from(value.abs() < 100.0) };
        match self {
            Unit::Ms => format!("{value:.digits$} ms"),
            Unit::KiB => format!("{value:.digits$} KiB"),
            Unit::MbPerS => format!("{value:.digits$} MB/s"),
        }
    }
}

/// One line of the table.
pub(crate) struct Row {
    what: String,
    unit: Unit,
    samples: Samples,
    tail: bool,
    target: Option<(f64, Option<f64>)>,
    floor: Option<(String, f64)>,
}

impl Row {
    /// A line without a target or a floor.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, samples: Samples) -> Row {
        Row { what: what.into(), unit, samples, tail: false, target: None, floor: None }
    }

    /// Shows the 99th percentile too.
    pub(crate) fn with_tail(self) -> Row {
        Row { tail: true, ..self }
    }

    /// What DESIGN §11 wants of the median, and of the 99th percentile.
    pub(crate) fn target(self, p50: f64, p99: Option<f64>) -> Row {
        Row { target: Some((p50, p99)), tail: self.tail || p99.is_some(), ..self }
    }

    /// What the same would cost at least, or costs a peer, measured in this run.
    pub(crate) fn floor(self, name: impl Into<String>, p50: f64) -> Row {
        Row { floor: Some((name.into(), p50)), ..self }
    }

    fn cells(&self) -> [String; 8] {
        let (p50, p99) = (self.samples.p50(), self.samples.quantile(0.99));
        let show = |value: f64| self.unit.show(value);
        let none = || "-".to_owned();
        let target = match self.target {
            None => none(),
            Some((p50, None)) if self.unit == Unit::MbPerS => format!("≥ {}", show(p50)),
            Some((p50, None)) => format!("≤ {}", show(p50)),
            Some((p50, Some(p99))) => format!("≤ {}, ≤ {}", show(p50), show(p99)),
        };
        let within = |value: f64, target: f64| if self.unit == Unit::MbPerS { value >= target } else { value <= target };
        let held = self.target.map(|(p50_target, tail)| within(p50, p50_target) && tail.is_none_or(|target| within(p99, target)));
        let (floor, at, ratio) = match &self.floor {
            None => (none(), none(), none()),
            Some((name, floor)) => (name.clone(), show(*floor), ratio(p50 / floor)),
        };
        [
            format!("{} (n = {})", self.what, self.samples.0.len()),
            show(p50),
            if self.tail { show(p99) } else { none() },
            target,
            held.map_or_else(none, |held| if held { "held" } else { "MISSED" }.to_owned()),
            floor,
            at,
            ratio,
        ]
    }
}

fn ratio(ratio: f64) -> String {
    if ratio < 1.0 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
}

/// The table, as Markdown that lines up.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = ["what", "p50", "p99", "target", "", "floor or peer of this run", "its p50", "ratio"].map(str::to_owned);
    let lines: Vec<[String; 8]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut out = String::new();
    for (n, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(widths) {
            let pad = " ".repeat(width - cell.chars().count());
            let _ = write!(out, "| {cell}{pad} ");
        }
        out.push_str("|\n");
        if n == 0 {
            for width in widths {
                let _ = write!(out, "|{}", "-".repeat(width + 2));
            }
            out.push_str("|\n");
        }
    }
    out
}

/// Says something beside the table while it is being made.
#[expect(clippy::print_stderr, reason = "progress of a program that runs for minutes")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Says what the run is for.
#[expect(clippy::print_stdout, reason = "the table is what the bench makes")]
pub(crate) fn show(text: &str) {
    println!("{text}");
}
