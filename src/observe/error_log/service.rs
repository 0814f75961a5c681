//! The reading side: reads followed files as they grow, and answers for them.
//!
//! A thread of its own, so that a log which is flooded delays no scoreboard. It sleeps until the
//! kernel or the watching process wants something; what it read becomes counts at once. No byte of
//! a log is kept or handed over but the few lines by which httpd says why it cannot go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, Shutdown, shutdown},
};

use super::{
    follower::{Follower, Pass},
    message::{Answer, Message, Received, Request, Subject, receive, send},
    place::{FileId, Place},
    report::Reporter,
    stirrings::Stirrings,
};
use crate::{
    clock,
    model::{log::LogReport, process::ProcessId, source::Why, time::Moment},
    observe::process_table::ProcessTable,
};

/// A read, in bytes; the only memory that the length of a log could ask for.
const BUFFER: usize = 256 << 10;
/// What is read before requests are looked for, and for an answer, in bytes.
const PIECE: u64 = 1 << 20;
/// What is read before it rests: enough for what a restart may cause, in pieces.
const MOST_PIECES: u32 = 16;
/// After reading it rests this many times what that cost, so that a flood takes a ninth of a core.
const REST: u32 = 8;
/// Servers that are followed; each takes two descriptors.
const MOST_SERVERS: usize = 64;

/// Follows and answers until the other side is gone.
pub fn serve(table: &ProcessTable, socket: OwnedFd) -> io::Result<()> {
    let socket = Socket(socket);
    let mut service = Service {
        table,
        socket: &socket,
        stirrings: Stirrings::new(),
        servers: BTreeMap::new(),
        buffer: vec![0; BUFFER],
        pieces: 0,
        work: Duration::ZERO,
        rested: clock::now(),
    };
    loop {
        let Awake { asked, stirred } = service.wait()?;
        if asked {
            match receive::<Request>(&socket.0, RecvFlags::DONTWAIT)? {
                Received::Message(request, file) => service.answer(request, file)?,
                Received::Nothing => {}
                Received::End => return Ok(()),
            }
        }
        if stirred {
            service.notice();
        }
        if service.has_more() && clock::now() >= service.rested {
            service.read_on()?;
        }
    }
}

/// The socket, which tells the other side when this one ends, even if by a panic: another
/// descriptor of the same socket may stay open as long as the process.
struct Socket(OwnedFd);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

struct Service<'a> {
    table: &'a ProcessTable,
    socket: &'a Socket,
    stirrings: Stirrings,
    servers: BTreeMap<u32, Server>,
    buffer: Vec<u8>,
    /// What was read since the last rest, and what that cost.
    pieces: u32,
    work: Duration,
    /// No reading before this moment but to answer.
    rested: Moment,
}

struct Server {
    follower: Follower<Reporter>,
    has_more: bool,
    /// Something that the watching process wants to look at.
    has_news: bool,
    /// It was told so, and did not look yet.
    has_rung: bool,
}

/// Why a wait ended.
struct Awake {
    asked: bool,
    stirred: bool,
}

impl Service<'_> {
    fn has_more(&self) -> bool {
        self.servers.values().any(Server::wants_attention)
    }

    /// Waits for a request, and, once rested, for what the kernel reports.
    fn wait(&self) -> io::Result<Awake> {
        let rest = self.rested.since(clock::now());
        let in_time = Timespec {
            tv_sec: i64::try_from(rest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(rest.subsec_nanos()),
        };
        let is_rested = rest.is_zero();
        let timeout = (!is_rested || self.has_more()).then_some(&in_time);
        let mut waiting = vec![PollFd::new(&self.socket.0, PollFlags::IN)];
        // What is reported while it rests is kept by the kernel.
        waiting.extend(
            self.stirrings
                .descriptor()
                .filter(|_| is_rested)
                .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)),
        );
        match poll(&mut waiting, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |index: usize| waiting.get(index).is_some_and(|it| !it.revents().is_empty());
        Ok(Awake { asked: is_ready(0), stirred: is_ready(1) })
    }

    /// Takes what the kernel reported.
    fn notice(&mut self) {
        let stirred = self.stirrings.take();
        for server in self.servers.values_mut() {
            let files: BTreeSet<FileId> = server.follower.files().map(|(id, _)| id).collect();
            server.has_more |= !files.is_disjoint(&stirred.changed);
            let Some(current) = server.follower.current() else { continue };
            let is_removed = stirred.touched.contains(&current);
            server.has_news |= stirred.renamed.contains(&current)
                || is_removed && server.follower.is_newly_removed();
        }
    }

    /// Reads a piece of what came, and rings where it is news.
    fn read_on(&mut self) -> io::Result<()> {
        let before = clock::work_of_this_thread();
        let busy = self.servers.values().filter(|server| server.has_more).count();
        let share = PIECE / u64::try_from(busy.max(1)).unwrap_or(PIECE);
        for (number, server) in &mut self.servers {
            if server.has_more {
                server.read(&mut self.buffer, share);
            }
            if server.has_news && !server.has_rung {
                server.has_rung = true;
                send(&self.socket.0, &Message::Bell { server: *number }, None)?;
            }
        }
        self.pieces += 1;
        self.work += clock::work_of_this_thread().saturating_sub(before);
        if self.pieces >= MOST_PIECES || !self.has_more() {
            self.rested = clock::now().after(self.work * REST);
            (self.pieces, self.work) = (0, Duration::ZERO);
        }
        Ok(())
    }

    fn answer(&mut self, request: Request, file: Option<File>) -> io::Result<()> {
        let Request { serial, server, subject } = request;
        if subject == Subject::Nothing {
            self.servers.remove(&server);
            self.watch();
            return Ok(());
        }
        let is_known = self.servers.contains_key(&server);
        let (report, file) = if !is_known && self.servers.len() >= MOST_SERVERS {
            (Err(Why::Limit), None)
        } else {
            let turned = self.turn(server, subject, file);
            // Before it is read, so that nothing comes unnoticed in between.
            self.watch();
            let server = self.servers.entry(server).or_default();
            let pass = server.read(&mut self.buffer, PIECE);
            server.follower.leave_quiet(&mut self.buffer, clock::now());
            (server.report(turned, pass), server.follower.current())
        };
        send(&self.socket.0, &Message::Answer(Answer { serial, server, report, file }), None)
    }

    /// Sees to it that the wanted file is the followed one.
    fn turn(&mut self, server: u32, subject: Subject, file: Option<File>) -> Result<(), Why> {
        let follower = &mut self.servers.entry(server).or_default().follower;
        match subject {
            Subject::Parent(parent) => {
                turn_to_parent(self.table, parent, follower, &mut self.buffer)
            }
            // The kernel keeps back a descriptor for which this process has no place.
            Subject::File => follower.turn_to(file.ok_or(Why::Limit)?, &mut self.buffer),
            Subject::SameFile => follower.current().map(|_| ()).ok_or(Why::Missing),
            Subject::Nothing => Ok(()),
        }
    }

    fn watch(&mut self) {
        self.stirrings.watch(self.servers.values().flat_map(|server| server.follower.files()));
    }
}

fn turn_to_parent(
    table: &ProcessTable,
    parent: ProcessId,
    follower: &mut Follower<Reporter>,
    buffer: &mut [u8],
) -> Result<(), Why> {
    let place = Place::of_parent(table, parent)?;
    if follower.current() == Some(place.id()) {
        return Ok(());
    }
    follower.turn_to(place.open()?, buffer)
}

impl Server {
    fn wants_attention(&self) -> bool {
        self.has_more || self.has_news && !self.has_rung
    }

    fn read(&mut self, buffer: &mut [u8], limit: u64) -> Pass {
        let pass = self.follower.read(buffer, limit);
        // What could not be read is tried again when somebody asks, or something comes.
        self.has_more = pass.more;
        self.has_news |= pass.truncated || self.follower.sink().is_news();
        pass
    }

    /// What came. Why nothing more will come is said when there is nothing left to tell.
    fn report(&mut self, turned: Result<(), Why>, pass: Pass) -> Result<LogReport, Why> {
        let report = self.follower.sink().take();
        (self.has_news, self.has_rung) = (false, false);
        let is_empty = report == LogReport::default();
        match turned.err().or(pass.failed) {
            Some(why) if is_empty => Err(why),
            Some(_) | None => Ok(report),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        let follower = Follower::new(Reporter::default());
        Self { follower, has_more: false, has_news: false, has_rung: false }
    }
}
