//! The shell: triggers looks, owns the trackers, counts, renders, publishes.
//!
//! It runs on a thread of its own, because a look reads files and may wait for them. Nothing else
//! touches what it owns; what it publishes is immutable.

mod forget;
mod memory;
mod mend;
mod orders;
mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{info, warn};

pub use self::orders::{Controls, Order, WatchOptions};
use self::{memory::Memory, server::Server};
use crate::{
    clock,
    expose::{
        catalogue::LOOK_BOUNDS,
        metrics::{self, OwnView},
        publication::Publication,
        web_config::WebConfigState,
    },
    model::{
        process::ProcessId,
        snapshot::Trace,
        time::{Moment, Timestamp},
    },
    observe::{
        discovery::{self, Discovery, Found},
        moments::{Happened, Moments, Stamped},
        own_process, pid_file,
        process_table::ProcessTable,
        scoreboard::ScoreboardReader,
        server::{Instruments, Target},
    },
    state::document::Remembered,
    track::histogram::Histogram,
};

/// Discovery gives up beyond this many servers.
const MOST_DISCOVERED: usize = 16;
/// A look that something triggered follows the last one after this many times what that cost: a
/// storm of events costs a fifth of a core, half of it in the reading process, and loses nothing,
/// for events are stamped as they come. Cost is CPU time: a busy machine must not delay looks.
const REST: u32 = 8;

/// Everything that one look needs.
#[derive(Debug)]
pub struct Watch {
    options: WatchOptions,
    table: ProcessTable,
    moments: Moments,
    scoreboards: ScoreboardReader,
    discovery: Discovery,
    servers: BTreeMap<usize, Server>,
    next_server: usize,
    discovered: Option<Moment>,
    /// Parents that were found and are not watched: said once of each.
    unwatched: BTreeSet<ProcessId>,
    orders: mpsc::Receiver<Order>,
    looks: Histogram,
    config: (bool, Timestamp),
    web_config: Option<WebConfigState>,
    build: [&'static str; 3],
    memory: Memory,
}

impl Watch {
    /// A watch that has not looked yet.
    pub fn new(
        options: WatchOptions,
        procfs: PathBuf,
        scoreboards: ScoreboardReader,
        build: [&'static str; 3],
    ) -> io::Result<(Self, Controls)> {
        let (controls, orders, ear) = orders::controls()?;
        let memory = Memory::open(&options.state_dir, &procfs);
        let watch = Self {
            options,
            table: ProcessTable::new(procfs),
            moments: Moments::new(ear)?,
            scoreboards,
            discovery: Discovery::default(),
            servers: BTreeMap::new(),
            next_server: 0,
            discovered: None,
            unwatched: BTreeSet::new(),
            orders,
            looks: Histogram::new(LOOK_BOUNDS),
            config: (true, clock::now().wall),
            web_config: None,
            build,
            memory,
        };
        Ok((watch, controls))
    }

    /// How old the last look may be while looks succeed.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        (self.options.interval * 3).max(Duration::from_secs(10))
    }

    /// Looks and publishes until it is told to stop.
    pub fn run(mut self, publish: &watch::Sender<Arc<Publication>>) -> io::Result<()> {
        let ended = self.watch(publish);
        self.memory.end(clock::now(), self.servers.values());
        ended
    }

    fn watch(&mut self, publish: &watch::Sender<Arc<Publication>>) -> io::Result<()> {
        self.take_servers();
        let mut traces = Vec::new();
        loop {
            // What happened until now belongs to this look.
            let Happened { traces: seen, woken } = self.moments.wait(Duration::ZERO)?;
            if woken && self.obey() {
                return Ok(());
            }
            traces.extend(seen);
            let (at, before) = (clock::now(), clock::work_of_this_thread());
            self.look(at, std::mem::take(&mut traces));
            self.obey_the_state_directory(at);
            self.looks.observe(clock::now().since(at));
            publish.send_replace(Arc::new(self.render(at)));
            let work = clock::work_of_this_thread().saturating_sub(before);
            let rested = clock::now().after(work * REST);
            let regular = at.after(self.options.interval).max(rested);
            let servers = self.servers.values();
            let deadline = servers.flat_map(Server::next_deadlines).min();
            let mut due = deadline.map_or(regular, |it| it.max(rested)).min(regular);
            loop {
                let now = clock::now();
                if now >= due {
                    break;
                }
                let Happened { traces: seen, woken } = self.moments.wait(due.since(now))?;
                if !seen.is_empty() {
                    traces.extend(seen);
                    due = due.min(rested);
                }
                if woken && self.obey() {
                    return Ok(());
                }
            }
        }
    }

    /// Takes what was ordered; true: end.
    fn obey(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Stop => return true,
                Order::ConfigurationFailed => self.config.0 = false,
                Order::WebConfiguration(state) => self.web_config = Some(state),
                Order::Configure(options, at) => {
                    self.config = (true, at);
                    if options.state_dir != self.options.state_dir {
                        warn!("another state_dir is used from the next start on");
                    }
                    self.options = options;
                    self.take_servers();
                }
            }
        }
        false
    }

    /// Makes the servers those of the options; one that stays keeps what is known of it.
    fn take_servers(&mut self) {
        let (wanted, now) = (self.wanted(), clock::now());
        if !wanted.is_empty() {
            self.servers.retain(|number, server| {
                let own = server.observer.target();
                let stays = wanted.iter().any(|(name, target)| {
                    *name == server.name
                        && own.program == target.program
                        && own.pid_file == target.pid_file
                });
                if !stays {
                    self.memory.put(memory::remembered(now, server));
                    self.moments.forget(*number);
                }
                stays
            });
        }
        for server in self.servers.values_mut() {
            server.set_restart_timeout(self.options.restart_timeout);
        }
        for (name, target) in wanted {
            if self.servers.values().all(|server| server.name != name) {
                let known = self.memory.take(&name, &target);
                self.add(name, target, known.as_ref());
            }
        }
        if self.options.servers.is_empty() {
            self.take_up_discovered();
        }
    }

    /// The servers of the options, each with a name of its own.
    fn wanted(&self) -> Vec<(String, Target)> {
        let mut wanted: Vec<(String, Target)> = Vec::new();
        for (given, target) in &self.options.servers {
            let mut name = given.clone().unwrap_or_else(|| self.name(target));
            if wanted.iter().any(|(taken, _)| *taken == name) {
                // No configuration can be asked for a port before there is a parent.
                name = format!("{name}:{}", wanted.len() + 1);
            }
            wanted.push((name, target.clone()));
        }
        wanted
    }

    /// The name of a server that was given none: what it has, else what discovery gives it.
    fn name(&self, target: &Target) -> String {
        let (program, path) = (target.program.as_deref(), &target.pid_file);
        let same =
            |target: &Target| target.program.as_deref() == program && target.pid_file == *path;
        if let Some(known) = self.servers.values().find(|it| same(it.observer.target())) {
            return known.name.clone();
        }
        if let Some(known) = self.memory.name(target) {
            return known;
        }
        let named = path.as_deref().and_then(|path| pid_file::read(path).ok());
        let row = named.and_then(|named| self.table.row(named.pid).ok());
        row.and_then(|row| discovery::named_parent(&self.table, &row, program))
            .map_or_else(|| "httpd".to_owned(), |found| discovery::name(&self.table, &found))
    }

    fn add(&mut self, name: String, target: Target, known: Option<&Remembered>) {
        let number = self.next_server;
        self.next_server += 1;
        let timeout = self.options.restart_timeout;
        let mut server = Server::new(name, number, target, timeout);
        if let Some(known) = known {
            let mut instruments = Instruments {
                table: &self.table,
                moments: &mut self.moments,
                scoreboards: &mut self.scoreboards,
            };
            let (past, now) = (memory::past(known), clock::now());
            server = server.taken_up(past, &known.memory, timeout, now, &mut instruments);
        }
        self.servers.insert(number, server);
    }

    fn look(&mut self, at: Moment, stamped: Vec<Stamped>) {
        let found = self.discover(at);
        let mut traces: BTreeMap<usize, Vec<Trace>> = BTreeMap::new();
        for stamp in stamped {
            traces.entry(stamp.server).or_default().push(stamp.trace);
        }
        for (number, server) in &mut self.servers {
            let mut instruments = Instruments {
                table: &self.table,
                moments: &mut self.moments,
                scoreboards: &mut self.scoreboards,
            };
            let traces = traces.remove(number).unwrap_or_default();
            server.look(at, traces, &found, &mut instruments);
        }
    }

    /// Looks for parents once an interval: while one is missed, and for more if nobody named any.
    fn discover(&mut self, at: Moment) -> Vec<Found> {
        let named = !self.options.servers.is_empty();
        let complete = self.servers.values().all(|server| server.observer.parent().is_some());
        let recent = self.discovered.is_some_and(|last| at.since(last) < self.options.interval);
        if recent || (named && complete) {
            return Vec::new();
        }
        self.discovered = Some(at);
        let found = self.discovery.parents(&self.table, at.uptime).unwrap_or_default();
        self.unwatched.retain(|id| found.iter().any(|parent| parent.id == *id));
        if !named {
            for parent in &found {
                self.welcome(parent);
            }
        }
        found
    }

    fn welcome(&mut self, parent: &Found) {
        let known = self.servers.values().any(|server| {
            server.observer.parent() == Some(parent.id)
                || server.observer.target().signature.as_ref() == Some(&parent.signature)
        });
        if known {
            return;
        }
        let name = discovery::name(&self.table, parent);
        let is_free = |name: &String| self.servers.values().all(|server| server.name != *name);
        let name = Some(name.clone())
            .filter(is_free)
            .or_else(|| discovery::name_with_port(&name, parent).filter(is_free));
        let name = name.filter(|_| self.servers.len() < MOST_DISCOVERED);
        let Some(name) = name else {
            if self.unwatched.insert(parent.id) {
                let (pid, watched) = (parent.id.pid, self.servers.len());
                warn!(%pid, watched, "httpd not watched: its name is taken, or there are too many");
            }
            return;
        };
        info!(server = name, pid = %parent.id.pid, "discovered");
        let signature = Some(parent.signature.clone());
        self.add(name, Target { signature, ..Target::default() }, None);
    }

    fn render(&self, looked_at: Moment) -> Publication {
        let servers: Vec<_> = self.servers.values().map(Server::view).collect();
        let own = OwnView {
            looked_at,
            looks: &self.looks,
            config_successful: self.config.0
                && self.web_config.is_none_or(|web| web.last_reload_successful),
            config_success: self
                .web_config
                .map_or(self.config.1, |web| web.last_success.max(self.config.1)),
            process: own_process::own_process().ok(),
            build: self.build,
        };
        Publication {
            metrics: Bytes::from(metrics::render(&servers, &own)),
            looked_at: Some(looked_at),
            stale_after: self.stale_after(),
        }
    }
}
