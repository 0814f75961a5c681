//! The play: what happens to the private httpd, one act after the other, until it is told to end.

use std::{
    convert::Infallible,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use super::{
    DemoError,
    directory::Directory,
    httpd::Httpd,
    traffic::{Download, succeeds},
};
use crate::{
    clock,
    program::{Program, ProgramError},
};

/// Between two requests, and between two looks at whether everybody is alive.
const TICK: Duration = Duration::from_millis(250);
/// A start, or a restart of an httpd with as little to do as this one.
const SERVES_WITHIN: Duration = Duration::from_secs(60);
/// For the watching process's first look.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// A drain, and a time without any httpd, that an interval of 5 s between scrapes does not miss.
const LONGEST_DOWNLOAD: Duration = Duration::from_secs(12);
const LONGEST_ABSENCE: Duration = Duration::from_secs(6);

/// Everything that takes part. What is named first ends first.
#[derive(Debug)]
pub struct Play {
    watcher: Option<Program>,
    httpd: Httpd,
    /// The last to go.
    _directory: Directory,
    /// Disconnected when it is time to end.
    told: Receiver<Infallible>,
    say: fn(&str),
}

/// Why a play does not go on.
enum End {
    Told,
    Failed(DemoError),
}

type Going = Result<(), End>;

#[derive(Clone, Copy)]
enum Act {
    Graceful,
    GracefulWithDrain,
    Hard,
    StopAndStart,
}

const ACTS: [Act; 4] = [Act::Graceful, Act::GracefulWithDrain, Act::Hard, Act::StopAndStart];

impl Act {
    const fn announcement(self) -> &'static str {
        match self {
            Self::Graceful => "SIGUSR1, a graceful restart",
            Self::GracefulWithDrain => {
                "SIGUSR1 during a slow download, a graceful restart: the old generation drains"
            }
            Self::Hard => "SIGHUP, a hard restart",
            Self::StopAndStart => "SIGTERM and a start, a full restart",
        }
    }
}

impl Play {
    /// A play with this httpd; it ends when the other side of `told` is dropped.
    #[must_use]
    pub fn new(
        httpd: Httpd,
        directory: Directory,
        told: Receiver<Infallible>,
        say: fn(&str),
    ) -> Self {
        Self { watcher: None, httpd, _directory: directory, told, say }
    }

    /// Plays until it is told to end. `watch` starts the watching process once httpd serves; it is
    /// ready when `ready`, an address, says so at `/-/ready`.
    pub fn run(
        mut self,
        every: Duration,
        ready: Option<&str>,
        watch: impl FnOnce(&Httpd) -> Result<Program, ProgramError>,
    ) -> Result<(), DemoError> {
        match self.perform(every, ready, watch) {
            Ok(()) | Err(End::Told) => Ok(()),
            Err(End::Failed(error)) => Err(error),
        }
    }

    fn perform(
        &mut self,
        every: Duration,
        ready: Option<&str>,
        watch: impl FnOnce(&Httpd) -> Result<Program, ProgramError>,
    ) -> Going {
        self.serves_again(0)?;
        self.watcher = Some(watch(&self.httpd)?);
        if let Some(address) = ready {
            self.wait_until_ready(address)?;
        }
        let begin = clock::now();
        let mut due = begin.after(every);
        for act in ACTS.into_iter().cycle() {
            self.pause(due.since(clock::now()))?;
            let at = clock::now();
            (self.say)(&format!("{} s: {}\n", at.since(begin).as_secs(), act.announcement()));
            self.act(act, every)?;
            due = at.after(every);
        }
        Ok(())
    }

    fn act(&mut self, act: Act, every: Duration) -> Going {
        let before = self.httpd.resumptions()?;
        match act {
            Act::Graceful => {
                self.httpd.graceful()?;
                self.serves_again(before)
            }
            Act::GracefulWithDrain => {
                let download = Download::begin(self.httpd.address());
                self.httpd.graceful()?;
                self.serves_again(before)?;
                self.pause((every / 2).min(LONGEST_DOWNLOAD))?;
                // A client that fails is a client: the play is about httpd.
                let _ = download.and_then(Download::finish);
                Ok(())
            }
            Act::Hard => {
                self.httpd.hard()?;
                self.serves_again(before)
            }
            Act::StopAndStart => {
                self.httpd.stop()?;
                self.wait((every / 4).min(LONGEST_ABSENCE))?;
                self.httpd.start_again()?;
                self.serves_again(before)
            }
        }
    }

    /// A signal that comes while a parent restarts may be lost, so no act begins before that.
    fn serves_again(&mut self, before: usize) -> Going {
        let begin = clock::now();
        while self.httpd.resumptions()? <= before {
            let waited = clock::now().since(begin);
            if waited > SERVES_WITHIN {
                let last_words = self.httpd.last_words();
                return Err(DemoError::HttpdSilent { waited: SERVES_WITHIN, last_words }.into());
            }
            self.check()?;
            self.wait(TICK / 10)?;
        }
        Ok(())
    }

    fn wait_until_ready(&mut self, address: &str) -> Going {
        let begin = clock::now();
        while !succeeds(address, "/-/ready").unwrap_or(false) {
            if clock::now().since(begin) > READY_WITHIN {
                // It tells in its own log what keeps it.
                break;
            }
            self.check()?;
            self.wait(TICK / 10)?;
        }
        Ok(())
    }

    /// Lets time pass, with traffic.
    fn pause(&mut self, time: Duration) -> Going {
        let end = clock::now().after(time);
        let address = self.httpd.address().to_string();
        loop {
            self.check()?;
            let rest = end.since(clock::now());
            if rest.is_zero() {
                return Ok(());
            }
            // httpd's failures are what the watching process tells about.
            let _ = succeeds(&address, "/index.html");
            self.wait(rest.min(TICK))?;
        }
    }

    /// Lets time pass.
    fn wait(&self, time: Duration) -> Going {
        match self.told.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(End::Told),
            Ok(never) => match never {},
        }
    }

    /// Everybody is alive.
    fn check(&mut self) -> Going {
        if self.httpd.program().ends_within(Duration::ZERO)? {
            return Err(self.httpd.ended().into());
        }
        if let Some(watcher) = &mut self.watcher
            && watcher.ends_within(Duration::ZERO)?
        {
            return Err(DemoError::WatcherEnded(watcher.end()?).into());
        }
        Ok(())
    }
}

impl<E: Into<DemoError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
