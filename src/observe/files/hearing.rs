//! Who hears of changes: inotify, where it has something left and the file system says them.

use std::{
    collections::BTreeMap,
    fs, io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::{
    bell::{Bell, Filter},
    file_system::is_remote,
    places::Places,
    way::identity,
};
use crate::model::{source::Why, time::Moment};

/// What counts is heard with the next event only; so often it may be said before.
const MOST_UNHEARD: usize = 8;

/// Every directory that is watched.
#[derive(Debug)]
pub(super) struct Hearing {
    watcher: Option<Watches>,
    watched: BTreeMap<PathBuf, Watched>,
    /// Why some cannot be watched, so that nothing is heard of what others write there.
    deaf: Option<Why>,
    /// Why there is no watcher, and when it is tried again.
    without: Option<(Why, Moment)>,
    retry: Duration,
    bell: Bell,
}

#[derive(Debug)]
struct Watched {
    identity: (u64, u64),
    is_remote: bool,
}

/// Why a directory is not watched.
#[derive(Debug)]
enum Refusal {
    /// This one cannot be.
    One(Why),
    /// None can.
    All(Why),
}

impl Hearing {
    /// Hears nothing yet. Where there is no watch left, it is tried again after `retry`.
    pub(super) const fn new(bell: Bell, retry: Duration) -> Self {
        Self { watcher: None, watched: BTreeMap::new(), deaf: None, without: None, retry, bell }
    }

    /// Why changes have to be looked for.
    pub(super) fn polled(&self) -> Option<Why> {
        let are_remote = || self.watched.values().any(|it| it.is_remote).then_some(Why::Other);
        self.without.map(|(why, _)| why).or(self.deaf).or_else(are_remote)
    }

    /// Watches these places and no others. True: some were not watched before, so that what
    /// happened there since they were looked at was not heard.
    pub(super) fn attend(&mut self, places: &Places, now: Moment) -> bool {
        if self.bell.take_moved() {
            // The crate lets go of a directory that is renamed, and of all below it.
            for (directory, _) in mem::take(&mut self.watched) {
                if let Some(watcher) = &mut self.watcher {
                    watcher.remove(&directory);
                }
            }
        }
        if places.is_empty() {
            (self.deaf, self.without) = (None, None);
            self.close();
            return false;
        }
        if self.without.is_some_and(|(_, until)| now < until) {
            return false;
        }
        match self.add(places) {
            Ok(is_new) => {
                self.without = None;
                is_new
            }
            Err(why) => {
                // What is left belongs to others: a part of it would not save the looking.
                self.close();
                self.without = Some((why, now.after(self.retry)));
                false
            }
        }
    }

    fn close(&mut self) {
        self.watched.clear();
        self.watcher = None;
    }

    fn add(&mut self, places: &Places) -> Result<bool, Why> {
        if !self.watcher.as_mut().is_some_and(|watcher| watcher.tell(places)) {
            self.close();
        }
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => none.insert(Watches::new(&self.bell, places)?),
        };
        self.watched.retain(|directory, _| {
            let stays = places.has(directory);
            if !stays {
                watcher.remove(directory);
            }
            stays
        });
        let mut is_new = false;
        self.deaf = None;
        for directory in places.directories() {
            let Ok(metadata) = fs::symlink_metadata(directory) else { continue };
            let identity = identity(&metadata);
            match self.watched.get(directory) {
                Some(known) if known.identity == identity => continue,
                Some(_) => watcher.remove(directory),
                None => {}
            }
            let is_remote = is_remote(directory);
            self.watched.remove(directory);
            match watcher.add(directory) {
                Ok(()) => {
                    is_new = true;
                    self.watched.insert(directory.to_owned(), Watched { identity, is_remote });
                }
                // What lies in a directory that may not be entered is not seen at all.
                Err(Refusal::One(Why::Permission)) if may_enter(directory) => {
                    self.deaf = Some(Why::Permission);
                }
                Err(Refusal::One(_)) => self.deaf = self.deaf.or(is_remote.then_some(Why::Other)),
                Err(Refusal::All(why)) => return Err(why),
            }
        }
        Ok(is_new)
    }
}

/// The crate's watcher. Its thread may have ended, or never begun; then it panics whoever asks it.
#[derive(Debug)]
struct Watches {
    watcher: Option<RecommendedWatcher>,
    newer: mpsc::SyncSender<Places>,
    told: Places,
}

impl Watches {
    fn new(bell: &Bell, places: &Places) -> Result<Self, Why> {
        let (newer, told) = mpsc::sync_channel(MOST_UNHEARD);
        let mut filter = Filter::new(places.clone(), told, bell.clone());
        let handler = move |event| filter.hear(event);
        let watcher = RecommendedWatcher::new(handler, Config::default());
        let watcher = watcher.map_err(|error| match refusal(&error) {
            Refusal::All(why) | Refusal::One(why) => why,
        })?;
        Ok(Self { watcher: Some(watcher), newer, told: places.clone() })
    }

    /// Before a place is watched, so that nothing of it is passed over. False: too much was told
    /// that nobody heard, as nothing happened.
    fn tell(&mut self, places: &Places) -> bool {
        if self.told == *places {
            return true;
        }
        self.told = places.clone();
        self.newer.try_send(places.clone()).is_ok()
    }

    fn add(&mut self, directory: &Path) -> Result<(), Refusal> {
        let result = self.ask(|it| it.watch(directory, RecursiveMode::NonRecursive));
        match result {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(refusal(&error)),
            None => Err(Refusal::All(Why::Other)),
        }
    }

    fn remove(&mut self, directory: &Path) {
        // It is not watched any more if it is gone.
        let _ = self.ask(|it| it.unwatch(directory));
    }

    fn ask<T>(&mut self, question: impl FnOnce(&mut RecommendedWatcher) -> T) -> Option<T> {
        let watcher = self.watcher.as_mut()?;
        let answer = catch_unwind(AssertUnwindSafe(|| question(watcher))).ok();
        if answer.is_none() {
            // To drop it would panic again.
            mem::forget(self.watcher.take());
        }
        answer
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(watcher)));
        }
    }
}

/// Files in it can be opened by their names, though it may not be listed, as with mode 0711.
fn may_enter(directory: &Path) -> bool {
    access(directory, Access::EXEC_OK).is_ok()
}

fn refusal(error: &notify::Error) -> Refusal {
    match &error.kind {
        ErrorKind::MaxFilesWatch => Refusal::All(Why::Limit),
        ErrorKind::Io(error) => of_system(error),
        ErrorKind::PathNotFound
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_)
        | ErrorKind::Generic(_) => Refusal::One(Why::Other),
    }
}

fn of_system(error: &io::Error) -> Refusal {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOSPC) => Refusal::All(Why::Limit),
        Some(Errno::ACCESS | Errno::PERM) => Refusal::One(Why::Permission),
        Some(_) | None => Refusal::One(Why::Other),
    }
}
