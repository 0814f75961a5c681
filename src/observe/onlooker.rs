//! Looks for suspects on a thread of its own: the one that stamps what happens must not be away for
//! as long as that takes.

use std::{
    collections::BTreeMap,
    io,
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::Duration,
};

use super::{process_table::ProcessTable, suspects::suspects};
use crate::{
    clock,
    model::{process::Pid, time::Moment},
};

/// Beyond these nobody asks: whoever was to be seen is seen already.
const MOST_QUESTIONS: usize = 32;

/// Asks who is there.
#[derive(Debug)]
pub struct Onlooker {
    questions: SyncSender<Question>,
    answers: Receiver<(usize, Glance)>,
    /// Questions of each server that are not answered yet.
    open: BTreeMap<usize, u32>,
    /// Answers that nobody took yet.
    kept: BTreeMap<usize, Vec<Glance>>,
}

/// Who was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// When the process table began to be read.
    pub at: Moment,
    /// Programs that could have restarted the server.
    pub names: Vec<String>,
    /// The user whose process the server's parent is, if it could be told.
    pub owner: Option<u32>,
}

#[derive(Debug)]
struct Question {
    server: usize,
    parent: Option<Pid>,
    owner: Option<u32>,
}

impl Onlooker {
    /// Starts the thread; it ends with this value.
    pub fn start(table: ProcessTable) -> io::Result<Self> {
        let (questions, asked) = mpsc::sync_channel::<Question>(MOST_QUESTIONS);
        let (tell, answers) = mpsc::channel();
        thread::Builder::new().name("suspects".to_owned()).spawn(move || {
            for Question { server, parent, owner } in asked {
                let at = clock::now();
                let process = parent.and_then(|parent| table.process(parent).ok());
                let status = process.and_then(|process| process.status().ok());
                let owner = status.map(|status| status.ruid).or(owner);
                let names = suspects(&table, parent, owner);
                if tell.send((server, Glance { at, names, owner })).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions, answers, open: BTreeMap::new(), kept: BTreeMap::new() })
    }

    /// Asks who could restart the server of this number, of this `parent`, now. `owner` is whose
    /// parent it is if that cannot be read any more.
    pub fn ask(&mut self, server: usize, parent: Option<Pid>, owner: Option<u32>) {
        if self.questions.try_send(Question { server, parent, owner }).is_ok() {
            *self.open.entry(server).or_default() += 1;
        }
    }

    /// What was answered of a server; what is still open is waited for, but for no longer than
    /// `patience`.
    pub fn answers(&mut self, server: usize, patience: Duration) -> Vec<Glance> {
        let started = clock::now();
        loop {
            while let Ok(answer) = self.answers.try_recv() {
                self.keep(answer);
            }
            let left = patience.saturating_sub(clock::now().since(started));
            if self.open.get(&server).is_none_or(|open| *open == 0) || left.is_zero() {
                return self.kept.remove(&server).unwrap_or_default();
            }
            match self.answers.recv_timeout(left) {
                Ok(answer) => self.keep(answer),
                Err(_) => return self.kept.remove(&server).unwrap_or_default(),
            }
        }
    }

    /// Nobody will ask for this server again.
    pub fn forget(&mut self, server: usize) {
        self.open.remove(&server);
        self.kept.remove(&server);
    }

    fn keep(&mut self, (server, glance): (usize, Glance)) {
        if let Some(open) = self.open.get_mut(&server) {
            *open = open.saturating_sub(1);
            self.kept.entry(server).or_default().push(glance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_gets_its_own_answers() {
        let mut onlooker = Onlooker::start(ProcessTable::new("/proc".into())).unwrap();
        let own = Pid::new(i32::try_from(std::process::id()).unwrap());
        let patience = Duration::from_secs(60);
        assert!(onlooker.answers(1, patience).is_empty(), "nobody asked: at once");
        onlooker.ask(1, own, None);
        onlooker.ask(2, None, Some(7));
        onlooker.ask(1, own, None);
        let (first, second) = (onlooker.answers(1, patience), onlooker.answers(2, patience));
        assert_eq!((first.len(), second.len()), (2, 1));
        assert_eq!(first[0].owner, Some(rustix::process::getuid().as_raw()));
        assert_eq!(second[0].owner, Some(7));
        assert!(first[0].at < second[0].at && second[0].at < first[1].at);
        onlooker.ask(1, None, None);
        onlooker.forget(1);
        assert!(onlooker.answers(1, patience).is_empty());
    }
}
