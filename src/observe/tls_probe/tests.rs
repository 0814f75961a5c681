use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

fn prober() -> (TlsProber, OwnedFd) {
    let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    (TlsProber::start(Wake::new(wake)).unwrap(), ear)
}

fn batch(decided: Moment, places: &[SocketAddr]) -> Batch {
    let handshake = |place: &SocketAddr| Handshake {
        file: format!("/{}", place.port()).into(),
        way: Way { places: vec![*place], name: None, algorithm: None },
    };
    Batch { decided, room: Room::Known, handshakes: places.iter().map(handshake).collect() }
}

fn wait(prober: &mut TlsProber, ear: &OwnedFd) -> Vec<Result<Certificate, Why>> {
    let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
    poll(&mut [PollFd::new(ear, PollFlags::IN)], Some(&timeout)).unwrap();
    rustix::io::read(ear, &mut [0; 64]).unwrap();
    prober.take(3).unwrap().into_iter().map(|(_, result)| result).collect()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let place = listener.local_addr().unwrap();
    (listener, place)
}

#[test]
fn why_nothing_was_shown_is_told() {
    let (mut own, ear) = prober();
    let (plain, speaks_http) = listener();
    let (gone, refuses) = listener();
    drop(gone);
    let (silent, says_nothing) = listener();
    let http = Builder::new().spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        hello[0]
    });
    let places = [refuses, speaks_http, says_nothing, refuses];
    assert!(own.ask(3, batch(clock::now(), &places)));
    assert!(!own.ask(3, batch(clock::now(), &places)), "one batch at a time");
    assert_eq!(http.unwrap().join().unwrap(), 0x16, "a handshake");
    let silence = silent.accept().unwrap();
    let expected = [Err(Why::Missing), Err(Why::Invalid), Err(Why::Timeout)];
    assert_eq!(wait(&mut own, &ear), expected, "after a timeout others have their turn");
    drop(silence);
    assert!(own.ask(3, batch(clock::now(), &[refuses])));
    assert_eq!(wait(&mut own, &ear), [Err(Why::Missing)]);
}

#[test]
fn a_batch_that_is_too_old_or_finds_others_waiting_is_not_tried() {
    let (mut own, ear) = prober();
    let (listener, place) = listener();
    let old = clock::now().at_uptime(crate::model::time::Uptime::from_micros(1));
    assert!(own.ask(3, batch(old, &[place])));
    assert_eq!(wait(&mut own, &ear), []);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
    let waits = std::net::TcpStream::connect(place).unwrap();
    assert!(own.ask(3, batch(clock::now(), &[place])));
    assert_eq!(wait(&mut own, &ear), []);
    assert!(listener.accept().is_ok());
    assert!(listener.accept().is_err(), "only the one who waited");
    drop(waits);
}

#[test]
fn the_end_of_the_prober_ends_a_handshake() {
    let (mut own, _ear) = prober();
    let (silent, place) = listener();
    assert!(own.ask(3, batch(clock::now(), &[place])));
    let (mut stream, _) = silent.accept().unwrap();
    drop(own);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest.first(), Some(&0x16), "it was at it");
}
