//! A server that goes on where an earlier run left it.

use std::time::Duration;

use super::{ServerTracker, Up};
use crate::{
    model::{
        event::Event,
        snapshot::{Part, ServerSnapshot},
        time::Moment,
    },
    track::{
        children::ChildrenTracker,
        drain::DrainTracker,
        drift::{DriftTracker, LoadingTracker},
        full_restart::Unserved,
        headroom::{HeadroomTracker, RestartForecast},
        memory::{LifeMemory, ParentMemory, ServerMemory, Story},
        prompt::PromptTracker,
        restart::RestartTracker,
        tally::Tally,
    },
};

impl ServerTracker {
    /// What is to be kept, of the look at `at` and of what was counted.
    #[must_use]
    pub fn remember(&self, at: Moment, tally: &Tally) -> ServerMemory {
        let running = self.running_descent().filter(|_| self.up.is_some());
        let workers = || self.children.workers().iter().map(|(id, descent)| (*id, *descent));
        let is_current = |descent| running.is_some_and(|running| descent >= running);
        let story = Story {
            parents: self.parents,
            parent: self.up.as_ref().map(|up| ParentMemory {
                id: up.id,
                started: up.started,
                restart: up.restart.remember(),
                full: up.full,
                loading: self.loading.remember(up.id),
                drift: self.drift.remember(),
            }),
            running: self.running,
            unserved: self.unserved,
            old: LifeMemory::family(workers().filter(|(_, descent)| !is_current(*descent))),
            drains: self.drains.remember(),
            stops: self.stops.clone(),
            opened: self.opened,
            prompt: self.prompts.remember(),
            hang: self.hangs,
        };
        ServerMemory {
            last: tally.remember(),
            last_drain: self.latest.last_drain,
            last_needs: self.latest.headroom.restart.needs(),
            life: Some(LifeMemory {
                at: self.absent_since.unwrap_or(at),
                story,
                current: LifeMemory::family(workers().filter(|(_, descent)| is_current(*descent))),
                busy: self.busy,
            }),
        }
    }

    /// A tracker for a server of which this is remembered.
    #[must_use]
    pub fn restored(restart_timeout: Duration, memory: &ServerMemory, now: Moment) -> Self {
        let mut tracker = Self::new(restart_timeout);
        tracker.latest.last_drain = memory.last_drain;
        tracker.headroom = HeadroomTracker::restored(memory.last_needs);
        tracker.latest.headroom.restart = RestartForecast::remembered(memory.last_needs);
        let Some(life) = &memory.life else { return tracker };
        let story = &life.story;
        tracker.up = story.parent.as_ref().map(|parent| Up {
            id: parent.id,
            started: parent.started,
            restart: RestartTracker::restored(&parent.restart, life.at, now),
            full: parent.full,
        });
        if let Some(parent) = &story.parent {
            tracker.drift = DriftTracker::restored(parent.id, parent.drift.clone());
            let loading = parent.loading.map(|it| LoadingTracker::restored(parent.id, it));
            tracker.loading = loading.unwrap_or_default();
        }
        tracker.parents = story.parents;
        tracker.running = story.running;
        tracker.unserved = story.unserved;
        let workers = story.old.iter().chain(&life.current).copied();
        tracker.children = ChildrenTracker::restored(workers.collect());
        tracker.drains = DrainTracker::restored(story.drains.clone());
        tracker.stops = story.stops.clone();
        tracker.opened = story.opened;
        tracker.prompts = PromptTracker::restored(story.prompt);
        tracker.hangs = story.hang;
        tracker.busy = life.busy;
        tracker.absent_since = Some(life.at);
        tracker
    }

    /// Nobody looked for a while, and what happened meanwhile is hidden.
    pub(super) const fn is_still_absent(&self, snapshot: &ServerSnapshot) -> bool {
        self.absent_since.is_some() && snapshot.parent.is_none() && snapshot.hidden.is_some()
    }

    /// The parent ended while nobody looked.
    pub(super) fn end_unseen(&mut self, snapshot: &ServerSnapshot, events: &mut Vec<Event>) {
        let Some(up) = self.up.take() else { return };
        let at = snapshot.at;
        self.stops.ended_unseen(at, events);
        self.end_drains(snapshot, at, events);
        self.children.parent_ended(self.parents, at);
        self.children.end_explained(self.parents, None);
        if up.full.is_none() {
            self.unserved = Some(Unserved { since: None, interrupted: 0 });
        }
    }

    /// What a parent that appears now makes good; when it began to serve was not seen if it
    /// appeared while nobody looked.
    pub(super) fn unserved_until_now(&self) -> Option<Unserved> {
        let unserved = self.unserved?;
        let since = unserved.since.filter(|_| self.absent_since.is_none());
        Some(Unserved { since, ..unserved })
    }

    /// A parent that was started while nobody looked may have been restarted then too.
    pub(super) fn restarts_of(&self, started: Moment) -> RestartTracker {
        match self.absent_since {
            Some(since) if started > since => RestartTracker::started_unseen(started),
            Some(_) | None => RestartTracker::new(),
        }
    }

    /// How many children were started, and for how long generations overlapped while nobody
    /// looked, is not known.
    pub(super) fn return_from_absence(
        &mut self,
        snapshot: &ServerSnapshot,
        events: &mut Vec<Event>,
    ) {
        let table = snapshot.parent.as_ref().map(|parent| &parent.processes);
        let is_seen = !matches!(table, Some(Part::Unseen(_)));
        if is_seen && self.absent_since.take().is_some() {
            events.retain(|event| {
                !matches!(event, Event::ChildrenStarted { .. } | Event::Overlapped { .. })
            });
        }
    }
}
