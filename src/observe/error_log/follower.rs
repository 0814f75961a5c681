//! The error log of one server: the file that httpd writes now, and the one before.
//!
//! After a rotation children of the old generation still write into the old file, so it is read
//! on. Both are read in the order in which they were written: what is in the new file was asked
//! for its size before the old one is read to its end.

use std::{fs::File, io, time::Duration};

use super::{
    Sink,
    followed::{Extent, Followed, Progress},
    place::FileId,
};
use crate::{
    clock,
    model::{source::Why, time::Moment},
    observe::process_table::why,
};

/// Nobody writes into a file any more into which nothing came for so long.
const QUIET: Duration = Duration::from_secs(600);
/// What is read of a file that is left for good, in bytes.
const LAST_READING: u64 = 16 << 20;

/// What one pass over a server's files did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// There is more than was allowed to be read.
    pub more: bool,
    /// The file that is written now was found truncated.
    pub truncated: bool,
    /// Why something could not be read.
    pub failed: Option<Why>,
}

/// The files of one server and what they are read for.
#[derive(Debug)]
pub struct Follower<S: Sink> {
    sink: S,
    former: Option<Former<S::Lines>>,
    current: Option<Followed<S::Lines>>,
}

#[derive(Debug)]
struct Former<L> {
    file: Followed<L>,
    /// When it was replaced.
    since: Moment,
    /// How long it was then: up to there nothing of its successor is read before it.
    owed: u64,
    is_caught_up: bool,
}

impl<S: Sink> Follower<S> {
    /// Follows nothing yet.
    pub const fn new(sink: S) -> Self {
        Self { sink, former: None, current: None }
    }

    /// What the files are read for.
    pub const fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// The file that is written now.
    pub fn current(&self) -> Option<FileId> {
        self.current.as_ref().map(Followed::id)
    }

    /// Every file that is followed.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &File)> {
        let former = self.former.as_ref().map(|former| &former.file);
        former.into_iter().chain(&self.current).map(|followed| (followed.id(), followed.file()))
    }

    /// Whether the file that is written now lost its last name since this was last asked.
    pub fn is_newly_removed(&mut self) -> bool {
        self.current.as_mut().is_some_and(Followed::is_newly_removed)
    }

    /// From now on httpd writes into this file. The first one is followed from its end, for what
    /// it says was there before; every other one from its beginning.
    pub fn turn_to(&mut self, file: File, buffer: &mut [u8]) -> Result<(), Why> {
        let id = FileId::of(&file)?;
        if self.current() == Some(id) {
            return Ok(());
        }
        let Some(current) = self.current.take() else {
            let first = Followed::from_end(file, id).map_err(|error| why(&error))?;
            self.current = Some(first);
            return Ok(());
        };
        let next = match self.former.take() {
            // Renamed back.
            Some(former) if former.file.id() == id => former.file,
            Some(former) => {
                former.file.finish(&mut self.sink, buffer, LAST_READING);
                Followed::from_beginning(file, id)
            }
            None => Followed::from_beginning(file, id),
        };
        let owed = current.extent().map_or(0, Extent::size);
        let since = clock::now();
        self.former = Some(Former { file: current, since, owed, is_caught_up: false });
        self.current = Some(next);
        Ok(())
    }

    /// Hands over what came, at most about `limit` bytes of it.
    pub fn read(&mut self, buffer: &mut [u8], limit: u64) -> Pass {
        let mut pass = Pass { more: false, truncated: false, failed: None };
        // First, so that nothing in it is newer than what is read of the former one.
        let extent = self.current.as_ref().map(Followed::extent);
        let left = limit.saturating_sub(self.read_former(buffer, limit, &mut pass));
        if let (Some(current), Some(extent)) = (&mut self.current, extent) {
            let read = |extent| current.read(&mut self.sink, buffer, extent, left);
            let progress = pass.note(extent.and_then(read));
            pass.truncated = progress.is_some_and(|progress| progress.truncated);
        }
        pass
    }

    /// Leaves the former file if nothing came into it for ten minutes.
    pub fn leave_quiet(&mut self, buffer: &mut [u8], now: Moment) {
        let is_quiet = |former: &Former<_>| {
            former.is_caught_up && now.since(former.file.grew().max(former.since)) > QUIET
        };
        if self.former.as_ref().is_some_and(is_quiet)
            && let Some(former) = self.former.take()
        {
            former.file.finish(&mut self.sink, buffer, LAST_READING);
        }
    }

    /// Returns how many bytes were read.
    fn read_former(&mut self, buffer: &mut [u8], limit: u64, pass: &mut Pass) -> u64 {
        let Some(former) = &mut self.former else { return 0 };
        // Who writes on and on into the old file must not keep the new one from being read.
        let limit = if former.is_caught_up { limit / 2 } else { limit };
        let extent = former.file.extent();
        let read = |extent| former.file.read(&mut self.sink, buffer, extent, limit);
        let progress = pass.note(extent.and_then(read));
        former.is_caught_up |=
            former.file.offset() >= former.owed || progress.is_none_or(|progress| !progress.more);
        progress.map_or(0, |progress| progress.read)
    }
}

impl Pass {
    fn note(&mut self, read: io::Result<Progress>) -> Option<Progress> {
        match read {
            Ok(progress) => {
                self.more |= progress.more;
                Some(progress)
            }
            Err(error) => {
                self.failed = Some(why(&error));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, path::Path};

    use super::{super::Span, *};

    /// Counts bytes.
    #[derive(Debug, Default)]
    struct Bytes(usize);

    impl Sink for Bytes {
        type Lines = ();

        fn feed(&mut self, (): &mut (), bytes: &[u8], _: Span) {
            self.0 += bytes.len();
        }

        fn cut(&mut self, (): &mut (), _: Moment) {}

        fn skipped(&mut self, _: u64) {}
    }

    fn append(path: &Path) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(b"line\n").unwrap();
    }

    fn turn(follower: &mut Follower<Bytes>, path: &Path) -> usize {
        let mut buffer = [0; 1024];
        follower.turn_to(File::open(path).unwrap(), &mut buffer).unwrap();
        let pass = follower.read(&mut buffer, 1 << 20);
        assert_eq!((pass.more, pass.failed), (false, None));
        std::mem::take(&mut follower.sink().0)
    }

    #[test]
    fn the_former_file_is_read_on_until_it_is_quiet_for_long() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["1", "2"].map(|name| directory.path().join(name));
        for path in &paths {
            append(path);
        }
        let mut follower = Follower::new(Bytes::default());
        assert_eq!(turn(&mut follower, &paths[0]), 0, "history");
        assert_eq!(turn(&mut follower, &paths[1]), 5, "replaced the first");
        let quiet = clock::now().after(QUIET);
        append(&paths[0]);
        assert_eq!(turn(&mut follower, &paths[1]), 5);
        follower.leave_quiet(&mut [0; 1024], quiet);
        assert_eq!(follower.files().count(), 2, "something came meanwhile");
        append(&paths[0]);
        follower.leave_quiet(&mut [0; 1024], clock::now().after(2 * QUIET));
        assert_eq!(follower.files().count(), 1);
        assert_eq!(follower.sink().0, 5, "its last line is not lost");
    }

    #[test]
    fn a_file_that_is_renamed_back_is_read_on() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["1", "2", "3"].map(|name| directory.path().join(name));
        for path in &paths {
            append(path);
        }
        let mut follower = Follower::new(Bytes::default());
        turn(&mut follower, &paths[0]);
        turn(&mut follower, &paths[1]);
        append(&paths[0]);
        assert_eq!(turn(&mut follower, &paths[0]), 5, "only what is new");
        assert_eq!(turn(&mut follower, &paths[2]), 5);
        assert_eq!(follower.files().count(), 2, "never more");
        fs::remove_file(&paths[2]).unwrap();
        assert!(follower.is_newly_removed());
        assert!(!follower.is_newly_removed(), "said once");
    }
}
