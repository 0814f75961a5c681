//! What the kernel says of cgroups, in files of `/proc` and of the cgroups themselves.
//!
//! The procfs crate reads some of it, and gives up at a name that is not UTF-8, or at pressure as
//! kernels before 5.13 tell it of the processor, without the line `full`.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::number::number;

/// No limit, of version 1: the largest number of pages that its kernels count, in bytes, is near
/// 2^63, less a page, of whatever size. Nothing has that much memory.
const UNLIMITED: u64 = 1 << 62;

/// In which cgroup of one hierarchy a process is: a line of `/proc/PID/cgroup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership<'a> {
    /// The hierarchy's controllers, separated by commas; none at all in version 2.
    controllers: &'a [u8],
    /// From the root of the reader's cgroup namespace; begins with `/..` if it is outside it.
    pub path: &'a Path,
}

impl Membership<'_> {
    /// It is of version 2, whichever controllers that has.
    #[must_use]
    pub const fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    /// It is of version 1 and this controller's.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.split(|byte| *byte == b',').any(|it| it == controller.as_bytes())
    }
}

/// Every hierarchy that the process is in; lines that are none are left out.
pub fn memberships(content: &[u8]) -> impl Iterator<Item = Membership<'_>> {
    content.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (number, controllers) = (fields.next()?, fields.next()?);
        let path = fields.next().filter(|path| path.first() == Some(&b'/'))?;
        // Without controllers there is version 2, which has no number.
        let is_line = !controllers.is_empty() || number == b"0";
        let path = Path::new(OsStr::from_bytes(path));
        is_line.then_some(Membership { controllers, path })
    })
}

/// Where a hierarchy of cgroups is mounted: a line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// The cgroup that is seen at the mount point.
    pub root: PathBuf,
    /// The mount point.
    pub point: PathBuf,
    /// The controllers and other options, separated by commas; `None`: version 2.
    options: Option<Vec<u8>>,
}

impl CgroupMount {
    /// A hierarchy from its root: of a controller of version 1, else of version 2.
    #[must_use]
    pub fn at(point: PathBuf, controller: Option<&str>) -> Self {
        let options = controller.map(|name| name.as_bytes().to_vec());
        Self { root: PathBuf::from("/"), point, options }
    }

    /// It is of version 2.
    #[must_use]
    pub const fn is_unified(&self) -> bool {
        self.options.is_none()
    }

    /// It is of version 1 and this controller's.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        let mut options = self.options.iter().flat_map(|it| it.split(|byte| *byte == b','));
        options.any(|it| it == controller.as_bytes())
    }
}

/// Every mount of cgroups, in the order in which they were made.
pub fn cgroup_mounts(content: &[u8]) -> impl Iterator<Item = CgroupMount> {
    content.split(|byte| *byte == b'\n').filter_map(|line| {
        // proc(5): optional fields lie between the sixth and the hyphen.
        let mut fields = line.split(|byte| *byte == b' ');
        let root = fields.nth(3)?;
        let point = fields.next()?;
        let kind = fields.by_ref().skip_while(|field| *field != b"-").nth(1)?;
        let options = match kind {
            b"cgroup" => Some(fields.nth(1)?.to_vec()),
            b"cgroup2" => None,
            _ => return None,
        };
        Some(CgroupMount { root: path(root), point: path(point), options })
    })
}

/// A path in which the kernel wrote blanks, and what else would break the line, as `\040`.
fn path(escaped: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        let meant = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(meant.unwrap_or(byte));
        rest = if meant.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

/// A file of one limit, which may be none: `Some(None)`.
#[must_use]
pub fn limit(content: &[u8]) -> Option<Option<u64>> {
    if content.trim_ascii() == b"max" {
        return Some(None);
    }
    number(content).map(|limit| Some(limit).filter(|limit| *limit < UNLIMITED))
}

/// The number after a key, in a file of one key a line: `oom_kill 0`, `MemAvailable:  96 kB`.
#[must_use]
pub fn value(content: &[u8], key: &str) -> Option<u64> {
    let mut lines = content.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let rest = line.strip_prefix(key.as_bytes())?;
        rest.first().filter(|byte| byte.is_ascii_whitespace())?;
        let rest = std::str::from_utf8(rest).ok()?;
        rest.split_ascii_whitespace().next()?.parse().ok()
    })
}

/// Pressure: the time in which some process waited, in microseconds.
#[must_use]
pub fn stalled(content: &[u8]) -> Option<u64> {
    let mut lines = content.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"some "))?;
    let line = std::str::from_utf8(line).ok()?;
    line.split_ascii_whitespace().find_map(|it| it.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_one_cgroup_of_each_hierarchy() {
        let content = b"9:name=systemd:/\n5:cpu,memory:/a:b/c\n3:pids:/..\n0::/x\xff\n0:x\n7::/y\n";
        let found: Vec<_> = memberships(content).collect();
        assert_eq!(found.len(), 4);
        let of = |controller| found.iter().find(|it| it.has(controller)).map(|it| it.path);
        assert_eq!(of("memory"), Some(Path::new("/a:b/c")));
        assert_eq!(of("cpu"), of("memory"));
        assert_eq!(of("pids"), Some(Path::new("/..")));
        assert_eq!(of("mem"), None);
        let unified = found.iter().find(|it| it.is_unified()).unwrap();
        assert_eq!(unified.path, Path::new(OsStr::from_bytes(b"/x\xff")));
    }

    #[test]
    fn a_mount_of_cgroups_is_found_among_others() {
        let content = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            35 31 0:32 /docker/1 /my\\040cgroups/memory rw shared:5 master:1 - cgroup cgroup rw,memory\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 none rw,nsdelegate\n\
            42 31 0:39 / /broken rw\n\
            43 31 0:40 / /short rw - cgroup x";
        let found: Vec<_> = cgroup_mounts(content).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].root, Path::new("/docker/1"));
        assert_eq!(found[0].point, Path::new("/my cgroups/memory"));
        assert!(found[0].has("memory") && !found[0].has("pids") && !found[0].is_unified());
        assert!(found[1].is_unified() && !found[1].has("nsdelegate"));
    }

    #[test]
    fn an_escape_that_is_none_stays_as_it_is() {
        assert_eq!(path(b"\\040\\134\\9\\777x\\04"), Path::new(" \\\\9\\777x\\04"));
    }

    #[test]
    fn a_limit_may_be_none() {
        assert_eq!(limit(b"max\n"), Some(None));
        assert_eq!(limit(b"104857600\n"), Some(Some(104_857_600)));
        for unlimited in ["9223372036854771712", "9223372036854775807", "18446744073709551615"] {
            assert_eq!(limit(unlimited.as_bytes()), Some(None));
        }
        for garbage in [&b""[..], b"-1", b"maximum", b"\xff", b"1 2", b"18446744073709551616"] {
            assert_eq!(limit(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn a_key_is_a_whole_word() {
        let content = b"oom_kill_disable 0\nunder_oom 0\noom_kill 17\ninactive_file x\nlast\n";
        assert_eq!(value(content, "oom_kill"), Some(17));
        assert_eq!(value(content, "inactive_file"), None);
        assert_eq!(value(content, "last"), None);
        assert_eq!(value(b"MemAvailable:   24099576 kB\n", "MemAvailable:"), Some(24_099_576));
    }

    #[test]
    fn pressure_is_told_by_old_kernels_too() {
        let some = b"some avg10=0.80 avg60=12.72 avg300=9.71 total=10270013499\n";
        assert_eq!(stalled(some), Some(10_270_013_499));
        let other = b"full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(stalled(&[other.as_slice(), some].concat()), Some(10_270_013_499));
        for garbage in [&b""[..], b"some", b"some ", b"some total=", b"some total=-1\n", other] {
            assert_eq!(stalled(garbage), None, "{garbage:?}");
        }
    }
}
