//! One key of `config.toml` is set or taken out, and nothing else moves: comments, order and spacing stay as somebody wrote them.
//!
//! The new text is put in place whole, with the mode that the old one had, and where a link leads (dotfiles are often links).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value as Written};

use super::error::Error;
use super::keys::{Kind, Value};
use super::peers;
use super::setting::Origin;
use super::wanted::Wanted;

/// The mode of a file that was not there: it may name private directories.
const NEW_MODE: u32 = 0o600;

/// `text` of a file with the key set to a value as the environment would have it; `None` takes the key out.
///
/// # Errors
/// When the value is none of its kind, the text is no TOML, or what stands there is no table.
pub fn edited(file: &Path, text: &str, wanted: &Wanted, value: Option<&str>) -> Result<String, Error> {
    let syntax = |why: toml_edit::TomlError| Error::Syntax { file: file.to_owned(), why: why.to_string().trim_end().to_owned() };
    let mut document: DocumentMut = text.parse().map_err(syntax)?;
    let (mut sections, last) = wanted.place();
    // What the file calls this device, in other letters perhaps: two tables of one device would contradict each other.
    let known = wanted.peer.as_deref().and_then(|peer| known_as(&document, peer));
    if let Some((known, place)) = known.as_deref().zip(sections.last_mut()) {
        *place = known;
    }
    match value {
        Some(said) => set(file, document.as_table_mut(), &sections, last, written(wanted, said)?)?,
        None => take_out(document.as_table_mut(), &sections, last),
    }
    Ok(document.to_string())
}

fn known_as(document: &DocumentMut, peer: &str) -> Option<String> {
    let peers = document.get("peers")?.as_table_like()?;
    peers.iter().map(|(name, _)| name).find(|name| peers::same(name, peer)).map(str::to_owned)
}

/// A value as the file has it.
fn written(wanted: &Wanted, said: &str) -> Result<Written, Error> {
    let key = wanted.key;
    let wrong = || {
        let (origin, got) = (Origin::Flag, format!("“{said}”"));
        Error::WrongValue { origin, key: wanted.name(), expected: key.kind.expected(), got }
    };
    let value = key.kind.parse(said).ok_or_else(wrong)?;
    Ok(match value {
        Value::Truth(truth) => Written::from(truth),
        Value::List(list) => Written::Array(list.into_iter().collect::<Array>()),
        Value::Number(n) if !matches!(key.kind, Kind::Size | Kind::Rate) => Written::from(i64::try_from(n).map_err(|_| wrong())?),
        // A span or a size is kept as it was said: `10 MiB` says more than its bytes.
        Value::Text(_) | Value::Span(_) | Value::Number(_) => Written::from(said.trim()),
    })
}

fn set(file: &Path, root: &mut Table, sections: &[&str], last: &str, mut value: Written) -> Result<(), Error> {
    let mut table: &mut dyn TableLike = root;
    for (n, section) in sections.iter().enumerate() {
        let is_inline = table.get(section).is_none() && n > 0 && table.is_dotted();
        let made = if is_inline { Item::Value(Written::InlineTable(InlineTable::new())) } else { new_section(n + 1 < sections.len()) };
        let item = table.entry(section).or_insert(made);
        let got = item.type_name().to_owned();
        let no_table = || {
            let key = sections[..=n].join(".");
            Error::WrongValue { origin: Origin::File(file.to_owned()), expected: format!("a table: [{key}]"), key, got }
        };
        table = item.as_table_like_mut().ok_or_else(no_table)?;
    }
    if let Some(before) = table.get(last).and_then(Item::as_value) {
        // The comment behind it, the space before it.
        *value.decor_mut() = before.decor().clone();
    }
    match table.get_mut(last) {
        Some(item) => *item = Item::Value(value),
        None => {
            table.insert(last, Item::Value(value));
        }
    }
    Ok(())
}

/// A table of its own; one that only holds others needs no line.
fn new_section(holds_others: bool) -> Item {
    let mut table = Table::new();
    table.set_implicit(holds_others);
    Item::Table(table)
}

fn take_out(root: &mut Table, sections: &[&str], last: &str) {
    let mut table: &mut dyn TableLike = root;
    for section in sections {
        match table.get_mut(section).and_then(Item::as_table_like_mut) {
            Some(inner) => table = inner,
            None => return,
        }
    }
    table.remove(last);
}

/// Puts the text where the file is, whole or not at all.
///
/// # Errors
/// [`Error::Unwritable`] in the system's words; nothing has changed then.
pub fn replace(file: &Path, text: &str) -> Result<(), Error> {
    put(file, text).map_err(|why| Error::Unwritable { file: file.to_owned(), why })
}

fn put(file: &Path, text: &str) -> io::Result<()> {
    let place = match fs::canonicalize(file) {
        Ok(place) => place,
        Err(why) if why.kind() == io::ErrorKind::NotFound => file.to_owned(),
        Err(why) => return Err(why),
    };
    let dir = place.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = fs::metadata(&place).map_or(NEW_MODE, |meta| meta.permissions().mode() & 0o7777);
    let mut beside = place.file_name().unwrap_or_default().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = place.with_file_name(beside);
    let written = OpenOptions::new().write(true).create_new(true).mode(NEW_MODE).open(&beside).and_then(|mut out| {
        out.write_all(text.as_bytes())?;
        out.set_permissions(fs::Permissions::from_mode(mode))?;
        out.sync_all()
    });
    written.and_then(|()| fs::rename(&beside, &place)).inspect_err(|_| {
        // What could not be written may not be there to take away.
        let _ = fs::remove_file(&beside);
    })?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::KEYS;

    fn find(name: &str) -> Result<Wanted, Error> {
        Wanted::find(name)
    }

    fn set_to(text: &str, name: &str, value: &str) -> String {
        edited(Path::new("c.toml"), text, &find(name).expect("a key"), Some(value)).expect("edited")
    }

    const THEIRS: &str = "# mine\nlog = { level = \"info\", format = \"text\" } # inline\n\n[http]\n# why 4835: 4825 is taken\nport   =  4835 # see above\n\n[device]\nname = \"a\"\n";

    #[test]
    fn one_value_changes_and_all_else_stays_as_it_was_written() {
        assert_eq!(set_to(THEIRS, "http.port", "4000"), THEIRS.replace("4835 # see", "4000 # see"));
        assert_eq!(set_to(THEIRS, "log.level", "debug"), THEIRS.replace("\"info\"", "\"debug\""));
        assert_eq!(set_to(THEIRS, "device.name", "the attic"), THEIRS.replace("\"a\"", "\"the attic\""));
        assert_eq!(set_to("http.port = 1\n", "http.port", "2"), "http.port = 2\n", "a key with dots stays one");
    }

    #[test]
    fn what_was_not_there_is_added_where_it_belongs() {
        assert_eq!(set_to("", "http.port", "4000"), "[http]\nport = 4000\n");
        assert_eq!(set_to("", "sources.pi.enabled", "no"), "[sources.pi]\nenabled = false\n");
        let more = set_to(THEIRS, "network.peers", "desk:4826, attic:4826");
        assert_eq!(more, format!("{THEIRS}\n[network]\npeers = [\"desk:4826\", \"attic:4826\"]\n"));
        assert_eq!(set_to("", "log.max_size", "10 MiB"), "[log]\nmax_size = \"10 MiB\"\n");
        for text in [THEIRS, "", &more] {
            for key in KEYS.iter().filter(|key| !key.default.starts_with('(')) {
                let text = set_to(text, &key.name, &key.default);
                let table: toml::Table = toml::from_str(&text).expect("still TOML");
                let value = key.name.split('.').try_fold(&toml::Value::Table(table), |table, part| table.get(part).ok_or(())).cloned();
                let value = value.map(|value| key.kind.read(&value)).expect("it stands there");
                assert_eq!(value, key.kind.parse(&key.default), "{}", key.name);
            }
        }
    }

    #[test]
    fn a_device_is_set_in_its_own_table_whatever_letters_it_has_there() {
        assert_eq!(set_to("", "peers.desk.send", "no"), "[peers.desk]\nsend = false\n");
        let spaced = set_to("", "peers.\"mac mini\".schedule", "*/15 * * * *");
        assert_eq!(spaced, "[peers.\"mac mini\"]\nschedule = \"*/15 * * * *\"\n");
        assert_eq!(set_to(&spaced, "peers.Mac Mini.bandwidth", "2MB/s"), format!("{spaced}bandwidth = \"2MB/s\"\n"));
        let out = edited(Path::new("c"), &spaced, &find("peers.\"MAC MINI\".schedule").expect("a key"), None).expect("edited");
        assert_eq!(out, "[peers.\"mac mini\"]\n");
        let wrong = edited(Path::new("c"), "", &find("peers.\"mac mini\".schedule").expect("a key"), Some("often"));
        assert!(wrong.expect_err("refused").to_string().contains("peers.\"mac mini\".schedule = “often”: expected five fields of cron"));
        for key in &super::super::peers::PEER_KEYS {
            let name = key.name.replace("NAME", "x.y z");
            let value = if key.default.is_empty() { "0 1 * * *" } else { &key.default };
            let table: toml::Table = toml::from_str(&set_to("", &name, value)).expect("still TOML");
            let read = table["peers"]["x.y z"].get(key.name.rsplit('.').next().expect("a part"));
            assert_eq!(read.and_then(|read| key.kind.read(read)), key.kind.parse(value), "{name}");
        }
    }

    #[test]
    fn what_is_taken_out_leaves_the_rest() {
        let out = |text: &str, name: &str| edited(Path::new("c"), text, &find(name).expect("a key"), None).expect("edited");
        assert_eq!(out(THEIRS, "device.name"), THEIRS.replace("name = \"a\"\n", ""));
        assert_eq!(out(THEIRS, "network.port"), THEIRS);
    }

    #[test]
    fn wrong_names_and_values_are_refused_with_what_is_right() {
        let said = |result: Result<String, Error>| result.expect_err("refused").to_string();
        let edited = |name: &str, value: &str| find(name).and_then(|key| edited(Path::new("c.toml"), THEIRS, &key, Some(value)));
        assert_eq!(said(edited("http.prt", "1")), "there is no setting “http.prt”; did you mean “http.port”?");
        assert_eq!(said(edited("http.port", "soon")), "the command line: http.port = “soon”: expected a port, 0 to 65535");
        assert_eq!(find("stale_threshold").map(|wanted| wanted.name()).ok().as_deref(), Some("agents.stale_after"));
        let odd = super::edited(Path::new("c.toml"), "http = 1\n", &find("http.port").expect("a key"), Some("1"));
        assert_eq!(said(odd), "c.toml: http = integer: expected a table: [http]");
        assert!(said(super::edited(Path::new("c.toml"), "a = = 1", &find("http.port").expect("a key"), Some("1"))).starts_with("c.toml"));
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_through_links() {
        let dir = tempfile::tempdir().expect("dir");
        let (real, link) = (dir.path().join("real.toml"), dir.path().join("sub/config.toml"));
        fs::write(&real, "a").expect("written");
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("set");
        fs::create_dir(dir.path().join("sub")).expect("made");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        replace(&link, "b").expect("replaced");
        assert_eq!(fs::read_to_string(&real).expect("read"), "b");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::metadata(&real).expect("there").permissions().mode() & 0o777, 0o640);
        let new = dir.path().join("c/d/config.toml");
        replace(&new, "x").expect("made");
        assert_eq!(fs::metadata(&new).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("c/d")).expect("listed").count(), 1, "nothing is left beside it");
        assert!(replace(&real.join("x"), "").is_err());
    }
}
