//! What names may stand for where it cannot be told which conditions hold.
//!
//! Within a conditional section what is defined there counts; behind it, that and what was before.

use std::collections::{BTreeMap, BTreeSet};

use super::macros::Macro;

/// A name that may stand for more is not followed.
const MOST: usize = 64;

/// What has a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// Of `Define`.
    Variable(Vec<u8>),
    /// Of `<Macro>`, without regard to case.
    Macro(Vec<u8>),
    /// `ServerRoot`.
    Root,
}

/// One thing that a name may stand for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// It is not defined.
    Nothing,
    /// It is defined, without a value.
    Bare,
    /// This value.
    Value(Vec<u8>),
    /// The macro of this place.
    Macro(usize),
    /// More than are kept.
    Anything,
}

pub(super) type Meanings = BTreeSet<Meaning>;

/// All names.
#[derive(Debug, Default)]
pub(super) struct Alternatives {
    meanings: BTreeMap<Name, Meanings>,
    /// Of each conditional section that is open: what changed in it, as it is if that is passed over.
    passed_over: Vec<BTreeMap<Name, Meanings>>,
    macros: Vec<Macro>,
    changes: u64,
}

impl Alternatives {
    /// What it may stand for: at least one thing.
    pub(super) fn of(&self, name: &Name) -> Meanings {
        self.meanings.get(name).cloned().unwrap_or_else(|| [Meaning::Nothing].into())
    }

    pub(super) fn macro_at(&self, place: usize) -> Option<&Macro> {
        self.macros.get(place)
    }

    /// How often anything changed: while that is the same, all is the same.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// From here on it stands for these.
    pub(super) fn set(&mut self, name: Name, meanings: Meanings) {
        let before = self.of(&name);
        if before == meanings {
            return;
        }
        self.replace(name.clone(), meanings);
        if let Some(passed_over) = self.passed_over.last_mut() {
            passed_over.entry(name).or_insert(before);
        }
    }

    pub(super) fn set_macro(&mut self, name: Vec<u8>, told: Macro) {
        self.macros.push(told);
        self.set(Name::Macro(name), [Meaning::Macro(self.macros.len() - 1)].into());
    }

    /// A conditional section begins.
    pub(super) fn enter(&mut self) {
        self.passed_over.push(BTreeMap::new());
    }

    /// One begins that counts where the name is defined, or, inverted, where it is not.
    pub(super) fn enter_if_defined(&mut self, name: Name, is_inverted: bool) {
        let before = self.of(&name);
        let (mut within, mut without) = (Meanings::new(), Meanings::new());
        for meaning in &before {
            let is_defined = *meaning != Meaning::Nothing;
            let is_either = *meaning == Meaning::Anything;
            if is_defined != is_inverted || is_either {
                within.insert(meaning.clone());
            }
            if is_defined == is_inverted || is_either {
                without.insert(meaning.clone());
            }
        }
        if let Some(outer) = self.passed_over.last_mut() {
            outer.entry(name.clone()).or_insert_with(|| before.clone());
        }
        self.passed_over.push([(name.clone(), without)].into());
        // It is read all the same.
        let within = if within.is_empty() { before } else { within };
        self.replace(name, within);
    }

    /// The innermost ends.
    pub(super) fn leave(&mut self) {
        for (name, without) in self.passed_over.pop().unwrap_or_default() {
            if let Some(outer) = self.passed_over.last_mut() {
                outer.entry(name.clone()).or_insert_with(|| without.clone());
            }
            let mut both = self.of(&name);
            both.extend(without);
            self.replace(name, both);
        }
    }

    fn replace(&mut self, name: Name, mut meanings: Meanings) {
        if meanings.len() > MOST || meanings.contains(&Meaning::Anything) {
            meanings = [Meaning::Anything].into();
        }
        if self.of(&name) != meanings {
            self.changes += 1;
            self.meanings.insert(name, meanings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name::Variable(name.into())
    }

    fn value(text: &str) -> Meanings {
        [Meaning::Value(text.into())].into()
    }

    #[test]
    fn behind_a_condition_both_what_was_and_what_is_may_hold() {
        let mut names = Alternatives::default();
        names.set(name("a"), value("1"));
        names.enter();
        names.set(name("a"), value("2"));
        names.enter();
        names.set(name("a"), value("3"));
        assert_eq!(names.of(&name("a")), value("3"), "within it");
        names.leave();
        assert_eq!(names.of(&name("a")), &value("2") | &value("3"));
        names.leave();
        assert_eq!(names.of(&name("a")), &(&value("1") | &value("2")) | &value("3"));
        names.set(name("a"), value("4"));
        assert_eq!(names.of(&name("a")), value("4"));
    }

    #[test]
    fn what_is_defined_where_it_is_not_is_always_defined() {
        let mut names = Alternatives::default();
        for before in [None, Some("told")] {
            if let Some(before) = before {
                names.set(name("a"), value(before));
            }
            names.enter_if_defined(name("a"), true);
            names.set(name("a"), value("usual"));
            names.leave();
            assert!(!names.of(&name("a")).contains(&Meaning::Nothing), "{before:?}");
        }
        names.enter_if_defined(name("b"), false);
        names.leave();
        assert_eq!(names.of(&name("b")), [Meaning::Nothing].into());
    }

    #[test]
    fn what_changes_is_told_and_too_much_is_anything() {
        let mut names = Alternatives::default();
        names.set(name("a"), value("1"));
        let changes = names.changes();
        names.set(name("a"), value("1"));
        assert_eq!(names.changes(), changes);
        for each in 0..=MOST {
            names.enter();
            names.set(name("a"), value(&each.to_string()));
            names.leave();
        }
        assert_eq!(names.of(&name("a")), [Meaning::Anything].into());
        assert!(names.changes() > changes);
    }
}
