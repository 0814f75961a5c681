//! System V objects as the kernel lists them: `/proc/sysvipc/sem`, `/proc/sysvipc/shm` and the limits
//! beside them.
//!
//! The procfs crate does not know the first, and of the second it takes user numbers above 65535, as
//! user namespaces have them, for errors.

/// A semaphore array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SemaphoreArray {
    /// Its key; 0 is one that nobody else finds.
    pub key: i64,
    /// Its permissions.
    pub mode: u32,
    /// Semaphores in it.
    pub semaphores: u64,
    /// Whose it is.
    pub user: u32,
    /// Who made it.
    pub creator: u32,
    /// When it was made or given away, in seconds since the epoch.
    pub changed: i64,
}

/// A shared memory segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its permissions, and above them whether it goes with the last who has it.
    pub mode: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// The process that made it, which may be gone.
    pub maker: i32,
    /// How many processes have it.
    pub attached: u64,
    /// Whose it is.
    pub user: u32,
    /// Who made it.
    pub creator: u32,
    /// When it was made or given away, in seconds since the epoch.
    pub changed: i64,
}

/// How many semaphores there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SemaphoreLimits {
    /// `SEMMNS`: in all arrays.
    pub semaphores: u64,
    /// `SEMMNI`: arrays.
    pub arrays: u64,
}

/// Reads `/proc/sysvipc/sem`; `None` if it is not that.
#[must_use]
pub fn semaphore_arrays(table: &[u8]) -> Option<Vec<SemaphoreArray>> {
    rows(table, "semid", |columns| {
        let [key, _, mode, semaphores, user, _, creator, _, _, changed, ..] = *columns else {
            return None;
        };
        Some(SemaphoreArray {
            key: key.parse().ok()?,
            mode: u32::from_str_radix(mode, 8).ok()?,
            semaphores: semaphores.parse().ok()?,
            user: user.parse().ok()?,
            creator: creator.parse().ok()?,
            changed: changed.parse().ok()?,
        })
    })
}

/// Reads `/proc/sysvipc/shm`; `None` if it is not that.
#[must_use]
pub fn segments(table: &[u8]) -> Option<Vec<Segment>> {
    rows(table, "shmid", |columns| {
        let [_, _, mode, bytes, maker, _, attached, user, _, creator, _, _, _, changed, ..] =
            *columns
        else {
            return None;
        };
        Some(Segment {
            mode: u32::from_str_radix(mode, 8).ok()?,
            bytes: bytes.parse().ok()?,
            maker: maker.parse().ok()?,
            attached: attached.parse().ok()?,
            user: user.parse().ok()?,
            creator: creator.parse().ok()?,
            changed: changed.parse().ok()?,
        })
    })
}

/// Reads `/proc/sys/kernel/sem`; `None` if it is not that.
#[must_use]
pub fn semaphore_limits(content: &[u8]) -> Option<SemaphoreLimits> {
    let numbers = std::str::from_utf8(content).ok()?.split_ascii_whitespace();
    let numbers: Option<Vec<u64>> = numbers.map(|number| number.parse().ok()).collect();
    let [_, semaphores, _, arrays] = *numbers? else { return None };
    Some(SemaphoreLimits { semaphores, arrays })
}

/// Each line below the heading; a table that is not understood as a whole is not one.
fn rows<T>(table: &[u8], heading: &str, row: impl Fn(&[&str]) -> Option<T>) -> Option<Vec<T>> {
    let mut lines = std::str::from_utf8(table).ok()?.lines();
    if lines.next()?.split_ascii_whitespace().nth(1) != Some(heading) {
        return None;
    }
    lines.map(|line| row(&line.split_ascii_whitespace().collect::<Vec<_>>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRAYS: &[u8] =
        b"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime
         0          0   600          1    33    33     0     0          0 1795387452
1627652131          3   666          2 100033 100033 100000 100000 1795387453 1795387454
";
    const SEGMENTS: &[u8] = b"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap
-1157627904          1  1600                  4096  1774     0      2     0     0     0     0          0          0 1795389000                     0                     0
";

    #[test]
    fn arrays_are_read() {
        let arrays = semaphore_arrays(ARRAYS).unwrap();
        let (key, mode, semaphores) = (0, 0o600, 1);
        let (user, creator, changed) = (33, 0, 1_795_387_452);
        assert_eq!(arrays[0], SemaphoreArray { key, mode, semaphores, user, creator, changed });
        assert_eq!((arrays.len(), arrays[1].user, arrays[1].semaphores), (2, 100_033, 2));
    }

    #[test]
    fn segments_are_read() {
        let segments = segments(SEGMENTS).unwrap();
        let (mode, bytes, maker, attached) = (0o1600, 4096, 1774, 2);
        let (user, creator, changed) = (0, 0, 1_795_389_000);
        assert_eq!(segments, [Segment { mode, bytes, maker, attached, user, creator, changed }]);
    }

    #[test]
    fn limits_are_read() {
        let limits = semaphore_limits(b"32000\t1024000000\t500\t32000\n").unwrap();
        assert_eq!(limits, SemaphoreLimits { semaphores: 1_024_000_000, arrays: 32_000 });
        assert_eq!(semaphore_limits(b"250\t32000\t32"), None);
    }

    #[test]
    fn another_table_is_none() {
        assert_eq!(semaphore_arrays(SEGMENTS), None);
        assert_eq!(segments(ARRAYS), None);
        assert_eq!(semaphore_arrays(b""), None);
        assert_eq!(semaphore_arrays(&ARRAYS[..ARRAYS.len() - 20]), None, "cut off");
        let heading = ARRAYS.split(|byte| *byte == b'\n').next().unwrap();
        assert_eq!(semaphore_arrays(heading), Some(Vec::new()));
    }
}
