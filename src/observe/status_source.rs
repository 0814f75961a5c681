//! When a server's `mod_status` is asked: at most once an interval, for it costs httpd a worker.

use std::time::Duration;

use hyper::Uri;

use super::server_status::StatusAsker;
use crate::model::time::Moment;

/// One server's status page.
#[derive(Debug)]
pub struct StatusSource {
    server: usize,
    url: Option<Uri>,
    asked: Option<Moment>,
}

impl StatusSource {
    /// A page that was not asked for; `None` for none. `server` is the server's number.
    #[must_use]
    pub const fn new(server: usize, url: Option<Uri>) -> Self {
        Self { server, url, asked: None }
    }

    /// Another choice of the operator's.
    pub fn choose(&mut self, url: Option<&Uri>) {
        self.url = url.cloned();
    }

    /// Asks, if it is time. The answer comes to another look.
    pub fn tend(&mut self, at: Moment, interval: Duration, asker: &mut StatusAsker) {
        let recent = self.asked.is_some_and(|asked| at.since(asked) < interval);
        if let Some(url) = self.url.as_ref().filter(|_| !recent)
            && asker.ask(self.server, url)
        {
            self.asked = Some(at);
        }
    }
}
