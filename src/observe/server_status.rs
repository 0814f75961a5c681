//! `mod_status`, asked over HTTP on a thread of its own, so that no look waits for it.
//!
//! It costs httpd a worker, so each server is asked only when the watch says so, and not again
//! before that question has ended. Each question has a connection of its own: a kept one would
//! hold a child of an old generation, or a worker of prefork.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, mpsc},
    thread::Builder,
    thread::JoinHandle,
    time::Duration,
};

use hyper::Uri;
use tokio::{
    runtime,
    sync::{
        Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinSet,
};

use super::wake::Wake;
use crate::{
    clock,
    model::{server_status::ServerStatus, source::Why, time::Moment},
};

mod request;

/// From the first packet to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Names are looked up on threads.
const MOST_LOOKUPS: usize = 4;

/// The end of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusAsked {
    /// The server's number, as it was asked.
    pub server: usize,
    /// When the connection was begun: nothing in the answer is older.
    pub asked: Moment,
    /// When it had been read, or was given up.
    pub answered: Moment,
    /// What httpd says, or why it says nothing: `Missing` if nobody listens, `Timeout` after 2 s,
    /// `Invalid` for every other answer than `?auto`'s, `Limit` beyond 64 KiB.
    pub result: Result<ServerStatus, Why>,
}

/// Asks on a thread of its own; dropped, it ends every question that is still open.
#[derive(Debug)]
pub struct StatusAsker {
    answers: mpsc::Receiver<StatusAsked>,
    /// Until this is dropped.
    questions: Option<UnboundedSender<(usize, Uri)>>,
    open: BTreeSet<usize>,
    thread: Option<JoinHandle<()>>,
}

impl StatusAsker {
    /// Starts the thread; it wakes the watch with each answer.
    pub fn start(wake: Wake) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(MOST_LOOKUPS)
            .build()?;
        let (questions, asked) = unbounded_channel();
        let (answer, answers) = mpsc::channel();
        let thread = Builder::new().name("mod_status".to_owned()).spawn(move || {
            runtime.block_on(serve(asked, &answer, &wake));
            // A look-up of a name is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            answers,
            questions: Some(questions),
            open: BTreeSet::new(),
            thread: Some(thread),
        })
    }

    /// Asks a server, known by this number, for this http URL; false: its last question is still
    /// open.
    pub fn ask(&mut self, server: usize, url: &Uri) -> bool {
        let Some(questions) = self.questions.as_ref().filter(|_| !self.open.contains(&server))
        else {
            return false;
        };
        let is_asked = questions.send((server, url.clone())).is_ok();
        if is_asked {
            self.open.insert(server);
        }
        is_asked
    }

    /// What was answered since the last time, without waiting.
    pub fn answers(&mut self) -> Vec<StatusAsked> {
        let answers: Vec<StatusAsked> = self.answers.try_iter().collect();
        for answer in &answers {
            self.open.remove(&answer.server);
        }
        answers
    }
}

impl Drop for StatusAsker {
    fn drop(&mut self) {
        drop(self.questions.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Until there will be no more questions; those that are open are dropped with the task set.
async fn serve(
    mut questions: UnboundedReceiver<(usize, Uri)>,
    answer: &mpsc::Sender<StatusAsked>,
    wake: &Wake,
) {
    let lookups = Arc::new(Semaphore::new(MOST_LOOKUPS));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            question = questions.recv() => {
                let Some((server, url)) = question else { return };
                open.spawn(ask(server, url, Arc::clone(&lookups)));
            }
            Some(asked) = open.join_next() => {
                // One that panicked is never answered: its server is not asked again.
                let Ok(asked) = asked else { continue };
                if answer.send(asked).is_err() {
                    return;
                }
                wake.wake();
            }
        }
    }
}

async fn ask(server: usize, url: Uri, lookups: Arc<Semaphore>) -> StatusAsked {
    let asked = clock::now();
    let result = tokio::time::timeout(PATIENCE, request::status(&url, lookups)).await;
    let result = result.unwrap_or(Err(Why::Timeout));
    StatusAsked { server, asked, answered: clock::now(), result }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, TcpListener, TcpStream},
        os::fd::OwnedFd,
    };

    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        pipe::{PipeFlags, pipe_with},
    };

    use super::*;

    const PAGE: &str =
        "BusyWorkers: 1\nIdleWorkers: 9\nParentServerMPMGeneration: 4\nScoreboard: _\n";

    fn asker() -> (StatusAsker, OwnedFd) {
        let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        (StatusAsker::start(Wake::new(wake)).unwrap(), ear)
    }

    fn wait(asker: &mut StatusAsker, ear: &OwnedFd) -> StatusAsked {
        let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
        poll(&mut [PollFd::new(ear, PollFlags::IN)], Some(&timeout)).unwrap();
        asker.answers().pop().unwrap()
    }

    fn wait_again(asker: &mut StatusAsker, ear: &OwnedFd) -> Result<ServerStatus, Why> {
        rustix::io::read(ear, &mut [0; 64]).unwrap();
        wait(asker, ear).result
    }

    fn listener() -> (TcpListener, Uri) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/server-status?auto", listener.local_addr().unwrap());
        (listener, url.parse().unwrap())
    }

    /// What is made of an answer, and what was asked.
    fn answered(answer: impl FnOnce(&mut TcpStream)) -> (Result<ServerStatus, Why>, String) {
        let (listener, url) = listener();
        let (mut own, ear) = asker();
        assert!(own.ask(3, &url));
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        answer(&mut stream);
        let asked = wait(&mut own, &ear);
        assert_eq!(asked.server, 3);
        assert!(asked.answered >= asked.asked);
        (asked.result, String::from_utf8(request).unwrap())
    }

    fn says(answer: &str) -> Result<ServerStatus, Why> {
        answered(|stream| drop(stream.write_all(answer.as_bytes()))).0
    }

    #[test]
    fn one_request_asks_for_what_the_url_says_and_closes() {
        let page = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len());
        let (result, request) = answered(|stream| stream.write_all(page.as_bytes()).unwrap());
        assert_eq!(result.unwrap().generation, Some(4));
        let request = request.to_ascii_lowercase();
        assert!(request.starts_with("get /server-status?auto http/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nconnection: close\r\n"), "{request}");
        assert!(request.contains("\r\nhost: 127.0.0.1:"), "{request}");
    }

    #[test]
    fn every_other_answer_is_invalid() {
        for answer in [
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "\0\0\0\0\0",
        ] {
            assert_eq!(says(answer), Err(Why::Invalid), "{answer}");
        }
        let other = format!("HTTP/1.1 503 Busy\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len());
        assert_eq!(says(&other), Err(Why::Invalid));
        let half = format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{PAGE}");
        let (result, _) = answered(|stream| {
            stream.write_all(half.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        });
        assert_eq!(result, Err(Why::Invalid), "cut off");
    }

    #[test]
    fn a_page_without_an_end_is_not_read_to_its_end() {
        let (result, _) = answered(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        });
        assert_eq!(result, Err(Why::Limit));
        let (result, _) = answered(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
            while stream.write_all(b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").is_ok() {}
        });
        assert!(matches!(result, Err(Why::Invalid | Why::Limit)), "{result:?}");
    }

    #[test]
    fn who_answers_drop_by_drop_is_given_up() {
        let (result, _) = answered(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            // Until the other side has gone: it goes at its deadline, however often something comes.
            while stream.write_all(b"\n").is_ok() {
                let timeout = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
                poll(&mut [PollFd::new(stream, PollFlags::RDHUP)], Some(&timeout)).unwrap();
            }
        });
        assert_eq!(result, Err(Why::Timeout));
    }

    #[test]
    fn nobody_there_is_missing() {
        let (listener, url) = listener();
        drop(listener);
        let (mut own, ear) = asker();
        assert!(own.ask(0, &url));
        assert_eq!(wait(&mut own, &ear).result, Err(Why::Missing));
    }

    #[test]
    fn a_name_is_looked_up() {
        let (listener, url) = listener();
        let url = format!("http://localhost:{}/", url.port_u16().unwrap()).parse().unwrap();
        drop(listener);
        let (mut own, ear) = asker();
        assert!(own.ask(0, &url));
        assert_eq!(wait(&mut own, &ear).result, Err(Why::Missing));
        assert!(own.ask(0, &"http://nowhere.invalid/".parse().unwrap()));
        let result = wait_again(&mut own, &ear);
        assert!(matches!(result, Err(Why::Missing | Why::Timeout)), "{result:?}");
    }

    #[test]
    fn a_server_is_not_asked_again_before_it_answered() {
        let (listener, url) = listener();
        let (mut own, ear) = asker();
        assert!(own.ask(0, &url));
        assert!(!own.ask(0, &url), "still open");
        assert!(own.ask(1, &url), "another one");
        assert_eq!(wait(&mut own, &ear).result, Err(Why::Timeout));
        drop(listener);
    }

    #[test]
    fn an_open_question_does_not_keep_it_from_its_end() {
        let (_listener, url) = listener();
        let (mut own, _ear) = asker();
        assert!(own.ask(0, &url));
        drop(own);
    }
}
