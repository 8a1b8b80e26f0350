//! Kinds of records that this version does not know, by source: a tool that was updated is noticed by them. Each file counts with
//! what its last reading says, so reading it again changes nothing.

use std::collections::BTreeMap;

use crate::model::tool::Root;

use super::following::At;

/// How often each kind came in a file or below a root.
type Kinds = BTreeMap<String, u64>;

/// What is not known, file by file and in sum.
#[derive(Debug, Default)]
pub struct Strange {
    files: BTreeMap<At, Kinds>,
    roots: BTreeMap<Root, Kinds>,
    changed: bool,
}

impl Strange {
    /// A file has these, and no others any more.
    pub fn say(&mut self, at: &At, kinds: &Kinds) {
        let before = self.files.get(at);
        if before.is_none() && kinds.is_empty() || before == Some(kinds) {
            return;
        }
        let sum = self.roots.entry(at.0).or_default();
        for (kind, count) in self.files.remove(at).unwrap_or_default() {
            let held = sum.entry(kind).or_default();
            *held = held.saturating_sub(count);
        }
        for (kind, count) in kinds {
            let held = sum.entry(kind.clone()).or_default();
            *held = held.saturating_add(*count);
        }
        sum.retain(|_, count| *count > 0);
        if !kinds.is_empty() {
            self.files.insert(at.clone(), kinds.clone());
        }
        self.changed = true;
    }

    /// Everything is read again.
    pub fn forget(&mut self) {
        *self = Strange { changed: true, ..Strange::default() };
    }

    /// The sum of a root.
    #[must_use]
    pub fn of(&self, root: Root) -> Kinds {
        self.roots.get(&root).cloned().unwrap_or_default()
    }

    /// Whether any sum changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn the_sum_is_that_of_the_last_readings(said: Vec<(u8, Vec<(u8, u8)>)>) -> bool {
            let (mut strange, mut last) = (Strange::default(), BTreeMap::new());
            for (file, kinds) in said {
                let kinds: Kinds = kinds.into_iter().map(|(kind, n)| ((kind % 3).to_string(), u64::from(n) + 1)).collect();
                let root = if file % 2 == 0 { Root::CLAUDE_PROJECTS } else { Root::CLAUDE_TODOS };
                let at = (root, (file % 5).to_string());
                strange.say(&at, &kinds);
                last.insert(at, kinds);
            }
            [Root::CLAUDE_PROJECTS, Root::CLAUDE_TODOS].into_iter().all(|root| {
                let mut sum = Kinds::new();
                for (kind, n) in last.iter().filter(|(at, _)| at.0 == root).flat_map(|(_, kinds)| kinds) {
                    *sum.entry(kind.clone()).or_default() += n;
                }
                strange.of(root) == sum
            })
        }
    }
}
