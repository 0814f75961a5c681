use super::*;
use crate::model::{
    files::Digest,
    process::Pid,
    time::{Timestamp, Uptime},
    tls::{HostAddress, KeyAlgorithm, TlsPair},
};
use crate::observe::tls_probe::OtherEnd;

const START: Moment = Moment {
    uptime: Uptime::from_micros(1_000_000_000),
    wall: Timestamp::from_micros(1_700_000_000_000_000),
};

fn after(seconds: u64) -> Moment {
    START.after(Duration::from_secs(seconds))
}

fn certificate(content: u8) -> Certificate {
    Certificate {
        begins: Timestamp::from_micros(0),
        ends: Timestamp::from_micros(1),
        fingerprint: Digest([content; 16]),
        algorithm: KeyAlgorithm::Ecdsa,
    }
}

fn parent(pid: i32) -> ProcessId {
    ProcessId { pid: Pid::new(pid).unwrap(), started: Uptime::from_micros(1) }
}

/// One server, so many files, a prober that does what the test says.
struct Desk {
    observer: ServedObserver,
    prober: TlsProber,
    thread: OtherEnd,
    hosts: Arc<[TlsHost]>,
    sightings: Arc<FileSightings>,
    parent: ProcessId,
    loads: u64,
    workers: Workers,
}

impl Desk {
    fn new(files: usize, when: ProbeWhen) -> Self {
        let host = |number: usize| TlsHost {
            addresses: vec![HostAddress { address: None, port: Some(443) }],
            name: Some(format!("h{number}")),
            aliases: Vec::new(),
            pairs: vec![TlsPair { certificate: name(number), key: "k".into() }],
        };
        let (prober, thread) = TlsProber::by_hand();
        let mut desk = Self {
            observer: ServedObserver::new(7, when),
            prober,
            thread,
            hosts: (0..files).map(host).collect(),
            sightings: Arc::default(),
            parent: parent(10),
            loads: 0,
            workers: Workers::Ready(100),
        };
        desk.write(1);
        desk
    }

    /// Another content of every file.
    fn write(&mut self, content: u8) {
        let each = (0..self.hosts.len()).map(|number| (name(number), certificate(content)));
        let sightings = FileSightings { certificates: each.collect(), ..FileSightings::default() };
        self.sightings = Arc::new(sightings);
    }

    fn look(&mut self, second: u64) -> Option<Part<Arc<ServedCertificates>>> {
        self.look_at(second, Some(&Arc::clone(&self.hosts)))
    }

    fn look_at(
        &mut self,
        second: u64,
        hosts: Option<&Arc<[TlsHost]>>,
    ) -> Option<Part<Arc<ServedCertificates>>> {
        let look = ProbeLook {
            at: after(second),
            parent: self.parent,
            loads: self.loads,
            sightings: &self.sightings,
            hosts,
            listens: &["0.0.0.0:443".parse().unwrap()],
            workers: self.workers,
        };
        self.observer.look(&look, Some(&mut self.prober))
    }

    /// The files of the batch that is asked for, if one is.
    fn wanted(&self) -> Vec<PathBuf> {
        let batch = self.thread.asked.try_recv().ok().map(|(server, batch)| {
            assert_eq!(server, 7);
            batch.handshakes.into_iter().map(|it| it.file).collect()
        });
        batch.unwrap_or_default()
    }

    fn answer(&self, files: &[PathBuf], result: Result<Certificate, Why>) {
        let shown = files.iter().map(|file| (file.clone(), result)).collect();
        self.thread.answer.send((7, shown)).unwrap();
    }

    /// Answers what is asked for in these seconds, and tells when that was, with how many files.
    fn served(&mut self, seconds: std::ops::Range<u64>, content: u8) -> Vec<(u64, usize)> {
        self.shows(seconds, Ok(certificate(content)))
    }

    fn shows(
        &mut self,
        seconds: std::ops::Range<u64>,
        result: Result<Certificate, Why>,
    ) -> Vec<(u64, usize)> {
        let mut told = Vec::new();
        for second in seconds {
            self.look(second);
            let wanted = self.wanted();
            if !wanted.is_empty() {
                told.push((second, wanted.len()));
                self.answer(&wanted, result);
            }
        }
        told
    }
}

fn name(number: usize) -> PathBuf {
    format!("/c/{number:04}").into()
}

type Results = BTreeMap<PathBuf, Result<Certificate, Why>>;

fn seen(part: Option<Part<Arc<ServedCertificates>>>) -> Results {
    match part {
        Some(Part::Seen(served)) => {
            served.iter().map(|(path, it)| (path.clone(), it.result)).collect()
        }
        None => Results::new(),
        Some(Part::Unseen(why)) => panic!("{why:?}"),
    }
}

/// The load since which this is served.
fn since(part: Option<Part<Arc<ServedCertificates>>>, number: usize) -> Option<u64> {
    part?.seen()?.get(&name(number)).map(|it| it.load)
}

#[test]
fn each_file_is_asked_for_once_sixteen_a_second() {
    let mut desk = Desk::new(40, ProbeWhen::OnChange);
    assert_eq!(desk.look(0), None, "nothing has failed, and nothing was shown");
    desk.observer.of = None;
    desk.thread.asked.try_recv().unwrap();
    desk.answer(&[], Ok(certificate(1)));
    assert_eq!(desk.served(0..4000, 1), [(0, 16), (1, 16), (2, 8)]);
    let served = seen(desk.look(4000));
    assert_eq!(served.len(), 40);
    assert!(served.values().all(|it| *it == Ok(certificate(1))));
}

#[test]
fn files_that_hosts_share_are_asked_for_once() {
    let mut desk = Desk::new(3, ProbeWhen::OnChange);
    let more: Vec<TlsHost> = (3..1000)
        .map(|number| TlsHost {
            name: Some(format!("h{number}")),
            ..desk.hosts[number % 3].clone()
        })
        .collect();
    desk.hosts = desk.hosts.iter().cloned().chain(more).collect();
    assert_eq!(desk.served(0..100, 1), [(0, 3)]);
}

#[test]
fn a_load_has_those_asked_for_again_whose_content_is_another_on_disk() {
    let mut desk = Desk::new(2, ProbeWhen::OnChange);
    assert_eq!(desk.served(0..10, 1), [(0, 2)]);
    desk.loads = 1;
    assert_eq!(desk.served(10..20, 1), [], "what is served is what would be loaded");
    // The load was seen before the change of the file that it loaded.
    let changed = Arc::make_mut(&mut desk.sightings);
    changed.certificates.insert(name(1), certificate(2));
    desk.sightings = Arc::clone(&desk.sightings);
    assert_eq!(desk.served(20..30, 2), [(20, 1)]);
    assert_eq!(seen(desk.look(30)).get(&name(1)), Some(&Ok(certificate(2))));
    desk.write(3);
    assert_eq!(desk.served(31..40, 2), [(31, 1)], "it was not asked for since the load");
    desk.write(4);
    assert_eq!(desk.served(40..4000, 2), [], "without a load nothing else is served");
    desk.loads = 2;
    assert_eq!(desk.served(4000..4100, 4), [(4000, 2)]);
}

#[test]
fn what_cannot_be_read_on_disk_is_asked_for_after_each_load() {
    let mut desk = Desk::new(1, ProbeWhen::OnChange);
    desk.sightings = Arc::default();
    assert_eq!(desk.served(0..10, 1), [(0, 1)]);
    desk.loads = 3;
    assert_eq!(desk.served(10..1000, 2), [(10, 1)]);
}

#[test]
fn what_a_load_did_not_change_is_asked_for_once_more() {
    let mut desk = Desk::new(1, ProbeWhen::OnChange);
    desk.served(0..10, 1);
    (desk.loads, desk.sightings) = (1, Arc::default());
    assert_eq!(desk.served(10..1000, 1), [(10, 1), (21, 1)]);
}

#[test]
fn what_a_load_did_not_change_counts_for_it_once_it_is_shown_twice() {
    let mut desk = Desk::new(1, ProbeWhen::OnChange);
    desk.served(0..10, 1);
    desk.write(2);
    desk.loads = 1;
    assert_eq!(since(desk.look(10), 0), Some(0), "what was shown before a load");
    assert_eq!(desk.wanted().len(), 1);
    desk.answer(&[name(0)], Ok(certificate(1)));
    assert_eq!(since(desk.look(11), 0), Some(0), "a child of before may have shown it");
    assert_eq!(desk.served(12..100, 1), [(21, 1)]);
    assert_eq!(since(desk.look(100), 0), Some(1));
    desk.loads = 2;
    assert_eq!(desk.served(100..104, 2), [(100, 1)]);
    assert_eq!(since(desk.look(104), 0), Some(2), "another one was loaded");
}

#[test]
fn while_nobody_can_tell_the_hosts_those_known_are_asked_and_what_they_served_is_kept() {
    let mut desk = Desk::new(1, ProbeWhen::OnChange);
    assert_eq!(desk.look_at(0, None), None, "none is known");
    assert_eq!(desk.served(1..10, 1), [(1, 1)]);
    assert_eq!(seen(desk.look_at(10, None)).len(), 1);
    desk.write(2);
    desk.loads = 1;
    assert_eq!(seen(desk.look_at(11, None)).len(), 1);
    assert_eq!(desk.wanted(), [name(0)], "a load is a load");
    desk.parent = parent(11);
    assert_eq!(desk.look_at(12, None), None, "another parent may have others");
}

#[test]
fn an_answer_from_before_a_load_does_not_count_for_it() {
    let mut desk = Desk::new(1, ProbeWhen::OnChange);
    desk.look(0);
    let wanted = desk.wanted();
    desk.write(2);
    desk.loads = 1;
    desk.look(1);
    assert!(desk.wanted().is_empty(), "one batch at a time");
    desk.answer(&wanted, Ok(certificate(1)));
    assert_eq!(desk.served(2..100, 2), [(2, 1)]);
}

#[test]
fn another_parent_is_asked_for_everything() {
    let mut desk = Desk::new(2, ProbeWhen::OnChange);
    assert_eq!(desk.served(0..10, 1), [(0, 2)]);
    desk.look(10);
    desk.parent = parent(11);
    assert_eq!(seen(desk.look(11)).len(), 0, "what another one served is nothing of its own");
    assert_eq!(desk.wanted().len(), 2);
    // The answer to the first one's last batch comes late.
    desk.parent = parent(12);
    desk.look(12);
    desk.answer(&[name(0)], Ok(certificate(1)));
    assert_eq!(desk.served(13..20, 5), [(13, 2)]);
    assert_eq!(seen(desk.look(20)).get(&name(0)), Some(&Ok(certificate(5))));
}

#[test]
fn what_fails_is_tried_again_ever_less_often() {
    let mut desk = Desk::new(1, ProbeWhen::OnChange);
    let refused = desk.shows(0..8000, Err(Why::Missing));
    let times: Vec<u64> = refused.iter().map(|(second, _)| *second).collect();
    assert_eq!(times, [0, 61, 362, 3963, 7564]);
    assert_eq!(desk.look(8000), Some(Part::Unseen(Why::Missing)));
    desk.loads = 1;
    assert_eq!(desk.shows(8001..8100, Err(Why::Missing)), [(8001, 1), (8062, 1)]);
    desk.served(8100..8400, 1);
    assert_eq!(seen(desk.look(8400)).get(&name(0)), Some(&Ok(certificate(1))));
}

#[test]
fn when_somebody_was_asked_is_when_an_answer_came() {
    let mut desk = Desk::new(1, ProbeWhen::OnChange);
    desk.look(0);
    assert_eq!((desk.wanted().len(), desk.observer.handshakes()), (1, None));
    desk.answer(&[], Ok(certificate(1)));
    desk.look(1);
    assert_eq!((desk.wanted().len(), desk.observer.handshakes()), (1, None), "nobody was tried");
    desk.answer(&[name(0)], Ok(certificate(1)));
    desk.look(2);
    let first = Handshakes { latest: after(2), succeeded: Some(after(2)) };
    assert_eq!(desk.observer.handshakes(), Some(first));
    (desk.loads, desk.sightings) = (1, Arc::default());
    desk.shows(3..10, Err(Why::Timeout));
    let second = Handshakes { latest: after(4), ..first };
    assert_eq!(desk.observer.handshakes(), Some(second));
}

#[test]
fn one_that_is_served_is_enough_to_be_seen() {
    let mut desk = Desk::new(2, ProbeWhen::OnChange);
    desk.look(0);
    desk.wanted();
    let shown = vec![(name(0), Err(Why::Invalid)), (name(1), Ok(certificate(1)))];
    desk.thread.answer.send((7, shown)).unwrap();
    let served = seen(desk.look(1));
    assert_eq!(served.get(&name(0)), Some(&Err(Why::Invalid)));
}

#[test]
fn nobody_is_asked_while_no_worker_is_ready() {
    let mut desk = Desk::new(20, ProbeWhen::OnChange);
    for nobody in [Workers::Ready(0), Workers::Unknown { children: 0 }] {
        desk.workers = nobody;
        assert_eq!(desk.served(0..10, 1), []);
    }
    desk.workers = Workers::Ready(2);
    assert_eq!(desk.served(10..12, 1), [(10, 2), (11, 2)], "no more than could answer");
    desk.workers = Workers::Unknown { children: 3 };
    desk.look(12);
    let (_, batch) = desk.thread.asked.try_recv().unwrap();
    assert_eq!(batch.room, Room::Fewer { children: 3, ports: vec![443] });
    assert_eq!(batch.decided, after(12));
}

#[test]
fn what_was_not_tried_is_decided_anew() {
    let mut desk = Desk::new(3, ProbeWhen::OnChange);
    desk.look(0);
    assert_eq!(desk.wanted().len(), 3);
    desk.answer(&[name(0)], Ok(certificate(1)));
    desk.workers = Workers::Ready(0);
    assert_eq!(seen(desk.look(1)).len(), 1, "what is known is kept");
    assert_eq!(desk.wanted().len(), 0);
    desk.workers = Workers::Ready(9);
    assert_eq!(desk.served(2..100, 1), [(2, 2)]);
}

#[test]
fn after_a_listener_that_says_nothing_others_have_their_turn() {
    let mut desk = Desk::new(2, ProbeWhen::OnChange);
    desk.look(0);
    desk.wanted();
    desk.answer(&[name(0)], Err(Why::Timeout));
    assert_eq!(desk.served(1..60, 1), [(11, 1)]);
}

#[test]
fn once_a_period_means_each_file_each_period() {
    let mut desk = Desk::new(17, ProbeWhen::Every(Duration::from_secs(10)));
    let all: usize = desk.served(0..101, 1).iter().map(|(_, count)| count).sum();
    assert!((17 * 9..=17 * 11).contains(&all), "{all}");
    desk.observer.choose(ProbeWhen::OnChange);
    assert_eq!(desk.served(200..300, 1), [(200, 16), (201, 1)]);
    desk.observer.choose(ProbeWhen::Off);
    assert_eq!((desk.look(300), desk.wanted().len()), (None, 0));
}

#[test]
fn no_host_and_no_certificate_is_nothing_to_ask_for() {
    let mut desk = Desk::new(1, ProbeWhen::OnChange);
    desk.served(0..10, 1);
    let hosts = std::mem::take(&mut desk.hosts);
    assert_eq!(desk.look(10), None);
    desk.hosts = hosts.iter().cloned().collect();
    assert_eq!(desk.served(11..100, 1), [], "for a while nobody could tell the hosts");
    assert_eq!(seen(desk.look(100)).len(), 1);
    Arc::make_mut(&mut desk.hosts)[0].pairs[0].certificate = "/c/other".into();
    assert_eq!(seen(desk.look(101)).len(), 0, "nobody has the old one any more");
}

#[test]
fn without_a_prober_nothing_is_asked() {
    let mut observer = ServedObserver::new(1, ProbeWhen::OnChange);
    let desk = Desk::new(1, ProbeWhen::OnChange);
    let look = ProbeLook {
        at: START,
        parent: desk.parent,
        loads: 0,
        sightings: &desk.sightings,
        hosts: Some(&desk.hosts),
        listens: &[],
        workers: desk.workers,
    };
    assert_eq!(observer.look(&look, None), None);
}
