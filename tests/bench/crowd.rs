//! Two prefork httpds, one with few children and one with a thousand, each watched by a gracekeeper.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::metrics::Metrics;
use crate::harness::{Gracekeeper, Httpd, Mpm};
use crate::rounds::children;

const FEW: u32 = 5;
const MANY: u32 = 1000;

pub(crate) struct Crowd {
    pub(crate) children: u32,
    pub(crate) httpd: Httpd,
    pub(crate) gracekeeper: Gracekeeper,
}

pub(crate) fn few_and_many() -> (Crowd, Crowd) {
    (Crowd::of(FEW), Crowd::of(MANY))
}

/// The oracle holds a descriptor of each child, dead ones for a moment too.
pub(crate) fn allow_many_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

impl Crowd {
    fn of(children: u32) -> Self {
        let httpd = Httpd::builder(Mpm::Prefork)
            .start_servers(children)
            .server_limit(children)
            .max_request_workers(children)
            .start();
        let gracekeeper = Gracekeeper::watching(&httpd).server("error_log = \"none\"").start();
        let crowd = Self { children, httpd, gracekeeper };
        // httpd is asked what it is made of once it is some seconds old.
        crowd.gracekeeper.wait_until("every child is known, and httpd was asked", |metrics| {
            crowd.is_complete(metrics) && metrics.series_of("httpd_info", &[]).len() == 1
        });
        crowd
    }

    /// All of them are of the running generation.
    pub(crate) fn is_complete(&self, metrics: &Metrics) -> bool {
        children(metrics, "current") == f64::from(self.children)
            && children(metrics, "old") == 0.0
            && metrics.value("httpd_drain_in_progress", &[]) == Some(0.0)
    }
}
