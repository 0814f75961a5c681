//! What `/proc/PID/{smaps_rollup,status}` say of a process's memory.
//!
//! The procfs crate reads these files too; it makes a map of strings of each, and multiplies
//! without looking. A thousand processes are read, by one that keeps privileges.

use crate::model::resources::Rollup;

/// What `status` says, which the kernel counts anyway, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// `RssAnon`: resident without a file, whether its own or shared with those that were forked.
    pub anonymous: u64,
    /// `RssShmem`: resident shared memory.
    pub shared_memory: u64,
    /// `VmSwap`: what of the anonymous memory is in swap.
    pub swap: u64,
    /// `VmRSS`: all that is resident.
    pub resident: u64,
    /// `VmPTE`: its page tables, all of which a walk goes through, also where nothing is resident.
    pub page_tables: u64,
}

/// Reads `smaps_rollup`; `None` if it is not whole.
#[must_use]
pub fn smaps_rollup(text: &[u8]) -> Option<Rollup> {
    let (mut pss, mut anonymous, mut swap, mut shared_swap) = (None, None, None, None);
    let (mut clean, mut dirty, mut huge) = (None, None, 0_u64);
    for (name, bytes) in fields(text) {
        match name {
            b"Pss" => pss = Some(bytes),
            b"Private_Clean" => clean = Some(bytes),
            b"Private_Dirty" => dirty = Some(bytes),
            b"Private_Hugetlb" => huge = bytes,
            b"Anonymous" => anonymous = Some(bytes),
            b"Swap" => swap = Some(bytes),
            b"SwapPss" => shared_swap = Some(bytes),
            _ => {}
        }
    }
    let private = clean?.checked_add(dirty?)?.checked_add(huge)?;
    // Huge pages of hugetlbfs count in none but their own lines.
    let pss = pss?.checked_add(huge)?;
    Some(Rollup { pss, private, swap: shared_swap.or(swap)?, anonymous: anonymous? })
}

/// Reads `status`; `None` of a process that has no memory any more, or of something else.
#[must_use]
pub fn status(text: &[u8]) -> Option<Counted> {
    let (mut anonymous, mut shared_memory, mut swap) = (None, None, None);
    let (mut resident, mut page_tables) = (None, None);
    for (name, bytes) in fields(text) {
        match name {
            b"RssAnon" => anonymous = Some(bytes),
            b"RssShmem" => shared_memory = Some(bytes),
            b"VmSwap" => swap = Some(bytes),
            b"VmRSS" => resident = Some(bytes),
            b"VmPTE" => page_tables = Some(bytes),
            _ => {}
        }
    }
    Some(Counted {
        anonymous: anonymous?,
        shared_memory: shared_memory?,
        swap: swap?,
        resident: resident?,
        page_tables: page_tables?,
    })
}

/// The lines that end in `kB`, with their values in bytes.
fn fields(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let value = value.strip_prefix(b":")?.strip_suffix(b" kB")?.trim_ascii();
        let kibibytes: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
        Some((name, kibibytes.checked_mul(1024)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "557458ae8000-7fff96f1d000 ---p 00000000 00:00 0      [rollup]\n\
        Rss:                4344 kB\nPss:                 244 kB\nPss_Dirty:           240 kB\n\
        Shared_Clean:       3388 kB\nShared_Dirty:        716 kB\nPrivate_Clean:        12 kB\n\
        Private_Dirty:       240 kB\nAnonymous:           884 kB\nPrivate_Hugetlb:       0 kB\n\
        Swap:                 64 kB\nSwapPss:              16 kB\nLocked:                0 kB\n";

    #[test]
    fn a_rollup_is_read() {
        let kibibytes = |number: u64| number * 1024;
        let mut expected = Rollup {
            pss: kibibytes(244),
            private: kibibytes(252),
            swap: kibibytes(16),
            anonymous: kibibytes(884),
        };
        assert_eq!(smaps_rollup(ROLLUP.as_bytes()), Some(expected));
        let huge = ROLLUP.replace("Private_Hugetlb:       0", "Private_Hugetlb:    2048");
        expected.pss += kibibytes(2048);
        expected.private += kibibytes(2048);
        assert_eq!(smaps_rollup(huge.as_bytes()), Some(expected));
    }

    #[test]
    fn swap_counts_whole_where_the_kernel_tells_no_share() {
        let old = ROLLUP.replace("SwapPss", "SwapXyz");
        assert_eq!(smaps_rollup(old.as_bytes()).unwrap().swap, 64 * 1024);
    }

    #[test]
    fn a_figure_that_is_missing_or_no_number_is_never_zero() {
        for name in ["\nPss:", "Private_Clean", "Private_Dirty", "Anonymous"] {
            let torn = ROLLUP.replace(name, &format!("{}x", &name[..3]));
            assert_eq!(smaps_rollup(torn.as_bytes()), None, "{name}");
        }
        let large = u64::MAX.to_string();
        assert_eq!(smaps_rollup(ROLLUP.replace("240", &large).as_bytes()), None);
        let large = (u64::MAX / 1024).to_string();
        assert_eq!(smaps_rollup(ROLLUP.replace(" 240", &large).as_bytes()), None, "their sum");
        assert_eq!(smaps_rollup(b""), None);
    }

    #[test]
    fn what_the_kernel_counts_is_read() {
        let text = b"Name:\tapache2\nVmRSS:\t  3784 kB\nRssAnon:\t     800 kB\n\
            RssFile:\t    2980 kB\nRssShmem:\t       4 kB\nVmPTE:\t      64 kB\nVmSwap:\t       8 kB\n\
            Threads:\t1\n";
        let counted = Counted {
            anonymous: 800 << 10,
            shared_memory: 4 << 10,
            swap: 8 << 10,
            resident: 3784 << 10,
            page_tables: 64 << 10,
        };
        assert_eq!(status(text), Some(counted));
        assert_eq!(status(b"Name:\tapache2\nState:\tZ (zombie)\nThreads:\t1\n"), None);
    }
}
