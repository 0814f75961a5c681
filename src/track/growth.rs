//! Totals of the kernel's, which began before this run, as counters of this run.

/// By how much a total has grown since it was first seen. A counter never falls: another owner's
/// total, or one that is less than before, begins anew and adds nothing by itself. What could not
/// be read for a while counts once it is read again.
#[derive(Clone, Copy, Debug)]
pub struct Growth<Owner = ()> {
    /// Whose it was last, and what.
    last: Option<(Owner, u64)>,
    grown: u64,
}

impl<Owner> Default for Growth<Owner> {
    fn default() -> Self {
        Self { last: None, grown: 0 }
    }
}

impl<Owner: PartialEq> Growth<Owner> {
    /// Of a total that is known to have begun in this run: all of it counts.
    #[must_use]
    pub const fn from_zero(owner: Owner) -> Self {
        Self { last: Some((owner, 0)), grown: 0 }
    }

    /// Takes a total; returns by how much it has grown since the last one.
    pub fn follow(&mut self, owner: Owner, total: u64) -> u64 {
        let before = self.last.take().filter(|(last, _)| *last == owner);
        let grown = before.map_or(0, |(_, before)| total.saturating_sub(before));
        self.grown = self.grown.saturating_add(grown);
        self.last = Some((owner, total));
        grown
    }

    /// By how much it has grown in all; `None` if it was never seen.
    #[must_use]
    pub fn grown(&self) -> Option<u64> {
        self.last.as_ref().map(|_| self.grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_counted_from_the_first_sight_and_never_falls() {
        let mut growth = Growth::default();
        assert_eq!(growth.grown(), None);
        for (owner, total, grown) in [
            ('a', 40, 0),
            ('a', 42, 2),
            ('b', 900, 2),
            ('b', 901, 3),
            ('a', 50, 3),
            ('a', 1, 3),
            ('a', 2, 4),
        ] {
            growth.follow(owner, total);
            assert_eq!(growth.grown(), Some(grown), "{owner} {total}");
        }
        assert_eq!((growth.follow('a', 7), growth.follow('b', 9)), (5, 0));
        assert_eq!(Growth::from_zero(()).follow((), 6), 6);
    }
}
