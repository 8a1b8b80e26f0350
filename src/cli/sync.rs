//! `sync`: how far apart this device and the others are, and what is exchanged with whom.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ages;
use super::columns;
use super::context::{Context, target};
use super::devices::{contact, dialled, missing, rests, skipped, watched};
use super::fields;
use super::output::{Form, Out, Tint, bytes, counted, terminal_width};
use super::problem::CHECK_SAYS_NO;

/// `hubless sync`.
#[derive(Debug, Args)]
pub(crate) struct Sync {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How far apart this device and the others are
    Status,
    /// What is held of each collection, and how far each device is apart
    List,
    /// Levels now, once, whatever is paused or scheduled
    Run {
        /// Only says what would be exchanged
        #[arg(long)]
        dry_run: bool,
    },
    /// Compares every document with each device in reach, and reads every file back from disk
    Verify {
        /// Sets damaged files aside and writes them anew
        #[arg(long)]
        repair: bool,
    },
    /// Exchanges no documents until `resume`, over restarts: with one device, or with all
    Pause(Which),
    /// Exchanges documents again
    Resume(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// The device's name, or the beginning of its id; all when it is left out
    #[arg(value_name = "DEVICE")]
    of: Option<String>,
}

impl Sync {
    /// Whether its answer is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.verb, None | Some(Verb::Status | Verb::List))
    }

    pub(crate) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let device = context.globals.device.clone();
        match self.verb {
            Some(Verb::Pause(which)) => rest(context, which.of.or(device), "pause").map(|()| 0),
            Some(Verb::Resume(which)) => rest(context, which.of.or(device), "resume").map(|()| 0),
            Some(Verb::List) => {
                let envelope = context.ask(&target("/api/v3/sync/list", &[("device", device), ("limit", context.limit())]))?;
                context.out.show(&envelope, |out| holdings(out, fields::rows(&envelope)))?;
                Ok(0)
            }
            Some(Verb::Run { dry_run }) => run(context, device.as_deref(), dry_run),
            Some(Verb::Verify { repair }) => verify(context, device.as_deref(), repair),
            Some(Verb::Status) | None => {
                let envelope = context.ask(&target("/api/v3/sync", &[("device", device), ("limit", context.limit())]))?;
                let sources = context.ask_quietly("/api/v3/sources")?;
                context.out.show(&envelope, |out| table(out, fields::rows(&envelope), fields::rows(&sources), context.now_ms))?;
                Ok(0)
            }
        }
    }
}

fn rest(context: &Context, device: Option<String>, deed: &str) -> anyhow::Result<()> {
    let data = context.tell(&format!("/api/v3/sync/{deed}"), &json!({"device": device}))?;
    let names = fields::texts(&data, "devices").join(", ");
    let whom = match (fields::yes(&data, "all"), names.is_empty()) {
        (true, true) => "any device".to_owned(),
        (true, false) => format!("all devices ({names})"),
        (false, _) => names,
    };
    let line = match fields::yes(&data, "paused") {
        true => format!("✓ no documents are exchanged with {whom} until  hubless sync resume; nothing is lost"),
        false => format!("✓ documents are exchanged with {whom} again"),
    };
    context.out.done(data, &line)
}

fn holdings(out: Out, rows: &[Value]) -> String {
    let or_unknown = |row: &Value, key: &str| match fields::yes(row, "thisDevice") {
        true => "-".to_owned(),
        false => fields::number(row, key).map_or_else(|| "unknown".to_owned(), |n| n.to_string()),
    };
    let drawn = rows.iter().map(|row| {
        let cells = vec![
            fields::device(row),
            fields::or_dash(row, "collection"),
            fields::count(row, "documents").to_string(),
            fields::count(row, "changes").to_string(),
            bytes(fields::count(row, "bytes")),
            or_unknown(row, "ahead"),
            or_unknown(row, "behind"),
        ];
        (Tint::Plain, cells)
    });
    out.rows(&["device", "collection", "documents", "changes", "bytes", "ahead", "behind"], drawn.collect())
}

/// Asks the daemon for a check, and gives what it found.
fn check(context: &Context, deed: &str, body: &Value) -> anyhow::Result<Value> {
    context.tell_far(&format!("/api/v3/sync/{deed}"), body)
}

fn run(context: &Context, device: Option<&str>, dry_run: bool) -> anyhow::Result<u8> {
    let data = check(context, "run", &json!({"device": device, "dryRun": dry_run}))?;
    let rows = fields::list(&data, "devices");
    let code = ended(rows);
    let lines: Vec<String> = rows.iter().map(|row| ran(row, dry_run)).collect();
    let text = if lines.is_empty() { "this device is alone: hubless pair".to_owned() } else { lines.join("\n") };
    context.out.done(data.clone(), &text)?;
    Ok(code)
}

/// 8 when somebody was not levelled with in time, 1 when nobody could be reached, else 0.
fn ended(rows: &[Value]) -> u8 {
    let is = |row: &Value, state: &str| fields::text(row, "state").as_deref() == Some(state);
    match () {
        () if rows.iter().any(|row| is(row, "timed-out")) => 8,
        () if !rows.is_empty() && rows.iter().all(|row| is(row, "out-of-reach")) => 1,
        () => 0,
    }
}

fn ran(row: &Value, dry_run: bool) -> String {
    let name = fields::device(row);
    let lacks = |key: &str| {
        fields::number(row, key).map_or_else(|| "an unknown number of changes".to_owned(), |n| counted(n.unsigned_abs(), "change"))
    };
    let why = fields::text(row, "why").map(|why| format!(": {why}")).unwrap_or_default();
    match fields::text(row, "state").as_deref() {
        Some("out-of-reach") => format!("? {name} is out of reach{why}"),
        Some("timed-out") => format!("! {name} was not levelled with in time{why}"),
        Some("resting") => format!("! {name} exchanges nothing{why}"),
        Some("level") if dry_run => format!("✓ {name} has the same; nothing would be exchanged"),
        _ if dry_run => format!("{name} would get {} and give {}", lacks("theyMiss"), lacks("weMiss")),
        _ => {
            let (said, heard) = (bytes(fields::count(row, "bytesOut")), bytes(fields::count(row, "bytesIn")));
            format!("✓ {name} is level: it got {}, it gave {} ({said} out, {heard} in)", lacks("theyMiss"), lacks("weMiss"))
        }
    }
}

fn verify(context: &Context, device: Option<&str>, repair: bool) -> anyhow::Result<u8> {
    let data = check(context, "verify", &json!({"device": device, "repair": repair}))?;
    let damaged = fields::list(&data["files"], "damaged");
    let rows = fields::list(&data, "devices");
    let differs = rows.iter().any(|row| fields::text(row, "state").as_deref() == Some("differs"));
    let broken = damaged.iter().any(|file| !fields::yes(file, "repaired"));
    let text = verified(&data, repair);
    context.out.done(data.clone(), &text)?;
    Ok(if differs || broken { CHECK_SAYS_NO } else { 0 })
}

fn verified(data: &Value, repair: bool) -> String {
    let (damaged, rows) = (fields::list(&data["files"], "damaged"), fields::list(data, "devices"));
    let mut lines = Vec::new();
    let read = counted(fields::count(&data["files"], "checked"), "file");
    match damaged.iter().filter(|file| !fields::yes(file, "foundAtStart")).count() as u64 {
        0 => lines.push(format!("✓ this disk: {read} read back, all whole")),
        n => lines.push(format!("✗ this disk: {read} read back, {n} damaged")),
    }
    for file in damaged {
        let when = if fields::yes(file, "foundAtStart") { "found when the daemon started; " } else { "" };
        let (document, why) = (fields::or_dash(file, "document"), fields::or_dash(file, "why"));
        lines.push(format!("  {document} ({when}{why}): {}", mended(file, repair)));
    }
    lines.extend(rows.iter().map(compared));
    if rows.is_empty() {
        lines.push("there is no other device to compare with".to_owned());
    } else if !damaged.is_empty() && !rows.iter().any(|row| fields::yes(row, "checked")) {
        lines.push("no other device is in reach to compare with: what was damaged was written as this daemon knows it".to_owned());
    }
    lines.join("\n")
}

/// Where what was damaged came from again, or what brings it.
fn mended(file: &Value, repair: bool) -> String {
    let gave = |row: &Value| format!("{} from {}", counted(fields::count(row, "changes"), "change"), fields::device(row));
    let whose: Vec<String> = fields::list(file, "devices").iter().map(gave).collect();
    match fields::text(file, "repairedFrom").as_deref() {
        Some("memory") => "set aside, and written anew from what the daemon holds in memory".to_owned(),
        Some("devices") => format!("set aside, and repaired: {}", whose.join(", ")),
        Some("nobody") => "set aside; no other device in reach held more of it".to_owned(),
        Some("sources") => "set aside; agents' files were read again, and it never leaves this device".to_owned(),
        Some(_) => "repaired".to_owned(),
        None if fields::yes(file, "foundAtStart") => "what it lacks comes from another device, and none was asked for it yet".to_owned(),
        None if repair => "the daemon cannot write it anew; start it again, and it comes from the other devices".to_owned(),
        None => "fix: hubless sync verify --repair".to_owned(),
    }
}

fn compared(row: &Value) -> String {
    let name = fields::device(row);
    let why = fields::text(row, "why").map(|why| format!(" ({why})")).unwrap_or_default();
    let documents = counted(fields::count(row, "documents"), "document");
    let (heads, content) = (fields::texts(row, "otherHeads"), fields::texts(row, "otherContent"));
    match fields::text(row, "state").as_deref() {
        _ if !fields::yes(row, "checked") => format!("? {name} was not verified{why}"),
        Some("level") => format!("✓ {name}: same heads, same content ({documents})"),
        _ if heads.is_empty() => format!("✗ {name}: same heads and other content: {}", content.join(", ")),
        _ => format!("✗ {name}: {} of {documents} differ{why}: {}", heads.len() + content.len(), [heads, content].concat().join(", ")),
    }
}

fn table(out: Out, rows: &[Value], sources: &[Value], now_ms: i64) -> String {
    let drawn = rows.iter().map(|row| {
        let link = &row["link"];
        let kind = fields::text(link, "kind").map(|kind| format!("{kind} ")).unwrap_or_default();
        let way = match (fields::text(link, "address"), fields::number(link, "rttMs")) {
            (Some(address), Some(rtt)) => format!("{kind}{address} {rtt} ms"),
            (Some(address), None) => format!("{kind}{address}"),
            (None, _) => "none".to_owned(),
        };
        let cells = vec![
            fields::or_dash(row, "name"),
            way,
            contact(row, now_ms),
            missing(row, "theyMiss"),
            missing(row, "weMiss"),
            format!("{} / {}", bytes(fields::count(row, "bytesIn")), bytes(fields::count(row, "bytesOut"))),
            rests(row, now_ms).unwrap_or_else(|| "all".to_owned()),
            last_error(row, now_ms),
        ];
        (Tint::Plain, cells)
    });
    let names = ["device", "link", "last contact", "they miss", "we miss", "in / out", "exchanged", "last error"];
    let mut text = out.rows(&names, drawn.collect());
    if out.form == Form::Table {
        if rows.is_empty() {
            text = "this device is alone: hubless pair\n".to_owned();
        }
        for row in rows {
            text.extend(skipped(row).map(|what| format!("{what}\n")));
            text.extend(dialled(row, now_ms).map(|what| format!("{what}\n")));
        }
        let all: Vec<String> = sources.iter().map(|source| watched(source, now_ms)).collect();
        let all = if all.is_empty() { vec!["none yet".to_owned()] } else { all };
        let parts: Vec<String> =
            all.into_iter().enumerate().map(|(n, one)| if n == 0 { format!("watchers: {one}") } else { one }).collect();
        text.push_str(&(columns::folded(&parts, "   ", usize::from(terminal_width())) + "\n"));
    }
    text
}

/// The last failure to reach a device, and how long ago that was.
fn last_error(row: &Value, now_ms: i64) -> String {
    let error = &row["lastError"];
    fields::text(error, "why").map_or_else(|| "-".to_owned(), |why| format!("{why} ({})", ages::ago(now_ms, fields::time(error, "at"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_772_460_131_000;

    fn out(form: Form) -> Out {
        Out { form, colour: false, quiet: false }
    }

    #[test]
    fn links_show_their_way_and_amounts() {
        let rows = [
            json!({"name": "mac-mini", "link": {"kind": "LAN", "address": "192.168.1.20:4826", "rttMs": 4}, "lastContact": ages::exact(NOW - 6000),
                           "theyMiss": 0, "weMiss": 0, "bytesIn": 1_200_000, "bytesOut": 310_000, "lastError": null}),
        ];
        let expected = "mac-mini\tLAN 192.168.1.20:4826 4 ms\t6s ago\t0\t0\t1.2 MB / 310 kB\tall\t-\n";
        assert_eq!(table(out(Form::Plain), &rows, &[], NOW), expected);
        let newer = [json!({"name": "thinkpad", "link": {"skipped": 1}})];
        assert!(
            table(out(Form::Table), &newer, &[], NOW).contains("\nthinkpad says what this version does not know (1 message skipped)\n")
        );
        let sources = [json!({"source": "claude-todos", "present": false, "base": "/x"})];
        let alone = table(out(Form::Table), &[], &sources, NOW);
        assert_eq!(alone, "this device is alone: hubless pair\nwatchers: claude-todos off (no /x)\n");
    }

    #[test]
    fn where_a_device_was_dialled_in_vain_is_said_while_it_has_no_link() {
        let dials = json!([{"address": "10.0.0.2:4826", "at": ages::exact(NOW - 6_000), "why": "no route to it", "times": 4},
            {"address": "[fd77::2]:4826", "at": ages::exact(NOW - 60_000), "why": "it refuses", "times": 1}]);
        let away = json!({"name": "thinkpad", "link": null, "dials": dials});
        let expected = "thinkpad was dialled in vain: 10.0.0.2:4826: no route to it (6s ago, 4 times); [fd77::2]:4826: it refuses (1m ago)";
        assert_eq!(dialled(&away, NOW).as_deref(), Some(expected));
        assert!(table(out(Form::Table), &[away], &[], NOW).contains(expected));
        assert_eq!(dialled(&json!({"name": "thinkpad", "link": {"kind": "LAN"}, "dials": dials}), NOW), None);
    }

    #[test]
    fn why_nothing_goes_is_said() {
        let said = |flow: Value| rests(&json!({"flow": flow}), NOW).unwrap_or_default();
        assert_eq!(said(json!({"enabled": true, "paused": false, "gives": true, "takes": true, "theyGive": null})), "");
        assert_eq!(said(json!({"enabled": true, "paused": true, "gives": false, "takes": false})), "paused here");
        assert!(said(json!({"enabled": false})).starts_with("disabled here"));
        assert!(
            said(json!({"schedule": "*/15 * * * *", "next": ages::exact(NOW + 60_000), "gives": false, "takes": false}))
                .starts_with("scheduled, next ")
        );
        assert!(said(json!({"gives": false, "takes": true})).starts_with("nothing is sent"));
        assert!(said(json!({"gives": true, "takes": true, "theyGive": false, "theyTake": false})).starts_with("it exchanges nothing now"));
        assert_eq!(rests(&json!({"thisDevice": true, "flow": null}), NOW), None);
    }
}
