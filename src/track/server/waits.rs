//! What keeps a server from serving: a pass phrase prompt, a restart that does not end.

use super::ServerTracker;
use crate::{
    model::{
        event::Event,
        snapshot::{ServerSnapshot, TraceKind},
        time::Moment,
    },
    track::{hang::Circumstances, prompt::Asker},
};

impl ServerTracker {
    /// Whether the configuration is known to have no pass phrase dialog behind a pipe.
    pub const fn rule_out_pipe_dialogs(&mut self, ruled_out: bool) {
        self.prompts.rule_out_pipes(ruled_out);
    }

    /// Folds what this look tells of prompts and of hung restarts.
    pub(super) fn observe_waits(&mut self, snapshot: &ServerSnapshot, events: &mut Vec<Event>) {
        let written = snapshot.traces.iter().filter(|it| it.kind == TraceKind::PidFileWritten);
        self.written = written.map(|trace| trace.at).max().or(self.written);
        let began = self.restart_since();
        let asker = self.asker(snapshot, began.is_some());
        events.extend(self.prompts.observe(snapshot.at, asker, &snapshot.statuses));
        let table = snapshot.parent.as_ref().and_then(|parent| parent.processes.seen());
        let circumstances = began.map(|began| Circumstances {
            table,
            prompts: self.prompts.since().is_some(),
            began,
            since: self.restarting_since(began),
            at: snapshot.at,
        });
        events.extend(self.hangs.observe(circumstances.as_ref(), self.restart_timeout));
    }

    /// When the restart that is not over was begun, or, of several in a row, when the last of the
    /// others was over: it wrote the pid file.
    pub(super) fn restarting_since(&self, began: Moment) -> Moment {
        self.written.map_or(began, |written| written.max(began))
    }

    /// Who may ask for a pass phrase now. A parent that never catches crashes does not read its
    /// configuration all the time.
    fn asker<'a>(&self, snapshot: &'a ServerSnapshot, restarting: bool) -> Asker<'a> {
        let parent = snapshot.parent.as_ref().zip(self.up.as_ref());
        let Some((parent, up)) = parent else {
            return match &snapshot.starting {
                Some(starting) => Asker::Starting(starting.id, &starting.waiting),
                None if snapshot.hidden.is_some() => Asker::Unseen,
                None => Asker::Absent,
            };
        };
        match parent.processes.seen() {
            Some(table) if restarting && !table.catches_crashes => {
                let resumed = parent.pid_file.map(|stamp| snapshot.at.at_wall(stamp.written));
                Asker::Reading(up.id, &table.waiting, resumed)
            }
            Some(table) => Asker::Running(up.id, &table.waiting),
            None => Asker::Unseen,
        }
    }
}
