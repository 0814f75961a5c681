//! Error logs, asked of the reading process.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::net::{
    RecvFlags,
    sockopt::{Timeout, set_socket_timeout},
};

use super::{
    message::{Answer, Message, Received, Request, Subject, receive, send},
    place::{FileId, Place},
    report::MOST_SAYINGS,
};
use crate::{
    decode::error_log::MOST_LIFECYCLE_LINES,
    model::{log::LogReport, process::ProcessId, snapshot::Part, source::Why},
};

/// A look must not wait longer for one source.
const PATIENCE: Duration = Duration::from_secs(2);
/// Once an answer is overdue, later looks only see whether it has come.
const GLANCE: Duration = Duration::from_millis(10);

/// What the reading process said unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bell {
    /// Nothing.
    Silent,
    /// There is news in a log that was not asked for since.
    Rung,
    /// It has ended: its descriptor is to be waited for no more.
    Gone,
}

/// The thread that follows error logs, seen from the watching process.
#[derive(Debug)]
pub struct LogReader {
    socket: OwnedFd,
    serial: u64,
    /// The request that was not answered in time.
    overdue: Option<u64>,
    /// What came too late, for those who will ask again: a report is made only once.
    late: BTreeMap<u32, LogReport>,
    rung: BTreeSet<u32>,
    /// The files that are followed by name. They are open over there, so nobody else's.
    followed: BTreeMap<u32, FileId>,
}

impl LogReader {
    /// Asks over one end of [`super::message::pair`].
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        Ok(Self {
            socket,
            serial: 0,
            overdue: None,
            late: BTreeMap::new(),
            rung: BTreeSet::new(),
            followed: BTreeMap::new(),
        })
    }

    /// Readable when the reading process has something to say: then see [`Self::drain_bell`].
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes what was said unasked. To be called before each wait too: a bell may have come
    /// together with an answer about another server.
    pub fn drain_bell(&mut self) -> Bell {
        loop {
            match receive(&self.socket, RecvFlags::DONTWAIT) {
                Ok(Received::Message(Message::Bell { server }, _)) => {
                    self.rung.insert(server);
                }
                Ok(Received::Message(Message::Answer(answer), _)) => self.keep(answer),
                Ok(Received::Nothing) => break,
                Ok(Received::End) | Err(_) => return Bell::Gone,
            }
        }
        if self.rung.is_empty() { Bell::Silent } else { Bell::Rung }
    }

    /// What came into the log that is this parent's standard error.
    pub fn follow_parent(&mut self, server: u32, parent: ProcessId) -> Part<LogReport> {
        self.followed.remove(&server);
        self.part(server, Subject::Parent(parent), None)
    }

    /// What came into the log at this path, which this process opens with what rights it has. If
    /// nothing is there, httpd still writes into what was there.
    pub fn follow_file(&mut self, server: u32, path: &Path) -> Part<LogReport> {
        let known = self.followed.get(&server).copied();
        match Place::at(path) {
            Ok(place) if known == Some(place.id()) => self.part(server, Subject::SameFile, None),
            Ok(place) => match place.open() {
                Ok(file) => self.part(server, Subject::File, Some(file.as_fd())),
                Err(why) => Part::Unseen(why),
            },
            Err(Why::Missing) if known.is_some() => self.part(server, Subject::SameFile, None),
            Err(why) => Part::Unseen(why),
        }
    }

    /// A look begins: whom it asks need not ring for what it will be told, and who rang and is not
    /// asked is not wanted.
    pub fn begin_look(&mut self) {
        self.rung.clear();
    }

    /// Nobody will ask for this server again.
    pub fn forget(&mut self, server: u32) {
        self.followed.remove(&server);
        self.late.remove(&server);
        self.rung.remove(&server);
        self.serial += 1;
        let request = Request { serial: self.serial, server, subject: Subject::Nothing };
        // It has ended, if it does not take this.
        let _ = send(&self.socket, &request, None);
    }

    fn part(
        &mut self,
        server: u32,
        subject: Subject,
        file: Option<BorrowedFd<'_>>,
    ) -> Part<LogReport> {
        match self.ask(server, subject, file) {
            Ok(Some(Ok(report))) => Part::Seen(report),
            Ok(Some(Err(why))) => Part::Unseen(why),
            Ok(None) => Part::Unseen(Why::Timeout),
            Err(_) => Part::Unseen(Why::Other),
        }
    }

    /// `None`: no answer in time.
    fn ask(
        &mut self,
        server: u32,
        subject: Subject,
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<Option<Result<LogReport, Why>>> {
        if self.overdue.is_some() {
            set_socket_timeout(&self.socket, Timeout::Recv, Some(GLANCE))?;
            while self.overdue.is_some() {
                let Some(answer) = self.next_answer()? else { return Ok(None) };
                self.keep(answer);
            }
        }
        self.serial += 1;
        set_socket_timeout(&self.socket, Timeout::Recv, Some(PATIENCE))?;
        send(&self.socket, &Request { serial: self.serial, server, subject }, file)?;
        loop {
            let Some(answer) = self.next_answer()? else {
                self.overdue = Some(self.serial);
                return Ok(None);
            };
            if answer.serial != self.serial {
                self.keep(answer);
                continue;
            }
            self.rung.remove(&server);
            if !matches!(subject, Subject::Parent(_)) {
                self.note(server, answer.file);
            }
            let Some(mut report) = self.late.remove(&server) else {
                return Ok(Some(answer.report));
            };
            if let Ok(news) = answer.report {
                add(&mut report, news);
            }
            return Ok(Some(Ok(report)));
        }
    }

    fn next_answer(&mut self) -> io::Result<Option<Answer>> {
        loop {
            match receive(&self.socket, RecvFlags::empty())? {
                Received::Message(Message::Answer(answer), _) => return Ok(Some(answer)),
                Received::Message(Message::Bell { server }, _) => {
                    self.rung.insert(server);
                }
                Received::Nothing => return Ok(None),
                Received::End => return Err(io::Error::other("the reading process has ended")),
            }
        }
    }

    /// Keeps a late answer for who asks next.
    fn keep(&mut self, answer: Answer) {
        self.overdue = self.overdue.filter(|serial| *serial != answer.serial);
        if let Ok(news) = answer.report {
            add(self.late.entry(answer.server).or_default(), news);
        }
    }

    fn note(&mut self, server: u32, file: Option<FileId>) {
        match file {
            Some(id) => self.followed.insert(server, id),
            None => self.followed.remove(&server),
        };
    }
}

/// Adds what came later.
fn add(report: &mut LogReport, news: LogReport) {
    let LogReport { lines, events, skipped, claims, sayings } = news;
    add_counts(&mut report.lines, lines);
    add_counts(&mut report.events, events);
    report.skipped = report.skipped.saturating_add(skipped);
    report.claims.extend(claims);
    report.claims.truncate(MOST_LIFECYCLE_LINES);
    report.sayings.extend(sayings);
    let superfluous = report.sayings.len().saturating_sub(MOST_SAYINGS);
    report.sayings.drain(..superfluous);
}

fn add_counts<K: PartialEq>(counts: &mut Vec<(K, u64)>, news: Vec<(K, u64)>) {
    for (key, more) in news {
        match counts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count = count.saturating_add(more),
            None => counts.push((key, more)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::RecvFlags;

    use super::*;
    use crate::model::{
        log::LogLevel,
        process::{Pid, ProcessId},
        time::Uptime,
    };

    fn lines(count: u64) -> LogReport {
        LogReport { lines: vec![(LogLevel::Error, count)], ..LogReport::default() }
    }

    #[test]
    fn a_late_report_is_neither_lost_nor_another_servers() {
        let (own, other) = super::super::message::pair().unwrap();
        let mut client = LogReader::new(own).unwrap();
        let parent = ProcessId { pid: Pid::new(7).unwrap(), started: Uptime::from_micros(1) };
        let say = |message: Message| send(&other, &message, None).unwrap();
        let answer = |serial, server, count| {
            say(Message::Answer(Answer { serial, server, report: Ok(lines(count)), file: None }));
        };
        assert_eq!(client.follow_parent(0, parent), Part::Unseen(Why::Timeout));
        client.forget(2);
        assert_eq!(client.follow_parent(1, parent), Part::Unseen(Why::Timeout), "still overdue");
        let asked: Received<Request> = receive(&other, RecvFlags::DONTWAIT).unwrap();
        assert!(matches!(asked, Received::Message(Request { serial: 1, server: 0, .. }, None)));
        answer(1, 0, 5);
        say(Message::Bell { server: 0 });
        answer(3, 1, 10);
        assert_eq!(client.follow_parent(1, parent), Part::Seen(lines(10)));
        assert_eq!(client.drain_bell(), Bell::Rung, "it rang before an answer about another");
        answer(4, 0, 1);
        assert_eq!(client.follow_parent(0, parent), Part::Seen(lines(6)));
        assert_eq!(client.drain_bell(), Bell::Silent);
        say(Message::Bell { server: 0 });
        assert_eq!(client.drain_bell(), Bell::Rung);
        client.begin_look();
        assert_eq!(client.drain_bell(), Bell::Silent, "a look that does not ask ends it too");
        drop(other);
        assert_eq!(client.drain_bell(), Bell::Gone);
    }
}
