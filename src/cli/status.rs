//! `status`: the five-second answer. Does anyone wait for me, is anything stale, is what I see current, are the devices in
//! step, did sync have to choose?

use clap::Args;
use serde_json::{Value, json};

use super::context::{Context, block_on, percent};
use super::fields;
use super::output::{self, Form, Out, Tint, counted};
use super::problem::{CHECK_SAYS_NO, Trouble};
use super::{agents, ages, columns, devices, oneline, status_watch};

/// `hubless status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {
    /// Only this device, by its name or the beginning of its id
    #[arg(value_name = "DEVICE")]
    of: Option<String>,
    /// Exit with 7 when anything is stale or in conflict
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    /// A few signs for a prompt: 1◐ 1✕ 1● 1○ 1? ⇅6s
    #[arg(long, conflicts_with = "watch")]
    oneline: bool,
    /// Draw it anew whenever something happens, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
}

const EXAMPLES: &str = "\
Examples:
  hubless status                     who waits, what is stale, are the devices in step
  hubless status mac-mini | grep stale
  hubless status --check || notify   exit code 7: something is stale or in conflict
  hubless status --oneline           for a prompt; `down` when no daemon runs";

impl Status {
    /// Whether it is for a prompt, where remarks have no place.
    pub(crate) fn is_oneline(&self) -> bool {
        self.oneline
    }

    pub(crate) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let typed = self.of.or_else(|| context.globals.device.clone());
        if self.oneline {
            return oneline::run(context, typed, self.check);
        }
        if self.watch && context.out.is_data() {
            return Err(Trouble::usage("--watch draws for people, not for programs").fix("hubless watch --jsonl").into());
        }
        let device = typed.map(|typed| context.ask_quietly(&format!("/api/v3/devices/{}", percent(&typed)))).transpose()?;
        let device = device.map(|envelope| envelope["data"]["device"].clone());
        if self.watch {
            return block_on(status_watch::run(context, device.as_ref()))?;
        }
        let envelope = block_on(read(context, device.as_ref()))??;
        context.remark_on(&envelope);
        context.out.show(&envelope, |out| drawn(out, &envelope, context.now_ms))?;
        let data = &envelope["data"];
        let fine = fields::count(data, "stale") + fields::count(data, "conflicts") == 0;
        Ok(if self.check && !fine { CHECK_SAYS_NO } else { 0 })
    }
}

/// What there is to draw: of all devices, or of one.
pub(crate) async fn read(context: &Context, device: Option<&Value>) -> anyhow::Result<Value> {
    let mut envelope = context.asked("/api/v3/overview").await?;
    if let Some(device) = device {
        only(&mut envelope, device);
    }
    Ok(envelope)
}

/// Leaves of an overview what is of one device, and how many there are.
fn only(envelope: &mut Value, device: &Value) {
    let data = &mut envelope["data"];
    data["devicesTotal"] = json!(fields::list(data, "devices").len());
    for key in ["devices", "agents", "active_sessions"] {
        if let Some(rows) = data[key].as_array_mut() {
            rows.retain(|row| row["device"] == *device);
        }
    }
    let is = |state: &str| fields::list(data, "agents").iter().filter(|row| row["state"] == state).count();
    let (stale, needs_you, total) = (is("stale") + is("stuck?"), is("needs input"), fields::list(data, "agents").len());
    data["stale"] = json!(stale);
    data["needsYou"] = json!(needs_you);
    envelope["total"] = json!(total);
}

/// The picture of an overview.
pub(crate) fn drawn(out: Out, envelope: &Value, now_ms: i64) -> String {
    if out.form == Form::Table { screen(out, envelope, now_ms) } else { lines(&envelope["data"], now_ms) }
}

fn screen(out: Out, envelope: &Value, now_ms: i64) -> String {
    let data = &envelope["data"];
    let mut text = verdict(out, envelope, now_ms) + "\n";
    text.push_str(&agents::table(out, fields::list(data, "agents"), now_ms));
    for problem in problems(data, now_ms) {
        text.push_str(&format!("{}\n", out.tint(Tint::Warn, &format!("! {problem}"))));
    }
    let next = next(data);
    if !next.is_empty() {
        let next: Vec<String> = next.iter().map(|next| format!("→ {next}")).collect();
        text.push_str(&(columns::folded(&next, "      ", usize::from(output::terminal_width())) + "\n"));
    }
    text
}

/// Whether there is no other device: not, whether no other is shown.
fn is_alone(data: &Value) -> bool {
    fields::number(data, "devicesTotal").unwrap_or(i64::try_from(fields::list(data, "devices").len()).unwrap_or(i64::MAX)) < 2
}

fn verdict(out: Out, envelope: &Value, now_ms: i64) -> String {
    let data = &envelope["data"];
    let all = fields::list(data, "devices");
    let reachable = all.iter().filter(|device| fields::yes(device, "reachable")).count();
    let mut parts = vec![fields::or_dash(envelope, "device")];
    parts.push(format!("{}, {reachable} reachable", counted(all.len() as u64, "device")));
    parts.extend(if is_alone(data) { Some("alone".to_owned()) } else { step(all, now_ms) });
    let needs = fields::count(data, "needsYou");
    if needs > 0 {
        parts.push(out.tint(Tint::Warn, &format!("{needs} {} for you", if needs == 1 { "waits" } else { "wait" })));
    }
    let stale = fields::count(data, "stale");
    if stale > 0 {
        parts.push(out.tint(Tint::Bad, &format!("{stale} stale")));
    }
    if fields::text(data, "verdict").as_deref() == Some("ok") {
        // Of documents alone nobody can say so.
        let is_live = fields::text(envelope, "source").as_deref() != Some("disk");
        parts.push(if is_live { "all is well" } else { "the last word of each" }.to_owned());
    }
    columns::folded(&parts, " · ", usize::from(output::terminal_width()))
}

/// Whether the other devices hold what we hold, as far as they can be reached.
fn step(all: &[Value], now_ms: i64) -> Option<String> {
    let others: Vec<&Value> = all.iter().filter(|d| !fields::yes(d, "thisDevice") && fields::yes(d, "reachable")).collect();
    let oldest = others.iter().filter_map(|device| fields::time(device, "lastContact")).min()?;
    let level = others.iter().all(|device| fields::yes(&device["link"], "level"));
    Some(if level { format!("in step {} ago", ages::since(now_ms, oldest)) } else { "getting in step".to_owned() })
}

/// Each thing that is not as it should be, in words.
fn problems(data: &Value, now_ms: i64) -> Vec<String> {
    let mut out = Vec::new();
    for device in fields::list(data, "devices").iter().filter(|device| !fields::yes(device, "thisDevice")) {
        let name = fields::or_dash(device, "name");
        if let Some(misses) = fields::number(device, "theyMiss").filter(|misses| *misses > 0) {
            out.push(format!("{name} misses {}", counted(misses.unsigned_abs(), "change")));
        }
        if let Some(why) = devices::rests(device, now_ms) {
            out.push(format!("{name}: {why}"));
        }
        if let Some(skew) = devices::skew(device) {
            out.push(format!("clock of {name} is {skew}; ages are by this device's clock"));
        }
    }
    let conflicts = fields::count(data, "conflicts");
    if conflicts > 0 {
        out.push(counted(conflicts, "todo conflict"));
    }
    for stranger in fields::list(data, "strangers") {
        let address = fields::or_dash(stranger, "address");
        out.push(format!("another hubless is in reach at {address} and not paired: hubless pair here, hubless pair CODE there"));
    }
    for problem in fields::list(data, "problems") {
        let fix = fields::text(problem, "fix").map(|fix| format!("; fix: {fix}")).unwrap_or_default();
        out.push(format!("{}{fix}", fields::or_dash(problem, "what")));
    }
    out
}

/// The commands that a person would type next.
fn next(data: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let wanting = |row: &&Value| matches!(fields::text(row, "state").as_deref(), Some("needs input" | "stale" | "stuck?"));
    if let Some(row) = fields::list(data, "agents").iter().find(wanting) {
        let name = fields::or_dash(row, "agent");
        out.push(format!("hubless agents show {}{}", if name.starts_with('-') { "-- " } else { "" }, quoted(&name)));
    }
    if fields::count(data, "conflicts") > 0 {
        out.push("hubless todos conflicts".to_owned());
    }
    if is_alone(data) && fields::list(data, "strangers").is_empty() {
        out.push("hubless pair".to_owned());
    }
    out
}

/// As a shell takes it for one word.
pub(crate) fn quoted(name: &str) -> String {
    let simple = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-._@".contains(c));
    if simple { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

/// The lines of check-sync: totals, then each device with its agents, then what is wrong.
fn lines(data: &Value, now_ms: i64) -> String {
    let rows = fields::list(data, "agents");
    let active = |row: &&Value| agents::is_active(row);
    let stale = rows.iter().filter(|row| row["state"] == "stale").count();
    let mut text = format!("Total Agents: {}\nActive: {}\nStale: {stale}\n", rows.len(), rows.iter().filter(active).count());
    let mut names: Vec<&Value> = fields::list(data, "devices").iter().map(|device| &device["device"]).collect();
    for row in rows {
        if !names.contains(&&row["device"]) {
            names.push(&row["device"]);
        }
    }
    for id in names {
        let device = fields::list(data, "devices").iter().find(|device| device["device"] == *id);
        let here: Vec<&Value> = rows.iter().filter(|row| row["device"] == *id).collect();
        let name = device.and_then(|device| fields::text(device, "name")).or_else(|| here.first().map(|row| fields::device(row)));
        let reach = match device {
            Some(device) if fields::yes(device, "reachable") => String::new(),
            Some(device) => format!(", not reachable (last contact {})", ages::ago(now_ms, fields::time(device, "lastContact"))),
            None => ", not a member".to_owned(),
        };
        let active = here.iter().filter(|row| agents::is_active(row)).count();
        text.push_str(&format!("{}: {active}/{} active{reach}\n", name.unwrap_or_else(|| "?".to_owned()), here.len()));
        for row in here {
            text.push_str(&format!("{}\n", agents::line(row, now_ms)));
        }
    }
    for problem in problems(data, now_ms) {
        text.push_str(&format!("! {problem}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_772_460_131_000;

    fn overview() -> Value {
        let at = |ago_s: i64| ages::exact(NOW - ago_s * 1000);
        json!({"device": "mbp-lena", "asOf": at(0), "total": 3, "data": {
            "verdict": "attention", "needsYou": 1, "stale": 1, "conflicts": 1,
            "devices": [
                {"device": "a", "name": "mbp-lena", "thisDevice": true, "reachable": true},
                {"device": "b", "name": "mac-mini", "reachable": true, "lastContact": at(6), "theyMiss": 0, "link": {"level": true}},
                {"device": "c", "name": "thinkpad", "reachable": false, "lastContact": at(7800), "theyMiss": 14, "weMiss": null},
            ],
            "agents": [
                {"agent": "leo", "device": "b", "deviceName": "mac-mini", "state": "needs input", "reported": "waiting", "symbol": "◐",
                 "task": "AGT-324", "note": "run migration?", "since": at(180), "beatReceived": at(3), "intervalS": 60},
                {"agent": "evox", "device": "b", "deviceName": "mac-mini", "state": "stale", "reported": "working", "symbol": "✕",
                 "task": "monitoring", "since": at(3720), "beatReceived": at(660), "intervalS": 60},
                {"agent": "kai", "device": "c", "deviceName": "thinkpad", "state": "unknown", "reported": "working", "symbol": "?",
                 "task": "AGT-331", "since": at(9000), "lastBeat": at(7800), "intervalS": 60},
            ],
            "active_sessions": [{"session_id": "s-1", "device": "b"}],
            "strangers": [], "problems": [],
        }})
    }

    #[test]
    fn a_pipe_gets_the_lines_of_check_sync() {
        let expected = "Total Agents: 3\nActive: 1\nStale: 1\n\
                        mbp-lena: 0/0 active\n\
                        mac-mini: 1/2 active\n\
                        leo: active (needs input) - AGT-324 (3s ago)\n\
                        evox: active (stale) - monitoring (11m ago)\n\
                        thinkpad: 0/1 active, not reachable (last contact 2h 10m ago)\n\
                        kai: active (unknown) - AGT-331 (2h 10m ago)\n\
                        ! thinkpad misses 14 changes\n\
                        ! 1 todo conflict\n";
        let out = Out { form: Form::Plain, colour: false, quiet: false };
        assert_eq!(drawn(out, &overview(), NOW), expected);
    }

    #[test]
    fn a_person_sees_the_verdict_the_table_the_problems_and_the_next_commands() {
        let out = Out { form: Form::Table, colour: false, quiet: false };
        let text = drawn(out, &overview(), NOW);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "mbp-lena · 3 devices, 2 reachable · in step 6s ago · 1 waits for you · 1 stale");
        assert!(lines[2].contains("AGT-324: run migration?") && lines[4].contains("was working: AGT-331"), "{text}");
        assert!(text.contains("! thinkpad misses 14 changes\n! 1 todo conflict\n"), "{text}");
        assert!(text.ends_with("→ hubless agents show leo      → hubless todos conflicts\n"), "{text}");
        let well = json!({"device": "mbp-lena", "source": "daemon", "data": {"verdict": "ok", "devices": [{}]}});
        assert!(verdict(out, &well, NOW).ends_with("all is well"));
        let kept = json!({"device": "mbp-lena", "source": "disk", "data": {"verdict": "ok", "devices": [{}]}});
        assert!(verdict(out, &kept, NOW).ends_with("alone · the last word of each"), "nobody can say so of documents alone");
    }

    #[test]
    fn one_device_leaves_only_what_is_its_own() {
        let mut one = overview();
        only(&mut one, &json!("c"));
        let data = &one["data"];
        assert_eq!((fields::list(data, "agents").len(), fields::list(data, "devices").len()), (1, 1));
        assert_eq!((fields::count(data, "stale"), fields::count(data, "needsYou"), &one["total"]), (0, 0, &json!(1)));
    }

    #[test]
    fn a_stranger_in_reach_comes_with_the_command() {
        let data = json!({"devices": [{"device": "a", "thisDevice": true}], "strangers": [{"address": "192.168.1.9:4826"}]});
        assert!(problems(&data, 0)[0].contains("192.168.1.9:4826 and not paired: hubless pair"));
        assert_eq!(next(&json!({"devices": [{}]})), ["hubless pair"]);
        let odd = json!({"devicesTotal": 2, "agents": [{"agent": "-x y", "state": "stale"}]});
        assert_eq!(next(&odd), ["hubless agents show -- '-x y'"]);
        assert_eq!((quoted("sam"), quoted("it's me")), ("sam".into(), "'it'\\''s me'".into()));
    }
}
