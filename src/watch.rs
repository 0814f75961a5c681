//! The shell: triggers looks, owns the trackers, counts, renders, publishes.
//!
//! It runs on a thread of its own, because a look reads files and may wait for them. Nothing else
//! touches what it owns; what it publishes is immutable.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    clock,
    expose::{
        catalogue::LOOK_BOUNDS,
        metrics::{self, OwnView, ServerView},
        publication::Publication,
        web_config::WebConfigState,
    },
    model::{
        event::Event,
        snapshot::Trace,
        source::Why,
        time::{Moment, Timestamp},
    },
    observe::{
        discovery::{self, Discovery, Found},
        moments::{Happened, Moments},
        own_process, pid_file,
        process_table::ProcessTable,
        scoreboard::ScoreboardReader,
        server::{Instruments, ServerObserver, Target},
    },
    track::{histogram::Histogram, server::ServerTracker, tally::Tally},
};

/// Discovery gives up beyond this many servers.
const MOST_DISCOVERED: usize = 16;
/// A look that something triggered follows the last one after this many times what that cost: a
/// storm of events costs a fifth of a core, half of it in the reading process, and loses nothing,
/// for events are stamped as they come. Cost is CPU time: a busy machine must not delay looks.
const REST: u32 = 8;

/// What the watch is told.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// A look at least this often.
    pub interval: Duration,
    /// A restart that takes longer is hung.
    pub restart_timeout: Duration,
    /// The servers that an operator listed, with the names that he gave; none: discover what runs
    /// here.
    pub servers: Vec<(Option<String>, Target)>,
}

/// What another thread tells the watch.
#[derive(Debug)]
pub enum Order {
    /// Go on with these options; they were read at this time.
    Configure(WatchOptions, Timestamp),
    /// The own configuration could not be read; the old one stays.
    ConfigurationFailed,
    /// The web server's own configuration was read, or could not be.
    WebConfiguration(WebConfigState),
    /// End.
    Stop,
}

/// The other end of the watch's ear.
#[derive(Debug)]
pub struct Controls {
    orders: mpsc::Sender<Order>,
    wake: OwnedFd,
}

/// One server and what is kept of it.
#[derive(Debug)]
struct Server {
    name: String,
    observer: ServerObserver,
    tracker: ServerTracker,
    tally: Tally,
}

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
    crowded: bool,
    orders: mpsc::Receiver<Order>,
    looks: Histogram,
    config: (bool, Timestamp),
    web_config: Option<WebConfigState>,
    build: [&'static str; 3],
}

impl Controls {
    /// Gives an order. A watch that has ended takes none, which its owner learns by joining it.
    pub fn give(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            let _ = rustix::io::write(&self.wake, &[1]);
        }
    }
}

impl Watch {
    /// A watch that has not looked yet.
    pub fn new(
        options: WatchOptions,
        procfs: PathBuf,
        scoreboards: ScoreboardReader,
        build: [&'static str; 3],
    ) -> io::Result<(Self, Controls)> {
        let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (sender, orders) = mpsc::channel();
        let watch = Self {
            options,
            table: ProcessTable::new(procfs),
            moments: Moments::new(ear)?,
            scoreboards,
            discovery: Discovery::default(),
            servers: BTreeMap::new(),
            next_server: 0,
            crowded: false,
            orders,
            looks: Histogram::new(LOOK_BOUNDS),
            config: (true, clock::now().wall),
            web_config: None,
            build,
        };
        Ok((watch, Controls { orders: sender, wake }))
    }

    /// Looks and publishes until it is told to stop.
    pub fn run(mut self, publish: &watch::Sender<Arc<Publication>>) -> io::Result<()> {
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
                    self.options = options;
                    self.take_servers();
                }
            }
        }
        false
    }

    /// Makes the servers those of the options; one that stays keeps what is known of it.
    fn take_servers(&mut self) {
        let wanted = self.wanted();
        if !wanted.is_empty() {
            self.servers.retain(|number, server| {
                let own = server.observer.target();
                let stays = wanted.iter().any(|(name, target)| {
                    *name == server.name
                        && own.program == target.program
                        && own.pid_file == target.pid_file
                });
                if !stays {
                    self.moments.forget(*number);
                }
                stays
            });
        }
        for (name, target) in wanted {
            if self.servers.values().all(|server| server.name != name) {
                self.add(name, target);
            }
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
        let named = path.as_deref().and_then(|path| pid_file::read(path).ok());
        let row = named.and_then(|named| self.table.row(named.pid).ok());
        row.and_then(|row| discovery::named_parent(&self.table, &row, program))
            .map_or_else(|| "httpd".to_owned(), |found| discovery::name(&self.table, &found))
    }

    fn add(&mut self, name: String, target: Target) {
        let number = self.next_server;
        self.next_server += 1;
        let observer = ServerObserver::new(number, target);
        let tracker = ServerTracker::new(self.options.restart_timeout);
        self.servers.insert(number, Server { name, observer, tracker, tally: Tally::default() });
    }

    fn look(&mut self, at: Moment, stamped: Vec<crate::observe::moments::Stamped>) {
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

    /// Looks for parents only while one is missed: nobody named any, or a known server has none.
    fn discover(&mut self, at: Moment) -> Vec<Found> {
        let named = !self.options.servers.is_empty();
        if named && self.servers.values().all(|server| server.observer.parent().is_some()) {
            return Vec::new();
        }
        let found = self.discovery.parents(&self.table, at.uptime).unwrap_or_default();
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
        let Some(name) = name.filter(|_| self.servers.len() < MOST_DISCOVERED) else {
            if !std::mem::replace(&mut self.crowded, true) {
                let pid = parent.id.pid;
                warn!(%pid, "httpd not watched: its name is taken, or there are too many");
            }
            return;
        };
        info!(server = name, pid = %parent.id.pid, "discovered");
        let signature = Some(parent.signature.clone());
        self.add(name, Target { signature, ..Target::default() });
    }

    fn render(&self, looked_at: Moment) -> Publication {
        let servers: Vec<ServerView<'_>> = self
            .servers
            .values()
            .map(|server| ServerView {
                name: &server.name,
                assessment: server.tracker.assessment(),
                tally: &server.tally,
            })
            .collect();
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
            stale_after: (self.options.interval * 3).max(Duration::from_secs(10)),
        }
    }
}

impl Server {
    fn next_deadlines(&self) -> impl Iterator<Item = Moment> {
        self.tracker.next_deadline().into_iter().chain(self.observer.next_deadline())
    }

    fn look(
        &mut self,
        at: Moment,
        traces: Vec<Trace>,
        found: &[Found],
        instruments: &mut Instruments<'_>,
    ) {
        let (snapshot, doubt) = self.observer.look(at, traces, found, instruments);
        if let Some(doubt) = self.observer.new_doubt(doubt) {
            info!(server = self.name, reason = doubt, "pid file names no httpd");
        }
        for event in self.tracker.observe(&snapshot) {
            self.tally.count(&event);
            self.log(&event);
        }
        for change in self.tracker.witness_changes() {
            let (server, source) = (&self.name, change.source.label());
            if let Some(reason) = change.why.map(Why::label) {
                warn!(server, source, reason, "source gives nothing");
            } else {
                info!(server, source, "source answers again");
            }
        }
    }

    fn log(&self, event: &Event) {
        let server = &self.name;
        match event {
            Event::ParentAppeared { parent, .. } => info!(server, pid = %parent.pid, "up"),
            Event::Restarted { kind, took, interrupted, .. } => {
                let seconds = took.map(seconds);
                info!(server, r#type = kind.label(), seconds, interrupted, "restarted");
            }
            Event::RestartFailed { reason, .. } => {
                warn!(server, reason = reason.label(), "restart failed");
            }
            Event::Stopped { kind, .. } => info!(server, r#type = kind.label(), "stopped"),
            Event::DrainEnded { generation, lasted, children, outcome } => info!(
                server,
                %generation,
                seconds = seconds(*lasted),
                children,
                outcome = outcome.label(),
                "drain ended"
            ),
            Event::Contradicted(what) => warn!(server, what = what.label(), "contradiction"),
            Event::RestartBegan { .. }
            | Event::ServedAgain { .. }
            | Event::DrainBegan { .. }
            | Event::ChildDrained { .. }
            | Event::ChildrenStarted { .. }
            | Event::ChildExited { .. }
            | Event::Overlapped { .. } => {}
        }
    }
}

/// Seconds as people read them: to the microsecond, never with an exponent.
fn seconds(duration: Duration) -> String {
    format!("{:.6}", duration.as_secs_f64())
}
