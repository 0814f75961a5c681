//! `mod_status`, where an operator has it asked.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::process::Signal;

use super::{contradictions, restarts, said, settled, source, source_errors};
use crate::harness::{Gracekeeper, Httpd, Mpm, metrics::Metrics, under_every_mpm};

under_every_mpm! {
    a_status_page_agrees_and_is_asked_for_once_an_interval
    a_server_without_a_free_worker_tells_no_status
    a_status_page_agrees_with_what_nobody_counts
}

/// The page under a name of its own, for the harness asks for the other, and who asked for what.
const ACCESS: &str = "CustomLog logs/access_log \"%U\"
<Location /own-status>
    SetHandler server-status
</Location>";

fn builder(mpm: Mpm) -> crate::harness::configuration::Builder {
    Httpd::builder(mpm).extra(ACCESS)
}

fn url(address: SocketAddr) -> String {
    format!("status_url = \"http://{address}/own-status?auto\"")
}

fn asked(httpd: &Httpd) -> usize {
    let text = fs::read_to_string(httpd.directory().join("logs/access_log")).unwrap_or_default();
    text.lines().filter(|line| line.contains("own-status")).count()
}

fn answers(gracekeeper: &Gracekeeper) -> Metrics {
    gracekeeper.wait_until("mod_status answers", |metrics| {
        source(metrics, "server_status") == Some(1.0)
            && metrics.value("httpd_serving", &[]) == Some(1.0)
    })
}

fn a_status_page_agrees_and_is_asked_for_once_an_interval(mpm: Mpm) {
    let httpd = builder(mpm).start();
    let begin = Instant::now();
    let gracekeeper = Gracekeeper::watching(&httpd).server(&url(httpd.address())).start();
    answers(&gracekeeper);
    for total in 1_u8..=3 {
        httpd.graceful();
        settled(&gracekeeper, f64::from(total));
    }
    let before = asked(&httpd);
    crate::harness::eventually("it is asked again", || asked(&httpd) > before + 1);
    let metrics = answers(&gracekeeper);
    assert_eq!(restarts(&metrics), [3.0, 0.0, 0.0, 0.0]);
    assert_eq!(contradictions(&metrics), 0.0);
    assert_eq!(source_errors(&metrics, "server_status"), []);
    let (asked, seconds) = (asked(&httpd), begin.elapsed().as_secs());
    assert!(u64::try_from(asked).unwrap() <= seconds + 1, "{asked} times in {seconds} s");
}

fn a_server_without_a_free_worker_tells_no_status(mpm: Mpm) {
    let httpd = builder(mpm).start();
    let gracekeeper = Gracekeeper::watching(&httpd).server(&url(httpd.address())).start();
    answers(&gracekeeper);
    let held = httpd.hold_all_workers();
    let metrics = gracekeeper.wait_until("mod_status is silent", |metrics| {
        source(metrics, "server_status") == Some(0.0)
    });
    assert_eq!(metrics.value("httpd_up", &[]), Some(1.0));
    // And stays so.
    gracekeeper.wait_until("it was asked several times", |metrics| {
        source_errors(metrics, "server_status").iter().map(|(_, count)| count).sum::<f64>() >= 3.0
    });
    let words = ["level=WARN", "source=server_status", "reason=timeout", "every worker is busy"];
    assert_eq!(said(&gracekeeper, &words), 1);
    held.release();
    answers(&gracekeeper);
    assert_eq!(contradictions(&gracekeeper.scrape()), 0.0);
    assert_eq!(restarts(&gracekeeper.scrape()), [0.0; 4]);
}

/// Answers every request with a generation that nobody has.
fn liar() -> (SocketAddr, Arc<AtomicUsize>) {
    const PAGE: &str = "BusyWorkers: 1\nIdleWorkers: 9\nParentServerMPMGeneration: 77\n\
                        Scoreboard: W_________\n";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let told = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&told);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _: std::io::Result<usize> = stream.read(&mut request);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PAGE.len());
            let _: std::io::Result<()> = stream.write_all((head + PAGE).as_bytes());
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, told)
}

#[test]
fn a_page_that_tells_another_generation_is_one_contradiction_and_no_restart() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let (address, told) = liar();
    let gracekeeper = Gracekeeper::watching(&httpd).server(&url(address)).start();
    gracekeeper.wait_until("it is contradicted", |metrics| contradictions(metrics) == 1.0);
    let before = told.load(Ordering::SeqCst);
    crate::harness::eventually("it lies on", || told.load(Ordering::SeqCst) > before + 3);
    let metrics = answers(&gracekeeper);
    assert_eq!(contradictions(&metrics), 1.0);
    assert_eq!(restarts(&metrics), [0.0; 4]);
    assert_eq!(metrics.value("httpd_generation", &[]), Some(0.0));
    assert_eq!(said(&gracekeeper, &["level=WARN", "msg=\"contradiction\""]), 1);
}

#[test]
fn a_page_where_nobody_listens_is_missing_and_said_once() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let unused = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let gracekeeper = Gracekeeper::watching(&httpd).server(&url(unused)).start();
    let metrics = gracekeeper.wait_until("it failed several times", |metrics| {
        source(metrics, "server_status") == Some(0.0)
            && source_errors(metrics, "server_status").iter().any(|(_, count)| *count >= 3.0)
    });
    let errors = source_errors(&metrics, "server_status");
    assert_eq!(errors.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), ["missing"]);
    let words = ["level=WARN", "source=server_status", "reason=missing", "nobody listens"];
    assert_eq!(said(&gracekeeper, &words), 1);
    httpd.graceful();
    assert_eq!(restarts(&settled(&gracekeeper, 1.0)), [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_page_is_asked_for_only_while_an_operator_wants_it() {
    let httpd = builder(Mpm::Event).start();
    let gracekeeper = super::watched(&httpd);
    let looked = |looks: f64| {
        gracekeeper.wait_until("looks were made", |metrics| {
            metrics.value("gracekeeper_look_duration_seconds_count", &[]).unwrap() >= looks
        })
    };
    let looks =
        |metrics: &Metrics| metrics.value("gracekeeper_look_duration_seconds_count", &[]).unwrap();
    let metrics = looked(looks(&gracekeeper.scrape()) + 3.0);
    assert_eq!(source(&metrics, "server_status"), None);
    assert_eq!(asked(&httpd), 0, "nobody wants it");
    let file = gracekeeper.configuration_file();
    let without = fs::read_to_string(&file).unwrap();
    let with = without.replace("pid_file", &format!("{}\npid_file", url(httpd.address())));
    fs::write(&file, with).unwrap();
    gracekeeper.signal(Signal::HUP);
    answers(&gracekeeper);
    assert!(asked(&httpd) > 0);
    fs::write(&file, without).unwrap();
    gracekeeper.signal(Signal::HUP);
    gracekeeper.wait_until("it is no source any more", |metrics| {
        source(metrics, "server_status").is_none()
    });
    let before = asked(&httpd);
    let metrics = looked(looks(&gracekeeper.scrape()) + 3.0);
    assert_eq!(source(&metrics, "server_status"), None);
    assert_eq!(asked(&httpd), before, "nobody wants it any more");
    assert_eq!(contradictions(&metrics), 0.0);
    assert_eq!(said(&gracekeeper, &["source=server_status"]), 0);
}

#[test]
fn a_page_of_a_server_that_is_down_is_not_asked_for() {
    let mut httpd = builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).server(&url(httpd.address())).start();
    answers(&gracekeeper);
    httpd.stop();
    gracekeeper.wait_until("the source needs a parent", |metrics| {
        metrics.value("httpd_up", &[]) == Some(0.0) && source(metrics, "server_status").is_none()
    });
    let listener = TcpListener::bind(httpd.address()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let looks =
        |metrics: &Metrics| metrics.value("gracekeeper_look_duration_seconds_count", &[]).unwrap();
    let before = looks(&gracekeeper.scrape());
    gracekeeper.wait_until("looks were made", |metrics| looks(metrics) >= before + 3.0);
    assert!(listener.accept().is_err(), "nobody asks");
    drop(listener);
    httpd.start_again();
    answers(&gracekeeper);
    let metrics = gracekeeper.scrape();
    assert_eq!(contradictions(&metrics), 0.0);
    assert_eq!(restarts(&metrics), [0.0, 0.0, 1.0, 0.0]);
}

/// Without the scoreboard generations are counted: the page must move as often.
fn a_status_page_agrees_with_what_nobody_counts(mpm: Mpm) {
    let httpd = builder(mpm).start();
    let gracekeeper = Gracekeeper::watching(&httpd)
        .watch("interval = \"100ms\"")
        .server(&url(httpd.address()))
        .run_by_nobody()
        .start();
    gracekeeper
        .wait_until("mod_status answers", |metrics| source(metrics, "server_status") == Some(1.0));
    for total in 1_u8..=3 {
        httpd.graceful();
        settled(&gracekeeper, f64::from(total));
        // Who sees less must not be hurried.
        assert_eq!(super::decided(&gracekeeper), 0.0);
    }
    httpd.hard();
    settled(&gracekeeper, 4.0);
    assert_eq!(super::decided(&gracekeeper), 0.0);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 5.0);
    assert_eq!(restarts(&metrics).iter().sum::<f64>(), 5.0);
    assert_eq!(super::decided(&gracekeeper), 0.0);
    assert_eq!(source(&gracekeeper.scrape(), "server_status"), Some(1.0));
}

#[test]
fn restarts_one_after_the_other_are_not_contradicted_by_what_was_asked_between_them() {
    let httpd = builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd)
        .watch("interval = \"100ms\"")
        .server(&url(httpd.address()))
        .start();
    answers(&gracekeeper);
    httpd.graceful_times(40, std::time::Duration::from_millis(50));
    let metrics = settled(&gracekeeper, 40.0);
    assert_eq!(restarts(&metrics), [40.0, 0.0, 0.0, 0.0]);
    assert_eq!(super::decided(&gracekeeper), 0.0);
    assert!(asked(&httpd) > 5);
}
