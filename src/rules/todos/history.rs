//! A todo's history is the same on every device: all actions, and every reading that raised the state, by (at, name).

use super::state::{Group, Source, Word, word};
use crate::model::id::ActId;
use crate::model::text::Foreign;
use crate::model::todo::{ActFact, Deed, Field, Status};
use crate::model::view::Happened;

enum Step<'a> {
    Listed(Word<'a>),
    Acted(ActId, &'a ActFact),
}

/// All that happened to a todo, oldest first.
pub(super) fn of(group: &Group<'_>) -> Vec<Happened> {
    let listed = group.words().filter(|word| matches!(word.source, Source::Item(_)));
    let mut steps: Vec<(i64, u32, Source, Step<'_>)> = listed.map(|word| (word.at, 0, word.source, Step::Listed(word))).collect();
    steps.extend(group.acts.iter().map(|(id, fact)| (fact.at.ms, fact.at.n, Source::Act(*id), Step::Acted(*id, fact))));
    // Stable: what is equal here stays in the order of the facts' names and values.
    steps.sort_by_key(|(at, n, source, _)| (*at, *n, *source));
    let mut teller = Teller::default();
    for (.., step) in steps {
        match step {
            Step::Listed(word) => teller.listed(&word),
            Step::Acted(id, fact) => teller.acted(id, fact),
        }
    }
    teller.told
}

/// What was so far.
#[derive(Default)]
struct Teller {
    state: Option<(u64, Status)>,
    fields: std::collections::BTreeMap<Field, Foreign>,
    told: Vec<Happened>,
}

impl Teller {
    fn listed(&mut self, word: &Word<'_>) {
        if self.state < Some((word.round, word.status)) {
            self.status(word, None);
        }
    }

    fn status(&mut self, word: &Word<'_>, act: Option<ActId>) {
        let happened = Happened {
            at: word.at,
            by: word.by.clone(),
            field: "status".to_owned(),
            from: self.state.map(|(_, status)| status.word().into()),
            to: word.status.word().into(),
            round: word.round,
            act,
        };
        self.told.push(happened);
        self.state = self.state.max(Some((word.round, word.status)));
    }

    fn acted(&mut self, id: ActId, fact: &ActFact) {
        if let Some(word) = word(id, fact) {
            return self.status(&word, Some(id));
        }
        let now = self.state.map_or(1, |(round, _)| round);
        let (field, from, to, round) = match &fact.deed {
            Deed::Set { field, value, .. } => (field.word(), self.fields.insert(*field, value.clone()), value.clone(), now),
            Deed::Delete { round } => ("deleted", None, "deleted".into(), *round),
            Deed::Resolve { .. } => ("conflict", None, if fact.undoes.is_some() { "open" } else { "resolved" }.into(), now),
            Deed::Mark { .. } | Deed::Open { .. } => return,
        };
        let happened = Happened { at: fact.at.ms, by: fact.by.clone(), field: field.to_owned(), from, to, round, act: Some(id) };
        self.told.push(happened);
    }
}
