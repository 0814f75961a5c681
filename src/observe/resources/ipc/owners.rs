//! Whose a System V object is.
//!
//! The kernel names no process that has a semaphore array. httpd's are known by their users, made by
//! the parent's and given to the children's, by having one semaphore, no key, and the permissions
//! that APR gives them; which httpd's they are, by when they were made. Of a segment of shared memory
//! the kernel names the process that made it, and counts those that have it.

use crate::{
    decode::sysvipc::{Segment, SemaphoreArray},
    model::{
        process::{Pid, ProcessId},
        source::Why,
        time::Uptime,
    },
    observe::{process_table::ProcessTable, resources::Tree},
};

/// The permissions that APR gives.
const MODE: u32 = 0o600;
/// All permissions, without what the kernel keeps beside them.
const PERMISSIONS: u32 = 0o777;
/// In a segment's mode: it goes with the last process that has it.
const GOES: u32 = 0o1000;
/// A parent that detaches itself from its terminal has begun after its first arrays were made.
const BEGINNING: i64 = 1;

/// Whose a server's objects may be.
#[derive(Clone, Debug)]
pub(super) struct Owners {
    parent: ProcessId,
    /// The parent's user.
    pub(super) creator: u32,
    /// When the host booted, in microseconds since the epoch: the earliest that the calendar said
    /// since the parent was found. What was made keeps the time that was on the clock then, and a
    /// clock that is set forward afterwards must not make it older than who made it.
    booted: i64,
    /// A child, and its user.
    child: Option<(ProcessId, u32)>,
}

impl Owners {
    /// Those of the server; of whom was known before, only what may have changed is read.
    pub(super) fn of(
        tree: &Tree<'_>,
        table: &ProcessTable,
        known: Option<Self>,
    ) -> Result<Self, Why> {
        let booted = tree.at.at_uptime(Uptime::from_micros(0)).wall.as_micros();
        let mut owners = match known {
            Some(known) if known.parent == tree.parent => {
                Self { booted: known.booted.min(booted), ..known }
            }
            Some(_) | None => {
                let creator = table.user(tree.parent.pid)?;
                Self { parent: tree.parent, creator, booted, child: None }
            }
        };
        // A child just forked is still its parent's user: one that is no longer young tells.
        let is_known = owners.child.is_some_and(|(child, _)| tree.children.contains(&child));
        if !is_known || owners.child.is_some_and(|(_, user)| user == owners.creator) {
            let read = |child: &ProcessId| Some((*child, table.user(child.pid).ok()?));
            let eldest = tree.children.iter().min_by_key(|child| child.started);
            owners.child = eldest.and_then(read).or(owners.child);
        }
        Ok(owners)
    }

    fn is_user(&self, user: u32) -> bool {
        user == self.creator || self.child.is_some_and(|(_, child)| user == child)
    }

    /// It is one that this server, or one of the same users, may have made.
    pub(super) fn may_have_array(&self, array: &SemaphoreArray) -> bool {
        array.key == 0
            && array.semaphores == 1
            && array.mode & PERMISSIONS == MODE
            && array.creator == self.creator
            && self.is_user(array.user)
    }

    /// When a process began, in seconds since the epoch.
    pub(super) const fn began(&self, process: ProcessId) -> i64 {
        self.booted.saturating_add_unsigned(process.started.as_micros()).div_euclid(1_000_000)
    }

    /// The parent had begun at that second, or just was about to.
    pub(super) const fn began_before(&self, second: i64) -> bool {
        self.began(self.parent) <= second.saturating_add(BEGINNING)
    }

    /// It is one that this server, or one of the same users, may have made.
    pub(super) fn may_have_segment(&self, segment: &Segment) -> bool {
        segment.mode & PERMISSIONS == MODE
            && segment.creator == self.creator
            && self.is_user(segment.user)
    }

    /// The parent made it, or did before it detached itself.
    pub(super) fn has_segment(&self, segment: &Segment) -> bool {
        segment.maker == self.parent.pid.as_raw() && self.began_before(segment.changed)
    }
}

/// Its maker is gone, and it will not go by itself.
pub(super) fn is_left(segment: &Segment, table: &ProcessTable) -> bool {
    let maker = Pid::new(segment.maker).map(|pid| table.row(pid));
    segment.mode & GOES == 0 && matches!(maker, None | Some(Err(Why::Missing)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{Moment, Timestamp};

    fn process(pid: i32) -> ProcessId {
        ProcessId { pid: Pid::new(pid).unwrap(), started: Uptime::from_micros(40_000_000) }
    }

    fn owners() -> Owners {
        let booted = 60_000_000;
        Owners { parent: process(7), creator: 0, booted, child: Some((process(8), 33)) }
    }

    fn array(changed: i64) -> SemaphoreArray {
        SemaphoreArray { key: 0, mode: 0o600, semaphores: 1, user: 33, creator: 0, changed }
    }

    #[test]
    fn an_array_is_known_by_its_users_and_its_form() {
        assert!(owners().may_have_array(&array(100)));
        assert!(owners().may_have_array(&SemaphoreArray { user: 0, ..array(100) }));
        for stranger in [
            SemaphoreArray { key: 1, ..array(100) },
            SemaphoreArray { mode: 0o666, ..array(100) },
            SemaphoreArray { semaphores: 2, ..array(100) },
            SemaphoreArray { user: 34, ..array(100) },
            SemaphoreArray { creator: 33, ..array(100) },
        ] {
            assert!(!owners().may_have_array(&stranger), "{stranger:?}");
        }
    }

    #[test]
    fn what_was_made_before_the_parent_began_is_not_its_own() {
        assert!(owners().began_before(99), "by the process that it detached itself from");
        assert!(!owners().began_before(98));
    }

    #[test]
    fn a_clock_that_is_set_makes_no_orphans() {
        let table = ProcessTable::new("/proc".into());
        let look = |known, wall: i64| {
            let (uptime, wall) = (Uptime::from_micros(50_000_000), Timestamp::from_micros(wall));
            let at = Moment { uptime, wall };
            let children = &[process(8)];
            let parent = process(7);
            let tree = Tree { at, parent, children, overlaps: false, heats: false, settings: None };
            Owners::of(&tree, &table, Some(known)).unwrap()
        };
        let forward = look(owners(), 3_710_000_000);
        assert!(forward.began_before(100), "it was made before that");
        assert!(forward.began_before(3700), "made since");
        assert_eq!(forward.began(process(9)), 100, "nor those of others");
        let back = look(forward, 80_000_000);
        assert!(back.began_before(71), "made since");
        assert!(!back.began_before(68));
    }

    #[test]
    fn a_segment_is_its_maker_s() {
        let (bytes, attached) = (1, 0);
        let made =
            Segment { mode: 0o600, bytes, maker: 7, attached, user: 0, creator: 0, changed: 101 };
        assert!(owners().may_have_segment(&made) && owners().has_segment(&made));
        assert!(!owners().has_segment(&Segment { changed: 9, ..made }), "one of the same number");
        let table = ProcessTable::new("/proc".into());
        let left = Segment { maker: i32::MAX, ..made };
        assert!(is_left(&left, &table) && !owners().has_segment(&left));
        assert!(!is_left(&Segment { mode: 0o1600, ..left }, &table), "it goes by itself");
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!is_left(&Segment { maker: own, ..made }, &table));
    }
}
