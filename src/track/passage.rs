//! What a parent went through between two looks: how many restarts, when each, of which type.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{family::Family, look::Look, mark::Mark};
use crate::model::{event::RestartType, scoreboard::Global, snapshot::TraceKind, time::Moment};

/// One restart that was gone through, before its type is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    pub(super) began: Moment,
    pub(super) resumed: Option<Moment>,
}

/// What was stamped while a restart was in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Milestones {
    /// When the configuration was opened.
    pub(super) opened: Vec<Moment>,
    /// When the pid file was written.
    pub(super) written: Vec<Moment>,
}

/// The kernel's coarse clock, by which files are stamped, ticks 100 to 1000 times a second, mostly
/// 250 times.
const TICK: Duration = Duration::from_millis(4);

/// More than anybody restarts between two looks; beyond it times are lost, never restarts.
const MOST_MILESTONES: usize = 256;

impl Milestones {
    pub(super) fn collect(&mut self, look: &Look<'_>) {
        self.opened.extend(look.moments(TraceKind::ConfigOpened));
        keep_newest(&mut self.opened);
        self.written.extend(look.moments(TraceKind::PidFileWritten));
        keep_newest(&mut self.written);
    }

    /// How often the pid file was written after the configuration was opened: writes alone may be
    /// anybody's.
    fn readings(&self) -> u32 {
        let mut readings = 0;
        let mut counted = None;
        for written in &self.written {
            let mut opened = self.opened.iter();
            if opened.any(|opened| opened <= written && Some(opened) > counted) {
                readings += 1;
                counted = Some(written);
            }
        }
        readings
    }

    /// Drops what belongs to restarts that were told apart; returns when the configuration was
    /// opened for the next one.
    pub(super) fn forget_completed(&mut self) -> Option<Moment> {
        let written = self.written.drain(..).max();
        self.opened.retain(|opened| Some(*opened) > written);
        self.opened.first().copied()
    }
}

fn keep_newest(moments: &mut Vec<Moment>) {
    let superfluous = moments.len().saturating_sub(MOST_MILESTONES);
    moments.drain(..superfluous);
}

/// How many restarts are behind the parent: all, if a child of the running generation was `served`
/// up; else as many as wrote the pid file, for one more signal may have been taken since.
pub(super) fn completed(
    from: &Mark,
    milestones: &Milestones,
    look: &Look<'_>,
    served: bool,
) -> u32 {
    let (Some(before), Some(global)) = (from.generation, look.global()) else {
        return milestones.readings().max(1);
    };
    let written = u32::try_from(milestones.written.len()).unwrap_or(u32::MAX).max(1);
    let moved = global.running_generation.distance_from(before);
    let moved = u32::try_from(moved).unwrap_or(0).max(1);
    if served { moved } else { moved.min(written) }
}

/// Where each restart began and ended, told apart by the pid file's writes.
pub(super) fn passages(
    from: &Mark,
    count: u32,
    began: Moment,
    milestones: &Milestones,
    look: &Look<'_>,
) -> Vec<Passage> {
    let Milestones { opened, written } = milestones;
    let one_each = u32::try_from(written.len()) == Ok(count);
    let mut each = written.iter().copied().map(Some);
    let mut passages = Vec::new();
    let mut began = began;
    for left in (0..count).rev() {
        let trace = if one_each { each.next().flatten() } else { None };
        let resumed = if left == 0 {
            latest_write(trace.or(written.last().copied()), began, look)
        } else {
            trace
        };
        began = after_last_one(began, resumed, milestones);
        passages.push(Passage { began, resumed });
        let after = resumed.unwrap_or(began);
        began = opened.iter().find(|at| **at > after).copied().unwrap_or(after);
    }
    if look.global().is_none() {
        not_after_pid_file(&mut passages, from, look);
    }
    passages
}

/// On a busy machine traces may be read so late that the first children of a generation were born
/// before, and would be taken for old ones where nothing but births tells: no restart began after
/// the pid file's own time, once that was written anew.
fn not_after_pid_file(passages: &mut [Passage], from: &Mark, look: &Look<'_>) {
    let stamp = look.pid_file.filter(|_| from.is_rewritten(look));
    let written = stamp.map(|stamp| look.at.at_wall(stamp.written).after(TICK));
    let Some(written) = written.filter(|written| *written > from.at) else { return };
    for passage in passages {
        passage.began = passage.began.min(written);
        passage.resumed = passage.resumed.map(|resumed| resumed.min(written));
    }
}

/// A trace of the restart before may come late, and must not make this one begin with it: it began
/// after the pid file had last been written before the configuration was opened for it.
fn after_last_one(began: Moment, resumed: Option<Moment>, milestones: &Milestones) -> Moment {
    let Milestones { opened, written } = milestones;
    let opened = opened.iter().filter(|opened| resumed.is_none_or(|it| **opened <= it)).max();
    let Some(opened) = opened else { return began };
    let late = written.iter().any(|written| *written >= began && written < opened);
    if late { *opened } else { began }
}

/// When the last restart resumed: when the pid file was written, but for a hard restart, which makes
/// its scoreboard after that.
///
/// The trace is when this process came to read the kernel's report: never too early, late on a
/// busy machine. The file's own time is the kernel's clock of its last tick: never too late, early
/// by less than `TICK`. Both may be younger than the look's beginning.
fn latest_write(trace: Option<Moment>, began: Moment, look: &Look<'_>) -> Option<Moment> {
    let latest = look.at.after(Duration::from_secs(1));
    let plausible = |at: &Moment| *at >= began && *at <= latest;
    let stamped = look.pid_file.map(|stamp| look.at.at_wall(stamp.written).after(TICK));
    let stamped = stamped.filter(plausible);
    let written = trace.min(stamped.or(trace)).or(stamped);
    let made = look.global().map(|global| look.at.at_wall(global.restart_time));
    written.max(made.filter(plausible))
}

/// The types of restarts that were gone through in one look.
pub(super) fn kinds(
    from: &Mark,
    passages: &[Passage],
    family: &Family,
    look: &Look<'_>,
) -> Vec<RestartType> {
    let Some(global) = look.global() else {
        return family.kinds(passages.len(), look);
    };
    let Some(before) = from.restart_time else {
        return vec![RestartType::Unknown; passages.len()];
    };
    if before == global.restart_time {
        return vec![RestartType::Graceful; passages.len()];
    }
    // The scoreboard is as old as the last hard restart: what earlier ones were is lost.
    let mut kinds = vec![RestartType::Unknown; passages.len()];
    let Some((last, earlier)) = kinds.split_last_mut() else {
        return kinds;
    };
    // A hard restart makes its scoreboard after it wrote the pid file.
    let kept_since = look.pid_file.is_some_and(|stamp| stamp.written > global.restart_time);
    let hard = if kept_since { earlier.get_mut(nearest(passages, &global, look)) } else { None };
    if let Some(hard) = hard {
        *hard = RestartType::Hard;
        *last = RestartType::Graceful;
    } else {
        *last = RestartType::Hard;
    }
    kinds
}

/// Which of the restarts before the last one made the scoreboard, most likely: this decides which
/// of several restarts in one look is shown as the hard one, not how many there were.
fn nearest(passages: &[Passage], global: &Global, look: &Look<'_>) -> usize {
    let made = look.at.at_wall(global.restart_time);
    let distance = |passage: &Passage| {
        let resumed = passage.resumed?;
        Some(made.since(resumed).max(resumed.since(made)))
    };
    let earlier = passages.iter().enumerate().take(passages.len().saturating_sub(1));
    let nearest = earlier.min_by_key(|(_, passage)| distance(passage).unwrap_or(Duration::MAX));
    nearest.map_or(0, |(index, _)| index)
}
