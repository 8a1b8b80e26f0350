//! Our entries in a tool's settings: put in and taken out as text, so that everything foreign stays byte for byte.
//!
//! The law: what [`install`] puts in, [`uninstall`] takes out, and what is left is the text as it was; putting in twice is
//! putting in once. So that it can hold, a list or object that we make begins with a new line behind its bracket, and one that
//! was there empty is filled without one: whoever empties it again knows whether it was ours. An entry is ours by its command
//! (`shell::is_ours`), wherever the program lies.

use std::ops::Range;

use serde_json::{Value, json};

use super::error::Wrong;
use super::outline::{self, Member, Node};
use super::shell;

/// A program whose settings we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// Claude Code.
    Claude,
    /// Codex CLI.
    Codex,
    /// The pi coding agent.
    Pi,
}

impl Tool {
    /// All of them.
    pub const ALL: [Tool; 3] = [Tool::Claude, Tool::Codex, Tool::Pi];

    /// The word that commands, sessions and answers use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Tool::Claude => "claude",
            Tool::Codex => "codex",
            Tool::Pi => "pi",
        }
    }

    /// The tool of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Tool> {
        Tool::ALL.into_iter().find(|tool| tool.word() == word)
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tool::Claude => "Claude Code",
            Tool::Codex => "Codex",
            Tool::Pi => "pi",
        }
    }
}

/// A tool's version: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The first version number in what a tool prints: `2.1.212 (Claude Code)`.
    #[must_use]
    pub fn find(text: &str) -> Option<Version> {
        text.split(|c: char| c.is_whitespace() || c == 'v').find_map(|word| {
            let mut parts = word.split(['.', '-', '+']).map(|part| part.parse().ok());
            Some(Version(parts.next()??, parts.next()??, parts.next()??))
        })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What is assumed of a Claude Code that does not say its version: older ones have not been sold for a year.
const ASSUMED: Version = Version(2, 0, 0);
/// Every event of a tool without versions.
const ALWAYS: Version = Version(0, 0, 0);

/// One event on which we are run.
struct Entry {
    event: &'static str,
    /// After so many seconds the tool may end us; we need hundredths of one.
    timeout_s: u32,
    /// Whether the tool need not wait for us.
    background: bool,
    /// The first version that knows the event (FORMATS 3.2). Claude Code passes over a whole settings file that names an event
    /// unknown to it (anthropics/claude-code#75081, stablyai/orca#15548), so a newer one is named only where it is known to be known.
    since: Version,
}

const fn entry(event: &'static str, since: Version) -> Entry {
    Entry { event, timeout_s: 5, background: false, since }
}

const CLAUDE: [Entry; 9] = [
    entry("SessionStart", Version(1, 0, 62)),
    entry("UserPromptSubmit", Version(1, 0, 54)),
    Entry { background: true, ..entry("PostToolUse", Version(1, 0, 38)) },
    entry("Notification", Version(1, 0, 38)),
    entry("PermissionRequest", Version(2, 0, 45)),
    entry("Stop", Version(1, 0, 41)),
    entry("StopFailure", Version(2, 1, 78)),
    entry("PreCompact", Version(1, 0, 48)),
    entry("SessionEnd", Version(1, 0, 85)),
];

/// Codex passes over events it does not know, and over what is to run in the background before 0.148.
const CODEX: [Entry; 6] = [
    entry("SessionStart", ALWAYS),
    entry("UserPromptSubmit", ALWAYS),
    entry("PermissionRequest", ALWAYS),
    entry("PostToolUse", ALWAYS),
    entry("Stop", ALWAYS),
    // It cuts a longer one with a warning (FORMATS 4.5).
    Entry { timeout_s: 3, ..entry("SessionEnd", ALWAYS) },
];

/// The entries that this tool, in this version, takes.
fn entries(tool: Tool, version: Option<Version>) -> impl Iterator<Item = &'static Entry> {
    let (all, version): (&[Entry], Version) = match tool {
        Tool::Claude => (&CLAUDE, version.unwrap_or(ASSUMED)),
        Tool::Codex => (&CODEX, version.unwrap_or(Version(u32::MAX, 0, 0))),
        // It has an extension instead: `pi`.
        Tool::Pi => (&[], ALWAYS),
    };
    all.iter().filter(move |entry| entry.since <= version)
}

/// The events of a tool that are left out because its version is older, or not known.
pub(super) fn left_out(tool: Tool, version: Option<Version>) -> Vec<&'static str> {
    let taken: Vec<&str> = entries(tool, version).map(|entry| entry.event).collect();
    entries(tool, Some(Version(u32::MAX, 0, 0))).map(|entry| entry.event).filter(|event| !taken.contains(event)).collect()
}

/// The settings with our entries; of no settings, new ones.
pub(super) fn install(text: Option<&str>, tool: Tool, command: &str, version: Option<Version>) -> Result<String, Wrong> {
    let wanted: Vec<(String, Value)> = entries(tool, version).map(|entry| (entry.event.to_owned(), group(entry, command))).collect();
    let Some(text) = text else {
        let new = Style { unit: "  ".to_owned(), line: "\n" };
        return Ok(format!("{{\n{}{}\n}}\n", new.unit, new.hooks(&wanted)));
    };
    let mut there = own(text, tool)?;
    there.sort_by_key(|(event, _)| wanted.iter().position(|(wanted, _)| wanted == event));
    if there == wanted {
        return Ok(text.to_owned());
    }
    // What an older version, or the program at another place, left is taken out first.
    let Some(base) = uninstall(text, tool)? else { return install(None, tool, command, version) };
    let root = outline::read(&base)?;
    let style = Style::of(&base, &root);
    let Some(hooks) = root.member("hooks") else {
        return Ok(outline::with(&base, vec![style.append(&root, 1, vec![style.hooks(&wanted)])]));
    };
    let mut pieces = Vec::new();
    let mut new = Vec::new();
    for (event, group) in &wanted {
        match hooks.member(event) {
            Some(list) => pieces.push(style.append(list, 3, vec![style.value(3, group)])),
            None => new.push(style.member(2, event, &json!([group]))),
        }
    }
    if !new.is_empty() {
        pieces.push(style.append(hooks, 2, new));
    }
    Ok(outline::with(&base, pieces))
}

/// What we put into the list of one event.
fn group(entry: &Entry, command: &str) -> Value {
    let mut handler = json!({"type": "command", "command": command, "timeout": entry.timeout_s});
    if entry.background {
        handler["async"] = json!(true);
    }
    json!({"hooks": [handler]})
}

/// The settings without our entries; `None` when nothing else was ever in them.
pub(super) fn uninstall(text: &str, tool: Tool) -> Result<Option<String>, Wrong> {
    let root = outline::read(text)?;
    check(&root)?;
    let mut fates = Vec::new();
    for member in root.members().unwrap_or_default() {
        let is_hooks = member.key == "hooks";
        fates.push((member.span.clone(), if is_hooks { of_hooks(text, &member.value, tool) } else { Fate::Stays }));
    }
    match cut(text, &root, fates) {
        Fate::Stays => Ok(Some(text.to_owned())),
        Fate::Shrinks(cuts) => Ok(Some(outline::without(text, cuts))),
        Fate::Goes => Ok(None),
    }
}

/// Our entries as they stand there: event and group, in their order.
pub(super) fn own(text: &str, tool: Tool) -> Result<Vec<(String, Value)>, Wrong> {
    let root = outline::read(text)?;
    check(&root)?;
    let hooks = root.members().unwrap_or_default().iter().filter(|member| member.key == "hooks");
    let lists = hooks.flat_map(|member| member.value.members().unwrap_or_default());
    let groups = lists.flat_map(|list| list.value.elements().unwrap_or_default().iter().map(|group| (list.key.clone(), group)));
    let ours = groups.filter(|(_, group)| !matches!(of_group(text, group, tool), Fate::Stays));
    Ok(ours.map(|(event, group)| (event, serde_json::from_str(&text[group.span.clone()]).unwrap_or_default())).collect())
}

/// Whether the file switches all hooks off.
pub(super) fn is_switched_off(text: &str) -> bool {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value["disableAllHooks"] == json!(true)
}

/// Refuses a shape in which no entry has a place.
fn check(root: &Node) -> Result<(), Wrong> {
    let wrong = |what: String| Err(Wrong::Shape(what));
    let Some(members) = root.members() else { return wrong("it is not an object".to_owned()) };
    for hooks in members.iter().filter(|member| member.key == "hooks") {
        let Some(lists) = hooks.value.members() else { return wrong("“hooks” is not an object".to_owned()) };
        if let Some(list) = lists.iter().find(|list| list.value.elements().is_none()) {
            return wrong(format!("“hooks.{}” is not a list", crate::model::text::Foreign::new(list.key.as_str()).plain()));
        }
    }
    Ok(())
}

// ---- Taking out ----

/// What taking out leaves of a part.
enum Fate {
    Stays,
    /// All but these ranges.
    Shrinks(Vec<Range<usize>>),
    Goes,
}

fn of_hooks(text: &str, hooks: &Node, tool: Tool) -> Fate {
    let lists = hooks.members().unwrap_or_default();
    let fates = lists.iter().map(|Member { span, value, .. }| (span.clone(), of_list(text, value, tool))).collect();
    cut(text, hooks, fates)
}

fn of_list(text: &str, list: &Node, tool: Tool) -> Fate {
    let groups = list.elements().unwrap_or_default();
    cut(text, list, groups.iter().map(|group| (group.span.clone(), of_group(text, group, tool))).collect())
}

/// A group goes when all it runs is ours; of one that somebody mixed, our part goes.
fn of_group(text: &str, group: &Node, tool: Tool) -> Fate {
    let Some(list) = group.member("hooks") else { return Fate::Stays };
    let handlers = list.elements().unwrap_or_default();
    let ours: Vec<bool> = handlers.iter().map(|handler| is_ours(text, handler, tool)).collect();
    if !ours.is_empty() && ours.iter().all(|ours| *ours) {
        return Fate::Goes;
    }
    let fates = handlers.iter().zip(ours).map(|(handler, ours)| (handler.span.clone(), if ours { Fate::Goes } else { Fate::Stays }));
    cut(text, list, fates.collect())
}

fn is_ours(text: &str, handler: &Node, tool: Tool) -> bool {
    let value: Value = serde_json::from_str(&text[handler.span.clone()]).unwrap_or_default();
    let Some(command) = value["command"].as_str() else { return false };
    match value["args"].as_array() {
        Some(args) => shell::is_ours_with(command, &args.iter().filter_map(Value::as_str).collect::<Vec<_>>(), tool.word()),
        None => shell::is_ours(command, tool.word()),
    }
}

/// What becomes of a list or an object when this becomes of its parts.
fn cut(text: &str, whole: &Node, parts: Vec<(Range<usize>, Fate)>) -> Fate {
    let all_go = parts.iter().all(|(_, fate)| matches!(fate, Fate::Goes));
    if let (Some((first, _)), Some((last, _)), true) = (parts.first(), parts.last(), all_go) {
        // One that we made begins with a new line; one that was there empty stays as it was.
        let is_made = text[whole.span.start + 1..first.start].contains('\n');
        return if is_made { Fate::Goes } else { Fate::Shrinks(std::iter::once(first.start..last.end).collect()) };
    }
    let mut cuts = Vec::new();
    let mut kept: Option<usize> = None;
    let mut going: Option<Range<usize>> = None;
    for (span, fate) in parts {
        if let Fate::Goes = fate {
            going = Some(going.map_or(span.start, |run| run.start)..span.end);
            continue;
        }
        // The comma before them goes along, or the one behind them when nothing before them stays.
        cuts.extend(going.take().map(|run| kept.map_or(run.start..span.start, |end| end..run.end)));
        if let Fate::Shrinks(inner) = fate {
            cuts.extend(inner);
        }
        kept = Some(span.end);
    }
    cuts.extend(going.zip(kept).map(|(run, end)| end..run.end));
    if cuts.is_empty() { Fate::Stays } else { Fate::Shrinks(cuts) }
}

// ---- Putting in ----

/// How the file is spaced.
struct Style {
    unit: String,
    line: &'static str,
}

impl Style {
    /// As the first member of the file stands: on a line of its own, so far from the left.
    fn of(text: &str, root: &Node) -> Style {
        let line = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let first = root.members().and_then(<[Member]>::first);
        let before = first.map(|first| &text[root.span.start + 1..first.span.start]);
        let unit = before.and_then(|space| space.rsplit_once('\n')).map_or("  ", |(_, unit)| unit);
        Style { unit: if unit.is_empty() { "  ".to_owned() } else { unit.to_owned() }, line }
    }

    fn indent(&self, depth: usize) -> String {
        format!("{}{}", self.line, self.unit.repeat(depth))
    }

    /// Pieces behind the last part of a list or an object, and where.
    fn append(&self, whole: &Node, depth: usize, pieces: Vec<String>) -> (usize, String) {
        let between = format!(",{}", self.indent(depth));
        let ends = whole.members().map(|all| all.iter().map(|part| part.span.end).collect::<Vec<_>>());
        let ends = ends.or_else(|| whole.elements().map(|all| all.iter().map(|part| part.span.end).collect()));
        match ends.unwrap_or_default().last() {
            Some(end) => (*end, pieces.iter().map(|piece| format!("{between}{piece}")).collect()),
            None => (whole.span.start + 1, pieces.join(&between)),
        }
    }

    /// `"hooks": {…}` with the groups of every event, in their order: a map would sort them.
    fn hooks(&self, wanted: &[(String, Value)]) -> String {
        let lists: Vec<String> =
            wanted.iter().map(|(event, group)| format!("{}{}", self.indent(2), self.member(2, event, &json!([group])))).collect();
        format!("\"hooks\": {{{}{}}}", lists.join(","), self.indent(1))
    }

    fn member(&self, depth: usize, key: &str, value: &Value) -> String {
        format!("{}: {}", Value::from(key), self.value(depth, value))
    }

    fn value(&self, depth: usize, value: &Value) -> String {
        let (open, close, parts): (char, char, Vec<String>) = match value {
            Value::Array(all) => ('[', ']', all.iter().map(|part| self.value(depth + 1, part)).collect()),
            Value::Object(all) => {
                // `type` first, as everybody writes it.
                let mut keys: Vec<&String> = all.keys().collect();
                keys.sort_by_key(|key| ["type", "command", "timeout", "async"].iter().position(|known| known == key));
                ('{', '}', keys.into_iter().map(|key| self.member(depth + 1, key, &all[key])).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return value.to_string(),
        };
        let parts: Vec<String> = parts.into_iter().map(|part| format!("{}{part}", self.indent(depth + 1))).collect();
        format!("{open}{}{}{close}", parts.join(","), self.indent(depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    const COMMAND: &str = "/opt/hubless hook claude";
    const LATEST: Option<Version> = Some(Version(2, 1, 212));

    /// Settings as somebody else left them: any spacing, any order, foreign hooks on any event, odd but valid.
    #[derive(Debug, Clone)]
    struct Settings(String);

    fn space(g: &mut Gen) -> &'static str {
        g.choose(&["", "", " ", "\n", "\n  ", "\n\t", "\r\n    ", "  \n\n "]).copied().unwrap_or_default()
    }

    fn parts(g: &mut Gen, brackets: [&str; 2], parts: &[String]) -> String {
        let mut out = brackets[0].to_owned();
        for (n, part) in parts.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            out.push_str(&format!("{comma}{}{part}{}", space(g), space(g)));
        }
        let inside = if parts.is_empty() { space(g) } else { "" };
        out + inside + brackets[1]
    }

    fn handler(g: &mut Gen) -> String {
        let foreign = [
            r#"{"type": "command", "command": "say hi", "args": []}"#,
            r#"{"command":"/usr/bin/atuin hook claude-code","type":"command","x":1.50}"#,
            r#"{"type":"http","url":"http://localhost/[}],{\\\""}"#,
            r#"{"type":"command","command":"/opt/hubless hook codex"}"#,
            "7",
        ];
        (*g.choose(&foreign).expect("one")).to_owned()
    }

    fn some<T>(g: &mut Gen, max: usize, mut one: impl FnMut(&mut Gen) -> T) -> Vec<T> {
        (0..usize::arbitrary(g) % (max + 1)).map(|_| one(g)).collect()
    }

    fn foreign_group(g: &mut Gen) -> String {
        let handlers = some(g, 2, handler);
        let list = parts(g, ["[", "]"], &handlers);
        let bash = r#""matcher": "Bash""#.to_owned();
        let members = if bool::arbitrary(g) { vec![bash, format!("\"hooks\":{list}")] } else { vec![format!("\"hooks\" :{list}")] };
        parts(g, ["{", "}"], &members)
    }

    fn list(g: &mut Gen) -> String {
        let events = ["SessionStart", "Stop", "PostToolUse", "PreToolUse", "SessionEnd", "Sürprise"];
        let event = *g.choose(&events).expect("one");
        let groups = some(g, 2, foreign_group);
        format!("\"{event}\"{}:{}{}", space(g), space(g), parts(g, ["[", "]"], &groups))
    }

    impl Arbitrary for Settings {
        fn arbitrary(g: &mut Gen) -> Settings {
            let mut members = some(g, 2, |g| format!("\"{}\": [1.0, {{\"hooks\": null}}]", usize::arbitrary(g) % 9));
            for _ in 0..usize::arbitrary(g) % 3 {
                let lists = some(g, 4, list);
                members.push(format!("\"hooks\":{}{}", space(g), parts(g, ["{", "}"], &lists)));
            }
            let front = if bool::arbitrary(g) { "" } else { *g.choose(&["\u{feff}", " ", "\n"]).expect("one") };
            Settings(format!("{front}{}{}", parts(g, ["{", "}"], &members), space(g)))
        }
    }

    fn installed(text: &str) -> String {
        install(Some(text), Tool::Claude, COMMAND, LATEST).expect(text)
    }

    /// The groups of others, as they are written.
    fn foreign(text: &str) -> Vec<String> {
        let root = outline::read(text).expect(text);
        let lists = root.members().into_iter().flatten().filter(|member| member.key == "hooks");
        let groups = lists
            .flat_map(|hooks| hooks.value.members().into_iter().flatten())
            .flat_map(|list| list.value.elements().into_iter().flatten());
        let others = groups.filter(|group| matches!(of_group(text, group, Tool::Claude), Fate::Stays));
        others.map(|group| text[group.span.clone()].to_owned()).collect()
    }

    quickcheck! {
        fn putting_in_and_taking_out_gives_the_same_bytes(settings: Settings) -> bool {
            let text = &settings.0;
            uninstall(&installed(text), Tool::Claude) == Ok(Some(text.clone())) && uninstall(text, Tool::Claude) == Ok(Some(text.clone()))
        }

        fn twice_is_once(settings: Settings) -> bool {
            let once = installed(&settings.0);
            installed(&once) == once
        }

        fn what_others_wrote_stays_as_they_wrote_it(settings: Settings) -> bool {
            foreign(&installed(&settings.0)) == foreign(&settings.0)
        }

        /// The text of before is there whole, in one piece each side of what was put in.
        fn all_our_entries_are_there_and_the_rest_is_the_text_of_before(settings: Settings) -> bool {
            let text = installed(&settings.0);
            let there: Vec<String> = own(&text, Tool::Claude).expect("JSON").into_iter().map(|(event, _)| event).collect();
            let all = CLAUDE.iter().all(|entry| there.iter().filter(|event| *event == entry.event).count() == 1);
            let mut letters = text.chars();
            all && there.len() == CLAUDE.len() && settings.0.chars().all(|wanted| letters.any(|letter| letter == wanted))
        }

        /// Of two versions, or two places of the program, only the later is left; and taking that out still gives the first text.
        fn a_later_one_takes_the_place_of_the_former(settings: Settings, older: bool) -> bool {
            let version = if older { None } else { LATEST };
            let text = install(Some(&installed(&settings.0)), Tool::Claude, "HUBLESS_HOME=/h '/new place/hubless' hook claude", version).expect("JSON");
            let ours = own(&text, Tool::Claude).expect("JSON");
            ours.len() == entries(Tool::Claude, version).count()
                && ours.iter().all(|(_, group)| group["hooks"][0]["command"].as_str().is_some_and(|command| command.contains("new place")))
                && uninstall(&text, Tool::Claude) == Ok(Some(settings.0.clone()))
        }

        /// Wherever ours stand between others, they go with one comma each and the others stay.
        fn only_ours_go_from_between_others(ours: Vec<bool>) -> bool {
            let group = |ours: &bool| if *ours { format!("{{\"hooks\": [{{\"command\": \"{COMMAND}\"}}]}}") } else { "{\"hooks\": [7]}".to_owned() };
            let settings = |groups: Vec<String>| format!("{{\"hooks\": {{\"Stop\": [{}], \"X\": [] }} }}", groups.join(" , "));
            let left = ours.iter().filter(|ours| !**ours).map(group).collect();
            uninstall(&settings(ours.iter().map(group).collect()), Tool::Claude) == Ok(Some(settings(left)))
        }

        fn no_text_panics(text: String) -> bool {
            install(Some(&text), Tool::Claude, COMMAND, None).is_ok() == uninstall(&text, Tool::Claude).is_ok()
        }
    }

    #[test]
    fn of_no_settings_new_ones_are_made_and_taken_away_again() {
        let text = install(None, Tool::Claude, COMMAND, None).expect("JSON");
        assert!(
            text.starts_with(
                "{\n  \"hooks\": {\n    \"SessionStart\": [\n      {\n        \"hooks\": [\n          {\n            \"type\": \"command\","
            ),
            "{text}"
        );
        assert!(!text.contains("StopFailure") && text.contains("\"async\": true") && text.ends_with("  }\n}\n"), "{text}");
        assert_eq!(uninstall(&text, Tool::Claude), Ok(None));
        // As JavaScript writes it: nothing in it is spaced otherwise, so the tool's own rewriting changes nothing.
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            &lines[2..12],
            [
                "    \"SessionStart\": [",
                "      {",
                "        \"hooks\": [",
                "          {",
                "            \"type\": \"command\",",
                "            \"command\": \"/opt/hubless hook claude\",",
                "            \"timeout\": 5",
                "          }",
                "        ]",
                "      }"
            ]
        );
        let codex = install(None, Tool::Codex, "/opt/hubless hook codex", None).expect("JSON");
        assert!(!codex.contains("async") && !codex.contains("matcher") && codex.contains("\"timeout\": 3"), "{codex}");
    }

    #[test]
    fn it_is_put_where_others_would_put_it() {
        let text = "{\n\t\"model\": \"opus\",\n\t\"hooks\": {\n\t\t\"Stop\": [\n\t\t\t{\"hooks\": []}\n\t\t]\n\t}\n}\n";
        let ours = installed(text);
        assert!(
            ours.starts_with(
                "{\n\t\"model\": \"opus\",\n\t\"hooks\": {\n\t\t\"Stop\": [\n\t\t\t{\"hooks\": []},\n\t\t\t{\n\t\t\t\t\"hooks\": ["
            ),
            "{ours}"
        );
        assert!(ours.contains("\n\t\t],\n\t\t\"SessionStart\": ["), "{ours}");
        assert!(installed("{}").starts_with("{\"hooks\": {\n"));
    }

    #[test]
    fn what_a_tool_spaced_anew_or_somebody_mixed_is_taken_out_all_the_same() {
        let value: Value = serde_json::from_str(&installed(r#"{"a": 1}"#)).expect("JSON");
        for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("JSON")] {
            assert_eq!(installed(&text), text, "what is there already is not moved about");
            let left = uninstall(&text, Tool::Claude).expect("JSON").expect("something is left");
            let left: Value = serde_json::from_str(&left).expect("JSON");
            assert!(!left.to_string().contains("hubless") && left["a"] == 1, "{left}");
        }
        let mixed = r#"{"hooks":{"Stop":[{"hooks":[{"command":"a"},{"command":"/x/hubless","args":["hook","claude"]},{"command":"b"}]}]}}"#;
        let left = r#"{"hooks":{"Stop":[{"hooks":[{"command":"a"},{"command":"b"}]}]}}"#;
        assert_eq!(uninstall(mixed, Tool::Claude), Ok(Some(left.to_owned())));
        assert_eq!(own(mixed, Tool::Claude).expect("JSON").len(), 1);
    }

    #[test]
    fn a_shape_without_a_place_for_us_is_refused() {
        for (text, names) in
            [("[]", "object"), ("{\"hooks\": []}", "hooks"), ("{\"hooks\": {\"Stop\": {}}}", "hooks.Stop"), ("7", "object")]
        {
            let why = install(Some(text), Tool::Claude, COMMAND, None).expect_err(text);
            assert!(matches!(&why, Wrong::Shape(what) if what.contains(names)), "{text}: {why:?}");
            assert_eq!(uninstall(text, Tool::Claude), Err(why));
        }
        assert!(matches!(install(Some("{,}"), Tool::Claude, COMMAND, None), Err(Wrong::NotJson(_))));
        assert!(is_switched_off(r#"{"disableAllHooks": true}"#) && !is_switched_off("{}") && !is_switched_off("x"));
    }

    #[test]
    fn an_event_is_named_only_to_a_version_that_knows_it() {
        let events = |version| entries(Tool::Claude, version).map(|entry| entry.event).collect::<Vec<_>>();
        assert!(!events(None).contains(&"PermissionRequest") && events(None).contains(&"SessionEnd"));
        assert!(events(Some(Version(2, 0, 45))).contains(&"PermissionRequest"));
        assert!(!events(Some(Version(2, 1, 77))).contains(&"StopFailure") && events(Some(Version(2, 1, 78))).contains(&"StopFailure"));
        assert_eq!(left_out(Tool::Claude, None), ["PermissionRequest", "StopFailure"]);
        assert_eq!((left_out(Tool::Claude, LATEST), left_out(Tool::Codex, None)), (vec![], vec![]));
        assert_eq!(Version::find("2.1.212 (Claude Code)\n"), Some(Version(2, 1, 212)));
        assert_eq!((Version::find("codex-cli v0.150.0-alpha.3"), Version::find("none 1.2")), (Some(Version(0, 150, 0)), None));
    }
}
