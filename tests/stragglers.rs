//! Old children of a real httpd: why they stay, what they are asked for, and who serves meanwhile.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command},
};

use gracekeeper::{
    model::{
        process::{Pid, ProcessId},
        scoreboard::{Scoreboard, ShowRequests},
    },
    observe::{
        process_table::ProcessTable,
        reader::{self, Given, Request, Wanted},
    },
};

use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, metrics::Metrics, under_every_mpm};

under_every_mpm! {
    an_old_child_says_why_it_stays_and_what_it_is_asked_for
}

fn draining(metrics: &Metrics, cause: &str) -> f64 {
    metrics.value("httpd_draining_children", &[("cause", cause)]).unwrap_or(-1.0)
}

fn old(metrics: &Metrics) -> f64 {
    metrics.value("httpd_children", &[("generation", "old")]).unwrap_or(-1.0)
}

fn is_serving(metrics: &Metrics, value: f64) -> bool {
    metrics.value("httpd_serving", &[]) == Some(value)
}

/// The one series of `httpd_info`: what it says of these labels.
fn info<'a>(metrics: &Metrics, labels: &[(&'a str, &'a str)]) -> bool {
    metrics.value("httpd_info", labels) == Some(1.0)
}

/// The reading process by itself.
struct ReadingProcess {
    process: Child,
    stream: UnixStream,
    come: Vec<u8>,
}

impl ReadingProcess {
    fn start() -> Self {
        let (stream, other) = UnixStream::pair().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_gracekeeper"))
            .arg("reader")
            .stdin(OwnedFd::from(other))
            .spawn()
            .unwrap();
        Self { process, stream, come: Vec::new() }
    }

    fn scoreboard(&mut self, parent: ProcessId, show: ShowRequests) -> Scoreboard {
        let request = Request { serial: 1, parent, wanted: Wanted::Scoreboard(show) };
        reader::send(&mut self.stream, &request).unwrap();
        loop {
            let mut chunk = [0; 4096];
            let read = self.stream.read(&mut chunk).unwrap();
            assert!(read > 0, "the reading process has ended");
            self.come.extend_from_slice(&chunk[..read]);
            if let Some(answer) = reader::take_frame::<reader::Answer>(&mut self.come).unwrap() {
                let Given::Scoreboard(given) = answer.given else { panic!("{answer:?}") };
                return given.unwrap();
            }
        }
    }

    /// What any child is told to be asked for.
    fn requests(&mut self, parent: ProcessId, show: ShowRequests) -> BTreeSet<String> {
        let slots = self.scoreboard(parent, show).slots.expect("a layout is proven");
        let predecessors = slots.iter().flat_map(|slot| &slot.predecessors);
        let older = predecessors.filter_map(|child| child.request.clone());
        slots.iter().filter_map(|slot| slot.request.clone()).chain(older).collect()
    }
}

impl Drop for ReadingProcess {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn an_old_child_says_why_it_stays_and_what_it_is_asked_for(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).extra("KeepAliveTimeout 120").start();
    let gracekeeper = Gracekeeper::watching(&httpd).watch("interval = \"200ms\"").start();
    let name = ["event", "worker", "prefork"][mpm as usize];
    let metrics = gracekeeper.wait_until("httpd has told what it is", |metrics| {
        is_serving(metrics, 1.0) && info(metrics, &[("mpm", name), ("openssl", "")])
    });
    assert!(!info(&metrics, &[("version", "")]) && !info(&metrics, &[("apr", "")]), "known");

    // It promises more than it sends, so that a worker waits for it.
    let mut upload = TcpStream::connect(httpd.address()).unwrap();
    let head = b"POST http://localhost/held/%1b;a?token=SECRET HTTP/1.1\r\n\
        Host: localhost\r\nContent-Length: 9\r\n\r\nno";
    upload.write_all(head).unwrap();
    let pid = Pid::new(i32::try_from(httpd.pid()).unwrap()).unwrap();
    let parent = ProcessTable::new("/proc".into()).row(pid).unwrap().id;
    let mut reading = ReadingProcess::start();
    eventually("a worker has the request", || {
        let slots = reading.scoreboard(parent, ShowRequests::Path).slots.unwrap_or_default();
        let mut workers = slots.iter().flat_map(|slot| &slot.workers);
        workers.any(|(status, _)| status.is_at_request())
    });
    assert!(reading.requests(parent, ShowRequests::Path).is_empty(), "of old children only");
    httpd.graceful();
    gracekeeper.wait_until("one old child stays for its request", |metrics| {
        old(metrics) == 1.0 && draining(metrics, "request") == 1.0
    });
    let shown = |show, reading: &mut ReadingProcess| {
        reading.requests(parent, show).into_iter().collect::<Vec<_>>().join(", ")
    };
    assert_eq!(shown(ShowRequests::Off, &mut reading), "");
    assert_eq!(shown(ShowRequests::Method, &mut reading), "POST");
    assert_eq!(shown(ShowRequests::Path, &mut reading), "POST /held/%1b");
    drop(upload);
    gracekeeper.wait_until("it has left", |metrics| {
        old(metrics) == 0.0 && draining(metrics, "request") == 0.0 && is_serving(metrics, 1.0)
    });

    let mut idle = TcpStream::connect(httpd.address()).unwrap();
    idle.write_all(b"GET /server-status?auto HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 4096]).unwrap() > 0);
    httpd.graceful();
    // event closes such a connection, and then waits 2 s for the client to do so too.
    let cause = if mpm == Mpm::Event { "closing" } else { "keepalive" };
    gracekeeper.wait_until("one old child stays for its connection", |metrics| {
        old(metrics) == 1.0 && draining(metrics, cause) == 1.0
    });
    drop(idle);
    httpd.stop();
    gracekeeper.wait_until("nothing is told of a parent that is gone", |metrics| {
        metrics.value("httpd_up", &[]) == Some(0.0) && metrics.total("httpd_info", &[]) == 0.0
    });
}

#[test]
fn a_server_whose_slots_old_children_hold_serves_nobody() {
    let httpd = Httpd::builder(Mpm::Prefork).server_limit(2).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper.wait_until("it serves", |metrics| is_serving(metrics, 1.0));
    let held = httpd.hold_all_workers();
    httpd.graceful();
    let metrics = gracekeeper.wait_until("no new child comes", |it| is_serving(it, 0.0));
    assert_eq!((draining(&metrics, "request"), old(&metrics)), (2.0, 2.0));
    held.release();
    gracekeeper.wait_until("it serves again", |metrics| is_serving(metrics, 1.0));
}
