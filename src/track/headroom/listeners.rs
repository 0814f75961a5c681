//! Listening sockets: their accept queues, what was dropped, and which a restart replaced.

mod labels;
mod stall;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use self::{labels::Labels, stall::Stall};
use super::HeadroomLook;
use crate::model::{event::Event, resources::ListeningSocket, snapshot::Part, time::Moment};

/// A restart closes a socket and opens it anew within milliseconds. One that is gone for longer,
/// while none is in progress, was taken out of the configuration: that it may come back some day is
/// no replacement.
const REPLACED_WITHIN: Duration = Duration::from_secs(3);
/// Of a server with more sockets only those whose listener has a label of its own are followed; the
/// others are counted, with who waits there, and what they drop is not known.
const MOST_FOLLOWED: usize = 512;
/// Who was refused, or had to wait, comes back together once the restart is over.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Listening sockets; `None` while they cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerHeadroom {
    /// How many sockets listen.
    pub count: Option<u32>,
    /// Accept queues by the label of their listener: 8, the rest are `other`.
    pub queues: BTreeMap<String, Queue>,
    /// Connections that were dropped since this run began, by the same label.
    pub drops: BTreeMap<String, u64>,
    /// Listening sockets that restarts closed and opened anew since this run began.
    pub replaced: u64,
    /// Connections wait and no worker has made progress for long, or nothing listens any more.
    pub is_stalled: bool,
    /// The longest accept queue in the last restart.
    pub restart_peak_queue: Option<u32>,
}

/// An accept queue; of several sockets at one address, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Connections that wait.
    pub length: u64,
    /// How many may.
    pub limit: u64,
}

/// Follows listening sockets.
#[derive(Clone, Debug, Default)]
pub struct ListenerTracker {
    places: BTreeMap<SocketAddr, Place>,
    labels: Labels,
    drops: BTreeMap<String, u64>,
    namespace: Namespace,
    replaced: u64,
    stall: Stall,
    peak: Option<Peak>,
}

/// What the whole network namespace dropped. The kernel counts at a socket also what is no dropped
/// connection: with `TCP_DEFER_ACCEPT`, which httpd sets, the last packet of each handshake. Only a
/// connection that is dropped is counted in the namespace too, so no listener dropped more.
#[derive(Clone, Debug, Default)]
struct Namespace {
    /// In all, when sockets were seen last; `None` where that could not be read.
    total: Option<u64>,
    /// How much more than when they were seen before.
    growth: u64,
}

/// Each socket of an address, with what it had dropped.
type Here = BTreeMap<u64, Option<u64>>;

/// The sockets of one address.
#[derive(Clone, Debug, Default)]
struct Place {
    /// Each with what it had dropped when it was last seen.
    sockets: Here,
    /// Those that were closed, and when that was seen.
    gone: BTreeMap<u64, Moment>,
}

/// The longest accept queue of a restart.
#[derive(Clone, Copy, Debug)]
struct Peak {
    longest: u64,
    /// `None`: the restart is in progress.
    until: Option<Moment>,
}

impl ListenerTracker {
    /// Folds one look.
    pub fn observe(&mut self, look: &HeadroomLook<'_>) -> ListenerHeadroom {
        let seen = look.resources.sockets.as_ref().and_then(Part::seen);
        let seen = seen.map(Vec::as_slice);
        let queues = seen.map(|sockets| self.fold(look, sockets)).unwrap_or_default();
        let longest = seen.map(longest);
        self.observe_restart(look, longest);
        self.stall.observe(look, seen.map(<[_]>::len), longest);
        ListenerHeadroom {
            count: seen.map(|sockets| u32::try_from(sockets.len()).unwrap_or(u32::MAX)),
            queues,
            drops: self.namespace.total.map(|_| self.drops.clone()).unwrap_or_default(),
            replaced: self.replaced,
            is_stalled: self.stall.is_stalled(),
            restart_peak_queue: self
                .peak
                .map(|peak| u32::try_from(peak.longest).unwrap_or(u32::MAX)),
        }
    }

    /// When who waits has waited too long.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.stall.next_deadline()
    }

    fn fold(
        &mut self,
        look: &HeadroomLook<'_>,
        sockets: &[ListeningSocket],
    ) -> BTreeMap<String, Queue> {
        self.namespace.observe(look);
        let mut here = self.followed(sockets);
        for address in here.keys() {
            self.drops.entry(self.labels.of(*address)).or_default();
            self.places.entry(*address).or_default();
        }
        for (address, place) in &mut self.places {
            let (replaced, dropped) = place.fold(look.at, here.remove(address).unwrap_or_default());
            self.replaced += replaced;
            *self.drops.entry(self.labels.of(*address)).or_default() +=
                dropped.min(self.namespace.growth);
        }
        // A parent that has not opened its sockets yet is about to.
        if look.restart_since.is_none() && !sockets.is_empty() {
            for place in self.places.values_mut() {
                place.gone.retain(|_, since| look.at.since(*since) < REPLACED_WITHIN);
            }
            self.places.retain(|_, place| !place.sockets.is_empty() || !place.gone.is_empty());
            self.forget();
        }
        self.queues(sockets)
    }

    fn queues(&self, sockets: &[ListeningSocket]) -> BTreeMap<String, Queue> {
        let mut queues = BTreeMap::<Option<SocketAddr>, Queue>::new();
        for socket in sockets {
            let own = Some(socket.address).filter(|address| self.labels.has(*address));
            let queue = queues.entry(own).or_default();
            queue.length += u64::from(socket.queue);
            queue.limit += u64::from(socket.limit);
        }
        let label = |own: Option<SocketAddr>| own.map_or_else(labels::other, |it| it.to_string());
        queues.into_iter().map(|(own, queue)| (label(own), queue)).collect()
    }

    /// The sockets of each address that is followed, each with what it has dropped.
    fn followed(&mut self, sockets: &[ListeningSocket]) -> BTreeMap<SocketAddr, Here> {
        let is_crowd = sockets.len() > MOST_FOLLOWED;
        let mut here = BTreeMap::<SocketAddr, Here>::new();
        // Of a crowd the first that are seen get the labels, else the first by address.
        for socket in sockets {
            if is_crowd {
                self.labels.take(socket.address);
            }
            if !is_crowd || self.labels.has(socket.address) {
                here.entry(socket.address).or_default().insert(socket.inode, socket.drops);
            }
        }
        if is_crowd {
            let labels = &self.labels;
            self.places.retain(|address, _| labels.has(*address));
            self.drops.remove(&labels::other());
        } else {
            for address in here.keys() {
                self.labels.take(*address);
            }
        }
        here
    }

    /// Who listens no more leaves its label to others, and what it dropped is told no more.
    fn forget(&mut self) {
        self.labels.retain(&self.places);
        let labels: BTreeSet<String> =
            self.places.keys().map(|address| self.labels.of(*address)).collect();
        self.drops.retain(|label, _| labels.contains(label));
    }

    /// What waits from a restart's beginning until it has resumed and those who waited are served.
    fn observe_restart(&mut self, look: &HeadroomLook<'_>, longest: Option<u64>) {
        let resumed = look.events.iter().any(|event| matches!(event, Event::Restarted { .. }));
        let aftermath = Some(look.at.after(AFTERMATH));
        match (&mut self.peak, look.restart_since) {
            (Some(Peak { until: None, .. }), Some(_)) => {}
            // It has resumed, or failed.
            (Some(Peak { until: until @ None, .. }), None) => *until = aftermath,
            (peak, Some(_)) => *peak = Some(Peak { longest: 0, until: None }),
            // Too fast to be seen in progress.
            (peak, None) if resumed => *peak = Some(Peak { longest: 0, until: aftermath }),
            (Some(Peak { until: Some(until), .. }), None) if look.at < *until => {}
            (Some(_) | None, None) => return,
        }
        if let Some((peak, longest)) = self.peak.as_mut().zip(longest) {
            peak.longest = peak.longest.max(longest);
        }
    }
}

impl Namespace {
    /// Of a look that saw sockets.
    fn observe(&mut self, look: &HeadroomLook<'_>) {
        let host = look.resources.host.as_ref().and_then(Part::seen);
        let total = host.and_then(|host| host.netns).map(|netns| netns.drops);
        let growth = total.zip(self.total).map(|(now, before)| now.saturating_sub(before));
        *self = Self { total, growth: growth.unwrap_or(0) };
    }
}

/// At any address; in a crowd, of any socket.
fn longest(sockets: &[ListeningSocket]) -> u64 {
    if sockets.len() > MOST_FOLLOWED {
        return sockets.iter().map(|socket| socket.queue).max().unwrap_or(0).into();
    }
    let mut queues = BTreeMap::<SocketAddr, u64>::new();
    for socket in sockets {
        *queues.entry(socket.address).or_default() += u64::from(socket.queue);
    }
    queues.into_values().max().unwrap_or(0)
}

impl Place {
    /// Returns how many of its sockets are new in the place of another, and what all dropped.
    fn fold(&mut self, at: Moment, now: Here) -> (u64, u64) {
        for inode in self.sockets.keys().filter(|inode| !now.contains_key(inode)) {
            self.gone.insert(*inode, at);
        }
        let (mut replaced, mut dropped) = (0, 0);
        for (inode, drops) in &now {
            let before = match self.sockets.get(inode) {
                Some(before) => *before,
                // It was not seen for a while.
                None if self.gone.remove(inode).is_some() => *drops,
                // It is younger than this run: all that it dropped counts.
                None if self.gone.pop_first().is_some() => {
                    replaced += 1;
                    Some(0)
                }
                None => *drops,
            };
            let growth = drops.zip(before).map(|(now, before)| now.saturating_sub(before));
            dropped += growth.unwrap_or(0);
        }
        self.sockets = now;
        (replaced, dropped)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        model::{
            event::RestartType,
            resources::{HostSample, NetnsDrops, Resources},
            scoreboard::{Generation, Global, Scoreboard, SlotRecord, WorkerStatus},
            source::Why,
        },
        track::fixture::{after, slot},
    };

    /// What is seen at once: address, inode, queue, drops.
    type Seen<'a> = &'a [(&'a str, u64, u32, u64)];

    #[derive(Default)]
    struct Story {
        tracker: ListenerTracker,
        scoreboard: Option<Scoreboard>,
        restart_since: Option<Moment>,
        events: Vec<Event>,
        /// In the namespace; as much as all sockets seem to, unless told.
        dropped: Option<u64>,
        /// That cannot be read.
        is_blind: bool,
    }

    impl Story {
        fn look(&mut self, at: u64, seen: Seen<'_>) -> ListenerHeadroom {
            let socket = |(address, inode, queue, drops): &(&str, u64, u32, u64)| ListeningSocket {
                address: address.parse().unwrap(),
                inode: *inode,
                queue: *queue,
                limit: 5,
                drops: Some(*drops),
            };
            self.sees(at, Some(Part::Seen(seen.iter().map(socket).collect())))
        }

        fn sees(
            &mut self,
            at: u64,
            sockets: Option<Part<Vec<ListeningSocket>>>,
        ) -> ListenerHeadroom {
            let dropped = self.dropped.or(Some(1000 * at)).filter(|_| !self.is_blind);
            let netns = dropped.map(|drops| NetnsDrops { overflows: 0, drops });
            let host = Some(Part::Seen(HostSample { netns, ..HostSample::default() }));
            let resources = Resources { host, sockets, ..Resources::default() };
            self.tracker.observe(&HeadroomLook {
                at: after(at),
                resources: &resources,
                roles: &BTreeMap::new(),
                loaded: None,
                scoreboard: self.scoreboard.as_ref(),
                restart_since: self.restart_since,
                events: &std::mem::take(&mut self.events),
            })
        }

        fn resumes(&mut self, began: u64) {
            self.restart_since = None;
            self.events.push(Event::Restarted {
                kind: RestartType::Graceful,
                began: after(began),
                took: None,
                left: None,
                coalesced: false,
                interrupted: 0,
            });
        }

        fn works(&mut self, activity: u64) {
            let slot = SlotRecord {
                activity: Some(activity),
                ..slot(11, 0, &[(WorkerStatus::Sending, 5)])
            };
            let global = Global {
                server_limit: 1,
                thread_limit: 5,
                running_generation: Generation::new(0),
                restart_time: after(0).wall,
            };
            self.scoreboard = Some(Scoreboard { global, slots: Some(vec![slot]) });
        }
    }

    const ONE: &str = "127.0.0.1:80";

    #[test]
    fn sockets_at_one_address_are_one_listener() {
        let told =
            Story::default().look(0, &[(ONE, 1, 2, 0), (ONE, 2, 1, 0), ("[::]:443", 3, 0, 0)]);
        assert_eq!(told.count, Some(3));
        let queue = |length, limit| Queue { length, limit };
        let expected = [(ONE, queue(3, 10)), ("[::]:443", queue(0, 5))];
        assert_eq!(told.queues, expected.map(|(label, queue)| (label.to_owned(), queue)).into());
        assert_eq!(told.drops.len(), 2, "at 0 from the first look");
        assert_eq!(told.restart_peak_queue, None, "there was no restart");
    }

    #[test]
    fn eight_listeners_have_labels_which_they_keep() {
        let mut story = Story::default();
        let addresses: Vec<String> = (10..22).map(|port| format!("127.0.0.1:{port}")).collect();
        let all: Vec<_> = addresses.iter().map(|it| (it.as_str(), 1, 1, 0)).collect();
        let first: BTreeSet<String> = story.look(0, &all[3..]).queues.into_keys().collect();
        assert_eq!(first.len(), 9);
        assert!(first.contains("127.0.0.1:13") && !first.contains("127.0.0.1:21"));
        let told = story.look(1000, &all);
        assert_eq!(told.queues.into_keys().collect::<BTreeSet<_>>(), first);
        let other = story.look(2000, &all).queues["other"];
        assert_eq!((other.length, other.limit), (4, 20));
    }

    #[test]
    fn drops_are_those_of_this_run_and_never_fall() {
        let mut story = Story::default();
        assert_eq!(story.look(0, &[(ONE, 1, 0, 100)]).drops[ONE], 0);
        assert_eq!(story.look(1000, &[(ONE, 1, 0, 103)]).drops[ONE], 3);
        let told = story.sees(2000, Some(Part::Unseen(Why::Timeout)));
        assert_eq!((told.drops[ONE], told.count), (3, None));
        assert!(told.queues.is_empty(), "absent, not 0");
        assert_eq!(story.look(3000, &[(ONE, 1, 0, 104)]).drops[ONE], 4);
        let told = story.look(4000, &[(ONE, 2, 0, 2)]);
        assert_eq!((told.drops[ONE], told.replaced), (6, 1), "all that the new one dropped");
        assert_eq!(story.sees(5000, None).drops[ONE], 6, "there is no parent");
        assert_eq!(story.look(9000, &[(ONE, 2, 0, 2), ("[::]:443", 3, 0, 9)]).drops["[::]:443"], 0);
    }

    #[test]
    fn what_the_namespace_did_not_drop_no_listener_did() {
        let mut story = Story { dropped: Some(7), ..Story::default() };
        story.look(0, &[(ONE, 1, 0, 100), ("[::]:443", 2, 0, 0)]);
        let told = story.look(1000, &[(ONE, 1, 0, 200), ("[::]:443", 2, 0, 0)]);
        assert_eq!(told.drops, [(ONE.to_owned(), 0), ("[::]:443".to_owned(), 0)].into());
        story.dropped = Some(10);
        let told = story.look(2000, &[(ONE, 1, 0, 240), ("[::]:443", 2, 0, 1)]);
        assert_eq!((told.drops[ONE], told.drops["[::]:443"]), (3, 1));
        story.dropped = Some(19);
        assert_eq!(story.sees(3000, Some(Part::Unseen(Why::Timeout))).drops[ONE], 3);
        assert_eq!(story.look(4000, &[(ONE, 1, 0, 260)]).drops[ONE], 12, "both since the last");
        story.is_blind = true;
        assert!(story.look(5000, &[(ONE, 1, 0, 290)]).drops.is_empty(), "absent, not 0");
        (story.is_blind, story.dropped) = (false, Some(50));
        assert_eq!(story.look(6000, &[(ONE, 1, 0, 300)]).drops[ONE], 12);
        story.dropped = Some(51);
        assert_eq!(story.look(7000, &[(ONE, 1, 0, 300)]).drops[ONE], 12);
        assert_eq!(story.look(8000, &[(ONE, 1, 0, 301)]).drops[ONE], 12, "another look's");
    }

    #[test]
    fn of_a_crowd_only_listeners_with_a_label_are_followed() {
        let addresses: Vec<String> =
            (0..600).map(|port| format!("127.0.0.1:{}", port + 1)).collect();
        let seen = |inode, queue, drops| -> Vec<(&str, u64, u32, u64)> {
            addresses.iter().map(|it| (it.as_str(), inode, queue, drops)).collect()
        };
        let mut story = Story::default();
        story.look(0, &seen(1, 0, 0)[..20]);
        assert_eq!(story.look(1000, &seen(1, 0, 1)[..20]).drops["other"], 12);
        let told = story.look(2000, &seen(1, 2, 3));
        assert_eq!((told.count, story.tracker.places.len()), (Some(600), 8));
        assert_eq!(told.queues["other"], Queue { length: 2 * 592, limit: 5 * 592 });
        assert_eq!((told.drops.len(), told.drops[addresses[0].as_str()]), (8, 3));
        assert_eq!(story.look(3000, &seen(2, 0, 3)).replaced, 8);
        let told = story.look(4000, &seen(3, 0, 9)[..20]);
        assert_eq!((told.drops["other"], told.replaced), (0, 16), "the others are seen first");
    }

    #[test]
    fn a_socket_that_a_restart_opens_anew_is_replaced_once() {
        let mut story = Story::default();
        let before = [(ONE, 1, 0, 0), (ONE, 2, 0, 0), ("[::]:443", 3, 0, 0)];
        assert_eq!(story.look(0, &before).replaced, 0, "the first sight");
        story.restart_since = Some(after(900));
        assert_eq!(story.look(1000, &[(ONE, 1, 0, 0), ("[::]:443", 3, 0, 0)]).replaced, 0);
        // It waits for a pass phrase meanwhile.
        assert_eq!(story.look(60_000, &[(ONE, 1, 0, 0), ("[::]:443", 3, 0, 0)]).replaced, 0);
        story.resumes(900);
        let after = [(ONE, 1, 0, 0), (ONE, 4, 0, 0), ("[::]:443", 3, 0, 0)];
        assert_eq!(story.look(60_100, &after).replaced, 1);
        assert_eq!(story.look(61_000, &after).replaced, 1);
        // A full restart.
        assert_eq!(story.sees(62_000, None).replaced, 1);
        assert_eq!(story.look(90_000, &[]).replaced, 1, "it does not listen yet");
        let anew = [(ONE, 5, 0, 0), (ONE, 6, 0, 0), ("[::]:443", 7, 0, 0)];
        assert_eq!(story.look(99_000, &anew).replaced, 4);
    }

    #[test]
    fn a_listen_that_is_added_or_removed_replaces_nothing() {
        let mut story = Story::default();
        story.look(0, &[(ONE, 1, 0, 0)]);
        story.resumes(900);
        assert_eq!(story.look(1000, &[(ONE, 1, 0, 0), ("[::]:443", 3, 0, 0)]).replaced, 0);
        story.resumes(1900);
        for at in [2000, 3000, 4000, 5000] {
            assert_eq!(story.look(at, &[(ONE, 1, 0, 0)]).replaced, 0);
        }
        story.resumes(5900);
        assert_eq!(story.look(6000, &[(ONE, 1, 0, 0), ("[::]:443", 4, 0, 0)]).replaced, 0);
    }

    #[test]
    fn the_longest_queue_of_a_restart_is_kept() {
        let mut story = Story::default();
        assert_eq!(story.look(0, &[(ONE, 1, 9, 0)]).restart_peak_queue, None);
        story.restart_since = Some(after(900));
        assert_eq!(story.look(1000, &[(ONE, 1, 2, 0)]).restart_peak_queue, Some(2));
        story.resumes(900);
        assert_eq!(story.look(2000, &[(ONE, 1, 1, 0)]).restart_peak_queue, Some(2));
        let two = [(ONE, 1, 3, 0), (ONE, 2, 1, 0), ("[::]:443", 3, 2, 0)];
        assert_eq!(story.look(6000, &two).restart_peak_queue, Some(4), "who waited comes back");
        assert_eq!(story.look(8000, &[(ONE, 1, 7, 0)]).restart_peak_queue, Some(4), "it is over");
        // One that fails.
        story.restart_since = Some(after(8100));
        assert_eq!(story.look(8200, &[(ONE, 1, 6, 0)]).restart_peak_queue, Some(6));
        story.restart_since = None;
        assert_eq!(story.sees(8300, None).restart_peak_queue, Some(6));
        // Too fast for a look to see it in progress.
        story.resumes(8900);
        assert_eq!(story.look(9000, &[(ONE, 1, 1, 0)]).restart_peak_queue, Some(1));
    }

    #[test]
    fn who_waits_while_no_worker_moves_is_not_served() {
        let mut story = Story::default();
        story.works(1);
        assert!(!story.look(0, &[(ONE, 1, 0, 0)]).is_stalled);
        assert_eq!(story.tracker.next_deadline(), None);
        story.look(1000, &[(ONE, 1, 1, 0)]);
        assert_eq!(story.tracker.next_deadline(), Some(after(11_000)));
        story.works(2);
        assert!(!story.look(9000, &[(ONE, 1, 1, 0)]).is_stalled);
        assert!(!story.look(11_000, &[(ONE, 1, 1, 0)]).is_stalled, "a worker moved");
        assert!(story.look(19_000, &[(ONE, 1, 1, 0)]).is_stalled);
        assert_eq!(story.tracker.next_deadline(), None, "time alone changes nothing");
        let unseen = || Some(Part::Unseen(Why::Limit));
        assert!(story.sees(19_500, unseen()).is_stalled, "unknown is not empty");
        assert!(story.look(20_000, &[(ONE, 1, 1, 0)]).is_stalled);
        story.works(3);
        assert!(!story.sees(20_500, unseen()).is_stalled, "a worker moved");
        story.look(21_000, &[(ONE, 1, 1, 0)]);
        assert!(!story.sees(31_500, unseen()).is_stalled, "nobody saw that it became one");
        assert_eq!(story.tracker.next_deadline(), None, "not before they are seen");
        assert!(story.look(32_000, &[(ONE, 1, 1, 0)]).is_stalled);
        assert!(!story.look(32_500, &[(ONE, 1, 0, 0)]).is_stalled, "nobody waits");
        story.scoreboard = None;
        story.look(33_000, &[(ONE, 1, 1, 0)]);
        assert!(!story.look(99_000, &[(ONE, 1, 1, 0)]).is_stalled, "nothing tells");
    }

    #[test]
    fn a_parent_that_has_closed_all_its_listeners_serves_nobody() {
        let mut story = Story::default();
        assert!(!story.look(0, &[]).is_stalled);
        assert!(!story.look(9000, &[]).is_stalled, "it may listen where nobody can see it");
        story.look(10_000, &[(ONE, 1, 0, 0)]);
        story.look(11_000, &[]);
        assert_eq!(story.tracker.next_deadline(), Some(after(14_000)));
        assert!(story.look(14_000, &[]).is_stalled);
        assert!(!story.look(15_000, &[(ONE, 2, 0, 0)]).is_stalled);
    }
}
