//! Clients that are slow, greedy, rude or many: each is cut, and scrapes go on.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use gracekeeper::expose::server::{Limits, ServerOptions};
use rustix::net::sockopt::set_socket_linger;

use crate::http::client::Client;
use crate::http::served::{SAFETY, Served, looked, patient};

const SHORT: Duration = Duration::from_millis(100);

/// More than the kernel takes on both sides.
const LARGE: usize = 32 * 1024 * 1024;

fn under(limits: Limits) -> Served {
    Served::with(ServerOptions { limits, ..ServerOptions::default() })
}

#[test]
fn a_header_over_the_limit_is_refused_aloud() {
    let served = Served::start();
    let mut client = served.connect();
    let long = format!("X: {}\r\n", "x".repeat(300 * 1024));
    client.ask("GET", "/metrics", &long);
    assert_eq!(client.answer().status, 431);
    client.end();
    client.read_to_end();

    let mut many = served.connect();
    many.ask("GET", "/metrics", &"X: y\r\n".repeat(200));
    assert_eq!(many.answer().status, 431);

    let mut fits = served.connect();
    let long = format!("X: {}\r\n", "x".repeat(12 * 1024));
    assert_eq!(fits.ask("GET", "/metrics", &long).answer().status, 200);
}

#[test]
fn one_that_sends_a_header_forever_is_refused_before_its_end() {
    let served = under(Limits { linger: SHORT, ..patient() });
    let mut client = served.connect();
    client.send("GET /metrics HTTP/1.1\r\n");
    while client.try_send("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").is_ok() {}
    assert_eq!(served.connect().get("/metrics").status, 200);
}

#[test]
fn what_is_not_http_is_refused() {
    let served = Served::start();
    for garbage in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}"]
    {
        let mut client = served.connect();
        client.send(garbage).end();
        let said = client.read_to_end();
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{garbage:?}");
    }
    let mut http2 = served.connect();
    http2.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").end();
    http2.read_to_end();
}

#[test]
fn a_request_that_never_becomes_complete_is_cut() {
    // Long enough for the one good request on a busy machine.
    let request = Duration::from_secs(2);
    let served = under(Limits { request, ..patient() });
    let mut second = served.connect();
    assert_eq!(second.get("/metrics").status, 200);
    second.send("GET /metrics");
    let silent = served.connect();
    let mut partial = served.connect();
    partial.send("GET /metrics HTTP/1.1\r\nHost:");
    for mut client in [second, silent, partial] {
        assert!(client.read_to_end().is_empty());
    }
}

#[test]
fn a_byte_now_and_then_wins_no_time() {
    let served = under(Limits { request: SHORT, ..patient() });
    let mut client = served.connect();
    client.send("GET /metrics HTTP/1.1\r\nX: ");
    client.stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    for _ in 0..6000 {
        if client.try_send("x").is_err() {
            return;
        }
        match client.try_answer(false) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
    panic!("the server waits forever");
}

#[test]
fn an_idle_connection_is_closed_after_a_while() {
    let served = under(Limits { idle: SHORT, ..patient() });
    let mut client = served.connect();
    assert_eq!(client.get("/metrics").status, 200);
    assert!(client.read_to_end().is_empty());
}

#[test]
fn an_answer_that_is_not_read_is_cut() {
    let served = under(Limits { answer: Duration::from_millis(300), ..patient() });
    served.publication.send_replace(looked(vec![b'x'; LARGE]));
    let mut client = served.connect();
    client.ask("GET", "/metrics", "");
    client.wait_reset();

    served.publication.send_replace(looked("up 1\n"));
    assert_eq!(served.connect().get("/metrics").status, 200);
}

#[test]
fn pipelining_without_reading_wins_no_time() {
    let served = under(Limits { answer: Duration::from_millis(300), ..patient() });
    served.publication.send_replace(looked(vec![b'x'; 1024 * 1024]));
    let mut client = served.connect();
    client.send("GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n".repeat(64));
    client.wait_reset();
}

#[test]
fn a_slow_reader_delays_nobody() {
    let served = Served::start();
    served.publication.send_replace(looked(vec![b'x'; LARGE]));
    let mut slow: Vec<Client> = (0..8).map(|_| served.connect()).collect();
    for client in &mut slow {
        client.ask("GET", "/metrics", "");
    }
    let mut head = [0; 12];
    for client in &slow {
        client.stream.peek(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }
    assert_eq!(served.connect().get("/-/ready").status, 200);
    assert_eq!(slow[0].answer().body.len(), LARGE);
}

#[test]
fn a_scrape_succeeds_while_a_thousand_connections_are_held() {
    let served = Served::start();
    let mut prometheus = served.connect();
    assert_eq!(prometheus.get("/metrics").status, 200);
    let mut held: Vec<Client> = (0..1000).map(|_| served.connect()).collect();
    for client in &mut held {
        // Those that had to go already do not hear it.
        let _ = client.try_send("GET /metrics HTTP/1.1\r\nX: ");
    }
    for _ in 0..10 {
        assert_eq!(served.connect().get("/metrics").status, 200);
    }
    assert_eq!(prometheus.get("/metrics").status, 200, "a kept connection survives the flood");
    // Exactly those that waited longest went.
    assert!(held[0].read_to_end().is_empty());
    let newest = held.last_mut().unwrap();
    assert_eq!(newest.send("y\r\n\r\n").answer().status, 200);
}

#[test]
fn a_flood_that_goes_on_does_not_reach_the_scrapes_of_another_host() {
    let served = under(Limits { connections: 32, ..patient() });
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let address = served.address;
    let flood = move || {
        let mut held = VecDeque::new();
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            let mut client = Client::connect(address);
            let _ = client.try_send("GET /");
            held.push_front(client);
            held.truncate(200);
        }
    };
    let flood = std::thread::Builder::new().spawn(flood).unwrap();
    for _ in 0..200 {
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), address);
        assert_eq!(client.get("/metrics").status, 200);
    }
    drop(stop);
    flood.join().unwrap();
}

#[test]
fn resets_and_half_open_connections_leave_nothing_behind() {
    let served = under(Limits { connections: 4, ..patient() });
    for sent in ["", "GET /met", "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"] {
        for _ in 0..20 {
            let mut client = served.connect();
            client.send(sent);
            set_socket_linger(&client.stream, Some(Duration::ZERO)).unwrap();
        }
        let mut half_open = served.connect();
        half_open.send(sent).end();
        half_open.read_to_end();
    }
    assert_eq!(served.connect().get("/metrics").status, 200);
}

#[test]
fn stopping_does_not_wait_for_those_who_do_not_read() {
    let mut served = under(Limits { stop: SHORT, ..patient() });
    served.publication.send_replace(looked(vec![b'x'; LARGE]));
    let mut client = served.connect();
    client.ask("GET", "/metrics", "");
    let mut byte = [0];
    client.stream.set_read_timeout(Some(SAFETY)).unwrap();
    client.stream.peek(&mut byte).unwrap();
    served.tell_to_stop();
    served.wait_stopped();
    client.wait_reset();
}
