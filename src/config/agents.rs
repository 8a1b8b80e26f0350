//! `agents.toml`, beside `config.toml`: how a person calls the agents of this device, what else they are called, and what
//! each is there for.
//!
//! ```toml
//! [Sam]
//! aliases = ["claude", "sam-bot"]
//! role = "backend"
//! ```
//!
//! What is wrong in it is said with its line, and the rest counts: a slip in one agent's lines must not rename all the others.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::beat::agent_key;
use crate::model::member::AgentName;
use crate::model::text::Foreign;

use super::keys::is_name;

/// Names and aliases of one file: it is told to every device, in one entry.
const NAMES_MAX: usize = 256;
/// Bytes of them and of their roles.
const BYTES_MAX: usize = 16 * 1024;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agents {
    /// Where it is.
    pub file: PathBuf,
    /// Whether it is there.
    pub present: bool,
    /// How agents are called, by `agent_key` of what their tools and reports call them.
    pub names: BTreeMap<String, AgentName>,
    /// What is wrong in it; the rest counts.
    pub complaints: Vec<Complaint>,
}

/// Something in the file that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Where.
    pub file: PathBuf,
    /// In which line, from 1; `None`: the file as a whole.
    pub line: Option<usize>,
    /// What, safe to print.
    pub what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(", line {line}")).unwrap_or_default();
        write!(f, "{}{line}: {}; the rest of it counts", self.file.display(), self.what)
    }
}

/// Reads the file; one that is not there says nothing.
pub(super) fn read(file: &Path) -> Agents {
    let mut agents = Agents { file: file.to_owned(), ..Agents::default() };
    match fs::read(file) {
        Ok(bytes) => {
            agents.present = true;
            agents.take(&String::from_utf8_lossy(&bytes));
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => agents.complain(None, format!("cannot be read: {why}")),
    }
    agents
}

impl Agents {
    fn complain(&mut self, line: Option<usize>, what: impl Into<String>) {
        let what = Foreign::new(what).plain();
        self.complaints.push(Complaint { file: self.file.clone(), line, what });
    }

    /// Each agent's lines are read by themselves, so that an error in one leaves the others.
    fn take(&mut self, text: &str) {
        for (first, section) in sections(text) {
            match toml::from_str::<toml::Table>(&section) {
                Ok(table) => table.iter().for_each(|(name, value)| self.one(first, &section, name, value)),
                Err(why) => {
                    let below = why.span().map_or(0, |span| section[..span.start.min(section.len())].matches('\n').count());
                    self.complain(Some(first + below), why.message().lines().next().unwrap_or("no TOML"));
                }
            }
        }
    }

    /// One agent: what it is called counts only if all of it can be told apart from the others.
    fn one(&mut self, first: usize, section: &str, name: &str, value: &toml::Value) {
        let at = |key: &str| Some(first + section.lines().position(|line| line.trim_start().starts_with(key)).unwrap_or(0));
        let Some(table) = value.as_table() else {
            return self.complain(at(name), format!("“{name}” stands outside of any agent: [NAME] begins one"));
        };
        if !is_name(name) {
            return self.complain(Some(first), "a name has one line and at most 64 characters");
        }
        let mut called = vec![(Some(first), name.to_owned())];
        let mut role = None;
        for (key, value) in table {
            match (key.as_str(), value) {
                ("role", toml::Value::String(text)) if is_name(text) => role = Some(Foreign::new(text.trim())),
                ("aliases", toml::Value::Array(aliases)) => {
                    for alias in aliases {
                        match alias.as_str().filter(|alias| is_name(alias)) {
                            Some(alias) => called.push((at("aliases"), alias.to_owned())),
                            None => self.complain(at("aliases"), format!("an alias of “{name}” is no name of one line")),
                        }
                    }
                }
                ("role", _) => self.complain(at("role"), "a role is a text of one line, at most 64 characters"),
                ("aliases", _) => self.complain(at("aliases"), "aliases are a list: [\"claude\"]"),
                (_, toml::Value::Table(_)) => self.complain(Some(first), "a name with a dot stands in quotes: [\"a.b\"]"),
                (key, _) => self.complain(at(key), format!("an agent has no “{key}”, only “aliases” and “role”")),
            }
        }
        let named = AgentName { name: Foreign::new(name.trim()), role };
        for (line, called) in called {
            self.call(line, &called, &named);
        }
    }

    fn call(&mut self, line: Option<usize>, called: &str, named: &AgentName) {
        let key = agent_key(&Foreign::new(called));
        let bytes = |(key, named): (&String, &AgentName)| {
            key.len() + named.name.json().len() + named.role.as_ref().map_or(0, |role| role.json().len())
        };
        let held: usize = self.names.iter().map(bytes).sum();
        match self.names.get(&key) {
            Some(other) if agent_key(&other.name) != agent_key(&named.name) => {
                let other = other.name.json().to_owned();
                self.complain(line, format!("“{called}” is “{other}” already"));
            }
            Some(_) => {}
            None if self.names.len() >= NAMES_MAX || held + bytes((&key, named)) > BYTES_MAX => {
                self.complain(line, format!("“{called}” is one too many: at most {NAMES_MAX} names in {} KiB", BYTES_MAX / 1024));
            }
            None => drop(self.names.insert(key, named.clone())),
        }
    }
}

/// The lines that belong together, each with the number of its first one: what stands before the first header, then one agent each.
fn sections(text: &str) -> Vec<(usize, String)> {
    let mut sections = vec![(1, String::new())];
    for (n, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        if line.trim_start().starts_with('[') {
            sections.push((n, String::new()));
        }
        if let Some((_, section)) = sections.last_mut() {
            section.push_str(line);
            section.push('\n');
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    /// Key, name and role.
    type Row = (String, String, String);

    fn said(text: &str) -> (Vec<Row>, Vec<(usize, String)>) {
        let mut agents = Agents::default();
        agents.take(text);
        let role = |named: &AgentName| named.role.as_ref().map_or("", Foreign::json).to_owned();
        let names = agents.names.iter().map(|(key, named)| (key.clone(), named.name.json().to_owned(), role(named))).collect();
        (names, agents.complaints.into_iter().map(|said| (said.line.unwrap_or(0), said.what)).collect())
    }

    fn row(key: &str, name: &str, role: &str) -> Row {
        (key.to_owned(), name.to_owned(), role.to_owned())
    }

    #[test]
    fn names_aliases_and_roles_count_in_either_case() {
        let (names, complaints) = said("# mine\n\n[Sam]\naliases = [\n  \"Claude\",\n  \"sam bot\",\n]\nrole = \"backend\"\n[\"leo.2\"]\n");
        assert_eq!(
            names,
            [row("claude", "Sam", "backend"), row("leo.2", "leo.2", ""), row("sam", "Sam", "backend"), row("sam bot", "Sam", "backend")]
        );
        assert_eq!(complaints, []);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_the_rest_counts() {
        let text = "stray = 1\n[Sam]\naliases = \"x\"\nrole = 7\ncolour = \"red\"\n[Leo\nrole = \"x\"\n[Kim]\nrole = \"docs\"\n\n[Max]\naliases = [\"KIM\", 1]\nrole = \"\\u001b[2J\"\n[a.b]\n[sam]\n";
        let (names, complaints) = said(text);
        let names: Vec<_> = names.iter().map(|(key, name, _)| (key.as_str(), name.as_str())).collect();
        assert_eq!(names, [("a", "a"), ("kim", "Kim"), ("max", "Max"), ("sam", "Sam")]);
        let lines: Vec<usize> = complaints.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 5, 4, 6, 12, 13, 12, 14], "{complaints:?}");
        assert!(complaints.iter().all(|(_, what)| !what.contains('\u{1b}')), "{complaints:?}");
    }

    #[test]
    fn there_is_a_most_of_them() {
        let many: String = (0..NAMES_MAX + 3).map(|n| format!("[a{n}]\n")).collect();
        let (names, complaints) = said(&many);
        assert_eq!((names.len(), complaints.len()), (NAMES_MAX, 3));
    }

    quickcheck! {
        fn any_text_is_read_and_what_it_names_fits(text: String) -> bool {
            let mut agents = Agents::default();
            agents.take(&text);
            agents.names.iter().all(|(key, named)| *key == agent_key(&Foreign::new(&**key)) && is_name(named.name.json()))
        }
    }
}
