//! Parents that nobody named.

use tracing::{info, warn};

use super::{Choices, MOST_DISCOVERED, Watch};
use crate::{
    model::time::Moment,
    observe::{
        discovery::{self, Found},
        server::Target,
    },
};

impl Watch {
    /// Looks for parents once an interval: while one is missed, and for more if nobody named any.
    pub(super) fn discover(&mut self, at: Moment) -> Vec<Found> {
        let named = !self.options.servers.is_empty();
        let complete = self.servers.values().all(|server| server.observer.parent().is_some());
        let recent = self.discovered.is_some_and(|last| at.since(last) < self.options.interval);
        if recent || (named && complete) {
            return Vec::new();
        }
        self.discovered = Some(at);
        let found = self.discovery.parents(&self.table, at.uptime).unwrap_or_default();
        self.unwatched.retain(|id| found.iter().any(|parent| parent.id == *id));
        let elsewhere = self.discovery.elsewhere();
        if elsewhere > self.elsewhere {
            info!(count = elsewhere, "httpds of other PID namespaces are not watched");
        }
        self.elsewhere = elsewhere;
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
                let (pid, watched) = (parent.id.pid.as_raw(), self.servers.len());
                warn!(pid, watched, "httpd not watched: its name is taken, or there are too many");
            }
            return;
        };
        info!(server = name, pid = parent.id.pid.as_raw(), "discovered");
        let signature = Some(parent.signature.clone());
        let target = Target { signature, ..Target::default() };
        self.add(name, target, &Choices::default(), None);
    }
}
