//! What rings when something happened to a file that counts: at most one ring waits to be heard,
//! however much happens.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    mpsc,
};

use notify::{Event, EventKind, event::ModifyKind};

use super::{Message, places::Places};
use crate::{
    clock,
    model::time::{Moment, Uptime},
};

/// Rung by the thread that hears of changes, answered by the one that looks.
#[derive(Clone, Debug)]
pub(super) struct Bell {
    state: Arc<State>,
    messages: mpsc::Sender<Message>,
}

#[derive(Debug, Default)]
struct State {
    is_ringing: AtomicBool,
    /// Time since boot in microseconds.
    last: AtomicU64,
    /// When it rang first since it was answered; 0 if it did not.
    first: AtomicU64,
    overflows: AtomicU64,
    are_moved: AtomicBool,
}

impl Bell {
    /// Whoever looks hears it over this channel.
    pub(super) fn new(messages: mpsc::Sender<Message>) -> Self {
        Self { state: Arc::default(), messages }
    }

    /// Something that counts happened now.
    fn ring(&self) {
        let now = clock::now().uptime.as_micros();
        self.state.last.store(now, SeqCst);
        // Only the first one counts.
        let _ = self.state.first.compare_exchange(0, now, SeqCst, SeqCst);
        if !self.state.is_ringing.swap(true, SeqCst) {
            // Nobody looks any more.
            let _ = self.messages.send(Message::Stirred);
        }
    }

    /// The kernel has lost count of what happened.
    pub(super) fn lose(&self) {
        self.state.overflows.fetch_add(1, SeqCst);
        self.state.are_moved.store(true, SeqCst);
        self.ring();
    }

    /// What happens from now on rings again: to be said before all is looked at. Returns when it
    /// rang first, if it did.
    pub(super) fn answer(&self, now: Moment) -> Option<Moment> {
        self.state.is_ringing.store(false, SeqCst);
        let first = self.state.first.swap(0, SeqCst);
        (first > 0).then(|| now.at_uptime(Uptime::from_micros(first)))
    }

    /// When it would have rung last.
    pub(super) fn last(&self, now: Moment) -> Moment {
        now.at_uptime(Uptime::from_micros(self.state.last.load(SeqCst)))
    }

    /// How often the kernel has lost count.
    pub(super) fn overflows(&self) -> u64 {
        self.state.overflows.load(SeqCst)
    }

    /// A watched directory may have gone or been renamed since this was asked last.
    pub(super) fn take_moved(&self) -> bool {
        self.state.are_moved.swap(false, SeqCst)
    }
}

/// What the kernel says goes through it first: configuration may lie beside busy logs.
#[derive(Debug)]
pub(super) struct Filter {
    places: Places,
    newer: mpsc::Receiver<Places>,
    bell: Bell,
}

impl Filter {
    /// These places count until `newer` says which do.
    pub(super) const fn new(places: Places, newer: mpsc::Receiver<Places>, bell: Bell) -> Self {
        Self { places, newer, bell }
    }

    /// Rings if this makes a difference.
    pub(super) fn hear(&mut self, event: notify::Result<Event>) {
        let Ok(event) = event else { return self.bell.lose() };
        if event.need_rescan() {
            return self.bell.lose();
        }
        let may_move = match event.kind {
            EventKind::Access(_) | EventKind::Any | EventKind::Other => return,
            EventKind::Create(_)
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => false,
            EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Any | ModifyKind::Name(_) | ModifyKind::Other) => true,
        };
        if let Some(newest) = self.newer.try_iter().last() {
            self.places = newest;
        }
        if !event.paths.iter().any(|path| self.places.concern(path)) {
            return;
        }
        if may_move && event.paths.iter().any(|path| self.places.are_below(path)) {
            self.bell.state.are_moved.store(true, SeqCst);
        }
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use notify::event::{
        AccessKind, AccessMode, CreateKind, DataChange, Flag, MetadataKind, RemoveKind, RenameMode,
    };

    use super::*;

    struct Heard {
        filter: Filter,
        bell: Bell,
        rings: mpsc::Receiver<Message>,
    }

    fn heard() -> Heard {
        let (messages, rings) = mpsc::channel();
        let bell = Bell::new(messages);
        let (newer, places) = mpsc::channel();
        let mut counts = Places::default();
        counts.add(Path::new("/etc/httpd.conf"));
        newer.send(Places::default()).unwrap();
        newer.send(counts).unwrap();
        Heard { filter: Filter::new(Places::default(), places, bell.clone()), bell, rings }
    }

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(path.into())
    }

    #[test]
    fn only_changes_of_what_counts_ring_and_only_once() {
        let mut heard = heard();
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        heard.filter.hear(Ok(event(written, "/etc/access.log")));
        for kind in [AccessKind::Open(AccessMode::Any), AccessKind::Close(AccessMode::Write)] {
            heard.filter.hear(Ok(event(EventKind::Access(kind), "/etc/httpd.conf")));
        }
        assert_eq!(heard.rings.try_iter().count(), 0);
        for kind in [
            written,
            EventKind::Create(CreateKind::File),
            EventKind::Remove(RemoveKind::File),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
        ] {
            heard.filter.hear(Ok(event(kind, "/etc/httpd.conf")));
            heard.filter.hear(Ok(event(kind, "/etc/httpd.conf")));
            assert_eq!(heard.rings.try_iter().count(), 1, "{kind:?}");
            assert!(!heard.bell.take_moved());
            heard.bell.answer(clock::now());
        }
    }

    #[test]
    fn a_directory_that_goes_and_a_lost_count_are_told_apart_from_changes() {
        let mut heard = heard();
        heard.filter.hear(Ok(event(EventKind::Remove(RemoveKind::Folder), "/etc")));
        assert!(heard.bell.take_moved() && !heard.bell.take_moved());
        assert_eq!(heard.bell.overflows(), 0);
        heard.filter.hear(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(heard.bell.take_moved());
        assert_eq!((heard.bell.overflows(), heard.rings.try_iter().count()), (1, 1));
    }
}
