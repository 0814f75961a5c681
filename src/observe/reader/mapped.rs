//! The programs and libraries that a parent runs, and whether they still lie where they lay.
//!
//! What lies there is looked at by a thread that nobody waits for long: a file system that somebody
//! mounted himself, or whose server is gone, need not answer.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    thread::Builder,
    time::Duration,
};

use procfs::process::{MMPermissions, MMapPath, MemoryMap};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags, open, openat2, statx},
    io::Errno,
};

use super::{
    super::process_table::{ProcessTable, why},
    MOST_PARENTS,
    mappings::{self, Rest},
};
use crate::{
    clock,
    model::{
        files::{MappedFile, MappedKind},
        process::ProcessId,
        source::Why,
        time::Timestamp,
    },
};

/// An httpd with many modules runs some hundred files.
const MOST_FILES: usize = 2000;
/// As many take a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(200);
/// Threads that still wait for a file system.
const MOST_WAITING: usize = 8;
/// A process starts by the tick of 10 ms before.
const TICK: Duration = Duration::from_millis(10);
/// What the kernel says of a name that is gone.
const DELETED: &str = " (deleted)";

/// The programs of all parents.
#[derive(Default)]
pub(super) struct Programs {
    parents: BTreeMap<ProcessId, Program>,
}

/// What is remembered of one parent.
#[derive(Default)]
struct Program {
    first: BTreeMap<FileNumber, FirstSeen>,
    rest: Rest,
    /// The answer of a file system that did not come in time.
    late: Option<Receiver<Vec<There>>>,
}

/// A file when it was seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FirstSeen {
    /// Who renames it later renames it in maps too.
    name: PathBuf,
    /// What is written into it later was not there when it was mapped, as far as that can be told.
    began: Timestamp,
}

/// When a parent began to run, and when it last loaded its modules.
#[derive(Clone, Copy)]
struct Times {
    started: Timestamp,
    loaded: Timestamp,
    now: Timestamp,
}

/// Device, major and minor, and inode, as maps show them.
type FileNumber = ((u32, u32), u64);

/// A file that is mapped to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    number: FileNumber,
    /// Its name now; of a file that is gone its last.
    path: PathBuf,
    is_deleted: bool,
    kind: MappedKind,
}

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    File {
        number: FileNumber,
        modified: Timestamp,
        changed: Timestamp,
    },
    /// Nothing; when its directory last changed.
    Nothing(Option<Timestamp>),
    /// That cannot be told.
    Unknown,
}

impl Programs {
    /// All that the parent runs. `loaded` is when it last loaded its modules.
    pub(super) fn read(
        &mut self,
        table: &ProcessTable,
        parent: ProcessId,
        loaded: Timestamp,
    ) -> Result<Vec<MappedFile>, Why> {
        let program = self.of(parent)?;
        program.catch_up()?;
        let Program { first, rest, late } = program;
        let now = clock::now();
        let started = now.at_uptime(parent.started).after(TICK).wall;
        let times = Times { started, loaded: loaded.max(started), now: now.wall };
        rest.unless_tired(|| {
            let mappings = mappings(table, parent)?;
            remember(first, &mappings, times);
            let first = |it: &Mapping| first.get(&it.number);
            let paths = mappings.iter().filter_map(|it| Some(first(it)?.name.clone())).collect();
            let there = look(table, parent, paths, late)?;
            // The number may have changed hands meanwhile.
            if table.row(parent.pid)?.id != parent {
                return Err(Why::Missing);
            }
            let pairs = mappings.iter().zip(there);
            Ok(pairs
                .filter_map(|(it, there)| Some(it.compared(first(it)?, there, times)))
                .collect())
        })
    }

    fn of(&mut self, parent: ProcessId) -> Result<&mut Program, Why> {
        if self.parents.len() >= MOST_PARENTS && !self.parents.contains_key(&parent) {
            self.parents.retain(|_, program| program.late.is_some());
        }
        let waiting = self.parents.values().filter(|program| program.late.is_some()).count();
        match self.parents.entry(parent) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(_) if waiting >= MOST_WAITING => Err(Why::Timeout),
            Entry::Vacant(place) => Ok(place.insert(Program::default())),
        }
    }
}

impl Program {
    /// No second thread is sent after one that does not come back.
    fn catch_up(&mut self) -> Result<(), Why> {
        if let Some(Err(TryRecvError::Empty)) = self.late.as_ref().map(Receiver::try_recv) {
            return Err(Why::Timeout);
        }
        self.late = None;
        Ok(())
    }
}

/// What is mapped to be executed, each file once; the parent's own program among it.
fn mappings(table: &ProcessTable, parent: ProcessId) -> Result<Vec<Mapping>, Why> {
    let maps = mappings::of(table, parent.pid)?;
    let mut files: BTreeMap<FileNumber, Mapping> = BTreeMap::new();
    for mapping in maps.iter().filter_map(executable) {
        files.entry(mapping.number).or_insert(mapping);
        if files.len() > MOST_FILES {
            return Err(Why::Limit);
        }
    }
    let link = table.path(parent.pid, "exe");
    let name = fs::read_link(&link).map_err(|error| why(&error))?;
    let (path, is_deleted) = named(&name);
    let own = files.values_mut().find(|it| it.path == path && it.is_deleted == is_deleted);
    if let Some(own) = own {
        own.kind = MappedKind::Binary;
    } else {
        let found = stamp(CWD, &link, AtFlags::STATX_DONT_SYNC).map_err(|_| Why::Other)?;
        let (number, kind) = (number(&found), MappedKind::Binary);
        files.insert(number, Mapping { number, path, is_deleted, kind });
    }
    Ok(files.into_values().collect())
}

/// A file of which code is run. What is shared is code that somebody makes as it runs, as libffi
/// does in files that it deletes at once.
fn executable(map: &MemoryMap) -> Option<Mapping> {
    let MMapPath::Path(name) = &map.pathname else { return None };
    let is_code = map.perms.contains(MMPermissions::EXECUTE | MMPermissions::PRIVATE);
    let is_file = map.inode > 0
        && name.starts_with("/")
        && !name.starts_with("/dev")
        && !name.as_os_str().as_encoded_bytes().starts_with(b"/memfd:");
    let device = (u32::try_from(map.dev.0).ok()?, u32::try_from(map.dev.1).ok()?);
    let (path, is_deleted) = named(name);
    let (number, kind) = ((device, map.inode), MappedKind::Library);
    (is_code && is_file).then_some(Mapping { number, path, is_deleted, kind })
}

/// A name, and whether it is gone.
fn named(name: &Path) -> (PathBuf, bool) {
    let kept = name.to_str().and_then(|text| text.strip_suffix(DELETED));
    // What is told must be text: a name that is none is told as like it as can be.
    let shown = || PathBuf::from(name.to_string_lossy().into_owned());
    kept.map_or_else(|| (shown(), false), |path| (PathBuf::from(path), true))
}

/// What is mapped no longer is forgotten: its number is given to another file.
fn remember(first: &mut BTreeMap<FileNumber, FirstSeen>, mappings: &[Mapping], times: Times) {
    let mut earlier = std::mem::take(first);
    let is_new = earlier.is_empty();
    for mapping in mappings {
        let seen = earlier.remove(&mapping.number).unwrap_or_else(|| {
            let began = match mapping.kind {
                MappedKind::Binary => times.started,
                // A restart before may have loaded it, as it does with what only modules need.
                MappedKind::Library if is_new => times.loaded,
                MappedKind::Library => times.now,
            };
            FirstSeen { name: mapping.path.clone(), began }
        });
        first.insert(mapping.number, seen);
    }
}

impl Mapping {
    fn compared(&self, first: &FirstSeen, there: There, times: Times) -> MappedFile {
        let is_replaced = self.is_replaced(first, there);
        let written = there.written().filter(|written| times.started < *written);
        let changed = match there {
            There::File { changed, .. } => Some(changed),
            There::Nothing(changed) => changed,
            There::Unknown => None,
        };
        let changed = changed.filter(|_| is_replaced || written.is_some());
        let (path, kind, began) = (first.name.clone(), self.kind, first.began);
        MappedFile { path, kind, is_replaced, written, began, changed }
    }

    fn is_replaced(&self, first: &FirstSeen, there: There) -> bool {
        let has_gone = self.is_deleted || self.path != first.name;
        match there {
            There::Nothing(_) => true,
            // Of an overlay, maps show the device below, which stat does not.
            There::File { number, .. } if number.0 == self.number.0 => number != self.number,
            There::File { .. } | There::Unknown => has_gone,
        }
    }
}

impl There {
    /// When it was written at the latest: a change of its mode alone stamps one of its times, a clock
    /// set wrong the other.
    fn written(self) -> Option<Timestamp> {
        match self {
            Self::File { modified, changed, .. } => Some(modified.min(changed)),
            Self::Nothing(_) | Self::Unknown => None,
        }
    }
}

/// Looks at what lies under these names, on a thread of its own.
fn look(
    table: &ProcessTable,
    parent: ProcessId,
    paths: Vec<PathBuf>,
    late: &mut Option<Receiver<Vec<There>>>,
) -> Result<Vec<There>, Why> {
    let link = table.path(parent.pid, "root");
    // Names in maps are the mount namespace's, also of a process that changed its root.
    let below = fs::read_link(&link).map_err(|error| why(&error))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(&link, flags, Mode::empty()).map_err(|error| why(&error.into()))?;
    let (tell, told) = mpsc::channel();
    let look = move || {
        let there = paths.iter().map(|path| what_lies(&root, &below, path)).collect();
        // Who has gone away meanwhile is told nothing.
        let _ = tell.send(there);
    };
    let thread = Builder::new().name("programs".to_owned()).spawn(look);
    thread.map_err(|error| why(&error))?;
    match told.recv_timeout(PATIENCE) {
        Ok(there) => Ok(there),
        Err(RecvTimeoutError::Timeout) => {
            *late = Some(told);
            Err(Why::Timeout)
        }
        Err(RecvTimeoutError::Disconnected) => Err(Why::Other),
    }
}

fn what_lies(root: &OwnedFd, below: &Path, path: &Path) -> There {
    let Ok(name) = path.strip_prefix(below) else { return There::Unknown };
    match stamp_below(root, name) {
        Ok(found) => There::File {
            number: number(&found),
            modified: micros(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            changed: micros(found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        },
        Err(Errno::NOENT | Errno::NOTDIR) => {
            let directory = name.parent().and_then(|it| stamp_below(root, it).ok());
            There::Nothing(directory.map(|it| micros(it.stx_mtime.tv_sec, it.stx_mtime.tv_nsec)))
        }
        Err(_) => There::Unknown,
    }
}

/// A link there leads to somewhere below that root, not below the reader's own.
fn stamp_below(root: &OwnedFd, name: &Path) -> Result<Statx, Errno> {
    let name = if name.as_os_str().is_empty() { Path::new(".") } else { name };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(root, name, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(found) => stamp(found.as_fd(), Path::new(""), AtFlags::EMPTY_PATH),
        // A kernel before 5.6, or a filter of system calls that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => stamp(root.as_fd(), name, AtFlags::empty()),
        Err(error) => Err(error),
    }
}

fn stamp(directory: BorrowedFd<'_>, name: &Path, flags: AtFlags) -> Result<Statx, Errno> {
    statx(directory, name, flags, StatxFlags::BASIC_STATS)
}

const fn number(found: &Statx) -> FileNumber {
    ((found.stx_dev_major, found.stx_dev_minor), found.stx_ino)
}

fn micros(seconds: i64, nanoseconds: u32) -> Timestamp {
    let micros = seconds.saturating_mul(1_000_000).saturating_add(i64::from(nanoseconds / 1000));
    Timestamp::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use procfs::{FromBufRead as _, process::MemoryMaps};

    use super::*;
    use crate::model::{process::Pid, time::Uptime};

    const TIMES: Times = Times { started: at(100), loaded: at(100), now: at(900) };

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    fn own() -> ProcessId {
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        ProcessTable::new("/proc".into()).row(own).unwrap().id
    }

    fn mapped(path: &str, inode: u64) -> Mapping {
        let (path, is_deleted) = named(Path::new(path));
        let kind = if path.starts_with("/bin") { MappedKind::Binary } else { MappedKind::Library };
        Mapping { number: ((8, 1), inode), path, is_deleted, kind }
    }

    fn lies(inode: u64, millis: i64) -> There {
        let time = at(millis);
        There::File { number: ((8, 1), inode), modified: time, changed: time }
    }

    /// Of a file of this name, seen first when the parent was.
    fn compared(path: &str, now: &str, there: There) -> MappedFile {
        let mut first = BTreeMap::new();
        remember(&mut first, &[mapped(path, 5)], TIMES);
        let seen = first.get(&((8, 1), 5)).unwrap();
        mapped(now, 5).compared(seen, there, TIMES)
    }

    fn is_replaced(path: &str, now: &str, there: There) -> bool {
        compared(path, now, there).is_replaced
    }

    #[test]
    fn only_files_of_which_code_is_run_count() {
        let lines = "\
            560000000000-560000001000 r-xp 00001000 08:01 5 /usr/sbin/httpd\n\
            7f0000000000-7f0000001000 r--p 00000000 08:01 6 /lib/data.so\n\
            7f0000001000-7f0000002000 r-xp 00000000 08:01 7 /lib/code.so (deleted)\n\
            7f0000002000-7f0000003000 r-xs 00000000 08:01 8 /tmp/ffiAbCdEf (deleted)\n\
            7f0000003000-7f0000004000 rwxp 00000000 00:01 9 /dev/zero (deleted)\n\
            7f0000004000-7f0000005000 r-xp 00000000 00:01 10 /dev/shm/x\n\
            7f0000005000-7f0000006000 r-xp 00000000 00:01 11 /memfd:jit (deleted)\n\
            7f0000006000-7f0000007000 r-xp 00000000 00:01 12 /SYSV00000000 (deleted)\n\
            7f0000007000-7f0000008000 rwxp 00000000 00:00 0 \n\
            7ffe00000000-7ffe00001000 r-xp 00000000 00:00 0 [vdso]\n";
        let maps = MemoryMaps::from_buf_read(lines.as_bytes()).unwrap();
        let found: Vec<_> = maps.iter().filter_map(executable).collect();
        let expected = [mapped("/usr/sbin/httpd", 5), mapped("/lib/code.so (deleted)", 7)];
        assert_eq!(found, expected);
        assert!(found[1].is_deleted && found[1].path == Path::new("/lib/code.so"));
    }

    #[test]
    fn what_lies_there_is_another_file_or_none() {
        let library = "/lib/libx.so";
        assert!(!is_replaced(library, library, lies(5, 50)));
        assert!(is_replaced(library, library, lies(6, 50)));
        assert!(is_replaced(library, library, There::Nothing(None)));
        assert!(!is_replaced(library, library, There::Unknown));
        assert!(is_replaced(library, "/lib/libx.so (deleted)", There::Unknown));
        assert!(is_replaced(library, "/lib/libx.so.bak", lies(6, 50)), "renamed");
        assert!(!is_replaced(library, "/lib/libx.so (deleted)", lies(5, 50)), "linked again");
    }

    #[test]
    fn on_an_overlay_only_the_name_tells() {
        let library = "/lib/libx.so";
        let there = There::File { number: ((0, 77), 9), modified: at(50), changed: at(50) };
        assert!(!is_replaced(library, library, there));
        assert!(is_replaced(library, "/lib/libx.so (deleted)", there));
        assert!(is_replaced(library, "/lib/old.so", there));
    }

    #[test]
    fn what_was_written_since_the_parent_began_is_told_of_every_file_alike() {
        for path in ["/bin/httpd", "/lib/libx.so", "/lib/mod_x.so", "/x/modules/libphp.so"] {
            let written = compared(path, path, lies(5, 400));
            assert_eq!((written.is_replaced, written.written), (false, Some(at(400))), "{path}");
            assert_eq!((written.began, written.changed), (at(100), Some(at(400))), "{path}");
            let kept = compared(path, path, lies(5, 100));
            assert_eq!((kept.written, kept.changed), (None, None), "{path}");
        }
        for (modified, changed) in [(50, 400), (400, 50)] {
            let (modified, changed) = (at(modified), at(changed));
            let there = There::File { number: ((8, 1), 5), modified, changed };
            assert_eq!(compared("/bin/httpd", "/bin/httpd", there).written, None);
        }
        assert_eq!(compared("/bin/httpd", "/bin/httpd", There::Nothing(None)).written, None);
    }

    #[test]
    fn what_is_mapped_later_was_not_written_before() {
        let mut first = BTreeMap::new();
        let (own, library) = (mapped("/bin/httpd", 4), mapped("/lib/libx.so", 5));
        remember(&mut first, std::slice::from_ref(&own), TIMES);
        remember(&mut first, &[own, library.clone()], TIMES);
        let seen = first.get(&library.number).unwrap();
        assert_eq!(library.compared(seen, lies(5, 800), TIMES).began, at(900));
        remember(&mut first, &[], TIMES);
        assert_eq!(first.len(), 0, "a number is given again");
    }

    #[test]
    fn a_name_below_a_root_is_looked_up_there() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("usr");
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("real"), "x").unwrap();
        std::os::unix::fs::symlink("/usr/real", inside.join("link")).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let opened = open(root.path(), flags, Mode::empty()).unwrap();
        let look = |name: &str| what_lies(&opened, root.path(), &inside.join(name));
        assert!(matches!(look("real"), There::File { .. }));
        assert_eq!(look("link"), look("real"), "not below the root of who looks");
        assert!(matches!(look("gone"), There::Nothing(Some(_))));
        assert_eq!(look("gone/from/there"), There::Nothing(None));
        assert_eq!(what_lies(&opened, root.path(), Path::new("/etc")), There::Unknown);
    }

    #[test]
    fn this_process_runs_its_own_program_and_nobody_runs_none() {
        let (table, own) = (ProcessTable::new("/proc".into()), own());
        let mut programs = Programs::default();
        let files = programs.read(&table, own, at(0)).unwrap();
        let binaries: Vec<_> =
            files.iter().filter(|file| file.kind == MappedKind::Binary).collect();
        assert_eq!(binaries.len(), 1);
        assert_eq!(binaries[0].path, std::env::current_exe().unwrap());
        assert!(files.len() > 1, "{files:?}");
        assert!(files.iter().all(|file| !file.is_replaced && file.changed.is_none()), "{files:?}");
        let earlier = ProcessId { started: Uptime::from_micros(1), ..own };
        assert_eq!(programs.read(&table, earlier, at(0)), Err(Why::Missing));
    }

    #[test]
    fn who_waits_for_a_file_system_is_not_asked_again_and_others_are() {
        let mut programs = Programs::default();
        let (_tell, told) = mpsc::channel();
        let stuck = own();
        programs.of(stuck).unwrap().late = Some(told);
        let table = ProcessTable::new("/proc".into());
        assert_eq!(programs.read(&table, stuck, at(0)), Err(Why::Timeout));
        let other = ProcessId { started: Uptime::from_micros(1), ..stuck };
        assert_eq!(programs.read(&table, other, at(0)), Err(Why::Missing), "is looked for");
        let (tell, told) = mpsc::channel();
        programs.of(stuck).unwrap().late = Some(told);
        tell.send(Vec::new()).unwrap();
        assert!(programs.read(&table, stuck, at(0)).is_ok(), "it has answered");
    }
}
