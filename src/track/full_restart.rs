//! Full restarts: another parent serves a server that one served before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::look::Look;
use crate::model::{
    event::{Event, RestartType},
    process::{ChildRole, ProcessState, ProcessTable},
    scoreboard::Generation,
    time::Moment,
};

/// Start times are exact to this.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// A server whose parent has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unserved {
    /// When it ended; `None` if nobody looked then, or when the next one began.
    pub since: Option<Moment>,
    /// Workers that had a request then.
    pub interrupted: u32,
}

/// A new parent, until its first child lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullRestart {
    unserved: Unserved,
    resumed: Option<Moment>,
}

impl FullRestart {
    /// The server was left like this by its last parent that served.
    #[must_use]
    pub const fn new(unserved: Unserved) -> Self {
        Self { unserved, resumed: None }
    }

    /// What was busy when the last parent ended went on to its end.
    pub const fn interrupted_nobody(&mut self) {
        self.unserved.interrupted = 0;
    }

    /// Folds one look at the new parent: it resumes when it writes its pid file.
    pub fn observe(&mut self, started: Moment, look: &Look<'_>) {
        let written = look.pid_file.map(|stamp| look.at.at_wall(stamp.written));
        self.resumed = self.resumed.or(written.filter(|written| *written >= started));
    }

    /// When the first child was born, where generations are not known: of those that were forked
    /// after the pid file was written. cgid's daemon was before.
    #[must_use]
    pub fn first_child(&self, at: Moment, table: &ProcessTable) -> Option<Moment> {
        let resumed = self.resumed?;
        let living = table.children.values().filter(|child| child.state != ProcessState::Ended);
        let httpds = living.filter(|child| child.role == ChildRole::Httpd);
        let born = httpds.map(|child| at.at_uptime(child.id.started));
        born.filter(|born| born.after(TICK) >= resumed).min()
    }

    /// The first child was `born`, of the running generation. The pid file and the first child of
    /// a later generation than the parent's first tell nothing of its start.
    #[must_use]
    pub fn ended(self, started: Moment, born: Moment, running: Option<Generation>) -> Vec<Event> {
        let kind = RestartType::Full;
        // A pid file that is younger than the first child is a later restart's.
        let resumed = self.resumed.filter(|resumed| *resumed <= born.after(TICK));
        let seen = self.unserved.since.is_some() || running == Some(Generation::default());
        let resumed = resumed.filter(|_| seen);
        let mut events = vec![Event::Restarted {
            kind,
            began: started,
            took: resumed.map(|resumed| resumed.since(started)),
            left: None,
            coalesced: false,
            interrupted: self.unserved.interrupted,
        }];
        let served = born.max(resumed.unwrap_or(born));
        let unserved = self.unserved.since.map(|since| served.since(since));
        events.extend(unserved.map(|unserved| Event::ServedAgain { kind, unserved }));
        events
    }
}
