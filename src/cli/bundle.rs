//! `doctor --bundle FILE`: what a report of a bug needs, in one file that says nothing of whom it comes from.
//!
//! Only numbers, words of ours and stand-ins (`placeholders`) get into it. What is inside is listed before it is written; it is for its
//! owner alone (0600), takes nobody's place, and goes nowhere by itself.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::context::Context;
use super::output::{bytes, counted, print};
use super::placeholders::Placeholders;
use super::problem::Trouble;
use super::{begin, doctor, fields, progress};
use crate::config::Kind;
use crate::model::tool::TOOLS;

/// Bytes of each log that are taken, from its end.
const LOG_BYTES_MAX: u64 = 256 * 1024;
/// Folders of folders that are looked into.
const DEPTH_MAX: usize = 8;
/// Words that stand in the names of our documents.
const DOCUMENTS: &[&str] =
    &["local", "todos", "sessions", "devices", "heartbeats", "members", "projects", "acts", "automerge", "new", "fleet", "index"];
/// What is asked for its names and texts, so that none of them is shown.
const ASKED: &[&str] = &[
    "/api/v3/overview",
    "/api/v3/devices?limit=0",
    "/api/v3/agents?limit=0",
    "/api/v3/sessions?limit=0",
    "/api/v3/todos?limit=0&all=1",
    "/api/v3/conflicts?limit=0",
    "/api/v3/projects",
];

/// One file of it.
struct Part {
    name: &'static str,
    what: &'static str,
    text: String,
}

/// Lists what is inside, and writes it.
pub(crate) fn write(context: &Context, file: &Path) -> anyhow::Result<()> {
    if fs::symlink_metadata(file).is_ok() {
        return Err(there(file).into());
    }
    let parts = parts(context)?;
    let rows: Vec<Value> = parts.iter().map(|part| json!({"name": part.name, "what": part.what, "bytes": part.text.len()})).collect();
    if !context.out.is_data() && !context.out.quiet {
        print("In it, with names, paths, addresses and texts replaced by stand-ins such as <device-1>:\n")?;
        parts.iter().try_for_each(|part| print(&format!("  {:<15} {:>8}  {}\n", part.name, bytes(part.text.len() as u64), part.what)))?;
    }
    let packed = progress::during(&context.globals, "packing", || packed(&parts, context.now_ms)).context("it cannot be packed")?;
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut out = match opened {
        Ok(out) => out,
        Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => return Err(there(file).into()),
        Err(why) => return Err(anyhow::Error::new(why).context(format!("{} cannot be written", file.display()))),
    };
    let written = out.write_all(&packed).and_then(|()| out.sync_all());
    if written.is_err() {
        drop(fs::remove_file(file));
    }
    written.with_context(|| format!("{} cannot be written", file.display()))?;
    let line =
        format!("✓ {} in {}\n  Look before you send it:  tar -xzOf {} | less", bytes(packed.len() as u64), file.display(), file.display());
    context.out.done(json!({"file": file, "bytes": packed.len(), "parts": rows}), &line)
}

fn there(file: &Path) -> Trouble {
    Trouble::new("file-exists", 6, format!("{} is there already", file.display())).fix("another name; nothing is overwritten")
}

fn packed(parts: &[Part], now_ms: i64) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for part in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(part.text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now_ms / 1000).unwrap_or(0));
        tar.append_data(&mut header, format!("hubless-report/{}", part.name), part.text.as_bytes())?;
    }
    tar.into_inner()?.finish()
}

fn parts(context: &Context) -> anyhow::Result<Vec<Part>> {
    let mut names = learned(context);
    let mut doctor = doctor::envelope(context)?;
    names.cover_all(&mut doctor, &["check", "severity", "source"]);
    let log = log(context, &mut names);
    let quarantine = quarantine(&context.config.home.data_dir.join("quarantine"), &mut names);
    let lines = |value: &Value| serde_json::to_string_pretty(value).map(|text| text + "\n");
    Ok(vec![
        Part { name: "version.json", what: "version, protocol, system", text: lines(&version())? },
        Part { name: "doctor.json", what: "what doctor says", text: lines(&doctor)? },
        Part {
            name: "config.json",
            what: "which settings are set, by whom; of texts and paths only that they are",
            text: lines(&config(context))?,
        },
        Part { name: "status.json", what: "how many agents, sessions, todos, devices, in which state", text: lines(&counts(context))? },
        Part { name: "sizes.json", what: "files and bytes of each kind on disk", text: lines(&sizes(context))? },
        Part { name: "quarantine.txt", what: "names of files that were set aside", text: quarantine },
        Part { name: "log.txt", what: "the end of the log", text: log },
    ])
}

/// Everything that somebody called something, as far as it can be read, and who we are.
fn learned(context: &Context) -> Placeholders {
    let mut names = Placeholders::default();
    for target in ASKED {
        if let Ok(answer) = context.ask_quietly(target) {
            names.learn_all("device", answer.get("device").unwrap_or(&Value::Null));
            names.learn_all("device", answer.get("deviceId").unwrap_or(&Value::Null));
            names.learn_all("data", answer.get("data").unwrap_or(&answer));
        }
    }
    names.learn("device", &context.config.device_name.value);
    names.learn("device", &rustix::system::uname().nodename().to_string_lossy());
    for (key, value, _) in context.config.settings().filter(|(key, ..)| !is_plain(key.kind)) {
        value.split(',').for_each(|one| names.learn(if key.kind == Kind::Path { "path" } else { "setting" }, one));
    }
    for variable in ["USER", "LOGNAME", "SUDO_USER", "HOSTNAME"] {
        names.learn("person", &std::env::var(variable).unwrap_or_default());
    }
    let home = std::env::var("HOME").unwrap_or_default();
    names.learn("path", &home);
    names.learn("person", Path::new(&home).file_name().and_then(|name| name.to_str()).unwrap_or_default());
    names
}

/// Whether every value of that kind is a number or a word of ours.
fn is_plain(kind: Kind) -> bool {
    matches!(kind, Kind::Port | Kind::Truth | Kind::Span | Kind::Size | Kind::Count | Kind::Word(_))
}

fn version() -> Value {
    let uname = rustix::system::uname();
    json!({
        "version": env!("CARGO_PKG_VERSION"), "schema": crate::api::reads::SCHEMA, "protocol": crate::model::message::VERSIONS.last(),
        "system": std::env::consts::OS, "machine": std::env::consts::ARCH,
        // Of a kernel that somebody built, the name that they gave it is theirs.
        "kernel": uname.release().to_string_lossy().split(|c: char| !(c.is_ascii_digit() || c == '.')).next().unwrap_or_default(),
    })
}

fn config(context: &Context) -> Value {
    let row = |(key, value, source): (&crate::config::Key, String, crate::config::Source)| {
        let shown = if is_plain(key.kind) {
            json!(value)
        } else {
            json!(counted(value.split(',').filter(|one| !one.is_empty()).count() as u64, "value"))
        };
        json!({"key": key.name, "value": shown, "source": source.word()})
    };
    Value::Array(context.config.settings().map(row).collect())
}

/// How many there are of what, by words of ours alone.
fn counts(context: &Context) -> Value {
    let tools: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
    let asked = |target: &str| context.ask_quietly(target).ok();
    let by = |target: &str, key: &str| {
        let answer = asked(target)?;
        let mut counted = BTreeMap::<String, u64>::new();
        for row in fields::rows(&answer) {
            let word = match &row[key] {
                Value::Bool(is) => is.to_string(),
                Value::String(word) if key != "tool" || tools.contains(&word.as_str()) => word.clone(),
                Value::String(_) | Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => "other".to_owned(),
            };
            *counted.entry(word).or_default() += 1;
        }
        Some(json!({"source": answer["source"], "total": answer["total"], "by": counted}))
    };
    json!({
        "agents": by("/api/v3/agents?limit=0", "state"), "sessions": by("/api/v3/sessions?limit=0", "state"),
        "tools": by("/api/v3/sessions?limit=0", "tool"), "todos": by("/api/v3/todos?limit=0&all=1", "status"),
        "devices": by("/api/v3/devices?limit=0", "reachable"), "conflicts": asked("/api/v3/conflicts?limit=0").map(|answer| answer["total"].clone()),
    })
}

/// Files and bytes below each folder of ours; no name that anybody else could have given.
fn sizes(context: &Context) -> Value {
    let home = &context.config.home;
    let of = |path: &Path| {
        let (mut files, mut size) = (0, 0);
        add_up(path, 0, &mut files, &mut size);
        json!({"files": files, "bytes": size})
    };
    let data = ["docs", "index", "quarantine", "spool", "keys", "chunks"].map(|name| (name.to_owned(), of(&home.data_dir.join(name))));
    json!({"data": data.into_iter().collect::<serde_json::Map<_, _>>(), "logs": of(&home.logs_dir), "all": of(&home.data_dir)})
}

fn add_up(path: &Path, depth: usize, files: &mut u64, size: &mut u64) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() && depth < DEPTH_MAX => {
            fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| add_up(&entry.path(), depth + 1, files, size));
        }
        Ok(meta) if meta.is_file() => {
            *files += 1;
            *size += meta.len();
        }
        Ok(_) | Err(_) => {}
    }
}

fn quarantine(dir: &Path, names: &mut Placeholders) -> String {
    fn below(dir: &Path, front: &str, depth: usize, out: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = format!("{front}{}", entry.file_name().to_string_lossy());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => below(&entry.path(), &format!("{name}/"), depth + 1, out),
                Ok(_) | Err(_) => out.push(name),
            }
        }
    }
    let mut all = Vec::new();
    below(dir, "", 0, &mut all);
    all.sort();
    all.iter().map(|name| names.cover_name(name, DOCUMENTS) + "\n").collect()
}

/// The end of the log, and what a daemon said before it had one.
fn log(context: &Context, names: &mut Placeholders) -> String {
    let mut out = String::new();
    for file in [context.log_file(), context.config.home.logs_dir.join(begin::SAID)] {
        let title = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        out.push_str(&format!("== {title}\n"));
        tail(&file).unwrap_or_default().lines().for_each(|line| {
            out.push_str(&covered(line, names));
            out.push('\n');
        });
    }
    out
}

/// A line of JSON keeps its keys.
fn covered(line: &str, names: &mut Placeholders) -> String {
    match serde_json::from_str::<Value>(line) {
        Ok(mut value) if value.is_object() => {
            names.cover_all(&mut value, &["level", "target", "timestamp"]);
            value.to_string()
        }
        Ok(_) | Err(_) => names.cover(line),
    }
}

/// Whole lines from its end.
fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(LOG_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut read = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut read)?;
    let text = String::from_utf8_lossy(&read).into_owned();
    Ok(if from == 0 { text } else { text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default() })
}
