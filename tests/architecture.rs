//! The walls of the house, held by reading `src/` as text (docs/ARCHITECTURE.md numbers the rules).
//!
//! It needs no feature and builds nothing of the daemon. Each checker takes source text and returns what is broken in it,
//! so that the same checkers are fed bad text at the foot of this file: a wall that catches nothing is no wall.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// The rules, as docs/ARCHITECTURE.md numbers them.
const RULES: &[(u8, &str)] = &[
    (1, "model names nobody"),
    (2, "rules and ingest name only model, replica names those; none of them has hands, a clock, chance, a lock or an unordered map"),
    (3, "a pillar never names a pillar, and never the replica"),
    (4, "a pillar never names config, daemon or cli"),
    (5, "cli never names store or network, nor any room but daemon, config, api, setup, model"),
    (6, "inside a folder: by file, never through the parent"),
    (7, "an outside library has one home"),
    (8, "every import points down"),
    (9, "every file opens with its `//!` story"),
    (10, "a file has at most 400 code lines, its inline tests not counted"),
    (11, "no file is named after what it is not: utils, common, types, errors, prelude, helpers, manager"),
    (12, "the libraries of the design are direct dependencies, each used in its home"),
];

const PILLARS: &[&str] = &["sources", "store", "network", "api", "delivery", "setup"];
const PURE: &[&str] = &["model", "rules", "ingest", "replica"];
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("rules", &["model"]),
    ("ingest", &["model"]),
    ("replica", &["rules", "ingest", "model"]),
    ("sources", &["model"]),
    ("store", &["model"]),
    ("network", &["model"]),
    ("api", &["model"]),
    ("delivery", &["model"]),
    ("setup", &["model"]),
    ("config", &["sources", "store", "network", "api", "delivery", "model"]),
    ("daemon", &["config", "replica", "model", "sources", "store", "network", "api", "delivery"]),
    ("cli", &["daemon", "config", "api", "setup", "model"]),
    ("main", &["cli"]),
];
/// A library whose name ends with `*` stands for all that begin so.
const HOME: &[(&str, &str)] = &[
    ("automerge", "replica"),
    ("libp2p*", "network"),
    ("mdns_sd", "network"),
    ("notify", "sources"),
    ("zstd", "sources"),
    ("sled", "store"),
    ("axum", "api"),
    ("clap*", "cli"),
    ("toml_edit", "config"),
    ("anyhow", "cli"),
];
const CODE_LINES_MAX: usize = 400;
const BAD_NAMES: &[&str] = &["utils", "util", "common", "types", "errors", "prelude", "helpers", "helper", "manager", "misc"];
/// Words that have no place in a pure room, wherever they stand.
const IMPURE_WORDS: &[&str] = &["HashMap", "HashSet", "Mutex", "RwLock", "Condvar", "SystemTime", "Instant", "rand", "getrandom"];
/// Modules of std that have hands.
const IMPURE_STD: &[&str] = &["fs", "net", "thread", "process", "env"];
/// Direct dependencies that the design promises, with the rooms that use them (rule 12); `tests`: in any test.
const DIRECT: &[(&str, &[&str])] = &[
    ("automerge", &["replica"]),
    ("libp2p", &["network"]),
    ("tokio", &["daemon"]),
    ("notify", &["sources"]),
    ("serde", &["model"]),
    ("sled", &["store"]),
    ("mdns-sd", &["network"]),
    ("clap", &["cli"]),
    ("tracing", &["daemon"]),
    ("quickcheck", &["tests"]),
];

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Broken {
    file: String,
    line: usize,
    rule: u8,
    what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = RULES.iter().find(|(n, _)| *n == self.rule).map_or("", |(_, text)| text);
        write!(f, "src/{}:{}: {}\n    rule {} of docs/ARCHITECTURE.md: {rule}", self.file, self.line, self.what, self.rule)
    }
}

/// One file of `src/`, cut into words; comments and the inside of texts are gone.
struct File {
    /// Below `src/`, with `/`.
    path: String,
    /// `rules/todos/deeds.rs` is `[rules, todos, deeds]`.
    module: Vec<String>,
    text: String,
    words: Vec<Word>,
    /// The first line of the inline tests; past the end when there are none, 1 of a file that is built for tests only.
    tests_from: usize,
}

#[derive(Debug, Clone)]
struct Word {
    text: String,
    line: usize,
}

/// One path as the source names it: `use a::{b, c}` gives `a::b` and `a::c`.
#[derive(Debug)]
struct Named {
    path: Vec<String>,
    line: usize,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        let bare = blank(text);
        let words = words(&bare);
        let module = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        File { path: path.to_owned(), module, text: text.to_owned(), tests_from: tests_from(text), words }
    }

    fn room(&self) -> &str {
        &self.module[0]
    }

    fn is_test(&self, line: usize) -> bool {
        line >= self.tests_from
    }

    fn broken(&self, line: usize, rule: u8, what: String) -> Broken {
        Broken { file: self.path.clone(), line, rule, what }
    }

    /// Every path that the file names, `crate`, `super`, `self` and the crate's own name resolved to paths from the root.
    fn named(&self) -> Vec<Named> {
        let mut out = Vec::new();
        let mut inner: Vec<(String, usize)> = Vec::new();
        let (mut depth, mut at) = (0usize, 0usize);
        while at < self.words.len() {
            let word = &self.words[at];
            match word.text.as_str() {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    inner.retain(|(_, opened)| *opened <= depth);
                }
                "mod" if self.text_at(at + 2) == "{" => inner.push((self.text_at(at + 1).to_owned(), depth + 1)),
                text if is_name(text) && self.starts_path(at) => {
                    let mut paths = Vec::new();
                    at = self.path(at, Vec::new(), &mut paths);
                    out.extend(paths.into_iter().map(|path| Named { path: self.absolute(path, &inner), line: word.line }));
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        out
    }

    fn text_at(&self, at: usize) -> &str {
        self.words.get(at).map_or("", |w| &w.text)
    }

    /// A name is the head of a path when a `::` follows and none, nor a dot, stands before; a lone `use x;` counts too.
    fn starts_path(&self, at: usize) -> bool {
        let before = at.checked_sub(1).map_or("", |b| self.text_at(b));
        let alone = before == "use" && matches!(self.text_at(at + 1), ";" | "as");
        !matches!(before, "::" | ".") && (self.text_at(at + 1) == "::" || alone)
    }

    /// Reads one path, or all of a group, from `at`; returns where it ends.
    fn path(&self, mut at: usize, mut so_far: Vec<String>, out: &mut Vec<Vec<String>>) -> usize {
        loop {
            match self.text_at(at) {
                "{" => {
                    at += 1;
                    while !matches!(self.text_at(at), "}" | "") {
                        at = if self.text_at(at) == "," { at + 1 } else { self.path(at, so_far.clone(), out) };
                    }
                    return at + 1;
                }
                word if is_name(word) || word == "*" => so_far.push(word.to_owned()),
                // `a::<T>`, or something that is no path at all: never stand still.
                _ => {
                    out.push(so_far);
                    return if matches!(self.text_at(at), "}" | ",") { at } else { at + 1 };
                }
            }
            if self.text_at(at + 1) == "::" {
                at += 2;
                continue;
            }
            out.push(so_far);
            at += 1;
            if self.text_at(at) == "as" {
                at += 2;
            }
            return at;
        }
    }

    fn absolute(&self, path: Vec<String>, inner: &[(String, usize)]) -> Vec<String> {
        let here: Vec<String> = self.module.iter().cloned().chain(inner.iter().map(|(name, _)| name.clone())).collect();
        let mut base = match path.first().map(String::as_str) {
            Some("crate" | "hubless") => vec!["crate".to_owned()],
            Some("self" | "super") => std::iter::once("crate".to_owned()).chain(here).collect(),
            _ => return path,
        };
        for part in path {
            match part.as_str() {
                "crate" | "hubless" | "self" => {}
                "super" => _ = base.pop(),
                _ => base.push(part),
            }
        }
        base
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The same text, lines kept, with comments and the inside of texts and characters gone.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    let ahead = |at: usize, what: &str| what.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c));
    while at < chars.len() {
        let from = at;
        if ahead(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if ahead(at, "/*") {
            let mut depth = 0usize;
            loop {
                if ahead(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if ahead(at, "*/") {
                    depth -= 1;
                    at += 2;
                } else {
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if let Some(end) = raw_text(&chars, at).or_else(|| plain_text(&chars, at)).or_else(|| character(&chars, at)) {
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(chars[from..at.min(chars.len())].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    }
    out
}

fn raw_text(chars: &[char], at: usize) -> Option<usize> {
    let begins = chars[at] == 'r' && (at == 0 || !(chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') || chars[at - 1] == 'b');
    let hashes = chars.get(at + 1..)?.iter().take_while(|c| **c == '#').count();
    if !begins || chars.get(at + 1 + hashes) != Some(&'"') {
        return None;
    }
    let mut end = at + 2 + hashes;
    while end < chars.len() {
        if chars[end] == '"' && chars[end + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(end)
}

fn plain_text(chars: &[char], at: usize) -> Option<usize> {
    if chars[at] != '"' {
        return None;
    }
    let mut end = at + 1;
    while end < chars.len() && chars[end] != '"' {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    Some(end + 1)
}

/// `'x'` and `'\n'`, not `'a` of a lifetime.
fn character(chars: &[char], at: usize) -> Option<usize> {
    if chars[at] != '\'' {
        return None;
    }
    if chars.get(at + 1) == Some(&'\\') {
        let close = chars[at + 3..].iter().position(|c| *c == '\'')?;
        return Some(at + 3 + close + 1);
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

fn words(bare: &str) -> Vec<Word> {
    let mut out = Vec::new();
    for (n, line) in bare.lines().enumerate() {
        let chars: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let from = at;
            let in_name = |c: &char| c.is_alphanumeric() || *c == '_';
            if in_name(&chars[at]) {
                at += chars[at..].iter().take_while(|c| in_name(c)).count();
            } else if chars[at] == ':' && chars.get(at + 1) == Some(&':') {
                at += 2;
            } else {
                at += 1;
            }
            let text: String = chars[from..at].iter().collect();
            if !text.trim().is_empty() {
                out.push(Word { text, line: n + 1 });
            }
        }
    }
    out
}

/// The line of the `#[cfg(test)]` that opens the inline tests.
fn tests_from(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let opens = |n: usize| {
        lines[n] == "#[cfg(test)]"
            && lines[n + 1..].iter().find(|l| !l.starts_with("#[")).is_some_and(|l| l.starts_with("mod ") && l.ends_with('{'))
    };
    (0..lines.len()).find(|n| opens(*n)).map_or(usize::MAX, |n| n + 1)
}

/// The modules that a file declares for its tests only: `#[cfg(test)] mod testbed;`.
fn declared_for_tests(file: &File) -> Vec<Vec<String>> {
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let named = (0..lines.len()).filter(|n| lines[*n] == "#[cfg(test)]").filter_map(|n| {
        let declaration = lines[n + 1..].iter().find(|line| !line.starts_with("#["))?;
        let name = declaration.strip_suffix(';')?.rsplit_once("mod ")?.1;
        Some(file.module.iter().cloned().chain([name.to_owned()]).collect())
    });
    named.collect()
}

/// Rules 1–6 and 8: who names whom.
fn imports(file: &File, modules: &BTreeSet<Vec<String>>) -> Vec<Broken> {
    let mut out = Vec::new();
    let allowed = MAY_NAME.iter().find(|(room, _)| *room == file.room()).map(|(_, rooms)| *rooms);
    for named in file.named() {
        let Some(("crate", path)) = named.path.split_first().map(|(head, rest)| (head.as_str(), rest)) else { continue };
        let Some(target) = path.first() else { continue };
        let is_room = modules.contains(&vec![target.clone()]) || MAY_NAME.iter().any(|(room, _)| room == target);
        if !is_room {
            out.push(file.broken(named.line, 8, format!("names `{target}` at the top of the crate, which is no room")));
        } else if target == file.room() {
            // Tests of a file may start the whole pillar, and only its parent knows how.
            if file.is_test(named.line) {
                continue;
            }
            out.extend(through_parent(file, path, modules).map(|what| file.broken(named.line, 6, what)));
        } else if let Some(allowed) = allowed
            && !allowed.contains(&target.as_str())
        {
            out.push(file.broken(named.line, rule_of(file.room(), target), format!("{} names {target}", file.room())));
        }
    }
    out
}

fn rule_of(room: &str, target: &str) -> u8 {
    match room {
        "model" => 1,
        "rules" | "ingest" | "replica" => 2,
        "cli" => 5,
        _ if PILLARS.contains(&room) && matches!(target, "config" | "daemon" | "cli" | "main") => 4,
        _ if PILLARS.contains(&room) => 3,
        _ => 8,
    }
}

/// Rule 6: the longest module that `path` names must not be one that holds this file.
fn through_parent(file: &File, path: &[String], modules: &BTreeSet<Vec<String>>) -> Option<String> {
    let longest = (1..=path.len()).rev().find(|n| modules.contains(&path[..*n].to_vec()))?;
    let is_parent = longest < file.module.len() && file.module[..longest] == path[..longest];
    is_parent.then(|| format!("names `{}` through its parent", path.join("::")))
}

/// Rule 2, the other half: pure rooms have no hands. Their tests may look at files.
fn purity(file: &File) -> Vec<Broken> {
    if !PURE.contains(&file.room()) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for named in file.named().iter().filter(|n| !file.is_test(n.line)) {
        let hands = match named.path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["std", module, ..] if IMPURE_STD.contains(module) => true,
            ["std", "sync", "mpsc", ..] => true,
            [library, ..] => matches!(*library, "tokio" | "tokio_util" | "futures" | "rustix" | "jiff"),
            [] => false,
        };
        if hands {
            out.push(file.broken(named.line, 2, format!("a pure room names `{}`", named.path.join("::"))));
        }
    }
    for (n, word) in file.words.iter().enumerate().filter(|(_, w)| !file.is_test(w.line)) {
        let moving = word.text == "static" && file.text_at(n + 1) == "mut";
        let counter = word.text.starts_with("Atomic") && word.text.len() > 6;
        if moving || counter || IMPURE_WORDS.contains(&word.text.as_str()) {
            out.push(file.broken(word.line, 2, format!("a pure room uses `{}`", word.text)));
        }
    }
    out
}

/// Rule 7.
fn homes(file: &File) -> Vec<Broken> {
    let mut out = Vec::new();
    for named in file.named() {
        let Some(head) = named.path.first() else { continue };
        for (library, home) in HOME {
            if is_library(head, library) && file.room() != *home {
                out.push(file.broken(named.line, 7, format!("`{head}` is at home in {home}")));
            }
        }
        let has_hands = PILLARS.contains(&file.room()) || matches!(file.room(), "daemon" | "cli" | "main");
        if matches!(head.as_str(), "tokio" | "tokio_util") && !has_hands && !PURE.contains(&file.room()) {
            out.push(file.broken(named.line, 7, format!("`{head}` is at home in the pillars, daemon and cli")));
        }
    }
    out
}

fn is_library(head: &str, library: &str) -> bool {
    library.strip_suffix('*').map_or(head == library, |front| head.starts_with(front))
}

/// Rules 9–11.
fn shape(file: &File) -> Vec<Broken> {
    let mut out = Vec::new();
    if !file.text.starts_with("//! ") {
        out.push(file.broken(1, 9, "the first line is no `//!`".to_owned()));
    }
    let code: BTreeSet<usize> = file.words.iter().map(|w| w.line).filter(|l| !file.is_test(*l)).collect();
    if code.len() > CODE_LINES_MAX {
        let over = code.iter().nth(CODE_LINES_MAX).copied().unwrap_or(1);
        out.push(file.broken(over, 10, format!("{} code lines", code.len())));
    }
    if let Some(name) = file.module.last()
        && BAD_NAMES.contains(&name.as_str())
    {
        out.push(file.broken(1, 11, format!("the file is named `{name}`")));
    }
    out
}

/// The names of direct dependencies in a Cargo.toml.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut out = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if matches!(section, "dependencies" | "dev-dependencies")
            && let Some((name, _)) = line.split_once('=')
        {
            out.insert(name.trim().split('.').next().unwrap_or_default().to_owned());
        }
    }
    out
}

/// Rule 12. A room without a line of code is not asked yet.
fn promised(manifest: &str, files: &[File], tests: &str) -> Vec<Broken> {
    let direct = dependencies(manifest);
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let heads = file.named().into_iter().filter_map(|n| n.path.into_iter().next());
        used.entry(file.room()).or_default().extend(heads);
    }
    let has_code = |room: &str| files.iter().any(|f| f.room() == room && f.words.iter().any(|w| w.text == "fn"));
    let mut out = Vec::new();
    for (library, rooms) in DIRECT {
        let head = library.replace('-', "_");
        if !direct.contains(*library) {
            out.push(Broken { file: "../Cargo.toml".into(), line: 1, rule: 12, what: format!("`{library}` is no direct dependency") });
        }
        for room in *rooms {
            let in_tests = *room == "tests" && tests.contains(&format!("use {head}::"));
            let in_room = used.get(room).is_some_and(|heads| heads.contains(&head));
            if !in_tests && !in_room && (*room == "tests" || has_code(room)) {
                out.push(Broken { file: format!("{room}.rs"), line: 1, rule: 12, what: format!("{room} does not use `{library}`") });
            }
        }
    }
    out
}

fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn read_below(folder: &Path, out: &mut Vec<PathBuf>) {
    let listing = std::fs::read_dir(folder).expect("src can be listed");
    for entry in listing {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            read_below(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn source() -> Vec<File> {
    let src = package().join("src");
    let mut paths = Vec::new();
    read_below(&src, &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(&src).expect("below src").to_string_lossy().replace('\\', "/");
    let read = |path: &PathBuf| File::new(&name(path), &std::fs::read_to_string(path).expect("source can be read"));
    let mut files: Vec<File> = paths.iter().map(read).collect();
    let for_tests: Vec<Vec<String>> = files.iter().flat_map(declared_for_tests).collect();
    for file in files.iter_mut().filter(|file| for_tests.contains(&file.module)) {
        file.tests_from = 1;
    }
    files
}

fn modules(files: &[File]) -> BTreeSet<Vec<String>> {
    files.iter().map(|f| f.module.clone()).filter(|m| m != &["lib"]).collect()
}

fn assert_whole(mut broken: Vec<Broken>) {
    broken.sort();
    broken.dedup();
    let list: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{} broken:\n{}\n", broken.len(), list.join("\n"));
}

#[test]
fn every_import_points_down_and_siblings_are_named_by_file() {
    let files = source();
    let modules = modules(&files);
    assert!(modules.len() > 10, "src was read");
    assert_whole(files.iter().flat_map(|f| imports(f, &modules)).collect());
}

#[test]
fn pure_rooms_have_no_hands() {
    assert_whole(source().iter().flat_map(purity).collect());
}

#[test]
fn every_library_has_one_home() {
    assert_whole(source().iter().flat_map(homes).collect());
}

#[test]
fn every_file_opens_with_its_story_and_stays_under_400_lines() {
    assert_whole(source().iter().flat_map(shape).collect());
}

#[test]
fn the_libraries_of_the_design_are_direct_and_used() {
    let manifest = std::fs::read_to_string(package().join("Cargo.toml")).expect("Cargo.toml can be read");
    let files = source();
    let tests: String = files.iter().map(|f| f.text.as_str()).collect();
    assert_whole(promised(&manifest, &files, &tests));
}

/// The walls themselves, fed with what they must catch and with what they must let through.
mod walls {
    use super::*;

    fn house() -> BTreeSet<Vec<String>> {
        let paths = ["model", "model/id", "rules", "rules/todos", "replica", "replica/link", "network", "network/frames", "network/swarm"];
        let more = ["store", "api", "config", "daemon", "cli", "cli/output", "sources"];
        paths.iter().chain(&more).map(|p| p.split('/').map(str::to_owned).collect()).collect()
    }

    fn caught(check: impl Fn(&File) -> Vec<Broken>, path: &str, text: &str) -> Vec<(usize, u8)> {
        check(&File::new(path, text)).into_iter().map(|b| (b.line, b.rule)).collect()
    }

    fn by_import(path: &str, text: &str) -> Vec<(usize, u8)> {
        let house = house();
        caught(|f| imports(f, &house), path, text)
    }

    #[test]
    fn an_import_that_points_up_or_sideways_is_caught() {
        for (path, text, rule) in [
            ("model/id.rs", "use crate::rules::todos::Todos;", 1),
            ("rules/todos.rs", "use crate::replica::Replica;", 2),
            ("rules/todos.rs", "use crate::{model::id::Id, ingest::tail};", 2),
            ("network/swarm.rs", "fn f() { crate::store::open() }", 3),
            ("api.rs", "use super::replica::Replica;", 3),
            ("store.rs", "use crate::config::Config;", 4),
            ("sources.rs", "mod x { use super::super::daemon::run; }", 4),
            ("cli/output.rs", "use crate::network::swarm;", 5),
            ("cli.rs", "pub(crate) use crate::replica::{self, Replica as R};", 5),
            ("config.rs", "use crate::daemon::run;", 8),
            ("main.rs", "fn main() { hubless::daemon::run() }", 8),
            ("config.rs", "use crate::*;", 8),
        ] {
            let mut caught = by_import(path, &format!("//! x\n{text}"));
            caught.dedup();
            assert_eq!(caught, [(2, rule)], "{path}: {text}");
        }
    }

    #[test]
    fn a_sibling_named_through_the_parent_is_caught() {
        for text in ["use super::Frames;", "use super::*;", "use crate::network::{frames::Frames, Options};", "fn f(o: super::Options) {}"]
        {
            assert_eq!(by_import("network/swarm.rs", text), [(1, 6)], "{text}");
        }
        for text in ["use super::frames::Frames;", "use crate::network::frames;", "mod tests { use super::*; }", "use self::inner::X;"] {
            assert_eq!(by_import("network/swarm.rs", text), [], "{text}");
        }
        let tests = "//! x\n#[cfg(test)]\nmod tests {\n    use crate::network::start;\n}\n";
        assert_eq!(by_import("network/swarm.rs", tests), []);
        assert_eq!(by_import("network.rs", "use self::swarm::start; fn f() { crate::network::Options::new() }"), []);
    }

    #[test]
    fn what_comments_and_texts_say_is_no_import() {
        let text = "//! see crate::store\n/* crate::store /* crate::api */ */\nconst A: &str = \"crate::store \\\" crate::api\";\n\
                    const B: &str = r#\"crate::\"api\"#; const C: char = '\"'; fn f<'a>(x: &'a str) {} // crate::daemon";
        assert_eq!(by_import("network/swarm.rs", text), []);
        assert_eq!(by_import("network/swarm.rs", "const C: char = '\"'; use crate::store; // \""), [(1, 3)]);
    }

    #[test]
    fn hands_in_a_pure_room_are_caught() {
        for text in [
            "use tokio::sync::mpsc;",
            "use std::{fmt, fs};",
            "fn f() { std::net::lookup() }",
            "use std::collections::HashMap;",
            "static mut N: u8 = 0;",
            "static N: std::sync::atomic::AtomicU64 = x;",
            "fn f() { let t = SystemTime::now(); }",
            "fn f() { rand::random() }",
            "struct A(Mutex<u8>);",
        ] {
            assert_eq!(caught(purity, "rules/todos.rs", text).first(), Some(&(1, 2)), "{text}");
            assert_eq!(caught(purity, "store.rs", text), [], "hands are free in a pillar: {text}");
        }
        let tests_only = "//! x\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(caught(purity, "rules/todos.rs", tests_only), []);
        let hidden = "#[cfg(test)]\nfn f() {}\nuse std::fs;\n";
        assert_eq!(caught(purity, "rules/todos.rs", hidden), [(3, 2)], "a test function does not open the tests");
    }

    #[test]
    fn a_library_away_from_home_is_caught() {
        for (path, text) in [
            ("store.rs", "use automerge::Automerge;"),
            ("daemon.rs", "fn f(e: libp2p_stream::Control) {}"),
            ("config.rs", "#[derive(clap::Parser)] struct A;"),
            ("network/swarm.rs", "use sled;"),
            ("config.rs", "use tokio::fs;"),
        ] {
            assert_eq!(caught(homes, path, text), [(1, 7)], "{path}: {text}");
        }
        assert_eq!(caught(homes, "network.rs", "use libp2p::{swarm::Swarm, noise}; use mdns_sd as m;"), []);
        assert_eq!(caught(homes, "cli.rs", "fn f() { self.notify(); crate::sources::notify::x(); }"), []);
    }

    #[test]
    fn a_file_without_story_too_long_or_badly_named_is_caught() {
        assert_eq!(caught(shape, "cli.rs", "// x\n"), [(1, 9)]);
        assert_eq!(caught(shape, "cli/utils.rs", "//! x\n"), [(1, 11)]);
        let long = |n: usize| format!("//! x\n{}", "const A: u8 = 1;\n// why\n\n".repeat(n));
        assert_eq!(caught(shape, "cli.rs", &long(CODE_LINES_MAX)), []);
        assert_eq!(caught(shape, "cli.rs", &long(CODE_LINES_MAX + 1)), [(2 + 3 * CODE_LINES_MAX, 10)]);
        let tests = format!("//! x\n#[cfg(test)]\n#[expect(missing_docs)]\nmod tests {{\n{}}}\n", long(CODE_LINES_MAX));
        assert_eq!(caught(shape, "cli.rs", &tests), []);
    }

    #[test]
    fn a_promised_library_that_is_missing_or_idle_is_caught() {
        let manifest = "[dependencies]\nserde = \"1\"\nautomerge.workspace = true\n[features]\nsled = []\n";
        assert_eq!(dependencies(manifest), BTreeSet::from(["serde".to_owned(), "automerge".to_owned()]));
        let files = [File::new("replica.rs", "//! x\nfn f() {}"), File::new("store.rs", "//! x")];
        let broken: Vec<String> = promised(manifest, &files, "use quickcheck::quickcheck;").into_iter().map(|b| b.what).collect();
        assert!(broken.contains(&"`sled` is no direct dependency".to_owned()), "{broken:?}");
        assert!(broken.contains(&"replica does not use `automerge`".to_owned()), "{broken:?}");
        assert!(!broken.iter().any(|b| b.starts_with("store does not")), "a room without code is not asked: {broken:?}");
    }

    #[test]
    fn a_file_for_tests_is_known_by_its_parent() {
        let parent = File::new("network.rs", "//! x\nmod swarm;\n#[cfg(test)]\n#[expect(x)]\nmod testbed;\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(declared_for_tests(&parent), [["network", "testbed"]]);
    }

    #[test]
    fn a_failure_names_file_line_and_rule() {
        let broken = Broken { file: "store.rs".into(), line: 7, rule: 3, what: "store names network".into() };
        assert_eq!(
            broken.to_string(),
            "src/store.rs:7: store names network\n    rule 3 of docs/ARCHITECTURE.md: a pillar never names a pillar, and never the replica"
        );
    }
}
