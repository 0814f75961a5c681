//! Accept queues, drops and listening sockets of a real httpd, compared with the kernel's own table.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, metrics::Metrics, not_tested};

/// `ListenBacklog`; the kernel lets one more wait.
const BACKLOG: u32 = 5;
/// More than the tests beside this one may drop.
const SERVED: u32 = 100;

/// What the kernel has of a listener in `/proc/net/tcp`: connections that wait.
fn waiting(address: SocketAddr) -> Option<f64> {
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut rows = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1] == local && row[3] == "0A")?;
    let (_, queue) = row[4].split_once(':').unwrap();
    Some(f64::from(u32::from_str_radix(queue, 16).unwrap()))
}

/// A client that asks and is not answered yet. It has to ask: httpd has connections without a
/// request wait in the kernel, where no queue counts them.
fn ask(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    Some(stream)
}

/// Clients that take a while to ask: the kernel counts the packet by which each connection begins as
/// dropped at the listener, as httpd wants to hear of it with its request only.
fn serve(address: SocketAddr) {
    for _ in 0..SERVED {
        let mut stream = TcpStream::connect(address).unwrap();
        thread::sleep(Duration::from_millis(2));
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0]).unwrap() > 0);
    }
}

fn of(metrics: &Metrics, name: &str, listener: SocketAddr) -> Option<f64> {
    metrics.value(name, &[("listener", &listener.to_string())])
}

fn queue(metrics: &Metrics, listener: SocketAddr) -> Option<f64> {
    of(metrics, "httpd_accept_queue_length", listener)
}

fn serving(metrics: &Metrics) -> Option<f64> {
    metrics.value("httpd_serving", &[])
}

fn replaced(metrics: &Metrics) -> f64 {
    metrics.value("httpd_listeners_replaced_total", &[]).expect("a counter")
}

fn connections_that_nobody_takes_wait_are_dropped_and_are_an_outage(mpm: Mpm) {
    let builder = Httpd::builder(mpm).start_servers(1).server_limit(2).threads_per_child(2);
    let httpd = builder.extra(&format!("ListenBacklog {BACKLOG}")).start();
    let address = httpd.address();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let metrics = gracekeeper.wait_until("it listens", |metrics| {
        metrics.value("httpd_listeners", &[]) == Some(1.0) && serving(metrics) == Some(1.0)
    });
    assert_eq!(of(&metrics, "httpd_listener_drops_total", address), Some(0.0));
    assert_eq!(of(&metrics, "httpd_accept_queue_limit", address), Some(f64::from(BACKLOG)));

    serve(address);
    let held = httpd.hold_all_workers();
    let mut clients: Vec<TcpStream> = (0..3).filter_map(|_| ask(address)).collect();
    let metrics = gracekeeper.wait_until("three wait", |metrics| {
        queue(metrics, address) == Some(3.0) && waiting(address) == Some(3.0)
    });
    // Another test may have dropped some in this namespace.
    let dropped = of(&metrics, "httpd_listener_drops_total", address).unwrap();
    assert!(dropped < f64::from(SERVED) / 2.0, "{dropped} were served");
    clients.extend((0..10).filter_map(|_| ask(address)));
    let metrics = gracekeeper.wait_until("no more fit", |metrics| {
        queue(metrics, address) == Some(f64::from(BACKLOG + 1))
            && of(metrics, "httpd_listener_drops_total", address) >= Some(1.0)
            && metrics.total("gracekeeper_netns_listen_overflows_total", &[]) >= 1.0
    });
    assert_eq!(queue(&metrics, address), waiting(address));
    gracekeeper.wait_until("nobody was served for long", |it| serving(it) == Some(0.0));
    let dropped = of(&gracekeeper.scrape(), "httpd_listener_drops_total", address);

    held.release();
    drop(clients);
    let metrics = gracekeeper.wait_until("it serves again", |metrics| {
        serving(metrics) == Some(1.0) && queue(metrics, address) == Some(0.0)
    });
    assert!(of(&metrics, "httpd_listener_drops_total", address) >= dropped);
    assert_eq!(metrics.value("httpd_restart_peak_accept_queue_length", &[]), None);
    httpd.graceful();
    let metrics = gracekeeper.wait_until("the restart is over", |metrics| {
        metrics.value("httpd_restarts_total", &[("type", "graceful")]) == Some(1.0)
            && metrics.value("httpd_restart_peak_accept_queue_length", &[]).is_some()
    });
    assert_eq!(replaced(&metrics), 0.0);
    assert_eq!(of(&metrics, "httpd_accept_queue_limit", address), Some(f64::from(BACKLOG)));
}

mod connections_that_nobody_takes_wait_are_dropped_and_are_an_outage {
    use crate::harness::Mpm;

    #[test]
    fn event() {
        super::connections_that_nobody_takes_wait_are_dropped_and_are_an_outage(Mpm::Event);
    }

    #[test]
    fn prefork() {
        super::connections_that_nobody_takes_wait_are_dropped_and_are_an_outage(Mpm::Prefork);
    }
}

/// With a bucket for each core, httpd keeps the first one's sockets in a restart and opens the
/// others' anew; a full restart opens all of them.
#[test]
fn listening_sockets_that_a_restart_opens_anew_are_counted() {
    let mut httpd = Httpd::builder(Mpm::Event).extra("ListenCoresBucketsRatio 1").start();
    let address = httpd.address();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let restarted = |kind: &str, count: f64, listeners: Option<f64>| {
        gracekeeper.wait_until(kind, |metrics| {
            metrics.value("httpd_restarts_total", &[("type", kind)]) == Some(count)
                && metrics.value("httpd_listeners", &[]) == listeners
        })
    };
    let metrics = gracekeeper
        .wait_until("it listens", |metrics| metrics.value("httpd_listeners", &[]) >= Some(1.0));
    assert_eq!(replaced(&metrics), 0.0);
    let listeners = metrics.value("httpd_listeners", &[]);
    let anew = listeners.unwrap() - 1.0;

    httpd.graceful();
    restarted("graceful", 1.0, listeners);
    let settled = |count: f64| {
        gracekeeper.wait_until(&format!("{count} were replaced"), |it| replaced(it) >= count)
    };
    assert_eq!(replaced(&settled(anew)), anew);
    httpd.oracle().after_restarts(1);
    httpd.hard();
    restarted("hard", 1.0, listeners);
    assert_eq!(replaced(&settled(2.0 * anew)), 2.0 * anew);

    httpd.stop();
    let metrics = gracekeeper.wait_until("it has stopped", |metrics| {
        metrics.value("httpd_up", &[]) == Some(0.0)
            && metrics.value("httpd_listeners", &[]).is_none()
    });
    assert_eq!(queue(&metrics, address), None, "absent, not 0");
    assert_eq!(of(&metrics, "httpd_listener_drops_total", address), Some(0.0));
    eventually("nothing listens", || waiting(address).is_none());
    httpd.start_again();
    restarted("full", 1.0, listeners);
    let all = 3.0 * anew + 1.0;
    assert_eq!(replaced(&settled(all)), all);

    let second = match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        // A machine without it.
        Err(_) => SocketAddr::from(([127, 0, 0, 2], address.port())),
    };
    httpd.rewrite_config(|text| format!("{text}\nListen {second}\n"));
    httpd.graceful();
    let metrics = gracekeeper.wait_until("it listens at both", |metrics| {
        queue(metrics, second) == Some(0.0)
            && queue(metrics, address) == Some(0.0)
            && metrics.value("httpd_listeners", &[]) == listeners.map(|count| 2.0 * count)
    });
    assert_eq!(replaced(&metrics), all + anew, "what was added replaces nothing");
}

/// Descriptors of root's processes are closed to other users; what listens is not.
#[test]
fn to_nobody_the_configuration_tells_which_listeners_are_httpds() {
    if !rustix::process::geteuid().is_root() {
        not_tested("nobody but root can become another user");
        return;
    }
    let builder = Httpd::builder(Mpm::Event).start_servers(1).server_limit(2).threads_per_child(2);
    let mut httpd = builder.start();
    let address = httpd.address();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    let listens = |metrics: &Metrics| {
        metrics.value("httpd_listeners", &[]) == Some(1.0)
            && metrics.value("gracekeeper_source_up", &[("source", "sockets")]) == Some(1.0)
            && metrics.value("gracekeeper_source_up", &[("source", "fd_links")]) == Some(0.0)
    };
    gracekeeper.wait_until("it is found by its Listen line", listens);
    let held = httpd.hold_all_workers();
    let clients: Vec<TcpStream> = (0..2).filter_map(|_| ask(address)).collect();
    let metrics = gracekeeper.wait_until("two wait", |it| queue(it, address) == Some(2.0));
    assert_eq!(waiting(address), Some(2.0));
    assert_eq!(serving(&metrics), Some(1.0));
    held.release();
    drop(clients);
    // The file is not read before the next restart.
    httpd.rewrite_config(|text| text.replace(&format!("Listen {address}"), "Listen 127.0.0.1:1"));
    gracekeeper.wait_until("nobody waits", |it| listens(it) && queue(it, address) == Some(0.0));
    httpd.rewrite_config(|text| text.replace("Listen 127.0.0.1:1", &format!("Listen {address}")));
    httpd.stop();
    gracekeeper.wait_until("it has stopped", |it| it.value("httpd_listeners", &[]).is_none());
    httpd.start_again();
    let metrics = gracekeeper.wait_until("another socket", |it| listens(it) && replaced(it) > 0.0);
    assert_eq!(replaced(&metrics), 1.0);
}
