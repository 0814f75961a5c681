//! What the processes of a real httpd hold: programs that were replaced on disk, logs that were
//! rotated and not opened again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::SystemTime,
};

use gracekeeper::{
    clock,
    model::{
        drift::Reason,
        files::{Digest, Loading, MappedFile},
        headroom::Role,
        process::{Pid, ProcessId},
        snapshot::Part,
        source::Why,
        time::Timestamp,
    },
    observe::{
        mapped::MappedObserver, open_logs::OpenLogObserver, process_table::ProcessTable,
        scoreboard::ScoreboardReader,
    },
    track::drift::{Owed, logs::LogTracker, programs::ProgramTracker},
};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{
    Httpd, Mpm, eventually, not_tested,
    process::{MARK, children_of},
    program, under_every_mpm,
};

under_every_mpm! {
    a_rotated_log_is_counted_until_it_is_opened_again
    a_replaced_module_is_owed_until_a_graceful_restart
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_gracekeeper");
const MODULE: &str = "/usr/lib/apache2/modules/mod_env.so";

fn identity(pid: u32) -> ProcessId {
    let pid = Pid::new(i32::try_from(pid).unwrap()).unwrap();
    ProcessTable::new("/proc".into()).row(pid).unwrap().id
}

fn reader() -> ScoreboardReader {
    ScoreboardReader::start_program(Path::new(PROGRAM), Path::new("/proc")).unwrap().0
}

/// One that is nobody's, who may look at nobody else's processes.
fn reader_of_nobody(directory: &Path) -> ScoreboardReader {
    let (copy, script) = (directory.join("gracekeeper"), directory.join("as_nobody"));
    fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    if !copy.exists() {
        program::copy(Path::new(PROGRAM), &copy);
    }
    let text = format!(
        "#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups {} \"$@\"\n",
        copy.display()
    );
    program::write_script(&script, &text);
    ScoreboardReader::start_program(&script, Path::new("/proc")).unwrap().0
}

/// As the harness does it, but without its oracle, who reads the log that is renamed here.
fn graceful(httpd: &Httpd) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(httpd.pid()).unwrap()).unwrap();
    let next = eventually("a worker tells the generation", || httpd.generation()) + 1;
    kill_process(pid, Signal::USR1).unwrap();
    eventually("the next generation answers", || httpd.generation() == Some(next));
}

/// What is seen of the logs, and what is made of it.
struct Logs {
    parent: ProcessId,
    readers: ScoreboardReader,
    observer: OpenLogObserver,
    tracker: LogTracker,
    files: Option<Vec<PathBuf>>,
    listed: usize,
}

impl Logs {
    fn of(httpd: &Httpd, readers: ScoreboardReader, files: Option<Vec<PathBuf>>) -> Self {
        let (observer, tracker) = (OpenLogObserver::default(), LogTracker::default());
        Self { parent: identity(httpd.pid()), readers, observer, tracker, files, listed: 0 }
    }

    /// Parent, current children, old ones: those that lived before.
    fn counts(&mut self, old: &BTreeSet<u32>) -> Vec<(Role, u64)> {
        let table = ProcessTable::new("/proc".into());
        let living = |pid: &u32| {
            let row = table.row(Pid::new(i32::try_from(*pid).unwrap())?).ok()?;
            Some((row.id, if old.contains(pid) { Role::Old } else { Role::Current }))
        };
        let now = children_of(u32::try_from(self.parent.pid.as_raw()).unwrap());
        let mut roles: BTreeMap<ProcessId, Role> = now.iter().filter_map(living).collect();
        let children: Vec<ProcessId> = roles.keys().copied().collect();
        roles.insert(self.parent, Role::Parent);
        let seen = self.observer.look(clock::now(), self.parent, &children, &mut self.readers);
        let counts = self.tracker.observe(Some(&seen), self.files.as_deref(), &roles);
        self.listed = seen.seen().map_or(0, |logs| logs.processes.len());
        counts.into_iter().collect()
    }
}

fn counts(parent: u64, current: u64, old: u64) -> Vec<(Role, u64)> {
    vec![(Role::Parent, parent), (Role::Current, current), (Role::Old, old)]
}

fn a_rotated_log_is_counted_until_it_is_opened_again(mpm: Mpm) {
    let httpd = Httpd::builder(mpm)
        .extra("CustomLog logs/access_log \"%h\"")
        .extra("<VirtualHost *:1>\nCustomLog logs/other_log \"%h\"\n</VirtualHost>")
        .start();
    let logs = ["error_log", "access_log", "other_log"]
        .map(|name| httpd.directory().join("logs").join(name));
    let known = (mpm != Mpm::Worker).then(|| logs.to_vec());
    let mut seen = Logs::of(&httpd, reader(), known);
    let nobody = BTreeSet::new();
    let first = children_of(httpd.pid());
    let many = u64::try_from(first.len()).unwrap();
    eventually("all are listed", || {
        seen.counts(&nobody) == counts(0, 0, 0) && seen.listed == first.len() + 1
    });
    let held = httpd.hold_requests(1);
    fs::rename(&logs[0], httpd.directory().join("logs/error_log.1")).unwrap();
    fs::remove_file(&logs[1]).unwrap();
    eventually("both are counted", || seen.counts(&nobody) == counts(2, 2 * many, 0));
    graceful(&httpd);
    let old = first;
    eventually("only the child that still works has them", || seen.counts(&old) == counts(0, 0, 2));
    held.release();
    eventually("nobody has them", || seen.counts(&old) == counts(0, 0, 0));
}

#[test]
fn what_is_truncated_in_place_or_appended_to_by_others_is_no_rotation() {
    let directory = TempDir::new().unwrap();
    let other = directory.path().join("audit");
    let httpd =
        Httpd::builder(Mpm::Event).extra(&format!("CustomLog {} \"%h\"", other.display())).start();
    let error_log = httpd.directory().join("logs/error_log");
    let mut seen = Logs::of(&httpd, reader(), Some(vec![error_log.clone()]));
    let nobody = BTreeSet::new();
    eventually("all are listed", || seen.counts(&nobody) == counts(0, 0, 0));
    let kept = fs::read(&error_log).unwrap();
    fs::write(httpd.directory().join("logs/error_log.1"), &kept).unwrap();
    fs::File::options().write(true).open(&error_log).unwrap().set_len(0).unwrap();
    let renamed = directory.path().join("audit.1");
    fs::rename(&other, &renamed).unwrap();
    eventually("the renamed one is counted, and no other", || {
        let counts = seen.counts(&nobody);
        counts.first() == Some(&(Role::Parent, 1))
    });
    fs::rename(&renamed, &other).unwrap();
    eventually("nothing is", || seen.counts(&nobody) == counts(0, 0, 0));
}

#[test]
fn who_may_not_look_is_told_nothing() {
    if !rustix::process::geteuid().is_root() {
        not_tested("who is not root has nobody to be");
        return;
    }
    let directory = TempDir::new().unwrap();
    let httpd = Httpd::builder(Mpm::Prefork).start();
    let readers = || reader_of_nobody(directory.path());
    let mut seen = Logs::of(&httpd, readers(), None);
    assert_eq!(seen.counts(&BTreeSet::new()), []);
    let parent = seen.parent;
    let part = seen.observer.look(clock::now(), parent, &[], &mut seen.readers);
    assert_eq!(part, Part::Unseen(Why::Permission));
    let mut programs = Programs::of(httpd.pid(), readers());
    assert_eq!(programs.look(), Part::Unseen(Why::Permission));
    assert!(programs.owed().is_empty());
}

/// What is seen of programs, and what is made of it.
struct Programs {
    parent: ProcessId,
    readers: ScoreboardReader,
    observer: MappedObserver,
    tracker: ProgramTracker,
    loading: Loading,
    /// What the configuration names.
    modules: Vec<PathBuf>,
    looks: u8,
}

impl Programs {
    fn of(parent: u32, readers: ScoreboardReader) -> Self {
        let parent = identity(parent);
        let (observer, tracker) = (MappedObserver::default(), ProgramTracker::default());
        let loading = Loading { number: 0, began: clock::now().at_uptime(parent.started) };
        Self { parent, readers, observer, tracker, loading, modules: Vec::new(), looks: 0 }
    }

    /// As if a program had changed each time.
    fn look(&mut self) -> Part<Arc<[MappedFile]>> {
        self.looks = self.looks.wrapping_add(1);
        let (at, stirred) = (clock::now(), Digest([self.looks; 16]));
        self.observer.look(at, self.parent, stirred, self.loading, &mut self.readers)
    }

    fn owed(&mut self) -> BTreeMap<Reason, Owed> {
        let seen = self.look();
        let modules: Arc<[PathBuf]> = self.modules.clone().into();
        self.tracker.observe(Some(&seen), Some(&modules), self.loading.began.wall)
    }

    /// What is owed at all.
    fn reasons(&mut self) -> Vec<Reason> {
        let owed = self.owed();
        assert_eq!(owed.len(), 3, "what can be seen is told");
        owed.into_iter()
            .filter(|(_, owed)| *owed != Owed::Nothing)
            .map(|(reason, _)| reason)
            .collect()
    }

    /// Forgets what was seen, so that it is read at once.
    fn look_anew(&mut self) {
        self.observer = MappedObserver::default();
    }

    fn restarted(&mut self, began: SystemTime) {
        let wall = i64::try_from(began.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros());
        let began = clock::now().at_wall(Timestamp::from_micros(wall.unwrap()));
        self.loading = Loading { number: self.loading.number + 1, began };
    }
}

/// As a package manager does it: a new file takes the name.
fn replace(file: &Path) {
    let new = file.with_extension("new");
    program::copy(file, &new);
    fs::rename(&new, file).unwrap();
}

fn a_replaced_module_is_owed_until_a_graceful_restart(mpm: Mpm) {
    let directory = TempDir::new().unwrap();
    let module = directory.path().join("mod_env.so");
    program::copy(Path::new(MODULE), &module);
    let load = format!("LoadModule env_module {}", module.display());
    let httpd = Httpd::builder(mpm).extra(&load).start();
    let mut programs = Programs::of(httpd.pid(), reader());
    assert_eq!(programs.reasons(), []);
    assert!(programs.observer.programs().contains(&module));
    let before = clock::now().wall.as_micros() - 20_000;
    replace(&module);
    eventually("it is replaced", || programs.reasons() == [Reason::Module]);
    let owed = programs.owed();
    let Some(Owed::Since(Some(since))) = owed.get(&Reason::Module) else { panic!("{owed:?}") };
    assert!(since.as_micros() >= before, "{since:?} is not after {before}");
    let began = SystemTime::now();
    graceful(&httpd);
    programs.restarted(began);
    eventually("it is loaded", || programs.reasons().is_empty());
    // Written into, which changes neither name nor inode.
    // The same bytes: of a file that is truncated, httpd's children die.
    let bytes = fs::read(&module).unwrap();
    fs::File::options().write(true).open(&module).unwrap().write_all(&bytes).unwrap();
    eventually("it is written", || programs.reasons() == [Reason::Module]);
    fs::rename(&module, directory.path().join("mod_env.so.bak")).unwrap();
    eventually("it is renamed away", || programs.reasons() == [Reason::Module]);
    program::copy(Path::new(MODULE), &module);
    eventually("another one lies there", || programs.reasons() == [Reason::Module]);
    let began = SystemTime::now();
    graceful(&httpd);
    programs.restarted(began);
    eventually("it is loaded again", || programs.reasons().is_empty());
}

#[test]
fn a_module_of_an_unusual_name_that_is_written_is_owed_until_a_graceful_restart() {
    let directory = TempDir::new().unwrap();
    let module = directory.path().join("libenv.so");
    program::copy(Path::new(MODULE), &module);
    let load = format!("LoadModule env_module {}", module.display());
    let httpd = Httpd::builder(Mpm::Event).extra(&load).start();
    let mut programs = Programs::of(httpd.pid(), reader());
    programs.modules.push(module.clone());
    assert_eq!(programs.reasons(), []);
    let bytes = fs::read(&module).unwrap();
    fs::File::options().write(true).open(&module).unwrap().write_all(&bytes).unwrap();
    eventually("it is written", || programs.reasons() == [Reason::Module]);
    let began = SystemTime::now();
    graceful(&httpd);
    programs.restarted(began);
    eventually("it is loaded", || programs.reasons().is_empty());
}

#[test]
fn a_library_is_told_from_a_module() {
    let directory = TempDir::new().unwrap();
    let library = directory.path().join("libheld.so");
    program::copy(Path::new(MODULE), &library);
    let httpd =
        Httpd::builder(Mpm::Event).extra(&format!("LoadFile {}", library.display())).start();
    let mut programs = Programs::of(httpd.pid(), reader());
    assert_eq!(programs.reasons(), []);
    fs::remove_file(&library).unwrap();
    eventually("it is gone", || programs.reasons() == [Reason::Library]);
    let owed = programs.owed();
    assert!(matches!(owed.get(&Reason::Library), Some(Owed::Since(Some(_)))), "{owed:?}");
    program::copy(Path::new(MODULE), &library);
    eventually("a new one is there", || programs.reasons() == [Reason::Library]);
    let began = SystemTime::now();
    graceful(&httpd);
    programs.restarted(began);
    eventually("a restart loads it as it loads modules", || programs.reasons().is_empty());
}

#[test]
fn a_replaced_program_is_owed_until_a_full_restart() {
    let httpd = Httpd::builder(Mpm::Prefork).start();
    httpd.stop();
    eventually("httpd has stopped", || !httpd.parent_is_alive());
    let program = httpd.directory().join("httpd");
    program::copy(Path::new("/usr/sbin/apache2"), &program);
    let parent = Started::of(&httpd, &program);
    eventually("it serves", || httpd.generation() == Some(0));
    let mut programs = Programs::of(parent.0.id(), reader());
    assert_eq!(programs.reasons(), []);
    replace(&program);
    eventually("it is replaced", || programs.reasons() == [Reason::Binary]);
    let pid = rustix::process::Pid::from_child(&parent.0);
    let began = SystemTime::now();
    kill_process(pid, Signal::USR1).unwrap();
    eventually("it restarts", || httpd.generation() == Some(1));
    programs.restarted(began);
    programs.look_anew();
    assert_eq!(programs.reasons(), [Reason::Binary], "nothing but a full restart loads it");
    drop(parent);
    let parent = Started::of(&httpd, &program);
    eventually("it serves again", || httpd.generation() == Some(0));
    programs = Programs::of(parent.0.id(), reader());
    assert_eq!(programs.reasons(), []);
}

/// Another program with the configuration of an httpd that was stopped; it is ended on drop.
struct Started(Child);

impl Started {
    fn of(httpd: &Httpd, program: &Path) -> Self {
        let child = Command::new(program)
            .arg("-d")
            .arg(httpd.directory())
            .arg("-f")
            .arg(httpd.configuration_file())
            .args(["-D", "FOREGROUND"])
            .env_clear()
            .env(MARK, httpd.directory())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // prefork signals its whole process group, which must not be ours.
            .process_group(0)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.0.wait();
    }
}
