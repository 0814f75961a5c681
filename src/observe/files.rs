//! The files that servers are loaded from: watched, and looked at whenever one of them changes.
//!
//! A thread of its own looks; whoever asks for news never waits for a file. It hears of changes by
//! inotify on the directories where they happen, and looks every ten seconds whether it heard or
//! not: other hosts' writes, mapped files and renamed directories further up are not heard.
//!
//! - `wildcard`, `way`, `listing`, `content`: what an `Include` matches, where a path leads, which
//!   files there are, what they have in them
//! - `places`, `bell`, `hearing`, `file_system`: what counts, and who hears of it
//! - `look`, `observer`, `pulse`: one look at all of it, and when; whether it still goes on

mod bell;
mod content;
mod file_system;
mod hearing;
mod listing;
mod look;
mod observer;
mod places;
mod pulse;
mod way;
pub(in crate::observe) mod wildcard;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, mpsc},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use self::{
    bell::Bell,
    observer::{Observer, Pace},
    pulse::Pulse,
};
use crate::{
    model::{
        files::{FileList, FileSightings},
        snapshot::Part,
        time::Moment,
    },
    observe::wake::Wake,
};

/// So long its end is waited for: it may hang in a file system of another host.
const LONGEST_END: Duration = Duration::from_secs(1);

/// What was seen of a server.
type News = (usize, Part<Arc<FileSightings>>);

/// What the thread is told.
#[derive(Debug)]
enum Message {
    /// To watch these files of this server.
    Watch(usize, Arc<FileList>),
    /// To watch this server's no longer.
    Forget(usize),
    /// Something happened to a file that counts.
    Stirred,
    /// To end.
    End,
}

/// Looks at files on a thread of its own; dropped, it ends that.
#[derive(Debug)]
pub struct FilesObserver {
    messages: mpsc::Sender<Message>,
    news: mpsc::Receiver<News>,
    /// Closed when the thread has ended.
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
    pulse: Pulse,
    #[cfg(test)]
    bell: Bell,
}

impl FilesObserver {
    /// Starts the thread; it wakes the watch with each news. Fails if the operating system has no
    /// thread left.
    pub fn start(wake: Wake) -> io::Result<Self> {
        Self::start_at(Pace::USUAL, wake)
    }

    fn start_at(pace: Pace, wake: Wake) -> io::Result<Self> {
        let (messages, told) = mpsc::channel();
        let (tell, news) = mpsc::channel();
        let (living, ended) = mpsc::channel();
        let bell = Bell::new(messages.clone());
        let pulse = Pulse::new();
        let observer = Observer::new(pace, (told, bell.clone()), (tell, wake), pulse.clone());
        let thread = Builder::new().name("watch files".to_owned()).spawn(move || {
            let _living: mpsc::Sender<()> = living;
            observer.run();
        })?;
        Ok(Self {
            messages,
            news,
            ended,
            thread: Some(thread),
            pulse,
            #[cfg(test)]
            bell,
        })
    }

    /// From now on these files are watched for this server, known by its number. The same list
    /// again is nothing new.
    pub fn watch(&self, server: usize, list: Arc<FileList>) {
        self.tell(Message::Watch(server, list));
    }

    /// From now on none are watched for this server. What was seen of it before may still be news.
    pub fn forget(&self, server: usize) {
        self.tell(Message::Forget(server));
    }

    /// The latest sightings of each server that changed since the last call, without waiting;
    /// `Unseen` if the thread failed.
    pub fn news(&self) -> impl Iterator<Item = (usize, Part<Arc<FileSightings>>)> + use<> {
        self.news.try_iter().collect::<BTreeMap<_, _>>().into_iter()
    }

    /// The thread has not been heard of when it should have been, so that there is no news of what
    /// is watched: a file system does not answer it, or it ended. For some seconds after the host was
    /// suspended, too.
    #[must_use]
    pub fn is_stuck(&self, now: Moment) -> bool {
        self.pulse.is_late(now)
    }

    fn tell(&self, message: Message) {
        // The thread ends before this one only if it panicked, and then it said so.
        let _ = self.messages.send(message);
    }
}

impl Drop for FilesObserver {
    fn drop(&mut self) {
        self.tell(Message::End);
        let end = self.ended.recv_timeout(LONGEST_END);
        if let (Err(mpsc::RecvTimeoutError::Disconnected), Some(thread)) = (end, self.thread.take())
        {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
