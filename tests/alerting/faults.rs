//! A httpd for each fault, and one that only ever restarts gracefully.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{
    Gracekeeper, Httpd, Mpm, Process, eventually, held::HeldRequests, http, keyring::Keyring,
};

/// Between two requests of the load.
const PACE: Duration = Duration::from_millis(5);

pub(super) struct Servers {
    pub(super) calm: Httpd,
    /// Its configuration gets an error.
    pub(super) broken: Httpd,
    /// Its parent is killed.
    killed: Httpd,
    /// Its children crash, and then it is stopped.
    crashing: Httpd,
    /// It is told to listen where another listens.
    taken: Httpd,
    /// It waits for a pass phrase.
    prompting: Httpd,
    pub(super) keyring: Keyring,
    /// Old children hold all of its slots.
    full: Httpd,
    held: Vec<HeldRequests>,
    /// It is restarted hard, again and again.
    flapping: Httpd,
    /// An old child of it is stopped in its request.
    stuck: Httpd,
    /// Where `taken` may not listen.
    obstacle: TcpListener,
}

impl Servers {
    pub(super) fn start() -> Self {
        let event = || Httpd::builder(Mpm::Event);
        let keyring = Keyring::new();
        Self {
            calm: event().start(),
            broken: event().start(),
            killed: event().start(),
            crashing: event().start_servers(4).max_request_workers(20).start(),
            taken: event().start(),
            prompting: event().log_level("warn").extra(&keyring.directives("exec:")).start(),
            keyring,
            full: Httpd::builder(Mpm::Prefork).server_limit(2).start(),
            held: Vec::new(),
            flapping: event().start(),
            stuck: event().start(),
            obstacle: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.named().len()).unwrap()
    }

    fn named(&self) -> [(&'static str, &Httpd); 9] {
        [
            ("calm", &self.calm),
            ("broken", &self.broken),
            ("killed", &self.killed),
            ("crashing", &self.crashing),
            ("taken", &self.taken),
            ("prompting", &self.prompting),
            ("full", &self.full),
            ("flapping", &self.flapping),
            ("stuck", &self.stuck),
        ]
    }

    /// One gracekeeper for all of them.
    pub(super) fn watch(&self) -> Gracekeeper {
        let mut tables = String::from("[limits]\nrestart_timeout = \"2s\"\n");
        for (name, httpd) in self.named() {
            let pid_file = httpd.pid_file();
            let pid_file = pid_file.display();
            write!(tables, "[[server]]\nname = \"{name}\"\npid_file = \"{pid_file}\"\n").unwrap();
        }
        Gracekeeper::discovering().config(&tables).start()
    }

    /// Every fault at once, all of which last.
    pub(super) fn break_all(&mut self, gracekeeper: &Gracekeeper) {
        self.held.push(self.full.hold_all_workers());
        self.full.graceful();
        self.held.push(self.stuck.hold_requests(1));
        stop_an_old_child(&self.stuck);
        self.killed.kill_parent();
        let port = self.obstacle.local_addr().unwrap().port();
        self.taken.rewrite_config(|text| format!("{text}\nListen 127.0.0.1:{port}\n"));
        self.taken.graceful();
        self.broken
            .rewrite_config(|text| text.replace("ExtendedStatus On", "ExtendedStatus Perhaps"));
        self.broken.graceful();
        eventually("both failed restarts have ended their parents", || {
            !self.taken.parent_is_alive() && !self.broken.parent_is_alive()
        });
        self.broken
            .rewrite_config(|text| text.replace("ExtendedStatus Perhaps", "ExtendedStatus On"));
        for count in [1.0, 2.0, 3.0, 4.0] {
            self.flapping.hard();
            // Of several within one look the types would not be known.
            gracekeeper.wait_until("a hard restart is counted", |metrics| {
                let labels = [("server", "flapping"), ("type", "hard")];
                metrics.value("httpd_restarts_total", &labels) == Some(count)
            });
        }
        crash_children(&self.crashing, 8);
        self.crashing.stop();
        self.keyring.asks();
        self.prompting.graceful();
    }
}

/// Restarts gracefully, and stops the child that a held request keeps.
fn stop_an_old_child(httpd: &Httpd) {
    let old = httpd.oracle().living_pids();
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    let drained = || {
        let living = httpd.oracle().living_pids();
        let mut old = old.iter().filter(|pid| living.contains(pid));
        old.next().copied().filter(|_| old.next().is_none())
    };
    let pid = eventually("one old child is left", drained);
    Process::open(pid).unwrap().signal(Signal::STOP);
}

/// Ends so many children by SIGSEGV, those that take their place too.
fn crash_children(httpd: &Httpd, count: usize) {
    let mut crashed = Vec::new();
    eventually("so many children have crashed", || {
        for pid in httpd.oracle().living_pids() {
            let child = Process::open(pid);
            if let Some(child) = child.filter(|_| crashed.len() < count && !crashed.contains(&pid))
            {
                child.signal(Signal::SEGV);
                crashed.push(pid);
            }
        }
        crashed.len() == count
    });
}

/// Requests one after the other until it is dropped.
pub(super) struct Load {
    is_over: Arc<AtomicBool>,
    client: Option<JoinHandle<()>>,
}

impl Load {
    pub(super) fn on(httpd: &Httpd) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let (address, seen) = (httpd.address(), Arc::clone(&is_over));
        let client = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                let _: std::io::Result<http::Response> =
                    http::get(address, "/index.html", Duration::from_secs(10));
                thread::sleep(PACE);
            }
        });
        Self { is_over, client: Some(client) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(client) = self.client.take() {
            let _: thread::Result<()> = client.join();
        }
    }
}
