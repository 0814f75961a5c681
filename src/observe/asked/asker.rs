//! The thread that asks: one question at a time, of each server the latest.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::mpsc,
    thread::{Builder, JoinHandle},
};

use rustix::pipe::{PipeFlags, pipe_with};

use super::{Answer, Asked, Question, question};
use crate::{
    clock,
    model::{build::HttpdBuild, process::ProcessId},
    observe::{process_table::ProcessTable, wake::Wake},
};

/// Asks on a thread of its own; dropped, it ends a question that is still open.
#[derive(Debug)]
pub struct Asker {
    answers: mpsc::Receiver<Asked>,
    /// Both until this is dropped.
    questions: Option<mpsc::Sender<(usize, Question)>>,
    cancel: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Asker {
    /// Starts the thread; it wakes the watch with each answer.
    pub fn start(table: ProcessTable, wake: Wake) -> io::Result<Self> {
        let (cancelled, cancel) = pipe_with(PipeFlags::CLOEXEC)?;
        let (questions, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let thread = Builder::new().name("ask httpd".to_owned()).spawn(move || {
            serve(&table, &asked, &cancelled, |said| {
                let is_heard = answer.send(said).is_ok();
                wake.wake();
                is_heard
            });
        })?;
        Ok(Self { answers, questions: Some(questions), cancel: Some(cancel), thread: Some(thread) })
    }

    /// Asks a server, known by this number. An earlier question of it that was not begun is
    /// forgotten.
    pub fn ask(&self, server: usize, question: Question) {
        if let Some(questions) = &self.questions {
            // The thread ends before this one only if it panicked: then there are no answers.
            let _ = questions.send((server, question));
        }
    }

    /// What was answered since the last time, without waiting.
    pub fn answers(&self) -> impl Iterator<Item = Asked> {
        self.answers.try_iter()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        drop(self.questions.take());
        drop(self.cancel.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a server's parent answered last.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// The files that its configuration is made of.
    pub(super) includes: Vec<PathBuf>,
    /// What it is made of.
    pub(super) build: HttpdBuild,
}

fn serve(
    table: &ProcessTable,
    asked: &mpsc::Receiver<(usize, Question)>,
    cancelled: &OwnedFd,
    mut answer: impl FnMut(Asked) -> bool,
) {
    let mut waiting = Vec::new();
    let mut known: BTreeMap<usize, (ProcessId, Earlier)> = BTreeMap::new();
    let nothing = Earlier::default();
    loop {
        if waiting.is_empty() {
            let Ok(first) = asked.recv() else { return };
            waiting.push(first);
        }
        for (server, question) in asked.try_iter() {
            enqueue(&mut waiting, server, question);
        }
        let (server, question) = waiting.remove(0);
        let begun = clock::now();
        let result = {
            let earlier = known.get(&server).filter(|(parent, _)| *parent == question.parent);
            let earlier = earlier.map_or(&nothing, |(_, earlier)| earlier);
            question::answer(table, &question, earlier, cancelled.as_fd())
        };
        if let Ok(answer) = &result {
            let Answer { includes, build, .. } = answer.clone();
            known.insert(server, (question.parent, Earlier { includes, build }));
        }
        if result.as_ref().is_err_and(super::AskError::is_cancelled) {
            return;
        }
        let took = clock::now().since(begun);
        if !answer(Asked { server, parent: question.parent, result, took }) {
            return;
        }
    }
}

/// The latest question of a server takes the place of its earlier one, so that nobody waits longer
/// because another one asks often.
fn enqueue(waiting: &mut Vec<(usize, Question)>, server: usize, question: Question) {
    match waiting.iter_mut().find(|(other, _)| *other == server) {
        Some((_, earlier)) => *earlier = question,
        None => waiting.push((server, question)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::model::{
        process::{Pid, ProcessId},
        time::Uptime,
    };

    fn question(pid: i32) -> Question {
        let pid = Pid::new(pid).unwrap();
        Question {
            parent: ProcessId { pid, started: Uptime::from_micros(1) },
            program: None,
            arguments: None,
            environment_file: None,
            environment: None,
        }
    }

    #[test]
    fn the_latest_question_of_a_server_takes_the_place_of_its_earlier_one() {
        let mut waiting = Vec::new();
        for (server, pid) in [(1, 10), (2, 20), (1, 11)] {
            enqueue(&mut waiting, server, question(pid));
        }
        assert_eq!(waiting, [(1, question(11)), (2, question(20))]);
    }

    #[test]
    fn an_answer_wakes_whoever_waits_for_it() {
        let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let asker = Asker::start(ProcessTable::new("/proc".into()), Wake::new(wake)).unwrap();
        asker.ask(7, question(i32::MAX));
        let timeout = Timespec::try_from(Duration::from_secs(30)).unwrap();
        poll(&mut [PollFd::new(&ear, PollFlags::IN)], Some(&timeout)).unwrap();
        let answers: Vec<Asked> = asker.answers().collect();
        let [Asked { server: 7, result: Err(error), .. }] = answers.as_slice() else {
            panic!("{answers:?}");
        };
        assert_eq!(error.to_string(), "look at the parent: missing");
    }
}
