//! Logs that are no logs, that nobody may read, or that are far too much.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::{
            fs::{PermissionsExt, symlink},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use gracekeeper::{
    model::{log::LogLevel, snapshot::Part, source::Why, time::Moment},
    observe::error_log::{
        Sink, Span,
        follower::Follower,
        message::{self, Message, Received, Request, Subject},
    },
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    net::RecvFlags,
    process::{Gid, Uid},
    thread::{set_thread_res_gid, set_thread_res_uid},
};

use super::{BUFFER, Reader, Recorder, open};

/// Who waits for ever fails, instead of all tests.
fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(what()));
    result.recv_timeout(Duration::from_secs(60)).expect("it waits for ever, or panicked")
}

fn look(reader: &mut Reader, path: &Path) -> Result<u64, Why> {
    match reader.client.follow_file(0, path) {
        Part::Seen(report) => Ok(report.lines.iter().map(|(_, count)| count).sum()),
        Part::Unseen(why) => Err(why),
    }
}

/// Things that lie where a log should.
fn strange_things(directory: &Path) -> Vec<PathBuf> {
    let path = |name: &str| directory.join(name);
    mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    drop(UnixListener::bind(path("socket")).unwrap());
    symlink(path("loop"), path("loop")).unwrap();
    for device in ["zero", "null", "random"] {
        symlink(Path::new("/dev").join(device), path(device)).unwrap();
    }
    let names = ["fifo", "socket", "loop", "zero", "null", "random", "."];
    names.into_iter().map(path).collect()
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    in_time(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut reader = Reader::start();
        for path in strange_things(directory.path()) {
            assert_eq!(look(&mut reader, &path), Err(Why::Invalid), "{}", path.display());
        }
        assert_eq!(look(&mut reader, &directory.path().join("none")), Err(Why::Missing));
        reader.end();
    });
}

#[test]
fn what_takes_the_place_of_a_log_neither_hides_nor_loses_a_line() {
    in_time(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error_log");
        let mut log = open(&path);
        let mut reader = Reader::start();
        assert_eq!(look(&mut reader, &path), Ok(0));
        let aside = directory.path().join("error_log.1");
        fs::rename(&path, &aside).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        log.write_all(b"a line\n").unwrap();
        assert_eq!(look(&mut reader, &path), Err(Why::Invalid));
        fs::remove_file(&path).unwrap();
        assert_eq!(
            look(&mut reader, &path),
            Ok(1),
            "nothing is there: the log is the one of before"
        );
        log.write_all(b"a line\n").unwrap();
        open(&path).write_all(b"a line\na line\n").unwrap();
        assert_eq!(look(&mut reader, &path), Ok(3));
        reader.end();
    });
}

#[test]
fn a_descriptor_of_anything_else_is_refused_by_the_reading_side() {
    in_time(|| {
        let (own, other) = message::pair().unwrap();
        let table = gracekeeper::observe::process_table::ProcessTable::new("/proc".into());
        let service =
            thread::spawn(move || gracekeeper::observe::error_log::service::serve(&table, other));
        let ask = |subject, file: Option<&File>| {
            let request = Request { serial: 7, server: 0, subject };
            message::send(&own, &request, file.map(AsFd::as_fd)).unwrap();
            let received = message::receive(&own, RecvFlags::empty()).unwrap();
            let Received::Message(Message::Answer(answer), None) = received else {
                panic!("{received:?}")
            };
            answer
        };
        for device in ["/dev/zero", "/dev/null", "/"] {
            let file = File::open(device).unwrap();
            assert_eq!(ask(Subject::File, Some(&file)).report, Err(Why::Invalid), "{device}");
        }
        assert_eq!(ask(Subject::File, None).report, Err(Why::Limit), "it did not arrive");
        assert_eq!(ask(Subject::SameFile, None).report, Err(Why::Missing));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error_log");
        let written = open(&path);
        let answer = ask(Subject::File, Some(&written));
        assert!(answer.report.is_err(), "it may be written only: {answer:?}");
        message::send(&own, &"no request", None).unwrap();
        assert!(service.join().unwrap().is_err());
        assert!(matches!(message::receive::<Message>(&own, RecvFlags::empty()), Ok(Received::End)));
    });
}

#[test]
fn a_log_that_nobody_may_read_is_told_from_one_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error_log");
    let none = directory.path().join("none");
    // It is removed by this thread, for nobody could not.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    in_time(move || {
        drop(open(&path));
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        let mut reader = Reader::start();
        if rustix::process::geteuid().is_root() {
            // Of this thread only.
            let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
        }
        assert_eq!(look(&mut reader, &path), Err(Why::Permission));
        assert_eq!(look(&mut reader, &none), Err(Why::Missing));
        reader.end();
    });
}

/// Counts, for what is too much to be remembered.
#[derive(Default)]
struct Counter {
    lines: u64,
    bytes: u64,
    skipped: u64,
    /// The first byte of each piece that was handed over after something was skipped.
    begins: Vec<u8>,
    has_skipped: bool,
}

impl Sink for Counter {
    type Lines = ();

    fn feed(&mut self, (): &mut (), bytes: &[u8], _: Span) {
        self.begins.extend(bytes.first().filter(|_| std::mem::take(&mut self.has_skipped)));
        self.bytes += bytes.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
    }

    fn cut(&mut self, (): &mut (), _: Moment) {}

    fn skipped(&mut self, bytes: u64) {
        self.skipped += bytes;
        self.has_skipped = true;
    }
}

fn follow(path: &Path) -> Follower<Counter> {
    let mut follower = Follower::new(Counter::default());
    follower.turn_to(File::open(path).unwrap(), &mut vec![0; BUFFER]).unwrap();
    follower
}

const MIB: u64 = 1 << 20;

#[test]
fn a_line_of_a_hundred_megabytes_takes_no_memory_and_ends_where_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error_log");
    let mut log = open(&path);
    let mut follower = follow(&path);
    let mut buffer = vec![0; BUFFER];
    let piece = vec![b'x'; 50 << 20];
    for _ in 0..2 {
        log.write_all(&piece).unwrap();
        while follower.read(&mut buffer, 16 * MIB).more {}
    }
    log.write_all(b"\nline\n").unwrap();
    assert!(!follower.read(&mut buffer, 16 * MIB).more);
    let Counter { lines, bytes, skipped, .. } = follower.sink();
    assert_eq!((*lines, *bytes, *skipped), (2, 100 * MIB + 6, 0));
}

#[test]
fn a_flood_is_read_by_the_budget_and_beyond_the_limit_from_a_line_on() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("error_log");
    let mut log = open(&path);
    let mut follower = follow(&path);
    let mut buffer = vec![0; BUFFER];
    // A line length that divides neither the limit nor the buffer.
    let line = "[an ordinary line of a log that is flooded]\n";
    let piece = line.repeat(24_000);
    let piece = piece.as_bytes();
    let total = |pieces: u64| pieces * piece.len() as u64;
    for _ in 0..40 {
        log.write_all(piece)?;
    }
    let mut passes = 1;
    while follower.read(&mut buffer, 16 * MIB).more {
        assert!(follower.sink().bytes <= passes * 16 * MIB);
        passes += 1;
    }
    assert_eq!(passes, total(40).div_ceil(16 * MIB));
    assert_eq!((follower.sink().bytes, follower.sink().skipped), (total(40), 0));
    for _ in 0..80 {
        log.write_all(piece)?;
    }
    while follower.read(&mut buffer, 16 * MIB).more {}
    let Counter { bytes, skipped, lines, begins, .. } = follower.sink();
    assert_eq!(*bytes + *skipped, total(120), "every byte is accounted for");
    assert_eq!(*begins, b"[", "it goes on at the beginning of a line");
    assert_eq!(*lines * line.len() as u64, *bytes);
    let latest = *bytes - total(40);
    assert!(latest <= 16 * MIB && latest > 15 * MIB, "{latest}");
    Ok(())
}

#[test]
fn a_flood_is_counted_over_the_socket_while_requests_are_answered() {
    in_time(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error_log");
        let mut log = open(&path);
        let mut reader = Reader::start();
        assert_eq!(look(&mut reader, &path), Ok(0));
        let piece = "[Sun Nov 22 10:30:00.123456 2026] [php:error] [pid 7] noise\n".repeat(100_000);
        let mut counted = 0;
        for _ in 0..4 {
            log.write_all(piece.as_bytes()).unwrap();
            counted += look(&mut reader, &path).unwrap();
        }
        while counted < 400_000 {
            counted += look(&mut reader, &path).unwrap();
        }
        assert_eq!(counted, 400_000);
        log.write_all(b"[php:error] one\n").unwrap();
        let Part::Seen(report) = reader.client.follow_file(0, &path) else { panic!() };
        assert_eq!(report.lines, [(LogLevel::Error, 1)]);
        reader.end();
    });
}

#[test]
fn the_log_before_does_not_keep_the_new_one_from_being_read() {
    let directory = tempfile::tempdir().unwrap();
    let paths = [directory.path().join("error_log.1"), directory.path().join("error_log")];
    let mut logs = [open(&paths[0]), open(&paths[1])];
    let mut follower = Follower::new(Recorder::default());
    let mut buffer = vec![0; BUFFER];
    follower.turn_to(File::open(&paths[0]).unwrap(), &mut buffer).unwrap();
    logs[0].write_all("old\n".repeat(1000).as_bytes()).unwrap();
    logs[1].write_all("new\n".repeat(10).as_bytes()).unwrap();
    follower.turn_to(File::open(&paths[1]).unwrap(), &mut buffer).unwrap();
    for _ in 0..4 {
        assert!(follower.read(&mut buffer, 1000).more);
        assert!(!follower.sink().lines.contains(&"new".to_owned()), "the restart line comes first");
    }
    logs[0].write_all("later\n".repeat(1000).as_bytes()).unwrap();
    follower.read(&mut buffer, 1000);
    let new = follower.sink().lines.iter().filter(|line| *line == "new").count();
    assert_eq!(new, 10, "{:?}", follower.sink().lines.last());
}
