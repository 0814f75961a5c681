//! The reading side as it is: its bell, its process, and httpds that rotate their logs.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use gracekeeper::{
    clock,
    model::{
        log::{Claim, Lifecycle, LogCode, LogReport},
        process::{Pid, ProcessId},
        snapshot::Part,
        source::Why,
        time::Timestamp,
    },
    observe::{
        error_log::{
            client::{Bell, LogReader},
            follower::Follower,
            message::{self, Message, Received, Request, Subject},
            service,
        },
        process_table::ProcessTable,
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::RecvFlags,
    process::{Gid, Signal, Uid},
    thread::{set_thread_res_gid, set_thread_res_uid},
};
use tempfile::TempDir;

use super::{BUFFER, Reader, Recorder, open};
use crate::harness::{Httpd, Mpm, eventually, under_every_mpm};

const RESUMED: &[u8] = b"[mpm_event:notice] [pid 7] AH00489: configured -- resuming\n";
const ORDINARY: &[u8] = b"[authz_core:error] [pid 8] AH01630: client denied\n";

/// Three logs, followed over a socket that the test itself listens to.
struct Logs {
    directory: TempDir,
    files: Vec<File>,
    socket: OwnedFd,
    service: JoinHandle<()>,
}

impl Logs {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (socket, other) = message::pair().unwrap();
        let service = thread::spawn(|| {
            service::serve(&ProcessTable::new("/proc".into()), other).unwrap();
        });
        let mut logs = Self { directory, files: Vec::new(), socket, service };
        for server in 0..3 {
            logs.files.push(open(&logs.path(server)));
            let file = File::open(logs.path(server)).unwrap();
            assert_eq!(logs.ask(server, Subject::File, Some(&file)), LogReport::default());
        }
        logs
    }

    fn path(&self, server: u32) -> PathBuf {
        self.directory.path().join(server.to_string())
    }

    fn write(&mut self, server: usize, line: &[u8]) {
        self.files[server].write_all(line).unwrap();
    }

    fn ask(&self, server: u32, subject: Subject, file: Option<&File>) -> LogReport {
        let request = Request { serial: 1, server, subject };
        message::send(&self.socket, &request, file.map(AsFd::as_fd)).unwrap();
        match self.next() {
            Message::Answer(answer) => answer.report.unwrap(),
            bell @ Message::Bell { .. } => panic!("{bell:?}"),
        }
    }

    fn next(&self) -> Message {
        let limit = Timespec { tv_sec: 30, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&limit));
        assert_eq!(ready, Ok(1), "nothing was said");
        let received = message::receive(&self.socket, RecvFlags::DONTWAIT).unwrap();
        let Received::Message(message, None) = received else { panic!("{received:?}") };
        message
    }

    /// The next that is said is that there is news of this server.
    fn assert_rings(&self, server: u32) {
        assert_eq!(self.next(), Message::Bell { server });
    }

    fn end(self) {
        drop(self.socket);
        self.service.join().unwrap();
    }
}

#[test]
fn lines_that_matter_ring_once_until_somebody_looks() {
    let mut logs = Logs::new();
    // What happens first is told first: had the first server rung, it would be heard.
    logs.write(0, ORDINARY);
    logs.write(1, RESUMED);
    logs.assert_rings(1);
    logs.write(1, RESUMED);
    logs.write(2, RESUMED);
    logs.assert_rings(2);
    let report = logs.ask(1, Subject::SameFile, None);
    assert_eq!(report.events, [(LogCode::Ah00489, 2)]);
    let report = logs.ask(0, Subject::SameFile, None);
    assert_eq!(report.events, [(LogCode::Other, 1)]);
    logs.write(1, RESUMED);
    logs.assert_rings(1);
    logs.end();
}

#[test]
fn a_log_that_is_renamed_or_removed_or_truncated_rings() {
    let mut logs = Logs::new();
    logs.write(2, ORDINARY);
    logs.ask(2, Subject::SameFile, None);
    // Neither a new mode nor another link is news.
    fs::set_permissions(logs.path(0), fs::metadata(logs.path(0)).unwrap().permissions()).unwrap();
    fs::hard_link(logs.path(0), logs.directory.path().join("link")).unwrap();
    fs::rename(logs.path(1), logs.directory.path().join("1.1")).unwrap();
    logs.assert_rings(1);
    logs.files[2].set_len(0).unwrap();
    logs.assert_rings(2);
    fs::remove_file(logs.path(0)).unwrap();
    fs::remove_file(logs.directory.path().join("link")).unwrap();
    logs.assert_rings(0);
    logs.write(0, RESUMED);
    assert_eq!(logs.ask(0, Subject::SameFile, None).claims.len(), 1, "httpd writes on");
    logs.end();
}

#[test]
fn what_is_forgotten_is_followed_no_more() {
    let mut logs = Logs::new();
    let request = Request { serial: 2, server: 0, subject: Subject::Nothing };
    message::send(&logs.socket, &request, None).unwrap();
    logs.write(0, RESUMED);
    let request = Request { serial: 3, server: 0, subject: Subject::SameFile };
    message::send(&logs.socket, &request, None).unwrap();
    let Message::Answer(answer) = logs.next() else { panic!("it rang") };
    assert_eq!((answer.serial, answer.report), (3, Err(Why::Missing)));
    logs.end();
}

#[test]
fn a_claim_was_made_between_its_moments() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error_log");
    let mut log = open(&path);
    let mut follower = Follower::new(Recorder::default());
    let mut buffer = vec![0; BUFFER];
    follower.turn_to(File::open(&path).unwrap(), &mut buffer).unwrap();
    for renamed in [false, true, false] {
        let read = clock::now();
        follower.read(&mut buffer, 1 << 20);
        if renamed {
            fs::rename(&path, directory.path().join("1")).unwrap();
            log = open(&path);
        }
        let before = clock::now();
        log.write_all(b"line\n").unwrap();
        let after = clock::now();
        follower.turn_to(File::open(&path).unwrap(), &mut buffer).unwrap();
        follower.read(&mut buffer, 1 << 20);
        let span = follower.sink().spans.pop().unwrap();
        assert!(span.after <= before && after <= span.before, "{span:?}");
        assert!(renamed || read <= span.after, "as close as is known: {span:?}");
    }
}

fn own_id(pid: u32) -> ProcessId {
    let pid = Pid::new(pid.cast_signed()).unwrap();
    ProcessTable::new("/proc".into()).row(pid).unwrap().id
}

#[test]
fn another_users_log_needs_permission() {
    let nobody = || {
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
        }
        let mut reader = Reader::start();
        let said = reader.client.follow_parent(0, own_id(1));
        assert_eq!(said, Part::Unseen(Why::Permission));
        reader.end();
    };
    thread::spawn(nobody).join().unwrap();
}

/// `gracekeeper reader`, as the watching process starts it.
struct ReadingProcess {
    process: Child,
    _scoreboards: UnixStream,
    client: LogReader,
}

impl ReadingProcess {
    fn start() -> Self {
        let (scoreboards, other) = UnixStream::pair().unwrap();
        let (logs, others_logs) = message::pair().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_gracekeeper"))
            .arg("reader")
            .stdin(OwnedFd::from(other))
            .stdout(others_logs)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { process, _scoreboards: scoreboards, client: LogReader::new(logs).unwrap() }
    }

    fn wait_for_bell(&mut self) {
        eventually("a bell", || self.client.drain_bell() == Bell::Rung);
    }
}

impl Drop for ReadingProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_thread_that_follows_logs_has_no_more_rights_than_the_one_that_reads_scoreboards() {
    let mut reading = ReadingProcess::start();
    // Its own standard error is /dev/null. It has answered, so it is there.
    let said = reading.client.follow_parent(0, own_id(reading.process.id()));
    assert_eq!(said, Part::Unseen(Why::Invalid));
    let threads = format!("/proc/{}/task", reading.process.id());
    let threads: Vec<PathBuf> =
        fs::read_dir(threads).unwrap().map(|thread| thread.unwrap().path()).collect();
    assert_eq!(threads.len(), 2, "{threads:?}");
    let networks = threads.iter().map(|thread| fs::read_link(thread.join("ns/net")).unwrap());
    assert_eq!(networks.collect::<BTreeSet<_>>().len(), 1);
    for thread in threads {
        let status = fs::read_to_string(thread.join("status")).unwrap();
        let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let held = u64::from_str_radix(held.trim(), 16).unwrap();
        // CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, capabilities(7).
        assert_eq!(held & !(1 << 2 | 1 << 19), 0, "{held:x}");
    }
}

fn moment(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(at.as_micros()).unwrap())
}

under_every_mpm! {
    every_line_is_counted_through_rotations
}

fn every_line_is_counted_through_rotations(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).log_level("info").start();
    let mut reading = ReadingProcess::start();
    let parent = own_id(httpd.pid());
    let mut lines = httpd.error_log().text().lines().count() as u64;
    let mut claims: Vec<Claim> = Vec::new();
    assert!(matches!(reading.client.follow_parent(0, parent), Part::Seen(_)));
    let held = httpd.hold_requests(1);
    let kinds = [Lifecycle::Graceful, Lifecycle::Graceful, Lifecycle::Hard];
    for (round, kind) in kinds.iter().enumerate() {
        httpd.error_log().rotate();
        reading.wait_for_bell();
        httpd.signal(if *kind == Lifecycle::Hard { Signal::HUP } else { Signal::USR1 });
        httpd.oracle().after_restarts(round + 1);
        eventually("both lines of the restart", || {
            let Part::Seen(report) = reading.client.follow_parent(0, parent) else { return false };
            lines += report.lines.iter().map(|(_, count)| count).sum::<u64>();
            claims.extend(report.claims);
            claims.len() >= 2 * (round + 1)
        });
    }
    drop(held);
    eventually("every line", || {
        let Part::Seen(report) = reading.client.follow_parent(0, parent) else { return false };
        lines += report.lines.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!((report.skipped, report.claims), (0, Vec::new()));
        lines == httpd.error_log().text().lines().count() as u64
    });
    let expected = kinds.iter().flat_map(|kind| [*kind, Lifecycle::Resumed]);
    assert_eq!(claims.iter().map(|it| it.says).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let entries = httpd.error_log().entries();
    let told = entries.iter().filter(|entry| entry.lifecycle().is_some()).skip(1);
    for (claim, entry) in claims.iter().zip(told) {
        assert_eq!(claim.pid, Some(parent.pid));
        assert!(claim.after <= claim.before);
        assert!(entry.at <= moment(claim.before.wall), "{claim:?} {entry:?}");
        // httpd reads its clock before it writes.
        let written = entry.at + Duration::from_secs(1);
        assert!(moment(claim.after.wall) <= written, "{claim:?} {entry:?}");
    }
}

#[test]
fn a_piped_log_is_no_file() {
    let httpd = Httpd::builder(Mpm::Event).with_piped_log().start();
    let mut reading = ReadingProcess::start();
    let said = reading.client.follow_parent(0, own_id(httpd.pid()));
    assert_eq!(said, Part::Unseen(Why::Invalid));
}

#[test]
fn who_is_gone_is_said_to_be_gone() {
    let mut reading = ReadingProcess::start();
    assert_eq!(reading.client.drain_bell(), Bell::Silent);
    reading.process.kill().unwrap();
    reading.process.wait().unwrap();
    assert_eq!(reading.client.drain_bell(), Bell::Gone);
    assert_eq!(reading.client.follow_parent(0, own_id(1)), Part::Unseen(Why::Other));
    reading.client.forget(0);
}
