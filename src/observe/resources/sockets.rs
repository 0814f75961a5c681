//! The parent's listening sockets, and what was dropped.
//!
//! The kernel tells anybody which sockets listen and how many connections wait there, but not whose
//! they are. A parent's own are those that it has among its descriptors; to who may not see these,
//! those where its configuration says that it listens.

mod diagnosis;
mod namespace;

use std::{collections::BTreeSet, iter, path::Path, time::Duration};

pub(super) use self::{diagnosis::Diagnosis, namespace::dropped};
use super::{ResourceInstruments, Tree};
use crate::{
    clock,
    decode::socket_diagnosis::Diagnosed,
    model::{
        process::ProcessId,
        resources::ListeningSocket,
        settings::{Listen, ServerSettings},
        snapshot::Part,
        source::Why,
        time::Moment,
    },
    observe::{process_table::ProcessTable, scoreboard::ScoreboardReader},
};

/// The targets of descriptors, and the sockets.
pub(super) type Listening = (Option<Part<()>>, Option<Part<Vec<ListeningSocket>>>);

/// Descriptors are read again when other sockets listen than before, and after this time, unless
/// that failed for a while only.
const REFRESHED: Duration = Duration::from_secs(30);
/// A parent with thousands of logs is asked so many times more seldom than it takes.
const REST: u32 = 300;
/// A parent that was found so lately may not listen yet, or nobody has told where it does.
const FOUND: Duration = Duration::from_secs(5);

/// Finds the listening sockets of a server's parent.
#[derive(Debug, Default)]
pub(super) struct SocketObserver {
    of: Option<Known>,
}

/// What is known of a parent.
#[derive(Debug)]
struct Known {
    parent: ProcessId,
    /// When it was seen first.
    found: Moment,
    links: Option<Links>,
    /// Its network namespace is this process's; `None`: that cannot be told.
    is_here: Option<bool>,
    /// Who has made its sockets.
    user: Option<u32>,
    /// Found where its configuration said that it listens: a file that is changed changes no socket.
    configured: BTreeSet<u64>,
}

/// The inodes of a parent's sockets, as they were when so and so many others listened.
#[derive(Debug)]
struct Links {
    edition: u64,
    /// Not asked again before.
    rested: Moment,
    due: Moment,
    inodes: Result<BTreeSet<u64>, Why>,
}

impl SocketObserver {
    /// One look.
    pub(super) fn look(
        &mut self,
        tree: &Tree<'_>,
        instruments: &mut ResourceInstruments<'_>,
    ) -> Listening {
        let ResourceInstruments { table, readers, host } = instruments;
        let known = self.of.get_or_insert_with(|| Known::new(tree, table, &host.mounts().procfs));
        let procfs = host.mounts().procfs.clone();
        let edition = host.diagnosis.refresh(tree.at, tree.overlaps, &procfs);
        let inodes = known.inodes(tree.at, edition, readers);
        let links = inodes.map_or_else(Part::Unseen, Part::Seen);
        if host.diagnosis.is_partial() {
            known.want(tree.settings, &mut host.diagnosis);
        }
        let sockets = match host.diagnosis.sockets(tree.at, &procfs) {
            _ if known.is_here == Some(false) => Some(Part::Unseen(Why::Missing)),
            Err(why) => Some(Part::Unseen(why)),
            Ok(all) => known.own(tree, all),
        };
        (Some(links), sockets)
    }
}

impl Known {
    fn new(tree: &Tree<'_>, table: &ProcessTable, procfs: &Path) -> Self {
        let parent = tree.parent;
        Self {
            parent,
            found: tree.at,
            links: None,
            is_here: namespace::is_own(table, parent, procfs),
            user: table.user(parent.pid).ok(),
            configured: BTreeSet::new(),
        }
    }

    /// The inodes of the parent's sockets, asked for again when others listen than before.
    fn inodes(
        &mut self,
        at: Moment,
        edition: u64,
        readers: &mut ScoreboardReader,
    ) -> Result<(), Why> {
        let fresh = self.links.as_ref().is_some_and(|links| {
            let old = links.edition != edition || at >= links.due;
            !old || at < links.rested
        });
        if !fresh {
            let before = clock::now();
            let inodes = readers.sockets(self.parent).map(|inodes| inodes.into_iter().collect());
            let took = clock::now().since(before);
            let lasts = matches!(inodes, Ok(_) | Err(Why::Permission));
            let rested = at.after(took * REST);
            let due = if lasts { at.after(REFRESHED) } else { rested };
            self.links = Some(Links { edition, rested, due, inodes });
        }
        match self.links.as_ref().map(|links| &links.inodes) {
            Some(Ok(_)) => Ok(()),
            Some(Err(why)) => Err(*why),
            None => Err(Why::Other),
        }
    }

    /// Asks for the sockets among which its own are.
    fn want(&self, settings: Option<&ServerSettings>, diagnosis: &mut Diagnosis) {
        if let Some(Links { inodes: Ok(inodes), .. }) = &self.links {
            return diagnosis.want(inodes.iter().copied(), iter::empty());
        }
        let listens = settings.map(|settings| &*settings.listens).unwrap_or_default();
        let ports = listens.iter().filter_map(|listen| Some((listen.port, self.user?)));
        diagnosis.want(self.configured.iter().copied(), ports);
    }

    /// Which of all are this parent's; `None` while nobody has told where it would listen.
    fn own(&mut self, tree: &Tree<'_>, all: &[Diagnosed]) -> Option<Part<Vec<ListeningSocket>>> {
        let closed = match self.links.as_ref().map(|links| &links.inodes) {
            Some(Ok(inodes)) => return Some(self.held(inodes, all)),
            Some(Err(why)) => *why,
            None => Why::Other,
        };
        let own =
            if self.is_here == Some(true) { self.configured(tree.settings, all) } else { vec![] };
        if !own.is_empty() {
            return Some(Part::Seen(own));
        }
        let why = if tree.settings.is_none() { closed } else { Why::Missing };
        (tree.at.since(self.found) >= FOUND).then_some(Part::Unseen(why))
    }

    /// Those that it has among its descriptors.
    fn held(&self, inodes: &BTreeSet<u64>, all: &[Diagnosed]) -> Part<Vec<ListeningSocket>> {
        let own = all.iter().filter(|it| inodes.contains(&it.socket.inode));
        let own: Vec<_> = own.map(|it| it.socket).collect();
        // In another namespace it may have some.
        let elsewhere = own.is_empty() && self.is_here.is_none();
        if elsewhere { Part::Unseen(Why::Missing) } else { Part::Seen(own) }
    }

    /// Those that are where its configuration says, and that may be its own.
    fn configured(
        &mut self,
        settings: Option<&ServerSettings>,
        all: &[Diagnosed],
    ) -> Vec<ListeningSocket> {
        let listens = settings.map(|settings| &*settings.listens).unwrap_or_default();
        let is_own = |it: &&Diagnosed| {
            self.user == Some(it.owner)
                && (self.configured.contains(&it.socket.inode)
                    || listens.iter().any(|listen| is_at(listen, &it.socket)))
        };
        let own: Vec<_> = all.iter().filter(is_own).map(|it| it.socket).collect();
        self.configured = own.iter().map(|socket| socket.inode).collect();
        own
    }
}

/// `Listen 80` is `[::]:80` where that takes IPv4 too, else also `0.0.0.0:80`.
fn is_at(listen: &Listen, socket: &ListeningSocket) -> bool {
    let address = socket.address.ip().to_canonical();
    socket.address.port() == listen.port
        && match listen.address {
            None => address.is_unspecified(),
            Some(named) => named.to_canonical() == address,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_is_at_the_address_that_it_names() {
        let socket = |address: &str| ListeningSocket {
            address: address.parse().unwrap(),
            inode: 1,
            queue: 0,
            limit: 0,
            drops: None,
        };
        let listen = |address: Option<&str>| Listen {
            address: address.map(|it| it.parse().unwrap()),
            port: 80,
        };
        for (named, at, expected) in [
            (None, "[::]:80", true),
            (None, "0.0.0.0:80", true),
            (None, "127.0.0.1:80", false),
            (None, "[::]:81", false),
            (Some("127.0.0.1"), "127.0.0.1:80", true),
            (Some("127.0.0.1"), "[::]:80", false),
            (Some("127.0.0.1"), "127.0.0.1:81", false),
            (Some("::"), "[::]:80", true),
            (Some("::"), "0.0.0.0:80", false),
            (Some("0.0.0.0"), "[::]:80", false),
        ] {
            assert_eq!(is_at(&listen(named), &socket(at)), expected, "{named:?} {at}");
        }
    }

    #[test]
    fn to_whom_descriptors_are_closed_a_listen_line_tells_whose_a_socket_is() {
        let at = |age| clock::now().after(Duration::from_secs(age));
        let socket = |port, inode, owner| {
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
            let socket = ListeningSocket { address, inode, queue: 0, limit: 0, drops: None };
            Diagnosed { socket, owner }
        };
        let all = [socket(80, 1, 33), socket(81, 2, 33), socket(80, 3, 1000)];
        let parent = ProcessId {
            pid: crate::model::process::Pid::new(1).unwrap(),
            started: crate::model::time::Uptime::from_micros(1),
        };
        let mut known = Known {
            parent,
            found: at(0),
            links: Some(Links {
                edition: 1,
                rested: at(0),
                due: at(0),
                inodes: Err(Why::Permission),
            }),
            is_here: Some(true),
            user: Some(33),
            configured: BTreeSet::new(),
        };
        let own = |known: &mut Known, age, ports: Option<&[u16]>| {
            let listen = |port: &u16| Listen { address: "127.0.0.1".parse().ok(), port: *port };
            let settings = ports.map(|ports| ServerSettings {
                listens: ports.iter().map(listen).collect(),
                ..ServerSettings::default()
            });
            let settings = settings.as_ref();
            let tree = Tree {
                at: at(age),
                parent,
                children: &[],
                overlaps: false,
                heats: false,
                settings,
            };
            let seen = known.own(&tree, &all)?;
            let inodes = |seen: &Vec<ListeningSocket>| seen.iter().map(|it| it.inode).collect();
            Some(match &seen {
                Part::Seen(seen) => Ok(inodes(seen)),
                Part::Unseen(why) => Err(*why),
            })
        };
        assert_eq!(own(&mut known, 0, None), None, "httpd may tell soon");
        assert_eq!(own(&mut known, 9, None), Some(Err(Why::Permission)));
        assert_eq!(own(&mut known, 9, Some(&[80])), Some(Ok(vec![1])), "not another user's");
        assert_eq!(own(&mut known, 9, Some(&[81])), Some(Ok(vec![1, 2])), "no restart closed it");
        assert_eq!(own(&mut known, 9, None), Some(Ok(vec![1, 2])));
        known.configured.clear();
        assert_eq!(own(&mut known, 9, Some(&[82])), Some(Err(Why::Missing)), "absent, not 0");
        known.is_here = None;
        assert_eq!(own(&mut known, 9, Some(&[80])), Some(Err(Why::Missing)), "nobody knows where");
        known.links = None;
        known.is_here = Some(true);
        assert_eq!(own(&mut known, 9, Some(&[80])), Some(Ok(vec![1])));
    }
}
