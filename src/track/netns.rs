//! What the network namespace dropped at listeners, whoever's they are.

use super::growth::Growth;
use crate::model::resources::NetnsDrops;

/// Counts what was dropped since this run began.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetnsTracker {
    overflows: Growth,
    drops: Growth,
}

impl NetnsTracker {
    /// Folds what one look read; `None`: it could not.
    pub fn observe(&mut self, seen: Option<NetnsDrops>) {
        if let Some(NetnsDrops { overflows, drops }) = seen {
            self.overflows.follow((), overflows);
            self.drops.follow((), drops);
        }
    }

    /// What was dropped since this run began; `None` if it could never be read.
    #[must_use]
    pub fn dropped(&self) -> Option<NetnsDrops> {
        let (overflows, drops) = (self.overflows.grown()?, self.drops.grown()?);
        Some(NetnsDrops { overflows, drops })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_a_namespace_are_those_of_this_run() {
        let mut tracker = NetnsTracker::default();
        tracker.observe(None);
        assert_eq!(tracker.dropped(), None, "absent, not 0");
        for (seen, overflows, drops) in
            [(Some((70, 90)), 0, 0), (Some((71, 95)), 1, 5), (None, 1, 5), (Some((74, 98)), 4, 8)]
        {
            tracker.observe(seen.map(|(overflows, drops)| NetnsDrops { overflows, drops }));
            assert_eq!(tracker.dropped(), Some(NetnsDrops { overflows, drops }));
        }
    }
}
