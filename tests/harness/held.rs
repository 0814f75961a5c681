//! Requests that httpd works on until the test releases them: a backend behind `ProxyPass`, and the
//! clients that ask for it.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::eventually::eventually;
use super::http;

/// A client that nobody answers gives up after this, so that no thread stays.
const PATIENCE: Duration = Duration::from_secs(300);

/// A request that has not arrived after this waits in the accept queue.
const QUEUED: Duration = Duration::from_secs(1);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With this HTTP status.
    Answered(u16),
    /// Its connection ended without an answer.
    Cut,
}

/// Answers a request when it is released.
pub(crate) struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Requests>,
    changed: Condvar,
    /// Requests that neither are answered nor cut yet.
    in_flight: AtomicUsize,
}

#[derive(Default)]
struct Requests {
    last: u64,
    arrived: BTreeSet<u64>,
    released: BTreeSet<u64>,
    are_over: bool,
}

impl Shared {
    fn has_arrived(&self, number: u64) -> bool {
        self.requests.lock().unwrap().arrived.contains(&number)
    }

    fn release(&self, numbers: impl IntoIterator<Item = u64>) {
        self.requests.lock().unwrap().released.extend(numbers);
        self.changed.notify_all();
    }
}

impl Backend {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let seen_by_thread = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if seen_by_thread.requests.lock().unwrap().are_over {
                    break;
                }
                let shared = Arc::clone(&seen_by_thread);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// Sends so many requests to `httpd` and returns when all have arrived here.
    #[track_caller]
    pub(super) fn hold(&self, httpd: SocketAddr, count: usize) -> HeldRequests {
        let mut held = HeldRequests { requests: Vec::new(), shared: Arc::clone(&self.shared) };
        held.send(httpd, count);
        held.wait_for_arrival();
        held
    }

    /// As [`Self::hold`], where that takes the last workers of several children.
    ///
    /// A listener of event that woke for a connection that another child accepted keeps a worker
    /// reserved. If that is its last idle one it then believes to have none, stops accepting, and
    /// leaves the next connection in the queue until another of its workers becomes idle. So one
    /// request after the other is let go and sent anew until all of them are worked on.
    #[track_caller]
    pub(super) fn hold_every_worker(&self, httpd: SocketAddr, count: usize) -> HeldRequests {
        let mut held = HeldRequests { requests: Vec::new(), shared: Arc::clone(&self.shared) };
        held.send(httpd, count);
        eventually("every worker holds a request", || {
            let begin = Instant::now();
            while begin.elapsed() < QUEUED {
                if held.have_arrived() {
                    return true;
                }
                thread::sleep(QUEUED / 100);
            }
            held.let_go_of_the_first();
            held.send(httpd, 1);
            false
        });
        held
    }

    /// Answers all that is held and whatever comes from now on.
    pub(super) fn end(&mut self) {
        self.shared.requests.lock().unwrap().are_over = true;
        self.shared.changed.notify_all();
        // Wakes the acceptor, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _: thread::Result<()> = acceptor.join();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.end();
    }
}

/// Requests that workers of httpd are busy with; they are released on drop.
pub(crate) struct HeldRequests {
    requests: Vec<HeldRequest>,
    shared: Arc<Shared>,
}

struct HeldRequest {
    number: u64,
    client: JoinHandle<Outcome>,
}

impl HeldRequests {
    /// Lets the backend answer and returns when each request has ended, with what became of it. The
    /// clients have then closed their connections, so that httpd does not linger.
    pub(crate) fn release(mut self) -> Vec<Outcome> {
        self.shared.release(self.numbers());
        self.requests.drain(..).map(|request| request.client.join().unwrap()).collect()
    }

    /// Those that ended although nobody released them, as in a hard restart.
    pub(crate) fn ended(&self) -> usize {
        self.requests.iter().filter(|request| request.client.is_finished()).count()
    }

    fn numbers(&self) -> Vec<u64> {
        self.requests.iter().map(|request| request.number).collect()
    }

    fn send(&mut self, httpd: SocketAddr, count: usize) {
        for _ in 0..count {
            let number = {
                let mut requests = self.shared.requests.lock().unwrap();
                requests.last += 1;
                requests.last
            };
            let shared = Arc::clone(&self.shared);
            shared.in_flight.fetch_add(1, Ordering::SeqCst);
            let client = thread::spawn(move || {
                let outcome = ask(httpd, number);
                shared.in_flight.fetch_sub(1, Ordering::SeqCst);
                outcome
            });
            self.requests.push(HeldRequest { number, client });
        }
    }

    fn have_arrived(&self) -> bool {
        let early = self.ended();
        assert_eq!(early, 0, "{early} held requests ended before they were released");
        self.requests.iter().all(|request| self.shared.has_arrived(request.number))
    }

    #[track_caller]
    fn wait_for_arrival(&self) {
        let count = self.requests.len();
        eventually(&format!("{count} held requests arrive"), || self.have_arrived());
    }

    fn let_go_of_the_first(&mut self) {
        let arrived = |request: &HeldRequest| self.shared.has_arrived(request.number);
        if let Some(first) = self.requests.iter().position(arrived) {
            let request = self.requests.remove(first);
            self.shared.release([request.number]);
            assert_eq!(request.client.join().unwrap(), Outcome::Answered(200));
        }
    }
}

impl Drop for HeldRequests {
    fn drop(&mut self) {
        self.shared.release(self.numbers());
    }
}

fn ask(httpd: SocketAddr, number: u64) -> Outcome {
    match http::get(httpd, &format!("/held/{number}"), PATIENCE) {
        Ok(response) => Outcome::Answered(response.status),
        Err(_) => Outcome::Cut,
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let Some(number) = number_asked_for(&mut stream) else {
        return;
    };
    let mut requests = shared.requests.lock().unwrap();
    requests.arrived.insert(number);
    let is_held =
        |requests: &mut Requests| !requests.are_over && !requests.released.contains(&number);
    let released = shared.changed.wait_while(requests, is_held).unwrap();
    drop(released);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes";
    // httpd may have gone meanwhile: its end is the client's to report.
    let _: io::Result<()> = stream.write_all(answer);
}

fn number_asked_for(stream: &mut TcpStream) -> Option<u64> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()?.strip_prefix("GET /")?.split(' ').next()?.parse().ok()
}
