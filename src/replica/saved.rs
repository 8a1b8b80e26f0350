//! Facts ↔ nouns, and which shard holds them. What does not read as its noun is no fact: it stays in its document, and
//! nobody sees it.

use serde::de::DeserializeOwned;

use crate::model::beat::Beat;
use crate::model::fact::FactKey;
use crate::model::id::{ActId, DeviceId, DocId, SessionId};
use crate::model::limits::{COUNT_MAX, FACT_BYTES_MAX};
use crate::model::member::{ChoiceFact, DeviceFact, Fleet};
use crate::model::session::{EndFact, SessionFact, TagFact};
use crate::model::todo::{Deed, TodoFact};

/// One fact as the noun it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Noun {
    /// A signed membership entry.
    Member(Vec<u8>),
    /// A device of itself.
    Device(DeviceId, DeviceFact),
    /// A shared decision.
    Choice(ActId, ChoiceFact),
    /// A session.
    Session(SessionId, SessionFact),
    /// The end of one.
    End(SessionId, ActId, EndFact),
    /// A tag of one.
    Tag(SessionId, ActId, TagFact),
    /// A beat.
    Beat(Beat),
    /// Anything of todos.
    Todo(TodoFact),
}

fn take<T: DeserializeOwned>(value: &str) -> Option<T> {
    serde_json::from_str(value).ok()
}

/// Reads one value of a fact.
#[must_use]
pub fn read(key: &FactKey, value: &str) -> Option<Noun> {
    Some(match key {
        FactKey::Member(hash) => {
            let bytes = data_encoding::BASE64.decode(value.as_bytes()).ok()?;
            (blake3::hash(&bytes).as_bytes() == hash).then_some(Noun::Member(bytes))?
        }
        FactKey::Device(device) => Noun::Device(*device, take(value)?),
        FactKey::Choice(id) => Noun::Choice(*id, take(value)?),
        FactKey::Session(id) => Noun::Session(*id, take(value)?),
        FactKey::End(session, id) => Noun::End(*session, *id, take(value)?),
        FactKey::Tag(session, id) => {
            let tag: TagFact = take(value)?;
            (tag.rev <= COUNT_MAX).then_some(Noun::Tag(*session, *id, tag))?
        }
        FactKey::Beat(session, agent) => {
            let beat: Beat = take(value)?;
            (beat.session == *session && crate::model::beat::agent_key(&beat.agent) == *agent).then_some(Noun::Beat(beat))?
        }
        FactKey::Item(item) => Noun::Todo(TodoFact::Item(*item, take(value)?)),
        FactKey::Rank(item, round, status) => Noun::Todo(TodoFact::Rank(*item, *round, *status, take(value)?)),
        FactKey::Act(id) => {
            let act: crate::model::todo::ActFact = take(value)?;
            let fine = match act.deed {
                Deed::Mark { round: n, .. } | Deed::Open { round: n, .. } | Deed::Delete { round: n } => n <= COUNT_MAX,
                Deed::Set { rev: n, .. } | Deed::Tag { rev: n, .. } => n <= COUNT_MAX,
                Deed::Asked | Deed::Resolve { .. } => true,
            };
            fine.then_some(Noun::Todo(TodoFact::Act(*id, act)))?
        }
        FactKey::Other(_) => return None,
        FactKey::Seen(item) => {
            let seen: crate::model::todo::SeenFact = take(value)?;
            (seen.round <= COUNT_MAX).then_some(Noun::Todo(TodoFact::Seen(*item, seen)))?
        }
    })
}

/// Whether that document may say this: facts of its own collection, and beats of its own device.
#[must_use]
pub fn may_stand_in(doc: &DocId, key: &FactKey, value: &str) -> bool {
    let is_its_own = || match read(key, value) {
        Some(Noun::Beat(beat)) => doc.beats_of() == Some(&beat.device.to_string()),
        _ => true,
    };
    key.belongs_to(doc.collection()) && (!matches!(key, FactKey::Beat(..)) || is_its_own())
}

/// Whether others take it for a fact: its name is one, and its value reads as what the name says.
#[must_use]
pub fn is_fact(key: &FactKey, value: &str) -> bool {
    value.len() <= FACT_BYTES_MAX
        && key.to_string().parse().as_ref() == Ok(key)
        && (matches!(key, FactKey::Other(_)) || read(key, value).is_some())
}

/// Writes a todo fact under its name.
#[must_use]
pub fn todo(fact: &TodoFact) -> (FactKey, String) {
    match fact {
        TodoFact::Item(item, fact) => (FactKey::Item(*item), json(fact)),
        TodoFact::Rank(item, round, status, fact) => (FactKey::Rank(*item, *round, *status), json(fact)),
        TodoFact::Act(id, fact) => (FactKey::Act(*id), json(fact)),
        TodoFact::Seen(item, fact) => (FactKey::Seen(*item), json(fact)),
    }
}

/// Writes a membership entry under its name.
#[must_use]
pub fn member(bytes: &[u8]) -> (FactKey, String) {
    (FactKey::Member(*blake3::hash(bytes).as_bytes()), data_encoding::BASE64.encode(bytes))
}

/// Writes the fleet's own file: the fleet, then the membership entries that belong to it, so that losing the fleet document
/// costs no member.
#[must_use]
pub fn fleet(fleet: &Fleet, entries: &[Vec<u8>]) -> Vec<u8> {
    postcard::to_stdvec(&(fleet, entries)).expect("plain data is written without failing")
}

/// Reads the fleet's own file; one without entries holds none.
#[must_use]
pub fn read_fleet(bytes: &[u8]) -> Option<(Fleet, Vec<Vec<u8>>)> {
    let (fleet, rest) = postcard::take_from_bytes(bytes).ok()?;
    Some((fleet, postcard::from_bytes(rest).unwrap_or_default()))
}

/// The shard of what is said of a session.
#[must_use]
pub fn sessions(fact: &SessionFact) -> String {
    format!("sessions/{}", month(fact.started))
}

/// A noun as a fact's JSON.
#[must_use]
pub fn json<T: serde::Serialize>(noun: &T) -> String {
    serde_json::to_string(noun).expect("a noun has string keys and finite numbers")
}

/// The month of a time, as its shard's name has it: `2026-11`. Times outside 1970–9999 fall into the nearest such month.
#[must_use]
pub fn month(ms: i64) -> String {
    const LAST_DAY: i64 = 2_932_896;
    // Days to civil date: Howard Hinnant's algorithm, for days since 1970-01-01 in the proleptic Gregorian calendar.
    let days = ms.div_euclid(86_400_000).clamp(0, LAST_DAY) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_and_end_where_they_do() {
        assert_eq!(month(0), "1970-01");
        assert_eq!(month(-1), "1970-01");
        assert_eq!(month(951_782_399_999), "2000-02");
        assert_eq!(month(951_868_800_000), "2000-03");
        assert_eq!(month(1_798_761_599_999), "2026-12");
        assert_eq!(month(1_798_761_600_000), "2027-01");
        assert_eq!(month(i64::MAX), "9999-12");
    }

    #[test]
    fn a_fleets_file_holds_its_entries_and_may_hold_none() {
        let held = Fleet { id: crate::model::id::FleetId([1; 32]), secrets: vec![[2; 32]] };
        let entries = vec![b"entry".to_vec()];
        assert_eq!(read_fleet(&fleet(&held, &entries)), Some((held.clone(), entries)));
        let bare = postcard::to_stdvec(&held).unwrap();
        assert_eq!(read_fleet(&bare), Some((held, Vec::new())));
        assert_eq!(read_fleet(b"x"), None);
    }

    #[test]
    fn an_entry_under_another_name_is_no_fact() {
        let (key, value) = member(b"entry");
        assert_eq!(read(&key, &value), Some(Noun::Member(b"entry".to_vec())));
        assert_eq!(read(&FactKey::Member([0; 32]), &value), None);
        assert_eq!(read(&FactKey::Device(DeviceId([1; 32])), "{}"), None);
    }
}
