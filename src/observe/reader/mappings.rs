//! What a parent has mapped, read within limits: anybody may call a process httpd, and map as much
//! as he likes.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    time::Duration,
};

use procfs::{
    FromBufRead as _,
    process::{MemoryMap, MemoryMaps},
};

use super::super::process_table::{ProcessTable, proc_why, why};
use crate::{
    clock,
    model::{process::Pid, source::Why, time::Moment},
};

/// A parent with many modules has a few hundred mappings, in 100 KiB.
const MOST_BYTES: usize = 2 << 20;
/// Of mappings.
const MOST_LINES: usize = 16_384;
/// Ten times as long as [`MOST_BYTES`] take, unless the process has a kernel lock held.
const LONGEST: Duration = Duration::from_millis(100);
/// Who takes no longer needs no rest.
const CHEAP: Duration = Duration::from_millis(10);
/// Who took longer rests so many times as long: it gets one part in so many of a core.
const SHARE: u32 = 100;

/// All that a process has mapped; `Limit` if that is more than any httpd has.
pub(super) fn of(table: &ProcessTable, parent: Pid) -> Result<Vec<MemoryMap>, Why> {
    let file = File::open(table.path(parent, "maps")).map_err(|error| why(&error))?;
    let text = bounded(file)?;
    let maps = MemoryMaps::from_buf_read(text.as_slice()).map_err(|error| proc_why(&error))?;
    Ok(maps.into_iter().collect())
}

/// A file of the kernel's about a process, whole, or not at all if it is longer than it may be.
pub(super) fn bounded(file: impl Read) -> Result<Vec<u8>, Why> {
    let begun = clock::work_of_this_thread();
    let mut file = BufReader::new(file);
    let (mut text, mut lines) = (Vec::new(), 0_usize);
    loop {
        let chunk = file.fill_buf().map_err(|error| why(&error))?;
        let length = chunk.len();
        if length == 0 {
            return Ok(text);
        }
        lines += chunk.split(|byte| *byte == b'\n').skip(1).count();
        text.extend(chunk);
        file.consume(length);
        let spent = clock::work_of_this_thread().saturating_sub(begun);
        if text.len() > MOST_BYTES || lines > MOST_LINES || spent > LONGEST {
            return Err(Why::Limit);
        }
    }
}

/// The rest of a parent that took long: others are not to wait for it again and again.
#[derive(Default)]
pub(super) struct Rest {
    /// Until when, and what is said meanwhile.
    until: Option<(Moment, Why)>,
}

impl Rest {
    /// Does this work, or says why it failed last if that took so long that it is not to be done
    /// again yet; `Limit` where it did not fail.
    pub(super) fn unless_tired<T>(
        &mut self,
        work: impl FnOnce() -> Result<T, Why>,
    ) -> Result<T, Why> {
        if let Some((until, why)) = self.until
            && clock::now() < until
        {
            return Err(why);
        }
        let begun = clock::work_of_this_thread();
        let done = work();
        let spent = clock::work_of_this_thread().saturating_sub(begun);
        self.tire(clock::now(), spent, done.as_ref().err().copied());
        done
    }

    fn tire(&mut self, at: Moment, spent: Duration, failed: Option<Why>) {
        let rest = (spent > CHEAP).then(|| at.after(spent.saturating_mul(SHARE)));
        self.until = rest.map(|until| (until, failed.unwrap_or(Why::Limit)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mappings_of_this_process_are_read() {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(of(&table, own).unwrap().len() > 10);
        assert_eq!(of(&table, Pid::new(i32::MAX).unwrap()).err(), Some(Why::Missing));
    }

    #[test]
    fn a_process_that_maps_without_end_is_given_up() {
        let line = b"7f0000000000-7f0000001000 r--p 00000000 00:1a 5 /a\n";
        let short = line.repeat(MOST_LINES);
        assert_eq!(bounded(short.as_slice()).unwrap(), short);
        assert_eq!(bounded(line.repeat(MOST_LINES + 1).as_slice()), Err(Why::Limit));
        assert_eq!(bounded(std::io::repeat(b'x')), Err(Why::Limit), "a line without an end");
    }

    #[test]
    fn who_took_long_rests_in_proportion() {
        let mut rest = Rest::default();
        assert_eq!(rest.unless_tired(|| Ok(1)), Ok(1));
        assert_eq!(rest.unless_tired(|| Err::<(), _>(Why::Missing)), Err(Why::Missing));
        assert_eq!(rest.unless_tired(|| Ok(1)), Ok(1), "a failure that took no time");
        rest.tire(clock::now(), Duration::from_secs(600), Some(Why::Invalid));
        assert_eq!(rest.unless_tired(|| Ok(1)), Err(Why::Invalid));
        let at = clock::now();
        rest.tire(at, CHEAP * 2, None);
        assert_eq!(rest.until, Some((at.after(CHEAP * 2 * SHARE), Why::Limit)));
        rest.tire(at, CHEAP, None);
        assert_eq!(rest.until, None);
    }
}
