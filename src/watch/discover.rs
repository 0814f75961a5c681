//! Parents that nobody named, and which of their servers are watched if there are too many.

use tracing::{info, warn};

use super::{Choices, MOST_DISCOVERED, Watch};
use crate::{
    model::time::Moment,
    observe::{
        discovery::{self, Found, is_trusted},
        server::Target,
    },
};

/// Of the servers of other users this many stay when they are down: everybody can start and end as
/// many as he likes.
const MOST_DOWN_OF_OTHERS: usize = 4;

/// What a watched server's place depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    number: usize,
    others: bool,
    may_be_up: bool,
}

impl Place {
    /// Whether it is given to a server that was just found.
    const fn is_for(self, trusted: bool) -> bool {
        self.others && (trusted || !self.may_be_up)
    }
}

/// A server that was discovered, and is neither of root's nor of gracekeeper's own user's.
pub(super) fn is_of_others(target: &Target) -> bool {
    let Target { pid_file, unit, signature, .. } = target;
    let is_trusted = signature.as_ref().is_some_and(|it| is_trusted(it.owner));
    pid_file.is_none() && unit.is_none() && !is_trusted
}

/// Who gives way: of those that are down the one known longest, else the one that came last.
fn who_gives_way(places: impl Iterator<Item = Place>, trusted: bool) -> Option<usize> {
    let places: Vec<Place> = places.filter(|place| place.is_for(trusted)).collect();
    let down = places.iter().filter(|place| !place.may_be_up).map(|place| place.number).min();
    down.or_else(|| places.iter().map(|place| place.number).max())
}

/// Which of two names it gets, and whose place; for the `other` one, which takes a file's reading,
/// it is asked only if it matters. A trusted one gets its own name from any other user's server:
/// else anybody could have the name of root's httpd before that is started.
fn chosen(
    name: String,
    holder: Option<Place>,
    other: impl FnOnce() -> Option<(Option<Place>, String)>,
    trusted: bool,
) -> Option<(String, Option<Place>)> {
    let Some(place) = holder else { return Some((name, None)) };
    if trusted && place.is_for(trusted) {
        return Some((name, Some(place)));
    }
    match other() {
        Some((None, other)) => Some((other, None)),
        Some(_) | None if place.is_for(trusted) => Some((name, Some(place))),
        Some((Some(place), other)) if place.is_for(trusted) => Some((other, Some(place))),
        Some(_) | None => None,
    }
}

/// Of other users' servers that are down, the one known longest, if they are too many.
fn who_is_let_go(places: impl Iterator<Item = Place>) -> Option<usize> {
    let down = places.filter(|place| place.others && !place.may_be_up);
    let mut down: Vec<usize> = down.map(|place| place.number).collect();
    down.sort_unstable();
    down.first().copied().filter(|_| down.len() > MOST_DOWN_OF_OTHERS)
}

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
                self.welcome(parent, &found);
            }
            // Anybody may start what asks; whose it would be is not known before it serves.
            let asking = self.discovery.asking(&self.table, at.uptime);
            for starting in asking.iter().filter(|it| is_trusted(it.signature.owner)) {
                self.welcome(starting, &found);
            }
            while let Some(number) = who_is_let_go(self.places(&found)) {
                self.let_go(number, "too many servers of other users are down");
            }
        }
        found
    }

    fn welcome(&mut self, parent: &Found, found: &[Found]) {
        let known = self.servers.values().any(|server| {
            server.observer.parent() == Some(parent.id)
                || server.observer.target().signature.as_ref() == Some(&parent.signature)
        });
        if known {
            return;
        }
        let Some(name) = self.make_room(parent, found) else {
            if self.unwatched.insert(parent.id) {
                let (pid, watched) = (parent.id.pid.as_raw(), self.servers.len());
                warn!(pid, watched, "httpd not watched: its name is taken, or there are too many");
            }
            return;
        };
        self.unwatched.remove(&parent.id);
        info!(server = name, pid = parent.id.pid.as_raw(), "discovered");
        let signature = Some(parent.signature.clone());
        let target = Target { signature, ..Target::default() };
        self.add(name, target, &Choices::default(), None);
    }

    /// A name for the server of this parent, and a place, for which another one may give way.
    fn make_room(&mut self, parent: &Found, found: &[Found]) -> Option<String> {
        let trusted = is_trusted(parent.signature.owner);
        let (name, holder) = self.name_for(parent, found)?;
        let is_full = self.servers.len() >= MOST_DISCOVERED;
        let number = match holder {
            None if is_full => Some(who_gives_way(self.places(found), trusted)?),
            None => None,
            Some(place) => Some(place.number),
        };
        if let Some(number) = number {
            self.let_go(number, "another one needs its place or its name");
        }
        Some(name)
    }

    /// The first name that is free, else the first one whose holder gives way.
    fn name_for(&self, parent: &Found, found: &[Found]) -> Option<(String, Option<Place>)> {
        let trusted = is_trusted(parent.signature.owner);
        let holder = |name: &String| {
            let is_it = |place: &Place| {
                self.servers.get(&place.number).is_some_and(|server| server.name == *name)
            };
            self.places(found).find(is_it)
        };
        let name = discovery::name(&self.table, parent);
        let held = holder(&name);
        let other = || {
            let other = discovery::name_with_port(&name, parent)?;
            Some((holder(&other), other))
        };
        chosen(name.clone(), held, other, trusted)
    }

    /// The places of all servers; one whose parent was just found is not down.
    fn places(&self, found: &[Found]) -> impl Iterator<Item = Place> {
        self.servers.iter().map(|(number, server)| {
            let target = server.observer.target();
            let is_back = found.iter().any(|it| target.signature.as_ref() == Some(&it.signature));
            let may_be_up = server.may_be_up() || is_back;
            Place { number: *number, others: is_of_others(target), may_be_up }
        })
    }

    /// Watches a server no longer, though it was not forgotten.
    fn let_go(&mut self, number: usize, reason: &'static str) {
        let Some(mut server) = self.servers.remove(&number) else { return };
        self.write(server.last_entries());
        self.moments.forget(number);
        self.side.forget(number);
        if let Some(id) = server.observer.parent() {
            self.unwatched.insert(id);
        }
        let target = server.observer.target().signature.as_ref();
        let owner = target.map(|signature| signature.owner);
        warn!(server = server.name, owner, reason, "no longer watched");
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::observe::discovery::Signature;

    const fn place(number: usize, others: bool, may_be_up: bool) -> Place {
        Place { number, others, may_be_up }
    }

    #[test]
    fn roots_server_takes_the_place_of_another_users() {
        let all = [place(1, true, true), place(2, false, false), place(3, true, true)];
        assert_eq!(who_gives_way(all.into_iter(), true), Some(3), "who came last");
        let down = [place(4, true, false), place(5, true, false)];
        let places = || all.into_iter().chain(down);
        assert_eq!(who_gives_way(places(), true), Some(4), "who is down goes first");
        assert_eq!(who_gives_way([place(1, false, true)].into_iter(), true), None);
        assert_eq!(who_gives_way([place(1, false, false)].into_iter(), true), None, "it stays");
    }

    #[test]
    fn another_users_server_takes_a_place_only_of_what_is_down() {
        let up = [place(1, true, true), place(2, false, false)];
        assert_eq!(who_gives_way(up.into_iter(), false), None);
        let down = up.into_iter().chain([place(3, true, false)]);
        assert_eq!(who_gives_way(down, false), Some(3));
    }

    #[test]
    fn roots_server_has_its_name_though_another_users_was_there_first() {
        let named = |holder, other: Option<Option<Place>>, trusted| {
            let other = || other.map(|holder| (holder, "s:80".to_owned()));
            let (name, place) = chosen("s".to_owned(), holder, other, trusted)?;
            Some((name, place.map(|place| place.number)))
        };
        let (roots, others) = (place(1, false, true), place(2, true, true));
        let down = place(3, true, false);
        let gets = |name: &str, number| Some((name.to_owned(), number));
        assert_eq!(named(None, Some(None), false), gets("s", None));
        assert_eq!(named(Some(others), Some(None), true), gets("s", Some(2)));
        assert_eq!(named(Some(roots), Some(None), true), gets("s:80", None));
        assert_eq!(named(Some(others), Some(None), false), gets("s:80", None), "who was first");
        assert_eq!(named(Some(roots), Some(Some(others)), true), gets("s:80", Some(2)));
        assert_eq!(named(Some(roots), Some(Some(down)), false), gets("s:80", Some(3)));
        assert_eq!(named(Some(roots), Some(Some(others)), false), None);
    }

    #[test]
    fn at_most_four_servers_of_other_users_stay_when_they_are_down() {
        let down = || (2..=5).map(|number| place(number, true, false));
        let up = || (6..20).map(|number| place(number, true, true));
        let own = [place(0, false, false), place(1, false, false)];
        assert_eq!(who_is_let_go(down().chain(up()).chain(own)), None);
        assert_eq!(who_is_let_go(up().chain(down()).chain([place(20, true, false)])), Some(2));
    }

    #[test]
    fn what_an_operator_named_is_nobody_elses() {
        let signature =
            |owner| Some(Signature { program: PathBuf::from("httpd"), configuration: None, owner });
        let of = |owner| Target { signature: signature(owner), ..Target::default() };
        assert!(is_of_others(&of(64_999)));
        assert!(!is_of_others(&of(0)));
        assert!(!is_of_others(&of(rustix::process::geteuid().as_raw())));
        assert!(!is_of_others(&Target { unit: Some("httpd".to_owned()), ..of(64_999) }));
        assert!(!is_of_others(&Target { pid_file: Some("/run/a.pid".into()), ..of(64_999) }));
    }
}
