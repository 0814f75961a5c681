use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::*;
use crate::{
    model::{
        files::{Content, Digest, FileList, FileSighting, FileSightings, KeyFile, Listing},
        scoreboard::Generation,
        settings::Mpm,
        source::Why,
        tls::{KeyAlgorithm, Served, ServedCertificates},
    },
    track::fixture::{after, process},
};

const MAIN: &str = "/etc/httpd.conf";
const CERTIFICATE: &str = "/etc/cert.pem";
const KEY: &str = "/etc/key.pem";
const PATTERN: &str = "/etc/conf.d/*.conf";

/// A tracker and what it is shown, in milliseconds after the parent's start.
struct Scene {
    tracker: DriftTracker,
    files: FileSightings,
    served: Option<ServedCertificates>,
    told: Option<ServerSettings>,
    loaded: Option<ServerSettings>,
    global: Option<Global>,
    parent: ProcessId,
    loading: Loading,
}

const fn bytes(number: u8) -> Content {
    Content::Bytes(Digest([number; 16]))
}

fn certificate(number: u8, begins: u64, ends: u64) -> Certificate {
    Certificate {
        begins: after(begins).wall,
        ends: after(ends).wall,
        fingerprint: Digest([number; 16]),
        algorithm: KeyAlgorithm::Rsa,
    }
}

/// Since this load.
fn serving(number: u8, load: u64) -> ServedCertificates {
    let result = Ok(certificate(number, 0, 99_000));
    [(CERTIFICATE.into(), Served { result, load })].into()
}

fn since(milliseconds: u64) -> Owed {
    Owed::Since(Some(after(milliseconds).wall))
}

impl Scene {
    /// All was written at 1000 and read at 10 000.
    fn new() -> Self {
        let mut scene = Self {
            tracker: DriftTracker::default(),
            files: FileSightings {
                list: Arc::new(FileList {
                    configuration: vec![MAIN.into()],
                    patterns: vec![PATTERN.into()],
                    certificates: vec![CERTIFICATE.into()],
                    keys: vec![KEY.into()],
                    ..FileList::default()
                }),
                ..FileSightings::default()
            },
            served: None,
            told: None,
            loaded: None,
            global: None,
            parent: process(1, 0),
            loading: Loading { number: 0, began: after(10_000) },
        };
        for path in [MAIN, CERTIFICATE, KEY] {
            scene.put(path, 1000, bytes(1));
        }
        scene.files.keys.insert(KEY.into(), KeyFile { is_encrypted: false });
        scene.list(1000, 1);
        scene
    }

    fn put(&mut self, path: &str, changed: u64, content: Content) {
        let stamp = Some(after(changed).wall);
        let sighting = FileSighting { content, changed: stamp, modified: stamp };
        self.files.files.insert(path.into(), sighting);
        self.files.unchanged_until = Some(after(changed));
    }

    fn list(&mut self, changed: u64, names: u8) {
        let listing = Listing { content: bytes(names), changed: Some(after(changed).wall) };
        self.files.listings.insert(PATTERN.into(), listing);
        self.files.unchanged_until = Some(after(changed));
    }

    fn load(&mut self, began: u64) {
        self.loading = Loading { number: self.loading.number + 1, began: after(began) };
    }

    fn drift(&mut self, at: u64) -> Drift {
        let sample = DriftSample {
            files: Some(Part::Seen(Arc::new(self.files.clone()))),
            served: self.served.clone().map(|served| Part::Seen(Arc::new(served))),
            ..DriftSample::default()
        };
        self.look(at, &sample)
    }

    fn look(&mut self, at: u64, sample: &DriftSample) -> Drift {
        self.tracker.observe(&DriftLook {
            at: after(at),
            parent: self.parent,
            sample,
            told: self.told.as_ref(),
            loaded: self.loaded.as_ref(),
            loading: self.loading,
            roles: &BTreeMap::new(),
            global: self.global,
        })
    }

    fn owed(&mut self, at: u64, reason: Reason) -> Option<Owed> {
        self.drift(at).owed.get(&reason).copied()
    }
}

#[test]
fn a_change_is_owed_since_it_was_made_until_it_is_loaded_or_taken_back() {
    let mut scene = Scene::new();
    assert_eq!(scene.owed(11_000, Reason::Config), Some(Owed::Nothing));
    scene.put(MAIN, 12_000, bytes(2));
    assert_eq!(scene.owed(13_000, Reason::Config), Some(since(12_000)));
    scene.put(MAIN, 14_000, bytes(3));
    assert_eq!(scene.owed(15_000, Reason::Config), Some(since(12_000)), "the first one");
    assert_eq!(scene.owed(15_000, Reason::Certificate), Some(Owed::Nothing));
    scene.put(MAIN, 16_000, bytes(1));
    assert_eq!(scene.owed(17_000, Reason::Config), Some(Owed::Nothing));
    scene.put(MAIN, 18_000, bytes(2));
    assert_eq!(scene.owed(19_000, Reason::Config), Some(since(18_000)));
    scene.load(20_000);
    assert_eq!(scene.owed(21_000, Reason::Config), Some(Owed::Nothing));
    scene.put(MAIN, 22_000, bytes(1));
    assert_eq!(scene.owed(23_000, Reason::Config), Some(since(22_000)));
}

#[test]
fn a_file_that_is_removed_and_a_name_that_is_added_are_changes() {
    let mut scene = Scene::new();
    scene.drift(11_000);
    scene.put(CERTIFICATE, 12_000, Content::Missing);
    assert_eq!(scene.owed(13_000, Reason::Certificate), Some(since(12_000)));
    scene.list(14_000, 2);
    assert_eq!(scene.owed(15_000, Reason::Config), Some(since(14_000)));
    scene.list(16_000, 1);
    assert_eq!(scene.owed(17_000, Reason::Config), Some(Owed::Nothing), "it was removed again");
}

#[test]
fn what_lies_beside_certificates_is_owed_as_they_are() {
    let names = |number| Listing { content: bytes(number), changed: Some(after(1000).wall) };
    let mut scene = Scene::new();
    let mut list = (*scene.files.list).clone();
    list.trusted = vec!["/etc/ca/*".into(), "/etc/chain.pem".into()];
    scene.files.list = Arc::new(list);
    scene.files.listings.insert("/etc/ca/*".into(), names(1));
    for path in ["/etc/chain.pem", "/etc/ca/one.pem"] {
        scene.put(path, 1000, bytes(1));
    }
    assert_eq!(scene.owed(11_000, Reason::Certificate), Some(Owed::Nothing));
    for (path, changed) in [("/etc/chain.pem", 12_000), ("/etc/ca/one.pem", 14_000)] {
        scene.put(path, changed, bytes(2));
        assert_eq!(scene.owed(changed + 500, Reason::Certificate), Some(since(changed)), "{path}");
        assert_eq!(scene.owed(changed + 500, Reason::Config), Some(Owed::Nothing));
        scene.put(path, changed + 1000, bytes(1));
        assert_eq!(scene.owed(changed + 1500, Reason::Certificate), Some(Owed::Nothing));
    }
    let changed = Some(after(16_000).wall);
    scene.files.listings.insert("/etc/ca/*".into(), Listing { changed, ..names(2) });
    let drift = scene.drift(17_000);
    assert_eq!(drift.owed[&Reason::Certificate], since(16_000), "another name is there");
    assert_eq!(drift.owed[&Reason::Config], Owed::Nothing);
    scene.load(18_000);
    assert_eq!(scene.owed(19_000, Reason::Certificate), Some(Owed::Nothing));
}

#[test]
fn a_file_that_came_after_the_load_and_went_again_owes_nothing() {
    let mut scene = Scene::new();
    scene.drift(11_000);
    let new = "/etc/conf.d/new.conf";
    scene.put(new, 12_000, bytes(5));
    scene.list(12_000, 2);
    assert_eq!(scene.owed(13_000, Reason::Config), Some(since(12_000)));
    let mut list = (*scene.files.list).clone();
    list.configuration.push(new.into());
    list.certificates.push(new.into());
    scene.files.list = Arc::new(list);
    assert_eq!(scene.owed(14_000, Reason::Config), Some(since(12_000)));
    scene.put(new, 15_000, Content::Missing);
    scene.list(15_000, 1);
    for reason in [Reason::Config, Reason::Certificate] {
        assert_eq!(scene.owed(16_000, reason), Some(Owed::Nothing), "{reason:?}");
    }
    scene.put(new, 17_000, bytes(5));
    scene.list(17_000, 2);
    scene.load(18_000);
    assert_eq!(scene.owed(19_000, Reason::Config), Some(Owed::Nothing));
    scene.put(new, 20_000, Content::Missing);
    assert_eq!(scene.owed(21_000, Reason::Config), Some(since(20_000)), "it was read");
}

#[test]
fn a_file_that_comes_with_its_directory_is_a_change_however_old_it_is() {
    let mut scene = Scene::new();
    let hash = scene.drift(11_000).config_hash;
    scene.put(MAIN, 5000, bytes(2));
    scene.files.unchanged_until = Some(after(16_000));
    for at in [17_000, 18_000] {
        let drift = scene.drift(at);
        assert_eq!(drift.owed[&Reason::Config], since(16_000));
        assert_eq!(drift.config_hash, hash);
        // Another look at the same.
        scene.files.unchanged_until = Some(after(at));
        scene.files.overflows += 1;
    }
    scene.load(20_000);
    let drift = scene.drift(21_000);
    assert_eq!(drift.owed[&Reason::Config], Owed::Nothing);
    assert!(drift.config_hash != hash);
    // In the same look as the load before it.
    scene.load(30_000);
    scene.put(MAIN, 5000, bytes(1));
    scene.files.unchanged_until = Some(after(31_000));
    assert_eq!(scene.owed(32_000, Reason::Config), Some(since(31_000)));
    scene.put(MAIN, 33_000, bytes(2));
    assert_eq!(scene.owed(34_000, Reason::Config), Some(Owed::Nothing), "taken back");
}

#[test]
fn a_change_shortly_before_a_load_that_was_heard_of_late_was_read() {
    let mut scene = Scene::new();
    scene.drift(11_000);
    scene.load(12_000);
    scene.put(MAIN, 11_990, bytes(2));
    scene.files.unchanged_until = Some(after(12_500));
    assert_eq!(scene.owed(13_000, Reason::Config), Some(Owed::Nothing));
}

#[test]
fn what_may_be_read_again_was_there_all_the_time() {
    let mut scene = Scene::new();
    scene.drift(11_000);
    for content in [Content::Unseen(Why::Permission), bytes(1)] {
        scene.files.files.get_mut(Path::new(MAIN)).unwrap().content = content;
        scene.files.unchanged_until = Some(after(15_000));
        assert_eq!(scene.owed(16_000, Reason::Config), Some(Owed::Nothing));
    }
}

#[test]
fn what_only_a_changed_configuration_names_counts_for_nothing_by_itself() {
    let mut scene = Scene::new();
    scene.drift(11_000);
    scene.put(MAIN, 12_000, bytes(2));
    scene.put("/etc/new.pem", 11_500, bytes(9));
    let mut list = (*scene.files.list).clone();
    list.certificates.push(PathBuf::from("/etc/new.pem"));
    scene.files.list = Arc::new(list);
    let drift = scene.drift(13_000);
    assert_eq!(drift.owed[&Reason::Config], since(12_000));
    assert_eq!(drift.owed[&Reason::Certificate], Owed::Nothing);
    scene.load(14_000);
    scene.drift(15_000);
    scene.put("/etc/new.pem", 16_000, bytes(8));
    assert_eq!(scene.owed(17_000, Reason::Certificate), Some(since(16_000)));
}

#[test]
fn what_was_changed_before_it_was_first_seen_is_owed_unless_a_listener_serves_it() {
    let mut scene = Scene::new();
    scene.put(CERTIFICATE, 12_000, bytes(2));
    scene.files.certificates.insert(CERTIFICATE.into(), certificate(2, 0, 99_000));
    assert_eq!(scene.owed(13_000, Reason::Certificate), Some(since(12_000)));
    scene.served = Some(serving(2, 0));
    assert_eq!(scene.owed(14_000, Reason::Certificate), Some(Owed::Nothing));
    scene.put(CERTIFICATE, 15_000, bytes(3));
    assert_eq!(scene.owed(16_000, Reason::Certificate), Some(since(15_000)), "another chain");
}

#[test]
fn what_is_served_decides_if_it_was_asked_for_after_the_load() {
    let mut scene = Scene::new();
    scene.files.certificates.insert(CERTIFICATE.into(), certificate(1, 0, 99_000));
    scene.served = Some(serving(1, 0));
    assert_eq!(scene.owed(11_000, Reason::Certificate), Some(Owed::Nothing));
    scene.put(CERTIFICATE, 12_000, bytes(2));
    scene.files.certificates.insert(CERTIFICATE.into(), certificate(2, 0, 99_000));
    assert_eq!(scene.owed(13_000, Reason::Certificate), Some(since(12_000)));
    scene.load(14_000);
    assert_eq!(scene.owed(15_000, Reason::Certificate), Some(Owed::Nothing), "served before");
    scene.served = Some(serving(2, 1));
    assert_eq!(scene.owed(16_000, Reason::Certificate), Some(Owed::Nothing));
    scene.load(17_000);
    scene.drift(18_000);
    scene.served = Some(serving(7, 2));
    assert_eq!(scene.owed(19_000, Reason::Certificate), Some(since(12_000)));
    scene.load(20_000);
    assert_eq!(scene.owed(21_000, Reason::Certificate), Some(Owed::Nothing), "served before");
    scene.served = Some(serving(7, 3));
    let known = scene.owed(22_000, Reason::Certificate);
    assert_eq!(known, Some(since(12_000)), "the same one is served after the load too");
    scene.tracker = DriftTracker::restored(scene.parent, scene.tracker.remember());
    assert_eq!(scene.owed(23_000, Reason::Certificate), known, "as the next run finds it");
}

#[test]
fn what_an_earlier_parent_served_tells_nothing_of_the_next() {
    let mut scene = Scene::new();
    scene.files.certificates.insert(CERTIFICATE.into(), certificate(2, 0, 99_000));
    let sample = DriftSample {
        files: Some(Part::Seen(Arc::new(scene.files.clone()))),
        served: Some(Part::Seen(Arc::new(serving(7, 0)))),
        ..DriftSample::default()
    };
    assert_eq!(scene.look(11_000, &sample).owed[&Reason::Certificate], since(1000));
    scene.parent = process(2, 12_000);
    scene.loading = Loading { number: 0, began: after(12_000) };
    assert_eq!(scene.look(13_000, &sample).owed[&Reason::Certificate], Owed::Nothing);
}

#[test]
fn rights_that_are_lost_change_nothing_and_bytes_that_change_meanwhile_do() {
    let mut scene = Scene::new();
    scene.drift(11_000);
    let closed = |number, modified| FileSighting {
        content: Content::Inode(Digest([number; 16]), Why::Permission),
        changed: Some(after(12_000).wall),
        modified: Some(after(modified).wall),
    };
    scene.files.files.insert(MAIN.into(), closed(7, 1000));
    scene.files.unchanged_until = Some(after(12_000));
    assert_eq!(scene.owed(13_000, Reason::Config), Some(Owed::Nothing));
    scene.files.files.insert(MAIN.into(), closed(8, 12_000));
    assert_eq!(scene.owed(14_000, Reason::Config), Some(since(12_000)));
    scene.put(MAIN, 15_000, bytes(1));
    assert_eq!(scene.owed(16_000, Reason::Config), Some(Owed::Nothing));
    scene.put(MAIN, 17_000, Content::Unseen(Why::Permission));
    assert_eq!(scene.owed(18_000, Reason::Config), Some(Owed::Nothing));
}

#[test]
fn without_files_nothing_is_known_and_nothing_forgotten() {
    let mut scene = Scene::new();
    scene.put(MAIN, 12_000, bytes(2));
    let known = scene.drift(13_000);
    for files in [None, Some(Part::Unseen(Why::Other))] {
        let drift = scene.look(14_000, &DriftSample { files, ..DriftSample::default() });
        assert_eq!(drift, Drift::default());
    }
    assert_eq!(scene.drift(15_000), known);
}

#[test]
fn what_was_read_is_known_to_the_next_run_while_something_else_lies_there() {
    let mut scene = Scene::new();
    let hash = scene.drift(11_000).config_hash;
    assert_eq!(scene.tracker.remember(), DriftMemory::default(), "all can be read from the disk");
    scene.put(MAIN, 12_000, bytes(2));
    scene.list(12_000, 2);
    assert_eq!(scene.owed(13_000, Reason::Config), Some(since(12_000)));
    let memory = scene.tracker.remember();
    scene.tracker = DriftTracker::restored(scene.parent, memory.clone());
    assert_eq!(scene.tracker.remember(), memory, "before it looked");
    let drift = scene.drift(14_000);
    assert_eq!(drift.owed.get(&Reason::Config), Some(&since(12_000)));
    assert_eq!(drift.config_hash, hash);
    scene.put(MAIN, 15_000, bytes(1));
    scene.list(15_000, 1);
    assert_eq!(scene.owed(16_000, Reason::Config), Some(Owed::Nothing), "taken back");
    scene.tracker = DriftTracker::restored(scene.parent, memory);
    scene.load(17_000);
    scene.put(MAIN, 18_000, bytes(1));
    assert_eq!(scene.owed(19_000, Reason::Config), Some(since(18_000)), "of an earlier load");
}

#[test]
fn two_changes_that_were_sighted_as_one_around_a_load_may_have_been_both() {
    let mut scene = Scene::new();
    scene.drift(11_000);
    scene.load(12_000);
    scene.put(MAIN, 12_100, bytes(1));
    // The first of the two.
    scene.files.unchanged_until = Some(after(11_999));
    assert_eq!(scene.owed(13_000, Reason::Config), Some(since(12_100)));
    scene.load(14_000);
    scene.put(MAIN, 14_100, bytes(1));
    assert_eq!(scene.owed(15_000, Reason::Config), Some(Owed::Nothing), "only touched");
}

#[test]
fn where_not_all_files_are_named_nothing_is_said_to_be_loaded() {
    let mut scene = Scene::new();
    let mut list = (*scene.files.list).clone();
    list.is_partial = true;
    scene.files.list = Arc::new(list);
    let drift = scene.drift(11_000);
    assert_eq!((drift.owed.get(&Reason::Config), drift.config_hash), (None, None));
    scene.put(MAIN, 12_000, bytes(2));
    let drift = scene.drift(13_000);
    assert_eq!((drift.owed[&Reason::Config], drift.config_hash), (since(12_000), None));
    scene.put(MAIN, 14_000, bytes(1));
    assert_eq!(scene.owed(15_000, Reason::Config), None);
}

#[test]
fn limits_are_owed_since_the_change_that_came_with_them() {
    let mut scene = Scene::new();
    let before = settings(Mpm::Event, [Some(4), None]);
    (scene.told, scene.loaded) = (Some(before.clone()), Some(before));
    scene.put("/etc/a.conf", 1000, bytes(1));
    let mut list = (*scene.files.list).clone();
    list.configuration.push("/etc/a.conf".into());
    scene.files.list = Arc::new(list);
    scene.drift(11_000);
    scene.put("/etc/a.conf", 12_000, bytes(2));
    assert_eq!(scene.owed(13_000, Reason::Limits), Some(Owed::Nothing), "a comment");
    scene.put(MAIN, 50_000, bytes(2));
    scene.told = Some(settings(Mpm::Event, [Some(8), None]));
    let drift = scene.drift(51_000);
    assert_eq!(drift.owed[&Reason::Config], since(12_000));
    assert_eq!(drift.owed[&Reason::Limits], since(50_000));
    scene.put(MAIN, 60_000, bytes(3));
    assert_eq!(scene.owed(61_000, Reason::Limits), Some(since(50_000)));
}

#[test]
fn what_was_made_of_the_same_files_is_made_again_only_once_a_minute() {
    let mut scene = Scene::new();
    let mut list = (*scene.files.list).clone();
    list.certificates = vec!["/a".into(), "/b".into()];
    scene.files.list = Arc::new(list);
    let (long, short) = (certificate(1, 0, 1_000_000), certificate(2, 100_000, 900_000));
    for (path, it) in [("/a", long), ("/b", short)] {
        scene.files.certificates.insert(path.into(), it);
    }
    let sample = DriftSample {
        files: Some(Part::Seen(Arc::new(scene.files.clone()))),
        ..DriftSample::default()
    };
    let mut urgent = |at: u64| {
        let drift = scene.look(at, &sample);
        let edition = scene.tracker.contents.edition();
        (drift.certificates[&CertificateSource::Disk].most_urgent, edition)
    };
    assert_eq!(urgent(480_000), (long, 1));
    assert_eq!(urgent(539_000), (long, 1), "by now the other");
    assert_eq!(urgent(541_000), (short, 1));
}

#[test]
fn the_number_of_a_configuration_is_of_what_is_loaded() {
    let mut scene = Scene::new();
    let loaded = scene.drift(11_000).config_hash;
    assert!(loaded.is_some());
    scene.put(MAIN, 12_000, bytes(2));
    assert_eq!(scene.drift(13_000).config_hash, loaded);
    scene.load(14_000);
    let next = scene.drift(15_000).config_hash;
    assert!(next.is_some() && next != loaded);
    let mut late = Scene::new();
    late.put(MAIN, 12_000, bytes(2));
    assert_eq!(late.drift(13_000).config_hash, None, "what is loaded was never seen");
}

#[test]
fn another_key_that_is_encrypted_would_be_asked_for() {
    let mut scene = Scene::new();
    let drift = scene.drift(11_000);
    assert_eq!((drift.keys_encrypted, drift.would_prompt), (Some(0), Some(false)));
    scene.files.keys.insert(KEY.into(), KeyFile { is_encrypted: true });
    let drift = scene.drift(11_500);
    assert_eq!((drift.keys_encrypted, drift.would_prompt), (Some(1), Some(false)));
    scene.put(KEY, 12_000, bytes(1));
    assert_eq!(scene.drift(13_000).would_prompt, Some(true), "mod_ssl compares times");
    assert_eq!(scene.owed(13_000, Reason::Certificate), Some(Owed::Nothing), "not bytes");
    scene.load(14_000);
    assert_eq!(scene.drift(15_000).would_prompt, Some(false));
    let mut list = (*scene.files.list).clone();
    list.keys.push(PathBuf::from("/etc/other.key"));
    scene.files.list = Arc::new(list);
    let drift = scene.drift(16_000);
    assert_eq!((drift.keys_encrypted, drift.would_prompt), (None, None), "it cannot be read");
    scene.put("/etc/other.key", 900, bytes(5));
    scene.put(MAIN, 15_500, bytes(4));
    scene.files.keys.insert("/etc/other.key".into(), KeyFile { is_encrypted: true });
    assert_eq!(scene.drift(17_000).keys_encrypted, Some(2));
}

#[test]
fn an_encrypted_key_that_only_a_changed_configuration_names_would_be_asked_for() {
    let mut scene = Scene::new();
    scene.drift(11_000);
    scene.put(MAIN, 12_000, bytes(2));
    scene.put(KEY, 12_000, bytes(1));
    let mut list = (*scene.files.list).clone();
    list.keys = vec![PathBuf::from("/etc/other.key")];
    scene.files.list = Arc::new(list);
    scene.put("/etc/other.key", 12_000, bytes(5));
    scene.files.keys.insert("/etc/other.key".into(), KeyFile { is_encrypted: true });
    assert_eq!(scene.drift(13_000).would_prompt, Some(true));
    scene.load(14_000);
    assert_eq!(scene.drift(15_000).would_prompt, Some(false));
}

#[test]
fn the_most_urgent_certificate_is_that_with_the_least_share_of_its_life_left() {
    let mut scene = Scene::new();
    let mut list = (*scene.files.list).clone();
    let paths = ["/a", "/b", "/unused"];
    list.certificates = vec![paths[0].into(), paths[1].into()];
    scene.files.list = Arc::new(list);
    let long = certificate(1, 0, 1_000_000);
    let short = certificate(2, 60_000, 900_000);
    for (path, it) in paths.into_iter().zip([long, short, certificate(3, 0, 20_000)]) {
        scene.files.certificates.insert(path.into(), it);
    }
    let dates = scene.drift(100_000).certificates;
    let disk = dates[&CertificateSource::Disk];
    assert_eq!((disk.most_urgent, disk.earliest_end), (long, short.ends));
    assert_eq!(dates.len(), 1, "nobody was asked");
    let served = |result| Served { result, load: 0 };
    let both = [("/a".into(), served(Ok(short))), ("/b".into(), served(Err(Why::Timeout)))];
    scene.served = Some(both.into());
    let served = scene.drift(100_000).certificates[&CertificateSource::Served];
    assert_eq!(served.most_urgent, short);
    let expired = certificate(4, 0, 50_000);
    scene.files.certificates.insert("/a".into(), expired);
    scene.files.certificates.insert("/b".into(), certificate(5, 0, 60_000));
    let disk = scene.drift(100_000).certificates[&CertificateSource::Disk];
    assert_eq!(disk.most_urgent, expired);
}

fn settings(mpm: Mpm, limits: [Option<u32>; 2]) -> ServerSettings {
    let [server_limit, thread_limit] = limits;
    ServerSettings {
        mpm: Some(mpm),
        server_limit,
        thread_limit,
        changed: Some(after(12_000).wall),
        ..ServerSettings::default()
    }
}

const fn global(server_limit: u32, thread_limit: u32) -> Global {
    Global {
        server_limit,
        thread_limit,
        running_generation: Generation::new(0),
        restart_time: Timestamp::from_micros(0),
    }
}

#[test]
fn limits_are_held_against_the_scoreboard_as_httpd_would_make_them() {
    for (mpm, told, running, is_owed) in [
        (Mpm::Event, [None, None], [16, 64], false),
        (Mpm::Worker, [Some(16), Some(64)], [16, 64], false),
        (Mpm::Prefork, [None, Some(7)], [256, 1], false),
        (Mpm::Event, [Some(17), None], [16, 64], true),
        (Mpm::Event, [None, Some(65)], [16, 64], true),
        (Mpm::Event, [Some(30_000), Some(0)], [20_000, 1], false),
        (Mpm::Prefork, [Some(300_000), None], [200_000, 1], false),
        (Mpm::Event, [None, Some(200_000)], [16, 100_000], false),
    ] {
        let mut scene = Scene::new();
        scene.told = Some(settings(mpm, told));
        scene.global = Some(global(running[0], running[1]));
        let expected = if is_owed { since(12_000) } else { Owed::Nothing };
        assert_eq!(scene.owed(13_000, Reason::Limits), Some(expected), "{mpm:?} {told:?}");
        scene.told = Some(ServerSettings { is_partial: true, ..settings(mpm, told) });
        assert_eq!(scene.owed(14_000, Reason::Limits), None);
    }
}

#[test]
fn limits_are_remembered_where_no_scoreboard_tells_and_a_restart_does_not_pay() {
    let mut scene = Scene::new();
    let before = settings(Mpm::Event, [Some(4), None]);
    (scene.told, scene.loaded) = (Some(before.clone()), Some(before));
    assert_eq!(scene.owed(11_000, Reason::Limits), Some(Owed::Nothing));
    let now = settings(Mpm::Event, [Some(8), None]);
    scene.told = Some(now.clone());
    scene.put(MAIN, 11_900, bytes(2));
    assert_eq!(scene.owed(12_500, Reason::Limits), Some(since(11_900)));
    scene.load(13_000);
    scene.loaded = Some(now.clone());
    let drift = scene.drift(14_000);
    assert_eq!(drift.owed[&Reason::Config], Owed::Nothing);
    assert_eq!(drift.owed[&Reason::Limits], since(11_900));
    let memory = scene.tracker.remember();
    let text = serde_json::to_string(&memory).unwrap();
    scene.tracker = DriftTracker::restored(scene.parent, serde_json::from_str(&text).unwrap());
    assert_eq!(scene.owed(15_000, Reason::Limits), Some(since(12_000)));
    scene.parent = process(2, 16_000);
    scene.loading = Loading { number: 0, began: after(16_000) };
    assert_eq!(scene.owed(17_000, Reason::Limits), Some(Owed::Nothing));
}

#[test]
fn another_mpm_needs_another_parent() {
    let mut scene = Scene::new();
    let path = PathBuf::from("/usr/lib/apache2/modules/mod_mpm_event.so");
    let mapped = crate::model::files::MappedFile {
        path,
        kind: crate::model::files::MappedKind::Library,
        is_replaced: false,
        written: None,
        began: Timestamp::from_micros(1),
        changed: None,
    };
    let sample =
        DriftSample { mapped: Some(Part::Seen([mapped].into())), ..DriftSample::default() };
    scene.told = Some(settings(Mpm::Prefork, [None, None]));
    assert_eq!(scene.look(13_000, &DriftSample::default()).owed.get(&Reason::Limits), None);
    let drift = scene.look(14_000, &sample);
    assert_eq!(drift.owed[&Reason::Limits], since(12_000));
    scene.told = Some(settings(Mpm::Event, [None, None]));
    assert_eq!(scene.look(15_000, &sample).owed.get(&Reason::Limits), None, "limits of its start");
}
