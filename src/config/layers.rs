//! The layers on top of each other: the file's tables are walked, not deserialised, so that a key that nobody knows can be
//! named with its nearest relative, and a wrong value with its file, its key and what would have been right.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{Error, Warning};
use super::keys::{KEYS, Key, Value, key};
use super::peers::{self, PEER_KEYS, Peers};
use super::replaced::replaced;
use super::setting::{Env, Origin, Setting, Source};

/// Every setting's value, by name.
pub(super) type Values = BTreeMap<&'static str, Setting<Value>>;

/// What was said so far. Layers are added in any order; the later `Source` counts.
#[derive(Debug, Default)]
pub(super) struct Layers {
    values: Values,
    peers: Peers,
    warnings: Vec<Warning>,
}

impl Layers {
    pub(super) fn add_file(&mut self, file: &Path, text: &str) -> Result<(), Error> {
        let table: toml::Table =
            toml::from_str(text).map_err(|why| Error::Syntax { file: file.to_owned(), why: why.to_string().trim_end().to_owned() })?;
        self.walk(&Origin::File(file.to_owned()), "", &table)
    }

    fn walk(&mut self, origin: &Origin, prefix: &str, table: &toml::Table) -> Result<(), Error> {
        for (name, value) in table {
            if prefix.is_empty() && name == "peers" {
                self.walk_peers(origin, value)?;
                continue;
            }
            let path = format!("{prefix}{name}");
            let is_section = KEYS.iter().any(|key| key.name.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.')));
            match (key(&path), value) {
                (Some(key), value) => {
                    let read = key.kind.read(value).ok_or_else(|| wrong(origin, key, shown(value)))?;
                    self.set(key, read, Source::File);
                    for name in key.kind.unknown(value) {
                        let known = ["path", "computer"].map(|known| format!("{path}.{known}"));
                        let said = format!("{path}.{name}");
                        let nearest = nearest(&said, known.into_iter());
                        self.warnings.push(Warning { origin: origin.clone(), key: said, nearest, said: None });
                    }
                }
                (None, value) if replaced(name).is_some() => self.of_another_system(origin, name, value),
                (None, toml::Value::Table(inner)) => self.walk(origin, &format!("{path}."), inner)?,
                (None, value) if is_section => {
                    let (origin, expected) = (origin.clone(), format!("a table: [{path}]"));
                    return Err(Error::WrongValue { origin, key: path, expected, got: shown(value) });
                }
                (None, _) => {
                    let said = not_yet(&path).map(|yet| format!("“{path}” sets nothing yet: it {yet}"));
                    let nearest = if said.is_some() { None } else { nearest(&path, KEYS.iter().map(|key| key.name.to_string())) };
                    self.warnings.push(Warning { origin: origin.clone(), key: path, nearest, said });
                }
            }
        }
        Ok(())
    }

    /// A spelling of a replaced system: it counts where it means something here and our own name does not stand there, too.
    fn of_another_system(&mut self, origin: &Origin, name: &str, value: &toml::Value) {
        let Some(known) = replaced(name) else { return };
        let read = known.meant().and_then(|key| Some((key, key.kind.read(value)?)));
        let said = match (known.meant(), &read) {
            (Some(key), None) => format!("{}, and has to be {}; it was passed over", known.advice(), key.kind.expected()),
            _ => known.advice(),
        };
        if let Some((key, value)) = read.filter(|(key, _)| !self.values.contains_key(key.name.as_ref())) {
            self.set(key, value, Source::File);
        }
        self.warnings.push(Warning { origin: origin.clone(), key: name.to_owned(), nearest: None, said: Some(said) });
    }

    /// `[peers.NAME]`: a table for each device.
    fn walk_peers(&mut self, origin: &Origin, said: &toml::Value) -> Result<(), Error> {
        let no_table = |path: String, value: &toml::Value| {
            let (origin, expected) = (origin.clone(), format!("a table: [{path}]"));
            Error::WrongValue { origin, key: path, expected, got: shown(value) }
        };
        let devices = said.as_table().ok_or_else(|| no_table("peers.NAME".to_owned(), said))?;
        for (name, settings) in devices {
            let settings = settings.as_table().ok_or_else(|| no_table(format!("peers.{name}"), settings))?;
            for (last, value) in settings {
                let path = format!("peers.{name}.{last}");
                match peers::key(last) {
                    Some(key) => {
                        let read = key.kind.read(value).ok_or_else(|| Error::WrongValue {
                            origin: origin.clone(),
                            key: path,
                            expected: key.kind.expected(),
                            got: shown(value),
                        })?;
                        peers::set(&mut self.peers, name, key, read, Source::File);
                    }
                    None => {
                        let nearest = nearest(&path, PEER_KEYS.iter().map(|key| key.name.replace("NAME", name)));
                        self.warnings.push(Warning { origin: origin.clone(), key: path, nearest, said: None });
                    }
                }
            }
        }
        Ok(())
    }

    /// An empty variable counts as unset, but for lists, where it is the empty list.
    pub(super) fn add_env(&mut self, env: &Env) -> Result<(), Error> {
        for (variable, text) in env.iter().filter(|(variable, _)| variable.starts_with("HUBLESS_")) {
            let origin = Origin::Variable(variable.clone());
            if let Some((name, key)) = peers::of_variable(variable) {
                match key.kind.parse(text) {
                    Some(value) => peers::set(&mut self.peers, &name, key, value, Source::Env),
                    None if text.is_empty() => {}
                    None => return Err(wrong(&origin, key, format!("“{text}”"))),
                }
                continue;
            }
            match KEYS.iter().find(|key| key.variable() == *variable) {
                Some(key) => match key.kind.parse(text) {
                    Some(value) => self.set(key, value, Source::Env),
                    None if text.is_empty() => {}
                    None => return Err(wrong(&origin, key, format!("“{text}”"))),
                },
                None => {
                    let key = variable.trim_start_matches("HUBLESS_").to_lowercase().replacen('_', ".", 1);
                    if let Some(yet) = not_yet(&key) {
                        let said = Some(format!("“{key}” sets nothing yet: it {yet}"));
                        self.warnings.push(Warning { origin, key, nearest: None, said });
                    } else if is_meant_as_setting(variable) {
                        let nearest = nearest(variable, KEYS.iter().map(Key::variable));
                        self.warnings.push(Warning { origin, key: variable.clone(), nearest, said: None });
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn add_flags(&mut self, flags: &BTreeMap<String, String>) -> Result<(), Error> {
        for (name, text) in flags {
            let Some(key) = key(name) else {
                if let Some(yet) = not_yet(name) {
                    self.warnings.push(Warning {
                        origin: Origin::Flag,
                        key: name.clone(),
                        nearest: None,
                        said: Some(format!("“{name}” sets nothing yet: it {yet}")),
                    });
                    continue;
                }
                let nearest = nearest(name, KEYS.iter().map(|key| key.name.to_string()));
                return Err(Error::UnknownFlag { key: name.clone(), nearest });
            };
            let value = key.kind.parse(text).ok_or_else(|| wrong(&Origin::Flag, key, format!("“{text}”")))?;
            self.set(key, value, Source::Flag);
        }
        Ok(())
    }

    fn set(&mut self, key: &'static Key, value: Value, source: Source) {
        let set = self.values.entry(&key.name).or_insert_with(|| Setting { value: value.clone(), source });
        if source >= set.source {
            *set = Setting { value, source };
        }
    }

    /// Every key with its value; `default` is asked for those that nobody set.
    pub(super) fn finish(
        mut self,
        default: impl Fn(&'static Key) -> Result<String, Error>,
    ) -> Result<(Values, Peers, Vec<Warning>), Error> {
        for key in KEYS.iter() {
            if !self.values.contains_key(key.name.as_ref()) {
                let text = default(key)?;
                let value = key.kind.parse(&text).ok_or_else(|| wrong(&Origin::Default, key, format!("“{text}”")))?;
                self.values.insert(&key.name, Setting { value, source: Source::Default });
            }
        }
        Ok((self.values, self.peers, self.warnings))
    }
}

/// Keys that the documents name and nothing follows yet, with what they belong to: whoever sets one has read well.
const NOT_YET: [(&str, &str); 2] = {
    const TRANSCRIPTS: &str = "belongs to transcripts, which are not copied yet; everything else is always whole";
    [("sync.initial_days", TRANSCRIPTS), ("sources.initial_days", TRANSCRIPTS)]
};

fn not_yet(key: &str) -> Option<&'static str> {
    NOT_YET.iter().find(|(name, _)| *name == key).map(|(_, yet)| *yet)
}

/// Other variables with our prefix set no setting and are meant to (an agent's name, a test's clock).
fn is_meant_as_setting(variable: &str) -> bool {
    let section = |key: &Key| key.name.split('.').next().map(|section| format!("HUBLESS_{}_", section.to_uppercase()));
    let is_close = KEYS.iter().any(|key| distance(variable, &key.variable()) <= 2);
    is_close || KEYS.iter().filter_map(section).any(|section| variable.starts_with(&section))
}

fn wrong(origin: &Origin, key: &Key, got: String) -> Error {
    Error::WrongValue { origin: origin.clone(), key: key.name.to_string(), expected: key.kind.expected(), got }
}

/// One line of what was said, not too long.
fn shown(value: &toml::Value) -> String {
    let text = if value.is_table() { "a table".to_owned() } else { value.to_string() };
    text.lines().next().unwrap_or_default().chars().take(80).collect()
}

/// The name with the fewest changed letters, if a third of them or fewer would have to change.
pub(super) fn nearest(typed: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let close = names.map(|name| (distance(typed, &name), name)).min()?;
    (close.0 <= (typed.chars().count() / 3).max(2)).then_some(close.1)
}

/// Letters to add, drop or change to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn a_distance_is_a_distance(a: String, b: String) -> bool {
            let (long, short) = (a.chars().count().max(b.chars().count()), a.chars().count().abs_diff(b.chars().count()));
            let d = distance(&a, &b);
            d == distance(&b, &a) && (d == 0) == (a == b) && (short..=long).contains(&d)
        }
    }

    #[test]
    fn distances_of_words_are_as_in_the_book() {
        assert_eq!((distance("kitten", "sitting"), distance("port", "prot"), distance("", "abc")), (3, 2, 3));
    }

    #[test]
    fn only_what_is_near_is_meant() {
        let names = || ["http.port", "log.level"].map(str::to_owned).into_iter();
        assert_eq!(nearest("http.prt", names()).as_deref(), Some("http.port"));
        assert_eq!(nearest("retention.sessions", names()), None);
    }
}
