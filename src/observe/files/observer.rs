//! The thread: when something happened it waits until it is quiet, looks at all, and hands over
//! what is not as it was.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::panicking,
    time::Duration,
};

use super::{
    Message, News,
    bell::Bell,
    content::Contents,
    hearing::Hearing,
    look::{Server, look},
    pulse::Pulse,
};
use crate::{
    clock,
    model::{files::FileList, files::FileSightings, snapshot::Part, source::Why, time::Moment},
    observe::wake::Wake,
};

/// Of one processor a look that something triggered takes at most one part in eleven, up to this
/// rest; one that nothing triggered one part in a hundred.
const REST: u32 = 10;
const LONGEST_REST: Duration = Duration::from_secs(5);
const POLL_REST: u32 = 100;
const LONGEST_POLL_REST: Duration = Duration::from_secs(60);
/// Looks that follow each other at once because there was more to watch.
const MOST_LOOKS: usize = 3;

/// When it is looked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// So long nothing may have happened: editors and tools rename, write and remove in turn.
    pub(super) quiet: Duration,
    /// So long at most it is waited for that.
    pub(super) longest: Duration,
    /// So often it is looked whether anything happened or not.
    pub(super) poll: Duration,
    /// So often it is looked whether a program was replaced: these are not watched.
    pub(super) programs: Duration,
    /// So often inotify is tried again that had nothing left.
    pub(super) retry: Duration,
}

impl Pace {
    /// As servers are watched.
    pub(super) const USUAL: Self = Self {
        quiet: Duration::from_millis(150),
        longest: Duration::from_secs(1),
        poll: Duration::from_secs(10),
        programs: Duration::from_secs(1),
        retry: Duration::from_secs(60),
    };
}

/// All that the thread owns.
#[derive(Debug)]
pub(super) struct Observer {
    pace: Pace,
    messages: mpsc::Receiver<Message>,
    bell: Bell,
    hearing: Hearing,
    contents: Contents,
    servers: Told,
    /// When it is looked again, whatever happens.
    due: Moment,
    /// When it is looked at programs.
    programs_due: Moment,
    /// When it was last looked at all.
    looked: Option<Moment>,
    /// Until then it is not looked, whatever happens.
    rested: Moment,
    /// Who waits for its news is told by it that there will be some.
    pulse: Pulse,
}

/// The servers, whom it is owed to say so should this thread fail.
#[derive(Debug)]
struct Told {
    servers: BTreeMap<usize, Server>,
    news: mpsc::Sender<News>,
    wake: Wake,
}

enum Heard {
    Nothing,
    Something,
    End,
}

impl Observer {
    /// Looks at nothing yet.
    pub(super) fn new(
        pace: Pace,
        (messages, bell): (mpsc::Receiver<Message>, Bell),
        (news, wake): (mpsc::Sender<News>, Wake),
        pulse: Pulse,
    ) -> Self {
        let now = clock::now();
        Self {
            pace,
            messages,
            hearing: Hearing::new(bell.clone(), pace.retry),
            bell,
            contents: Contents::default(),
            servers: Told { servers: BTreeMap::new(), news, wake },
            due: now,
            programs_due: now,
            looked: None,
            rested: now,
            pulse,
        }
    }

    /// Works until it is told to end.
    pub(super) fn run(mut self) {
        loop {
            let heard = match self.wait() {
                Ok(Message::Stirred) => self.settle(),
                Ok(message) => self.obey(message),
                Err(RecvTimeoutError::Timeout) => self.look_at_programs(),
                Err(RecvTimeoutError::Disconnected) => Heard::End,
            };
            match heard {
                Heard::Nothing => {}
                Heard::Something => self.look(),
                Heard::End => return,
            }
        }
    }

    fn wait(&self) -> Result<Message, RecvTimeoutError> {
        if self.servers.servers.is_empty() {
            self.pulse.rest();
            return self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        let (now, until) = (clock::now(), self.due.min(self.programs_due));
        self.pulse.wait(until.max(now));
        self.messages.recv_timeout(until.since(now))
    }

    fn obey(&mut self, message: Message) -> Heard {
        let servers = &mut self.servers.servers;
        match message {
            Message::Watch(number, list) => match servers.get_mut(&number) {
                Some(server) if is_same(&server.list, &list) => return Heard::Nothing,
                Some(server) => server.list = list,
                None => {
                    let programs = Vec::new();
                    servers.insert(number, Server { list, last: None, programs });
                }
            },
            Message::Forget(number) => {
                servers.remove(&number);
            }
            Message::Stirred => {}
            Message::End => return Heard::End,
        }
        Heard::Something
    }

    /// Waits until it is quiet.
    fn settle(&mut self) -> Heard {
        let latest = clock::now().after(self.pace.longest);
        loop {
            let now = clock::now();
            let quiet = self.bell.last(now).after(self.pace.quiet);
            let until = quiet.min(latest).max(self.rested);
            if now >= until {
                return Heard::Something;
            }
            self.pulse.wait(until);
            let heard = match self.messages.recv_timeout(until.since(now)) {
                Ok(message) => self.obey(message),
                Err(RecvTimeoutError::Timeout) => Heard::Nothing,
                Err(RecvTimeoutError::Disconnected) => Heard::End,
            };
            if let Heard::End = heard {
                return heard;
            }
        }
    }

    /// Whether it is time to look at all, or a program is not what it was.
    fn look_at_programs(&mut self) -> Heard {
        let now = clock::now();
        if now >= self.due {
            return Heard::Something;
        }
        self.pulse.look(now);
        let begun = clock::work_of_this_thread();
        let mut are_stirred = false;
        for server in self.servers.servers.values_mut() {
            are_stirred |= server.look_at_programs();
        }
        let work = clock::work_of_this_thread().saturating_sub(begun);
        let rest = work.saturating_mul(POLL_REST).min(LONGEST_POLL_REST);
        self.programs_due = clock::now().after(self.pace.programs.max(rest));
        if are_stirred { Heard::Something } else { Heard::Nothing }
    }

    fn look(&mut self) {
        let (now, begun) = (clock::now(), clock::work_of_this_thread());
        let (heard, looked) = (self.bell.answer(now), self.looked.replace(now));
        // Where not all is heard of, something may have changed before that.
        let heard = heard.filter(|_| self.hearing.polled().is_none());
        let unchanged_until = heard.or(looked);
        let mut seen = Vec::new();
        for _ in 0..MOST_LOOKS {
            self.pulse.look(clock::now());
            let (sightings, places) = look(&self.servers.servers, &mut self.contents);
            seen = sightings;
            if !self.hearing.attend(&places, clock::now()) {
                break;
            }
        }
        for (number, sightings) in seen {
            let (polled, overflows) = (self.hearing.polled(), self.bell.overflows());
            let sightings = FileSightings { polled, unchanged_until, overflows, ..sightings };
            self.servers.tell(number, sightings);
        }
        let (now, work) = (clock::now(), clock::work_of_this_thread().saturating_sub(begun));
        self.rested = now.after(work.saturating_mul(REST).min(LONGEST_REST));
        let rest = work.saturating_mul(POLL_REST).min(LONGEST_POLL_REST);
        self.due = now.after(self.pace.poll.max(rest));
    }
}

/// The same list is handed over again and again; to compare it takes longer.
fn is_same(one: &Arc<FileList>, other: &Arc<FileList>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

impl Told {
    fn tell(&mut self, number: usize, sightings: FileSightings) {
        let Some(server) = self.servers.get_mut(&number) else { return };
        let mut sightings = sightings;
        let unchanged_until = sightings.unchanged_until.take();
        if let Some(last) = &server.last {
            sightings.unchanged_until = last.unchanged_until;
            if **last == sightings {
                return;
            }
            sightings.unchanged_until = unchanged_until;
        }
        let sightings = Arc::new(sightings);
        server.last = Some(Arc::clone(&sightings));
        // Nobody listens any more.
        let _ = self.news.send((number, Part::Seen(sightings)));
        self.wake.wake();
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if panicking() {
            for number in self.servers.keys() {
                let _ = self.news.send((*number, Part::Unseen(Why::Other)));
            }
            self.wake.wake();
        }
    }
}
