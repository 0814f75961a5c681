//! What a look reads of files, and of what httpd holds of them.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use tracing::{info, warn};

use super::Server;
use crate::{
    model::{
        drift::DriftSample,
        files::{FileList, FileSightings},
        process::ProcessId,
        scoreboard::WorkerStatus,
        snapshot::{ParentSighting, Part, ServerSnapshot},
        source::{Source, Why},
        tls::TlsHost,
    },
    observe::{
        inquiry::presumed,
        mapped::MappedObserver,
        open_logs::OpenLogObserver,
        served::{ProbeLook, ProbeWhen, ServedObserver, Workers},
    },
    watch::side::SideInstruments,
};

/// What is kept of one server's files.
#[derive(Debug)]
pub(super) struct DriftObserver {
    /// The list that is watched.
    watched: Option<Arc<FileList>>,
    sightings: Option<Part<Arc<FileSightings>>>,
    /// The first that could not be read, and why.
    unread: Option<(PathBuf, Why)>,
    served: ServedObserver,
    /// Of one parent.
    held: Option<(ProcessId, Held)>,
}

#[derive(Debug, Default)]
struct Held {
    mapped: MappedObserver,
    logs: OpenLogObserver,
}

impl DriftObserver {
    pub(super) fn new(server: usize) -> Self {
        Self {
            watched: None,
            sightings: None,
            unread: None,
            served: ServedObserver::new(server, ProbeWhen::Off),
            held: None,
        }
    }

    /// Before it is known when the parent read its files.
    fn files_alone(&self) -> DriftSample {
        let hidden = self.unread.as_ref().map(|(_, why)| *why);
        DriftSample { files: self.sightings.clone(), hidden, ..DriftSample::default() }
    }

    /// What a parent holds that is gone says nothing of the next.
    fn held(&mut self, parent: ProcessId) -> &mut Held {
        self.held.take_if(|(known, _)| *known != parent);
        &mut self.held.get_or_insert_with(|| (parent, Held::default())).1
    }
}

impl Server {
    /// When its listeners are asked for their certificates.
    pub(in crate::watch) fn probe(&mut self, when: ProbeWhen) {
        self.tracker.want(Source::TlsProbe, when != ProbeWhen::Off);
        self.drift.served.choose(when);
    }

    /// Takes what was sighted of its files.
    pub(in crate::watch) fn hear_files(&mut self, news: Part<Arc<FileSightings>>) {
        let polled = |part: &Option<Part<Arc<FileSightings>>>| {
            part.as_ref().and_then(Part::seen).and_then(|sightings| sightings.polled)
        };
        let before = polled(&self.drift.sightings);
        if let Part::Seen(sightings) = &news {
            self.inquiry.note_files(sightings);
            if let Some((path, why)) = sightings.unread.as_ref()
                && self.drift.unread != sightings.unread
            {
                let (path, reason) = (path.display(), why.label());
                warn!(server = self.name, %path, reason, "a file cannot be read");
            }
            self.drift.unread.clone_from(&sightings.unread);
        }
        self.drift.sightings = Some(news);
        match (before, polled(&self.drift.sightings)) {
            (before, Some(why)) if before != Some(why) => {
                let reason = why.label();
                warn!(
                    server = self.name,
                    reason, "the kernel does not tell of changes of files: looked for every 10 s"
                );
            }
            (Some(_), None) => {
                info!(server = self.name, "changes of files are told by the kernel again");
            }
            (_, Some(_) | None) => {}
        }
    }

    /// Reads what lies on disk and what the parent of this look holds of it.
    pub(super) fn look_at_drift(
        &mut self,
        snapshot: &ServerSnapshot,
        living: &[ProcessId],
        side: &mut SideInstruments<'_>,
    ) -> DriftSample {
        let Some(parent) = &snapshot.parent else {
            self.drift.held = None;
            return DriftSample::default();
        };
        let (at, id) = (snapshot.at, parent.id);
        self.watch_files(id, side);
        if side.files.is_some_and(|files| files.is_stuck(at)) {
            self.drift.sightings = Some(Part::Unseen(Why::Timeout));
        }
        // What this look will make of it is known in the next.
        let Some(loading) = self.tracker.loading() else { return self.drift.files_alone() };
        let seen = self.drift.sightings.as_ref().and_then(Part::seen).map(Arc::clone);
        let stirred = seen.as_ref().map(|seen| seen.programs).unwrap_or_default();
        let held = self.drift.held(id);
        let mapped = held.mapped.look(at, id, stirred, loading, side.scoreboards);
        let logs = held.logs.look(at, id, living, side.scoreboards);
        self.inquiry.note_mapped(held.mapped.programs());
        let hosts = self.inquiry.settings(id);
        let hosts: Option<Arc<[TlsHost]>> = hosts.map(|settings| Arc::clone(&settings.tls_hosts));
        let served = match &seen {
            Some(sightings) => {
                let listens = snapshot.resources.sockets.as_ref().and_then(Part::seen);
                let listens: Vec<SocketAddr> =
                    listens.into_iter().flatten().map(|socket| socket.address).collect();
                let look = ProbeLook {
                    at,
                    parent: id,
                    loads: loading.number,
                    sightings,
                    hosts: hosts.as_ref(),
                    listens: &listens,
                    workers: workers(parent, living),
                };
                self.drift.served.look(&look, side.prober.as_deref_mut())
            }
            None => None,
        };
        DriftSample {
            mapped: Some(mapped),
            logs: Some(logs),
            served,
            handshakes: self.drift.served.handshakes(),
            config_valid: self.inquiry.config_valid(id),
            ..self.drift.files_alone()
        }
    }

    /// Has the files watched that httpd tells of; its main configuration alone, where it does not.
    fn watch_files(&mut self, parent: ProcessId, side: &SideInstruments<'_>) {
        let is_refused = matches!(self.inquiry.error_log(), Some(Err(_)));
        if is_refused
            && self.inquiry.files().is_none()
            && let Some(list) = presumed(side.table, parent)
        {
            self.inquiry.presume(list);
        }
        let Some(list) = self.inquiry.files() else { return };
        let is_new = self.drift.watched.as_ref().is_none_or(|known| !Arc::ptr_eq(known, list));
        if let Some(files) = side.files.filter(|_| is_new) {
            files.watch(self.number, Arc::clone(list));
            self.drift.watched = Some(Arc::clone(list));
        }
    }
}

/// Who could answer a handshake now.
fn workers(parent: &ParentSighting, living: &[ProcessId]) -> Workers {
    let Some(scoreboard) = parent.scoreboard.seen() else {
        return Workers::Unknown { children: u64::try_from(living.len()).unwrap_or(u64::MAX) };
    };
    let slots = scoreboard.slots.iter().flatten();
    let running = scoreboard.global.running_generation;
    let current = slots.filter(|slot| slot.generation == running && !slot.quiescing);
    let ready = current.flat_map(|slot| &slot.workers);
    let ready = ready.filter(|(status, _)| *status == WorkerStatus::Ready);
    Workers::Ready(ready.map(|(_, count)| u64::from(*count)).sum())
}
