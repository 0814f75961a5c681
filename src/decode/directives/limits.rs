//! How much is read of a configuration, and kept: whoever may write one may write anything.

/// What all of its reading takes, about in bytes that are looked at or made: a file may be included
/// by many, and each of its lines may use a macro.
const MOST_WORK: usize = 64 << 20;
/// Bytes of all names and values that are kept while it is read.
const MOST_KEPT: usize = 4 << 20;
/// What a name takes beside its bytes.
const ENTRY: usize = 64;

/// Work that may still be done.
#[derive(Debug)]
pub(super) struct Work(usize);

impl Work {
    pub(super) const fn whole() -> Self {
        Self(MOST_WORK)
    }

    /// Whether there was as much left; once there was not, nothing is.
    pub(super) const fn take(&mut self, cost: usize) -> bool {
        let left = self.0.checked_sub(cost);
        self.0 = if let Some(left) = left { left } else { 0 };
        left.is_some()
    }
}

/// Room for names and values.
#[derive(Clone, Debug)]
pub(super) struct Room(usize);

impl Room {
    pub(super) const fn whole() -> Self {
        Self(MOST_KEPT)
    }

    /// Whether one more of so many bytes can be kept.
    pub(super) const fn take(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes.saturating_add(ENTRY));
        if let Some(left) = left {
            self.0 = left;
        }
        left.is_some()
    }

    /// One of so many bytes is kept no more.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes).saturating_add(ENTRY).min(MOST_KEPT);
    }
}
