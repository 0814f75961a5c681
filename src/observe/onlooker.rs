//! Looks for suspects on a thread of its own: the one that stamps what happens must not be away for
//! as long as that takes.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::Duration,
};

use super::{process_table::ProcessTable, suspects::suspects, wake::Wake};
use crate::{
    clock,
    model::{process::Pid, time::Moment},
};

/// Beyond these nobody asks: whoever was to be seen is seen already.
const MOST_QUESTIONS: usize = 32;
/// Who looks rests this many times what that cost, as the watch does.
const REST: u32 = 8;

/// Asks who is there.
#[derive(Debug)]
pub struct Onlooker {
    questions: SyncSender<Question>,
    answers: Receiver<(usize, Glance)>,
    /// When each server's questions were asked that are not answered yet, the oldest first.
    open: BTreeMap<usize, VecDeque<Moment>>,
    /// Answers that nobody took yet.
    kept: BTreeMap<usize, Vec<Glance>>,
    /// Until when it rests, if it looked.
    rests: Option<Moment>,
}

/// Who was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// When that was asked.
    pub asked: Moment,
    /// When the process table began to be read.
    pub at: Moment,
    /// Programs that could have restarted the server.
    pub names: Vec<String>,
    /// The user whose process the server's parent is, if it could be told.
    pub owner: Option<u32>,
    /// The CPU time that it cost.
    pub cost: Duration,
}

#[derive(Debug)]
struct Question {
    server: usize,
    asked: Moment,
    parent: Option<Pid>,
    owner: Option<u32>,
}

impl Onlooker {
    /// Starts the thread; it ends with this value. Each answer wakes the watch.
    pub fn start(table: ProcessTable, wake: Wake) -> io::Result<Self> {
        let (questions, asked) = mpsc::sync_channel::<Question>(MOST_QUESTIONS);
        let (tell, answers) = mpsc::channel();
        thread::Builder::new().name("suspects".to_owned()).spawn(move || {
            for question in asked {
                if tell.send((question.server, glance(&table, &question))).is_err() {
                    return;
                }
                wake.wake();
            }
        })?;
        let (open, kept) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { questions, answers, open, kept, rests: None })
    }

    /// Asks at this moment who could restart the server of this number, of this `parent`. `owner`
    /// is whose parent it is if that cannot be read any more.
    pub fn ask(&mut self, server: usize, at: Moment, parent: Option<Pid>, owner: Option<u32>) {
        let question = Question { server, asked: at, parent, owner };
        if self.questions.try_send(question).is_ok() {
            self.open.entry(server).or_default().push_back(at);
        }
    }

    /// What was answered of a server since this was asked last.
    pub fn answers(&mut self, server: usize) -> Vec<Glance> {
        self.receive();
        self.kept.remove(&server).unwrap_or_default()
    }

    /// What was asked of a server until then is not all answered.
    pub fn is_asked(&mut self, server: usize, until: Moment) -> bool {
        self.receive();
        let oldest = self.open.get(&server).and_then(VecDeque::front);
        oldest.is_some_and(|asked| *asked <= until)
    }

    /// It rests as long as what it saw last was costly.
    pub fn rests(&mut self, at: Moment) -> bool {
        self.receive();
        self.rests.is_some_and(|until| at < until)
    }

    /// Nobody will ask for this server again.
    pub fn forget(&mut self, server: usize) {
        self.open.remove(&server);
        self.kept.remove(&server);
    }

    fn receive(&mut self) {
        while let Ok((server, glance)) = self.answers.try_recv() {
            self.rests = Some(glance.at.after(glance.cost * REST));
            if let Some(open) = self.open.get_mut(&server) {
                open.pop_front();
                self.kept.entry(server).or_default().push(glance);
            }
        }
    }
}

fn glance(table: &ProcessTable, question: &Question) -> Glance {
    let (at, before) = (clock::now(), clock::work_of_this_thread());
    let Question { asked, parent, owner, .. } = *question;
    let process = parent.and_then(|parent| table.process(parent).ok());
    let status = process.and_then(|process| process.status().ok());
    let owner = status.map(|status| status.ruid).or(owner);
    let names = suspects(table, parent, owner);
    let cost = clock::work_of_this_thread().saturating_sub(before);
    Glance { asked, at, names, owner, cost }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _};

    use super::*;

    #[test]
    fn every_server_gets_its_own_answers_and_each_wakes() {
        let (ear, pipe) = rustix::pipe::pipe().unwrap();
        let table = ProcessTable::new("/proc".into());
        let mut onlooker = Onlooker::start(table, Wake::new(pipe)).unwrap();
        let mut ear = File::from(ear);
        let own = Pid::new(i32::try_from(std::process::id()).unwrap());
        let first = clock::now();
        assert!(!onlooker.is_asked(1, first) && !onlooker.rests(first));
        onlooker.ask(1, first, own, None);
        onlooker.ask(2, clock::now(), None, Some(7));
        let last = clock::now();
        onlooker.ask(1, last, own, None);
        ear.read_exact(&mut [0; 3]).unwrap();
        assert!(!onlooker.is_asked(1, last) && !onlooker.is_asked(2, last));
        let (first, second) = (onlooker.answers(1), onlooker.answers(2));
        assert_eq!((first.len(), second.len()), (2, 1));
        assert_eq!(first[0].owner, Some(rustix::process::getuid().as_raw()));
        assert_eq!(second[0].owner, Some(7));
        assert!(first[0].at < second[0].at && second[0].at < first[1].at);
        assert!(onlooker.rests(first[1].at), "it cost something");
        assert!(!onlooker.rests(first[1].at.after(first[1].cost * REST)));
        onlooker.ask(1, clock::now(), None, None);
        onlooker.forget(1);
        ear.read_exact(&mut [0]).unwrap();
        assert!(onlooker.answers(1).is_empty());
    }
}
