//! What the pages say about the code is still so: links, test names, rule numbers, dependencies, kinds of messages, settings.
//!
//! It needs no feature and builds nothing of the daemon. Each checker takes text and returns what is wrong in it, so that the
//! same checkers are fed wrong pages at the foot of this file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folders whose functions a page may name.
const CODE: &[&str] = &["src", "tests", "simulations", "benches"];
/// Crates whose names read like those of functions.
const CRATES: &[&str] = &["serde_json", "clap_complete", "clap_mangen", "toml_edit"];
/// Folders that hold no page of ours.
const NOT_OURS: &[&str] = &["target", ".git"];

#[cfg(feature = "daemon")]
#[path = "docs/reference.rs"]
mod reference;

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

fn files_below(folder: &Path, ending: &str, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && !NOT_OURS.iter().any(|not| name == *not) {
            files_below(&path, ending, out);
        } else if path.extension().is_some_and(|e| e == ending) {
            out.push(path);
        }
    }
}

/// Every page, by its path from the root.
fn pages() -> BTreeMap<String, String> {
    let mut paths = Vec::new();
    files_below(&root(), "md", &mut paths);
    let page = |path: &PathBuf| {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
        (name.clone(), read(&name))
    };
    paths.iter().map(page).collect()
}

/// The names of all functions of the project.
fn functions() -> BTreeSet<String> {
    let mut paths = Vec::new();
    CODE.iter().for_each(|folder| files_below(&root().join(folder), "rs", &mut paths));
    let texts = paths.iter().map(|path| std::fs::read_to_string(path).expect("source can be read"));
    texts.flat_map(|text| named_functions(&text)).collect()
}

fn named_functions(source: &str) -> Vec<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    source.lines().filter_map(|line| line.split_once("fn ").map(|(_, rest)| word(rest))).filter(|name| !name.is_empty()).collect()
}

/// A page without its fenced blocks.
fn prose(page: &str) -> String {
    let mut fenced = false;
    let mut out = String::new();
    for line in page.lines() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        out.push_str(if fenced || fence { "" } else { line });
        out.push('\n');
    }
    out
}

/// What stands between backticks.
fn quoted(page: &str) -> Vec<String> {
    prose(page).split('\n').flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The targets of links, without those of other hosts and without what stands behind `#`.
fn links(page: &str) -> Vec<String> {
    let bare = prose(page).split('`').step_by(2).collect::<String>();
    let targets = bare.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
    let own = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    own.map(|target| target.split('#').next().unwrap_or_default().to_owned()).filter(|target| !target.is_empty()).collect()
}

/// Links of the page at `from` that lead nowhere.
fn dead_links(from: &str, page: &str, is_there: impl Fn(&Path) -> bool) -> Vec<String> {
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    links(page).into_iter().filter(|target| !is_there(&folder.join(target))).map(|target| format!("{from}: {target}")).collect()
}

/// Whether a quoted word is the name of a test or check: several words in snake case, and no crate.
fn is_test_name(word: &str) -> bool {
    let parts: Vec<&str> = word.split('_').collect();
    let fine = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let named = parts.len() >= 2 && parts.iter().all(fine) && word.starts_with(|c: char| c.is_ascii_lowercase());
    named && !CRATES.contains(&word)
}

/// The tests that a page names; of a decision only those behind **Held by**.
fn named_tests(from: &str, page: &str) -> BTreeSet<String> {
    let page = if from.starts_with("docs/decisions/") { page.split_once("**Held by**").map_or("", |(_, held)| held) } else { page };
    quoted(page).into_iter().filter(|word| is_test_name(word)).collect()
}

/// Files of ours that a page names: `model/limits.rs` stands for `src/model/limits.rs`.
fn named_files(page: &str) -> Vec<String> {
    let is_file = |word: &String| word.ends_with(".rs") && word.contains('/') && !word.contains(['*', ' ', '<']);
    quoted(page).into_iter().filter(is_file).collect()
}

/// The section under a heading, up to the next of the same depth.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let from = page.split_once(&format!("\n{heading}\n")).map_or("", |(_, rest)| rest);
    from.split_once("\n## ").map_or(from, |(section, _)| section)
}

/// The numbers of `RULES` in the walls' test.
fn rule_numbers(walls: &str) -> Vec<u32> {
    let rules = walls.split_once("const RULES").and_then(|(_, rest)| rest.split_once("];")).map_or("", |(rules, _)| rules);
    rules.lines().filter_map(|line| line.trim().strip_prefix('(')?.split_once(',')?.0.parse().ok()).collect()
}

/// The numbers of a numbered list.
fn list_numbers(section: &str) -> Vec<u32> {
    section.lines().filter_map(|line| line.split_once(". ")?.0.parse().ok()).collect()
}

/// The names of direct dependencies in a Cargo.toml.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut here = false;
    let mut out = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            here = matches!(line.trim(), "[dependencies]" | "[dev-dependencies]");
        } else if let (true, Some((name, _))) = (here, line.split_once('=')) {
            out.insert(name.trim().split('.').next().unwrap_or_default().to_owned());
        }
    }
    out
}

/// The cells of one column of the tables in a section, heads and rules aside.
fn column(section: &str, at: usize) -> Vec<String> {
    let rows = section.lines().filter(|line| line.starts_with('|') && !line.starts_with("|-"));
    rows.filter_map(|row| row.split('|').nth(at + 1).map(|cell| cell.trim().to_owned())).collect()
}

/// Kind and name of every message, as `Message::kind` has them.
fn kinds_in_code(source: &str) -> BTreeMap<u32, String> {
    let body = source.split_once("fn kind(&self)").and_then(|(_, rest)| rest.split_once("\n    }\n")).map_or("", |(body, _)| body);
    let arm = |line: &str| {
        let (pattern, number) = line.trim().strip_prefix("Message::")?.split_once(" => ")?;
        let name = pattern.split(['(', ' ']).next()?;
        Some((number.trim_end_matches(',').parse().ok()?, name.to_owned()))
    };
    body.lines().filter_map(arm).collect()
}

/// Kind and name of every message, as the page has them.
fn kinds_in_page(page: &str) -> BTreeMap<u32, String> {
    let section = section(page, "## Frames");
    let rows = column(section, 0).into_iter().zip(column(section, 1));
    rows.filter_map(|(kind, name)| Some((kind.parse().ok()?, name))).collect()
}

/// The variants of an enum, in their order, in lower case.
fn variants(source: &str, name: &str) -> Vec<String> {
    let body = source.split_once(&format!("pub enum {name} {{")).and_then(|(_, rest)| rest.split_once("\n}")).map_or("", |(body, _)| body);
    let variant = |line: &str| line.trim().strip_suffix(',').filter(|word| word.chars().all(char::is_alphanumeric)).map(str::to_lowercase);
    body.lines().filter_map(variant).collect()
}

/// The names of all settings.
fn settings(source: &str) -> Vec<String> {
    source
        .split("Key::new(\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| name.to_owned())
        .filter(|n| n.contains('.'))
        .collect()
}

fn assert_none(wrong: &[String], what: &str) {
    assert!(wrong.is_empty(), "{what}:\n  {}\n", wrong.join("\n  "));
}

#[test]
fn every_relative_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() > 10, "the pages were read");
    let dead: Vec<String> = pages.iter().flat_map(|(from, page)| dead_links(from, page, |path| root().join(path).exists())).collect();
    assert_none(&dead, "links that lead nowhere");
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let functions = functions();
    let judged = |from: &str| matches!(from, "docs/ARCHITECTURE.md" | "docs/promises.md") || from.starts_with("docs/decisions/");
    let pages: Vec<(String, String)> = pages().into_iter().filter(|(from, _)| judged(from)).collect();
    let named: Vec<(String, String)> =
        pages.iter().flat_map(|(from, page)| named_tests(from, page).into_iter().map(|name| (from.clone(), name))).collect();
    assert!(named.len() > 80, "the names were read");
    let missing: Vec<String> =
        named.into_iter().filter(|(_, name)| !functions.contains(name)).map(|(from, name)| format!("{from}: {name}")).collect();
    assert_none(&missing, "no function of that name");
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let is_there = |name: &str| root().join(name).exists() || root().join("src").join(name).exists();
    let pages = pages();
    let named = pages.iter().flat_map(|(from, page)| named_files(page).into_iter().map(move |name| (from, name)));
    let missing: Vec<String> = named.filter(|(_, name)| !is_there(name)).map(|(from, name)| format!("{from}: {name}")).collect();
    assert_none(&missing, "no such file");
}

#[test]
fn the_rules_have_the_numbers_of_the_walls() {
    let walls = rule_numbers(&read("tests/architecture.rs"));
    assert!(walls.len() >= 12, "the walls were read");
    assert_eq!(list_numbers(section(&read("docs/ARCHITECTURE.md"), "## Rules")), walls);
}

#[test]
fn every_dependency_has_its_line() {
    let table = column(section(&read("docs/ARCHITECTURE.md"), "## Dependencies"), 1).join(" ");
    let told: BTreeSet<String> = quoted(&table).into_iter().collect();
    assert_eq!(told, dependencies(&read("Cargo.toml")), "left: the table of docs/ARCHITECTURE.md, right: Cargo.toml");
}

#[test]
fn the_messages_have_the_numbers_of_the_code() {
    let (code, page) = (read("src/model/message.rs"), read("docs/protocol.md"));
    assert!(kinds_in_code(&code).len() > 5, "the kinds were read");
    assert_eq!(kinds_in_page(&page), kinds_in_code(&code), "left: docs/protocol.md, right: src/model/message.rs");
    let reasons = format!("in this order from 0: {}.", variants(&code, "Bye").join(", "));
    assert!(page.contains(&reasons), "docs/protocol.md must say “{reasons}”");
}

#[test]
fn every_setting_is_in_the_readme() {
    let (keys, readme) = (settings(&read("src/config/keys.rs")), quoted(&read("README.md")));
    assert!(keys.len() > 5, "the keys were read");
    let missing: Vec<String> = keys.into_iter().filter(|key| !readme.contains(key)).collect();
    assert_none(&missing, "settings that README.md does not name");
}

/// The checkers themselves, fed with what they must catch and with what they must let through.
mod checkers {
    use super::*;

    #[test]
    fn a_dead_link_is_caught_and_others_are_not() {
        let page =
            "[a](there.md) [b](gone.md#x) [c](https://example.org/y) [d](#here) `[e](code.md)`\n```\n[f](fenced.md)\n```\n[g](../up.md)";
        let is_there = |path: &Path| path.ends_with("there.md") || path.ends_with("up.md");
        assert_eq!(dead_links("docs/x.md", page, is_there), ["docs/x.md: gone.md"]);
    }

    #[test]
    fn a_name_is_told_from_other_words() {
        let page = "`a_test_name` `serde_json` `model/limits.rs` `AN_UPPER_CASE` `x__y_z`\n```\n`in_a_fence`\n```\nnot_in_ticks_at_all";
        assert_eq!(named_tests("docs/promises.md", page), BTreeSet::from(["a_test_name".to_owned()]));
        let decision = "`said_before_it_is_held` **Held by** `what_holds_it`";
        assert_eq!(named_tests("docs/decisions/0001-x.md", decision), BTreeSet::from(["what_holds_it".to_owned()]));
        assert_eq!(named_files("`model/a.rs` `b.rs` `docs/*.rs` `c/d.md`"), ["model/a.rs"]);
        assert_eq!(named_functions("    fn one() {}\npub(crate) async fn two_three<T>(x: T)\nlet f: fn (u8);"), ["one", "two_three"]);
    }

    #[test]
    fn numbers_and_tables_are_read() {
        assert_eq!(rule_numbers("const RULES: &[(u8, &str)] = &[\n    (1, \"a\"),\n    (7, \"b\"),\n];\n(9, 9)"), [1, 7]);
        let page = "# x\n## Rules\n\n1. a\n2. b\n\n## Next\n3. c\n";
        assert_eq!(list_numbers(section(page, "## Rules")), [1, 2]);
        assert_eq!(column("| job | crate |\n|---|---|\n| a | `b`, `c` |\n", 1), ["crate", "`b`, `c`"]);
        let manifest = "[dependencies]\nserde = \"1\"\n# no = 1\n[features]\nx = []\n[dev-dependencies]\na-b.workspace = true\n";
        assert_eq!(dependencies(manifest).into_iter().filter(|name| !name.starts_with('#')).collect::<Vec<_>>(), ["a-b", "serde"]);
        assert_eq!(settings("Key::new(\"http.port\", \"1\"), new(\"x.y\") Key::new(\"x\""), ["http.port"]);
    }

    #[test]
    fn a_kind_with_another_number_is_caught() {
        let code = "    fn kind(&self) -> u16 {\n        match self {\n            Message::Hello(_) => 2,\n            Message::Sync { .. } => 4,\n        }\n    }\n";
        let page =
            |sync: &str| format!("\n## Frames\n\n| kind | message |\n|--:|---|\n| 2 | Hello |\n| {sync} | Sync |\n\n## Next\n| 9 | No |\n");
        assert_eq!(kinds_in_code(code), kinds_in_page(&page("4")));
        assert_ne!(kinds_in_code(code), kinds_in_page(&page("5")));
        assert_eq!(
            variants("pub enum Bye {\n    /// Why.\n    #[error(\"x\")]\n    Stopping,\n    Left,\n}\n", "Bye"),
            ["stopping", "left"]
        );
    }
}
