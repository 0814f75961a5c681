//! Which certificates a server's listeners serve: decides which of them to ask for and when, and
//! keeps what was shown.
//!
//! A file of a certificate is asked for once after a parent was found, and again after each load of
//! the configuration, but only if what lies on disk is not what was served before: a load that can
//! have changed nothing costs no worker a handshake.

mod ways;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::tls_probe::{Batch, Handshake, Room, Shown, TlsProber, Way};
use crate::model::{
    files::FileSightings,
    process::ProcessId,
    snapshot::Part,
    source::Why,
    time::Moment,
    tls::{Certificate, Handshakes, Served, ServedCertificates, TlsHost},
};

/// Each is a connection; those of a look are over before the next.
const MOST_AT_ONCE: usize = 16;
/// Between the beginnings of two batches.
const PACE: Duration = Duration::from_secs(1);
/// After one that took longer than anybody waits, so that other servers have their turn.
const REST: Duration = Duration::from_secs(10);
/// What a load did not change is asked for once more, later, before it counts for that load.
const CONFIRMED: Duration = Duration::from_secs(10);
/// What failed is tried again after these, and then after the last of them each time.
const AGAIN: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(3600)];

/// When a server's listeners are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeWhen {
    /// Whenever another certificate may be served than before.
    #[default]
    OnChange,
    /// Never.
    Off,
    /// Then too, and for each certificate once a period.
    Every(Duration),
}

/// Who could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// So many are ready, as this very look's scoreboard has it.
    Ready(u64),
    /// There is no scoreboard.
    Unknown {
        /// Living children of the running generation.
        children: u64,
    },
}

/// What a look at a living parent has for this.
#[derive(Clone, Copy, Debug)]
pub struct ProbeLook<'a> {
    /// When it began.
    pub at: Moment,
    /// Who the parent is.
    pub parent: ProcessId,
    /// How many times the parent has loaded its configuration: more, and it did so again.
    pub loads: u64,
    /// The files on disk, their certificates among them: the same `Arc` while nothing is new.
    pub sightings: &'a Arc<FileSightings>,
    /// The hosts that speak TLS; the same `Arc` while nothing is new is cheap. `None` while nobody
    /// can tell: those that were known last are taken.
    pub hosts: Option<&'a Arc<[TlsHost]>>,
    /// Where the parent really listens, each socket; nobody is asked while this is not known.
    pub listens: &'a [SocketAddr],
    /// Who could answer.
    pub workers: Workers,
}

/// Asks for the certificates of one server.
#[derive(Debug)]
pub struct ServedObserver {
    server: usize,
    when: ProbeWhen,
    of: Option<Known>,
}

/// What is known of a parent.
#[derive(Debug)]
struct Known {
    parent: ProcessId,
    loads: u64,
    sightings: Arc<FileSightings>,
    hosts: Arc<[TlsHost]>,
    listens: Vec<SocketAddr>,
    /// Something of the above is another than when the files were looked through.
    is_new: bool,
    files: BTreeMap<PathBuf, File>,
    served: Arc<ServedCertificates>,
    handshakes: Option<Handshakes>,
    /// Asked for, and not answered yet.
    open: Option<Open>,
    /// Nobody is asked before.
    next: Moment,
}

/// One file of a certificate.
#[derive(Debug, Default)]
struct File {
    ways: Vec<Way>,
    /// The loads there had been when it was asked for last.
    asked: Option<u64>,
    /// When it is to be asked for.
    due: Option<Moment>,
    /// In a row.
    failures: usize,
}

#[derive(Debug)]
struct Open {
    loads: u64,
    files: Vec<PathBuf>,
}

impl ServedObserver {
    /// Nothing is known yet of this server, whose number is no other's.
    #[must_use]
    pub const fn new(server: usize, when: ProbeWhen) -> Self {
        Self { server, when, of: None }
    }

    /// Goes on like this.
    pub fn choose(&mut self, when: ProbeWhen) {
        if self.when != when {
            // What was shown while it was on may be old: all is asked for anew.
            self.of = None;
        }
        self.when = when;
    }

    /// Hears what was shown since the last look, and asks for what is due, if a worker is ready.
    ///
    /// `None` while it is off, nothing speaks TLS, or nothing was shown yet; `Unseen` if each handshake failed, with the
    /// reason of the first.
    pub fn look(
        &mut self,
        look: &ProbeLook<'_>,
        mut prober: Option<&mut TlsProber>,
    ) -> Option<Part<Arc<ServedCertificates>>> {
        let shown = prober.as_mut().and_then(|prober| prober.take(self.server));
        let period = match self.when {
            ProbeWhen::Off => return None,
            ProbeWhen::OnChange => None,
            ProbeWhen::Every(period) => Some(period),
        };
        if self.of.as_ref().is_none_or(|known| known.parent != look.parent) {
            self.of = Some(Known::new(look));
        }
        let known = self.of.as_mut()?;
        if let Some(shown) = shown {
            known.hear(shown, look.at, period);
        }
        if look.hosts.unwrap_or(&known.hosts).is_empty() {
            return None;
        }
        known.renew(look);
        if let (Some(prober), Some((room, most))) = (prober, room(look)) {
            known.ask(self.server, look.at, prober, room, most);
        }
        known.part()
    }

    /// When the parent of the last look was asked.
    #[must_use]
    pub fn handshakes(&self) -> Option<Handshakes> {
        self.of.as_ref().and_then(|known| known.handshakes)
    }
}

/// What must hold before each handshake, and how many there may be; `None`: nobody could answer.
fn room(look: &ProbeLook<'_>) -> Option<(Room, usize)> {
    match look.workers {
        Workers::Ready(0) | Workers::Unknown { children: 0 } => None,
        Workers::Ready(ready) => {
            Some((Room::Known, usize::try_from(ready).unwrap_or(MOST_AT_ONCE).min(MOST_AT_ONCE)))
        }
        Workers::Unknown { children } => {
            let mut ports: Vec<u16> = look.listens.iter().map(SocketAddr::port).collect();
            ports.sort_unstable();
            ports.dedup();
            Some((Room::Fewer { children, ports }, MOST_AT_ONCE))
        }
    }
}

impl Known {
    fn new(look: &ProbeLook<'_>) -> Self {
        Self {
            parent: look.parent,
            loads: look.loads,
            sightings: Arc::clone(look.sightings),
            hosts: look.hosts.map(Arc::clone).unwrap_or_default(),
            listens: look.listens.to_vec(),
            is_new: true,
            files: BTreeMap::new(),
            served: Arc::default(),
            handshakes: None,
            open: None,
            next: look.at,
        }
    }

    fn hear(&mut self, shown: Shown, at: Moment, period: Option<Duration>) {
        // Of an earlier parent.
        let Some(open) = self.open.take() else { return };
        self.is_new = true;
        if shown.last().is_some_and(|(_, result)| *result == Err(Why::Timeout)) {
            self.next = self.next.max(at.after(REST));
        }
        for path in open.files {
            // What was not tried.
            if let Some(file) = self.files.get_mut(&path) {
                file.due = Some(at);
            }
        }
        if !shown.is_empty() {
            let succeeded = shown.iter().any(|(_, result)| result.is_ok()).then_some(at);
            let succeeded = succeeded.or(self.handshakes.and_then(|it| it.succeeded));
            self.handshakes = Some(Handshakes { latest: at, succeeded });
        }
        let served = Arc::make_mut(&mut self.served);
        for (path, result) in shown {
            if let Some(file) = self.files.get_mut(&path) {
                let is_first = file.asked.is_none_or(|asked| asked < open.loads);
                file.asked = Some(open.loads);
                file.due = file.next(result.is_err(), at, period);
                let before = served.get(&path).filter(|before| before.result == result);
                let mut load = open.loads;
                // A child may have shown it that had been told to leave: nobody asks after this.
                if let Some(before) = before.filter(|_| is_first && result.is_ok()) {
                    let confirmed = at.after(CONFIRMED);
                    file.due = Some(file.due.map_or(confirmed, |due| due.min(confirmed)));
                    load = before.load;
                }
                served.insert(path, Served { result, load });
            }
        }
    }

    /// Looks through the files, if anything is new.
    fn renew(&mut self, look: &ProbeLook<'_>) {
        let hosts = Arc::clone(look.hosts.unwrap_or(&self.hosts));
        let is_same = Arc::ptr_eq(&self.hosts, &hosts) || self.hosts == hosts;
        let is_elsewhere = !is_same || self.listens != look.listens;
        let is_seen_anew = !Arc::ptr_eq(&self.sightings, look.sightings);
        if !self.is_new && !is_elsewhere && !is_seen_anew && self.loads == look.loads {
            return;
        }
        look.listens.clone_into(&mut self.listens);
        self.hosts = Arc::clone(&hosts);
        self.sightings = Arc::clone(look.sightings);
        (self.loads, self.is_new) = (look.loads, false);
        let on_disk = &look.sightings.certificates;
        let mut ways = ways::ways(&hosts, look.listens, on_disk);
        let named = hosts.iter().flat_map(|host| &host.pairs).map(|pair| &pair.certificate);
        let mut files = BTreeMap::new();
        for path in named {
            let before = self.files.remove_entry(path);
            if before.is_none() && files.contains_key(path) {
                continue;
            }
            let (path, mut file) = before.unwrap_or_else(|| (path.clone(), File::default()));
            file.ways = ways.remove(&path).unwrap_or_default();
            let served = self.served.get(&path).and_then(|it| it.result.as_ref().ok());
            file.renew(look, served, on_disk.get(&path));
            files.insert(path, file);
        }
        self.files = files;
        if self.served.keys().any(|path| !self.files.contains_key(path)) {
            Arc::make_mut(&mut self.served).retain(|path, _| self.files.contains_key(path));
        }
    }

    fn ask(&mut self, server: usize, at: Moment, prober: &mut TlsProber, room: Room, most: usize) {
        if self.open.is_some() || at < self.next {
            return;
        }
        let mut due: Vec<(Moment, &PathBuf, &Way)> = self
            .files
            .iter()
            .filter_map(|(path, file)| {
                let since = file.due.filter(|due| *due <= at)?;
                // Another way where the last one failed.
                let way = file.ways.iter().cycle().nth(file.failures % file.ways.len().max(1))?;
                Some((since, path, way))
            })
            .collect();
        if due.is_empty() {
            return;
        }
        due.sort_by_key(|(since, _, _)| *since);
        due.truncate(most);
        let files: Vec<PathBuf> = due.iter().map(|(_, path, _)| (*path).clone()).collect();
        let handshakes = due
            .into_iter()
            .map(|(_, path, way)| Handshake { file: path.clone(), way: way.clone() })
            .collect();
        self.next = at.after(PACE);
        if prober.ask(server, Batch { decided: at, room, handshakes }) {
            self.open = Some(Open { loads: self.loads, files });
        }
    }

    fn part(&self) -> Option<Part<Arc<ServedCertificates>>> {
        let mut failed = self.served.values().map(|it| it.result.err());
        Some(match failed.next()? {
            Some(why) if failed.all(|it| it.is_some()) => Part::Unseen(why),
            Some(_) | None => Part::Seen(Arc::clone(&self.served)),
        })
    }
}

impl File {
    /// Whether it is due now, from what was served and what lies on disk.
    fn renew(
        &mut self,
        look: &ProbeLook<'_>,
        served: Option<&Certificate>,
        on_disk: Option<&Certificate>,
    ) {
        let is_owed = match self.asked {
            None => true,
            // The same certificate was loaded again.
            Some(asked) => {
                let is_same = served.zip(on_disk);
                let is_same = is_same.is_some_and(|(it, disk)| it.fingerprint == disk.fingerprint);
                asked < look.loads && !is_same
            }
        };
        if is_owed && self.due.is_none_or(|due| due > look.at) {
            self.due = Some(look.at);
            self.failures = 0;
        }
    }

    /// When it is due again.
    fn next(&mut self, failed: bool, at: Moment, period: Option<Duration>) -> Option<Moment> {
        if !failed {
            self.failures = 0;
            return period.map(|period| at.after(period));
        }
        let again = AGAIN.get(self.failures).or(AGAIN.last()).copied().unwrap_or(PACE);
        self.failures += 1;
        Some(at.after(period.map_or(again, |period| period.min(again))))
    }
}

#[cfg(test)]
mod tests;
