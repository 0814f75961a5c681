//! The programs and libraries that a parent runs, asked of the reading process.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::scoreboard::ScoreboardReader;
use crate::{
    clock,
    model::{
        files::{Digest, Loading, MappedFile},
        process::ProcessId,
        snapshot::Part,
        time::Moment,
    },
};

/// What nothing told of is seen after this: a library that no file list knows was replaced.
const PACE: Duration = Duration::from_secs(10);
/// Who was seen to load may not have loaded all, so he is read once more.
const SETTLED: Duration = Duration::from_secs(1);
/// Others wait meanwhile, so what took long is read again after so many times that.
const REST: u32 = 200;
/// Whatever it took.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Follows what one parent at a time runs.
#[derive(Debug, Default)]
pub struct MappedObserver {
    of: Option<Sight>,
    programs: Arc<[PathBuf]>,
}

/// What was seen last.
#[derive(Debug)]
struct Sight {
    parent: ProcessId,
    part: Part<Arc<[MappedFile]>>,
    read: Moment,
    rest: Duration,
    cause: Cause,
    /// When the cause was another one than before.
    caused: Moment,
}

/// What makes it worth reading again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cause {
    stirred: Digest,
    loads: u64,
}

impl MappedObserver {
    /// One look. `stirred` is another one whenever a program's file is, and `loading` is when the
    /// parent loaded its modules; what nothing happened to is read every 10 s.
    pub fn look(
        &mut self,
        at: Moment,
        parent: ProcessId,
        stirred: Digest,
        loading: Loading,
        readers: &mut ScoreboardReader,
    ) -> Part<Arc<[MappedFile]>> {
        let cause = Cause { stirred, loads: loading.number };
        let earlier = self.of.take().filter(|sight| sight.parent == parent);
        if let Some(sight) = &earlier
            && !sight.is_due(at, cause)
        {
            let part = sight.part.clone();
            self.of = earlier;
            return part;
        }
        let begun = clock::now();
        let read = readers.mapped_files(parent, loading.began.wall);
        let rest = clock::now().since(begun).saturating_mul(REST).min(LONGEST_REST);
        let part = match read {
            Ok(files) => Part::Seen(self.keep(files, earlier.as_ref())),
            Err(why) => Part::Unseen(why),
        };
        let same = earlier.filter(|sight| sight.cause == cause);
        let caused = same.map_or(at, |sight| sight.caused);
        self.of = Some(Sight { parent, part: part.clone(), read: at, rest, cause, caused });
        part
    }

    /// The files that the parent ran when they were seen last.
    #[must_use]
    pub fn programs(&self) -> Arc<[PathBuf]> {
        Arc::clone(&self.programs)
    }

    /// What did not change stays the same value.
    fn keep(&mut self, files: Vec<MappedFile>, earlier: Option<&Sight>) -> Arc<[MappedFile]> {
        if let Some(kept) = earlier.and_then(|sight| sight.part.seen())
            && **kept == *files
        {
            return Arc::clone(kept);
        }
        if !self.programs.iter().eq(files.iter().map(|file| &file.path)) {
            self.programs = files.iter().map(|file| file.path.clone()).collect();
        }
        files.into()
    }
}

impl Sight {
    fn is_due(&self, at: Moment, cause: Cause) -> bool {
        let since = at.since(self.read);
        let settled = self.caused.after(SETTLED);
        let has_settled = self.read < settled && settled <= at;
        since >= self.rest && (self.cause != cause || has_settled || since >= PACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        process::Pid,
        source::Why,
        time::{Timestamp, Uptime},
    };

    fn at(millis: u64) -> Moment {
        let begin = Moment { uptime: Uptime::from_micros(1), wall: Timestamp::from_micros(1) };
        begin.after(Duration::from_millis(millis))
    }

    #[test]
    fn it_is_read_when_something_happened_once_more_after_that_and_every_ten_seconds() {
        let cause = Cause { stirred: Digest([1; 16]), loads: 0 };
        let parent = ProcessId { pid: Pid::new(7).unwrap(), started: Uptime::from_micros(1) };
        let part = Part::Unseen(Why::Missing);
        let rest = Duration::from_millis(400);
        let mut sight = Sight { parent, part, read: at(0), rest, cause, caused: at(0) };
        let other = Cause { loads: 1, ..cause };
        let stirred = Cause { stirred: Digest([2; 16]), ..cause };
        assert!(!sight.is_due(at(399), other) && sight.is_due(at(400), other), "it rests");
        assert!(sight.is_due(at(400), stirred) && !sight.is_due(at(999), cause));
        assert!(sight.is_due(at(1000), cause), "it has settled");
        sight.read = at(1000);
        assert!(!sight.is_due(at(10_999), cause) && sight.is_due(at(11_000), cause));
        sight.rest = LONGEST_REST;
        assert!(!sight.is_due(at(60_999), other) && sight.is_due(at(61_000), cause));
    }
}
