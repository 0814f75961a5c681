//! The sources that an operator may switch off, and httpd's own answers: what all servers share.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use tracing::warn;

use crate::{
    model::{files::FileSightings, process::Pid, snapshot::Part},
    observe::{
        asked::{Asked, Asker},
        error_log::client::{Bell, LogReader},
        files::FilesObserver,
        onlooker::Onlooker,
        process_table::ProcessTable,
        resources::{HostObserver, Mounts},
        scoreboard::ScoreboardReader,
        served::ProbeWhen,
        server_status::{StatusAsked, StatusAsker},
        tls_probe::TlsProber,
        wake::Wake,
    },
};

/// What was sighted of one server's files.
pub(super) type Sighted = (usize, Part<Arc<FileSightings>>);

/// Who reads logs, asks httpd and asks `mod_status`.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) logs: LogReader,
    asker: Option<Asker>,
    statuses: Option<StatusAsker>,
    onlooker: Option<Onlooker>,
    host: HostObserver,
    files: Option<FilesObserver>,
    /// News that no look has taken yet.
    sightings: Vec<Sighted>,
    answers: Vec<Asked>,
    prober: Option<TlsProber>,
    wake: Wake,
    table: ProcessTable,
}

/// What one server is given of it in a look.
#[derive(Debug)]
pub(super) struct SideInstruments<'a> {
    pub(super) logs: &'a mut LogReader,
    /// `None`: httpd may not be asked.
    pub(super) asker: Option<&'a Asker>,
    /// `None`: no server has a status page.
    pub(super) statuses: Option<&'a mut StatusAsker>,
    pub(super) scoreboards: &'a mut ScoreboardReader,
    /// `None`: nobody looks for suspects.
    pub(super) onlooker: Option<&'a mut Onlooker>,
    pub(super) interval: Duration,
    /// What all servers share.
    pub(super) host: &'a mut HostObserver,
    /// `None`: there is no thread for it.
    pub(super) files: Option<&'a FilesObserver>,
    /// `None`: nobody is asked for certificates.
    pub(super) prober: Option<&'a mut TlsProber>,
    pub(super) table: &'a ProcessTable,
    /// Whose parent has, or had, this number: servers may write into one file.
    pub(super) owners: &'a BTreeMap<Pid, usize>,
}

impl Side {
    pub(super) fn new(logs: LogReader, wake: Wake, table: ProcessTable, mounts: Mounts) -> Self {
        let onlooker = wake.try_clone().and_then(|wake| Onlooker::start(table.clone(), wake));
        let onlooker = onlooker.map_err(|error| warn!(%error, "suspects are not looked for")).ok();
        let host = HostObserver::new(mounts);
        let files = started("watch files", wake.try_clone(), FilesObserver::start);
        let (asker, statuses, prober) = (None, None, None);
        let (sightings, answers) = (Vec::new(), Vec::new());
        Self {
            logs,
            asker,
            statuses,
            onlooker,
            host,
            files,
            sightings,
            answers,
            prober,
            wake,
            table,
        }
    }

    /// Starts and ends threads as the options want it.
    pub(super) fn prepare(&mut self, ask_httpd: bool, ask_status: bool, probe: ProbeWhen) {
        if probe == ProbeWhen::Off {
            self.prober = None;
        } else if self.prober.is_none() {
            self.prober = started("probe TLS", self.wake.try_clone(), TlsProber::start);
        }
        if !ask_httpd {
            self.asker = None;
        } else if self.asker.is_none() {
            let table = self.table.clone();
            self.asker = started("ask httpd", self.wake.try_clone(), |it| Asker::start(table, it));
        }
        if !ask_status {
            self.statuses = None;
        } else if self.statuses.is_none() {
            self.statuses = started("ask mod_status", self.wake.try_clone(), StatusAsker::start);
        }
    }

    /// What httpds answered since the last look.
    pub(super) fn answers(&mut self) -> Vec<Asked> {
        self.has_news();
        std::mem::take(&mut self.answers)
    }

    /// What `mod_status` answered since the last look.
    pub(super) fn statuses(&mut self) -> Vec<StatusAsked> {
        self.statuses.iter_mut().flat_map(StatusAsker::answers).collect()
    }

    /// There is news of files, or httpd answered: a look is due. To be asked when woken.
    pub(super) fn has_news(&mut self) -> bool {
        self.sightings.extend(self.files.iter().flat_map(FilesObserver::news));
        self.answers.extend(self.asker.iter().flat_map(Asker::answers));
        !self.sightings.is_empty() || !self.answers.is_empty()
    }

    /// What was sighted of files since the last look.
    pub(super) fn sightings(&mut self) -> Vec<Sighted> {
        self.has_news();
        std::mem::take(&mut self.sightings)
    }

    /// A look begins.
    pub(super) fn begin_look(&mut self) {
        self.logs.drain_bell();
        self.logs.begin_look();
    }

    /// There is news in a log: a look is due. To be asked before each wait.
    pub(super) fn rings(&mut self) -> bool {
        self.logs.drain_bell() == Bell::Rung
    }

    pub(super) fn instruments<'a>(
        &'a mut self,
        scoreboards: &'a mut ScoreboardReader,
        interval: Duration,
        owners: &'a BTreeMap<Pid, usize>,
    ) -> SideInstruments<'a> {
        SideInstruments {
            logs: &mut self.logs,
            asker: self.asker.as_ref(),
            statuses: self.statuses.as_mut(),
            scoreboards,
            onlooker: self.onlooker.as_mut(),
            interval,
            host: &mut self.host,
            files: self.files.as_ref(),
            prober: self.prober.as_mut(),
            table: &self.table,
            owners,
        }
    }

    /// Who looks for suspects.
    pub(super) const fn onlooker(&mut self) -> Option<&mut Onlooker> {
        self.onlooker.as_mut()
    }

    /// What all servers share.
    pub(super) const fn host(&mut self) -> &mut HostObserver {
        &mut self.host
    }

    /// Nobody will ask for this server again.
    pub(super) fn forget(&mut self, server: usize) {
        self.logs.forget(u32::try_from(server).unwrap_or(u32::MAX));
        if let Some(onlooker) = &mut self.onlooker {
            onlooker.forget(server);
        }
        if let Some(files) = &self.files {
            files.forget(server);
        }
    }
}

fn started<T>(
    what: &str,
    wake: io::Result<Wake>,
    start: impl FnOnce(Wake) -> io::Result<T>,
) -> Option<T> {
    wake.and_then(start).map_err(|error| warn!(%error, what, "no thread for it")).ok()
}
