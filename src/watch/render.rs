//! What one look found, as the pages that are published.

use bytes::Bytes;

use super::{Watch, server::Server};
use crate::{
    expose::{
        api::{self, StatusView},
        metrics::{self, OwnView, Unwatched},
        publication::{Publication, PublishedServer, PublishedSource},
    },
    model::time::Moment,
    observe::own_process,
};

impl Watch {
    /// Renders every page.
    pub(super) fn render(&mut self, looked_at: Moment) -> Publication {
        let events = self.shown.page();
        let shown: Vec<_> = self.servers.values().map(Server::status).collect();
        let servers: Vec<_> = shown.iter().map(|shown| shown.server).collect();
        let [version, ..] = self.build;
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
            netns: self.netns.dropped(),
            unwatched: self.options.servers.is_empty().then(|| Unwatched {
                in_namespaces: self.discovery.elsewhere(),
                beyond_limit: self.unwatched.len(),
            }),
        };
        Publication {
            servers: self.servers.values().zip(&shown).map(published).collect(),
            metrics: Bytes::from(metrics::render(&servers, &own)),
            status: Bytes::from(api::status(looked_at, version, &shown)),
            events,
            looked_at: Some(looked_at),
            stale_after: self.stale_after(),
        }
    }
}

/// What is handed to who runs in this process.
fn published((of, view): (&Server, &StatusView<'_>)) -> PublishedServer {
    let (it, build) = (view.server.assessment, view.server.build);
    let sources = it.sources.iter().map(|(source, state)| {
        let silent = state.up == Some(false);
        let mend = view.mends.iter().find(|(of, _)| of == source).map(|(_, mend)| *mend);
        PublishedSource {
            source: *source,
            up: state.up,
            why: state.why.filter(|_| silent),
            mend: mend.filter(|_| silent),
        }
    });
    PublishedServer {
        name: view.server.name.to_owned(),
        up: it.up,
        parent: it.parent.map(|(parent, _)| parent),
        version: build.and_then(|build| build.version.clone()),
        mpm: build.and_then(|build| build.mpm.clone()),
        sources: sources.collect(),
        said: of.said().cloned(),
    }
}
