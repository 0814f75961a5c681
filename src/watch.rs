//! The shell: triggers looks, owns the trackers, counts, renders, publishes.
//!
//! It runs on a thread of its own, because a look reads files and may wait for them. Nothing else
//! touches what it owns; what it publishes is immutable.

mod desk;
mod discover;
mod forget;
mod journal;
mod memory;
mod mend;
mod orders;
mod render;
mod server;
mod side;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::sync::watch;
use tracing::warn;

pub use self::orders::{Choices, Controls, Order, Wanted, WatchOptions};
use self::{
    journal::{MOST_SHOWN, Shown},
    memory::Memory,
    server::{Looked, Server},
    side::Side,
};
use crate::{
    clock,
    expose::{catalogue::LOOK_BOUNDS, publication::Publication, web_config::WebConfigState},
    model::{
        journal::Entry,
        process::ProcessId,
        server_status::StatusSighting,
        snapshot::{Trace, TraceKind},
        time::{Moment, Timestamp},
    },
    observe::{
        discovery::{self, Discovery},
        error_log::client::LogReader,
        moments::{Happened, Moments, Stamped},
        pid_file,
        process_table::ProcessTable,
        resources::Mounts,
        scoreboard::ScoreboardReader,
        server::{Instruments, Target},
    },
    state::document::Remembered,
    track::{histogram::Histogram, netns::NetnsTracker},
};

/// Discovery gives up beyond this many servers.
const MOST_DISCOVERED: usize = 16;
/// A look that something triggered follows the last one after this many times what that cost: a
/// storm of events costs a fifth of a core, half of it in the reading process, and loses nothing,
/// for events are stamped as they come. Cost is CPU time: a busy machine must not delay looks.
const REST: u32 = 8;

/// The reading process, which is started while there are privileges.
#[derive(Debug)]
pub struct Readers {
    /// Asks it for scoreboards.
    pub scoreboards: ScoreboardReader,
    /// Asks it for what came into error logs.
    pub logs: LogReader,
}

/// Everything that one look needs.
#[derive(Debug)]
pub struct Watch {
    options: WatchOptions,
    table: ProcessTable,
    moments: Moments,
    scoreboards: ScoreboardReader,
    side: Side,
    discovery: Discovery,
    servers: BTreeMap<usize, Server>,
    next_server: usize,
    discovered: Option<Moment>,
    /// Parents that were found and are not watched: said once of each.
    unwatched: BTreeSet<ProcessId>,
    /// Of those of other PID namespaces there were this many.
    elsewhere: usize,
    orders: mpsc::Receiver<Order>,
    looks: Histogram,
    netns: NetnsTracker,
    config: (bool, Timestamp),
    web_config: Option<WebConfigState>,
    build: [&'static str; 3],
    memory: Memory,
    shown: Shown,
}

impl Watch {
    /// A watch that has not looked yet.
    pub fn new(
        options: WatchOptions,
        mounts: Mounts,
        readers: Readers,
        build: [&'static str; 3],
    ) -> io::Result<(Self, Controls)> {
        let (controls, orders, ear) = orders::controls()?;
        let memory = Memory::open(options.state_dir.as_deref(), &mounts.procfs);
        let mut shown = Shown::default();
        for entry in memory.journal(MOST_SHOWN) {
            shown.take(entry);
        }
        let Readers { scoreboards, logs } = readers;
        let table = ProcessTable::new(mounts.procfs.clone());
        let moments = Moments::new(ear)?;
        moments.listen_to_logs(logs.descriptor())?;
        let watch = Self {
            options,
            side: Side::new(logs, controls.wake.try_clone()?, table.clone(), mounts),
            table,
            moments,
            scoreboards,
            discovery: Discovery::default(),
            servers: BTreeMap::new(),
            next_server: 0,
            discovered: None,
            unwatched: BTreeSet::new(),
            elsewhere: 0,
            orders,
            looks: Histogram::new(LOOK_BOUNDS),
            netns: NetnsTracker::default(),
            config: (true, clock::now().wall),
            web_config: None,
            build,
            memory,
            shown,
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
        let entries: Vec<Entry> =
            self.servers.values_mut().flat_map(Server::last_entries).collect();
        self.write(entries);
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
            self.glance(&seen);
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
                // What was said together with an answer rings no more.
                if self.side.rings() {
                    due = due.min(rested);
                }
                let now = clock::now();
                if now >= due {
                    break;
                }
                let Happened { traces: seen, woken } = self.moments.wait(due.since(now))?;
                if !seen.is_empty() {
                    self.glance(&seen);
                    traces.extend(seen);
                    due = due.min(rested);
                }
                if woken && self.obey() {
                    return Ok(());
                }
                if woken
                    && (self.side.has_news() || self.servers.values().any(Server::holds_entries))
                {
                    // What is waited for may be known now.
                    due = due.min(rested);
                }
            }
        }
    }

    /// What may be over before the next look.
    fn glance(&mut self, stamped: &[Stamped]) {
        for stamp in stamped.iter().filter(|stamp| stamp.trace.kind == TraceKind::ConfigOpened) {
            if let Some(server) = self.servers.get_mut(&stamp.server) {
                server.glance(&self.table, self.side.onlooker());
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
        let ask_status = wanted.iter().any(|(_, _, choices)| choices.status_url.is_some());
        self.side.prepare(self.options.ask_httpd, ask_status, self.options.tls_probe);
        self.scoreboards.show_requests(self.options.show_requests);
        if !wanted.is_empty() {
            let mut last = Vec::new();
            self.servers.retain(|number, server| {
                let own = server.observer.target();
                let stays = wanted.iter().find(|(name, target, _)| {
                    *name == server.name
                        && own.program == target.program
                        && own.pid_file == target.pid_file
                        && own.unit == target.unit
                });
                if let Some((_, _, choices)) = stays {
                    server.choose(choices);
                } else {
                    last.extend(server.last_entries());
                    self.memory.put(memory::remembered(now, server));
                    self.moments.forget(*number);
                    self.side.forget(*number);
                }
                stays.is_some()
            });
            self.write(last);
        }
        for server in self.servers.values_mut() {
            server.set_restart_timeout(self.options.restart_timeout);
            server.probe(self.options.tls_probe);
            if wanted.is_empty() {
                // What an operator wanted of it he wants no more.
                server.choose(&Choices::default());
            }
        }
        for (name, target, choices) in wanted {
            if self.servers.values().all(|server| server.name != name) {
                let known = self.memory.take(&name, &target);
                self.add(name, target, &choices, known.as_ref());
            }
        }
        if self.options.servers.is_empty() {
            self.take_up_discovered();
        }
    }

    /// The servers of the options, each with a name of its own.
    fn wanted(&self) -> Vec<(String, Target, Choices)> {
        let mut wanted: Vec<(String, Target, Choices)> = Vec::new();
        for Wanted { name: given, target, choices } in &self.options.servers {
            let mut name = given.clone().unwrap_or_else(|| self.name(target));
            if wanted.iter().any(|(taken, ..)| *taken == name) {
                // No configuration can be asked for a port before there is a parent.
                name = format!("{name}:{}", wanted.len() + 1);
            }
            wanted.push((name, target.clone(), choices.clone()));
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

    fn add(&mut self, name: String, target: Target, choices: &Choices, known: Option<&Remembered>) {
        let number = self.next_server;
        self.next_server += 1;
        let timeout = self.options.restart_timeout;
        let mut server = Server::new(name, number, target, choices, timeout);
        if let Some(known) = known {
            let mut instruments = Instruments {
                table: &self.table,
                moments: &mut self.moments,
                scoreboards: &mut self.scoreboards,
                starting: self.discovery.starting(),
            };
            let (past, now) = (memory::past(known), clock::now());
            server = server.taken_up(past, &known.memory, timeout, now, &mut instruments);
        }
        server.probe(self.options.tls_probe);
        server.read_journal(self.shown.of(&server.name.clone()));
        self.servers.insert(number, server);
    }

    fn look(&mut self, at: Moment, stamped: Vec<Stamped>) {
        self.side.begin_look();
        self.netns.observe(self.side.host().netns_drops(at).ok());
        let found = self.discover(at);
        let mut traces: BTreeMap<usize, Vec<Trace>> = BTreeMap::new();
        for stamp in stamped {
            traces.entry(stamp.server).or_default().push(stamp.trace);
        }
        for asked in self.side.answers() {
            if let Some(server) = self.servers.get_mut(&asked.server) {
                server.hear(asked);
            }
        }
        for (number, sightings) in self.side.sightings() {
            if let Some(server) = self.servers.get_mut(&number) {
                server.hear_files(sightings);
            }
        }
        let statuses = self.side.statuses().into_iter().map(|it| (it.server, it.sighting));
        let mut statuses: BTreeMap<usize, StatusSighting> = statuses.collect();
        let mut looked: BTreeMap<usize, Looked> = BTreeMap::new();
        for (number, server) in &mut self.servers {
            let mut instruments = Instruments {
                table: &self.table,
                moments: &mut self.moments,
                scoreboards: &mut self.scoreboards,
                starting: self.discovery.starting(),
            };
            let traces = traces.remove(number).unwrap_or_default();
            let status = statuses.remove(number);
            looked.insert(*number, server.look(at, traces, &found, status, &mut instruments));
        }
        self.conclude(looked);
    }

    /// What may be switched off comes last: a log is compared with all that was seen before.
    fn conclude(&mut self, looked: BTreeMap<usize, Looked>) {
        // A number may have been another server's before: who has it now comes last.
        let former = self.servers.values().flat_map(Server::parents);
        let living = self.servers.iter().filter_map(|(number, server)| {
            server.observer.parent().map(|parent| (parent.pid, *number))
        });
        let owners = former.chain(living).collect();
        let interval = self.options.interval;
        for (number, looked) in looked {
            if let Some(server) = self.servers.get_mut(&number) {
                let mut side = self.side.instruments(&mut self.scoreboards, interval, &owners);
                let entries = server.conclude(looked, &mut side);
                self.write(entries);
            }
        }
    }

    /// Shows these entries, and writes them into the journal.
    fn write(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if let Some(line) = self.shown.take(entry) {
                self.memory.write(line);
            }
        }
    }
}
