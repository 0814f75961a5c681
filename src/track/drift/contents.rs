//! Configuration and certificates: whether what lies on disk is what the running generation read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Owed,
    configuration_hash::configuration_hash,
    standing::{Load, Proof, Standing},
};
use crate::model::{
    files::{Digest, FileSighting, FileSightings, Loading},
    time::Timestamp,
    tls::ServedCertificates,
};

/// Who changes more files than this between two restarts has changed the configuration.
const MOST_KEPT: usize = 1000;
/// The kernel tells of a change within this, unless the host is very busy.
const HEARD_WITHIN: Duration = Duration::from_millis(5);

/// Follows the contents of one parent's files.
#[derive(Clone, Debug, Default)]
pub(super) struct ContentTracker {
    /// The load that the files were last held against.
    load: Option<u64>,
    files: BTreeMap<PathBuf, Standing>,
    listings: BTreeMap<PathBuf, Standing>,
    served: Answers,
    folded: Option<Arc<FileSightings>>,
    /// How often something was folded that may make a difference.
    edition: u64,
    /// The files could not be seen since.
    missed: bool,
    verdict: Contents,
    /// What an earlier run left.
    left: ContentMemory,
}

/// What is kept of a parent to which something is owed: what it read of the files that hold
/// something else now. Of all others that can be read from the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::track) struct ContentMemory {
    load: u64,
    hash: Option<u64>,
    read: BTreeMap<String, Digest>,
}

/// What is known of contents.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contents {
    /// Of the configuration; `None` where nothing of it is known.
    pub(super) config: Option<Owed>,
    /// Of certificates and keys.
    pub(super) certificate: Option<Owed>,
    /// The configuration that is loaded, as a number.
    pub(super) hash: Option<u64>,
    /// The last change of the configuration that is owed.
    pub(super) newest: Option<Timestamp>,
}

/// What listeners served: what they did before a restart tells nothing of what was loaded in it.
#[derive(Clone, Debug, Default)]
struct Answers {
    latest: Option<Arc<ServedCertificates>>,
    /// They were those of an earlier parent.
    are_anothers: bool,
}

impl ContentTracker {
    /// One for another parent of the same server, of which nothing is known yet.
    pub(super) fn for_another_parent(&self) -> Self {
        let served = Answers { are_anothers: true, ..self.served.clone() };
        Self { served, ..Self::default() }
    }

    /// One that goes on where an earlier run left it.
    pub(super) fn restored(left: ContentMemory) -> Self {
        Self { left, ..Self::default() }
    }

    /// What is to be kept.
    pub(super) fn remember(&self) -> ContentMemory {
        let is_owed = |owed: Option<Owed>| matches!(owed, Some(Owed::Since(_)));
        let (Some(load), true) =
            (self.load, is_owed(self.verdict.config) || is_owed(self.verdict.certificate))
        else {
            // Before the first look nothing else is known.
            return if self.load.is_none() { self.left.clone() } else { ContentMemory::default() };
        };
        let read = self.files.iter().chain(&self.listings);
        // Names that are no UTF-8 are not kept.
        let read = read.filter_map(|(path, it)| Some((path.to_str()?.to_owned(), it.unpaid()?)));
        ContentMemory { load, hash: self.verdict.hash, read: read.take(MOST_KEPT).collect() }
    }

    /// Folds one look; without `files` nothing is known in it.
    pub(super) fn observe(
        &mut self,
        files: Option<&Arc<FileSightings>>,
        served: Option<&Arc<ServedCertificates>>,
        (at, loading): (Timestamp, Loading),
    ) -> Contents {
        let is_new = self.load != Some(loading.number);
        let is_served_anew = self.served.observe(served);
        let Some(files) = files else {
            self.missed = true;
            return Contents::default();
        };
        let is_folded = self.folded.as_ref().is_some_and(|folded| Arc::ptr_eq(folded, files));
        if is_new || is_served_anew || !is_folded {
            if is_new {
                self.begin(loading.number);
            }
            let load = Load {
                began: loading.began.wall,
                certain: loading.began.after(HEARD_WITHIN).wall,
                held_until: files.unchanged_until.map(|until| until.wall),
                is_new,
            };
            let (named, patterns) = (&files.files, &files.listings);
            self.files.retain(|path, it| named.contains_key(path) || it.fold_gone(at, &load));
            self.listings.retain(|path, it| patterns.contains_key(path) || it.fold_gone(at, &load));
            self.fold(files, &load, loading.number);
            self.judge(files);
            self.edition += 1;
            self.load = Some(loading.number);
            self.folded = Some(Arc::clone(files));
        }
        self.missed = false;
        self.verdict
    }

    /// The same as long as nothing new was seen.
    pub(super) const fn edition(&self) -> u64 {
        self.edition
    }

    /// A restart now would find another key there than this parent was told the pass phrase of.
    pub(super) fn is_another_key(&self, path: &Path, began: Timestamp) -> bool {
        let Some(standing) = self.files.get(path) else { return false };
        let is_added = !standing.is_known() && self.verdict.config != Some(Owed::Nothing);
        is_added || standing.is_written_since(began)
    }

    /// Another load: what was sighted last before it was read, unless nobody saw what became of it.
    fn begin(&mut self, load: u64) {
        if self.missed {
            self.files.clear();
            self.listings.clear();
        }
        let left = std::mem::take(&mut self.left);
        self.verdict.hash = None;
        if left.load == load {
            self.verdict.hash = left.hash;
            self.left = left;
        }
    }

    fn fold(&mut self, files: &FileSightings, load: &Load, number: u64) {
        for (path, sighting) in &files.files {
            let disk = files.certificates.get(path).map(|certificate| certificate.fingerprint);
            let proof = self.served.proves(path, disk, number);
            let left = self.left.of(path);
            fold_one(&mut self.files, path, sighting, load, (proof, left));
        }
        for (pattern, listing) in &files.listings {
            let (content, changed) = (listing.content, listing.changed);
            let sighting = FileSighting { content, changed, modified: None };
            let left = self.left.of(pattern);
            fold_one(&mut self.listings, pattern, &sighting, load, (Proof::None, left));
        }
    }

    fn files_of<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = &'a Path> {
        let below = self.files.range::<Path, _>((Bound::Excluded(directory), Bound::Unbounded));
        let below = below.map(|(path, _)| path.as_path());
        let below = below.take_while(move |path| path.starts_with(directory));
        below.filter(move |path| path.parent() == Some(directory))
    }

    fn judge(&mut self, files: &FileSightings) {
        let list = &files.list;
        let configuration = list.configuration.iter().filter_map(|path| self.files.get(path));
        let listings = list.patterns.iter().filter_map(|path| self.listings.get(path));
        let configuration: Vec<&Standing> = configuration.chain(listings).collect();
        let known = configuration.iter().filter(|it| it.is_known());
        let config = match first(known.map(|it| it.owed())) {
            // Whatever names the others is as it was read: so they were read too.
            Owed::Nothing => first(configuration.iter().map(|it| it.owed())),
            owed @ Owed::Since(_) => owed,
        };
        let tls = list.certificates.iter().chain(&list.keys).chain(list.trusted_files());
        let within = list.trusted_directories().filter_map(|it| it.parent());
        let tls = tls.map(PathBuf::as_path).chain(within.flat_map(|it| self.files_of(it)));
        // Such as a directory's that is named too.
        let tls: BTreeSet<&Path> = tls.collect();
        let listings = list.trusted_directories().filter_map(|it| self.listings.get(it));
        let tls = tls.into_iter().filter_map(|path| self.files.get(path)).chain(listings);
        let tls: Vec<&Standing> = tls.collect();
        let counted = tls.iter().filter(|it| it.is_known() || config == Owed::Nothing);
        let certificate = first(counted.map(|it| it.owed()));
        let is_seen = |standings: &[&Standing]| standings.iter().any(|it| it.is_seen());
        let differ = configuration.iter().filter(|it| it.owed() != Owed::Nothing);
        let newest = differ.filter_map(|it| it.changed()).max();
        let hash = match config {
            Owed::Nothing if list.is_partial => None,
            Owed::Nothing => configuration_hash(files),
            Owed::Since(_) => self.verdict.hash,
        };
        // What is not named may have changed as well.
        let is_told = is_seen(&configuration) && !(list.is_partial && config == Owed::Nothing);
        self.verdict = Contents {
            config: is_told.then_some(config),
            certificate: (tls.is_empty() || is_seen(&tls)).then_some(certificate),
            hash,
            newest,
        };
    }
}

impl ContentMemory {
    fn of(&self, path: &Path) -> Option<Digest> {
        self.read.get(path.to_str()?).copied()
    }
}

impl Answers {
    /// Whether anything may be new.
    fn observe(&mut self, served: Option<&Arc<ServedCertificates>>) -> bool {
        let Some(served) = served else { return false };
        if self.latest.as_ref().is_some_and(|latest| Arc::ptr_eq(latest, served)) {
            return false;
        }
        *self = Self { latest: Some(Arc::clone(served)), are_anothers: false };
        true
    }

    /// What this load's answers tell of a file with this certificate.
    fn proves(&self, path: &Path, disk: Option<Digest>, load: u64) -> Proof {
        let latest = self.latest.as_ref().filter(|_| !self.are_anothers);
        let answer = latest.and_then(|latest| latest.get(path)).filter(|it| it.load == load);
        let served = answer.and_then(|it| it.result.ok()).map(|it| it.fingerprint);
        match served.zip(disk) {
            Some((served, disk)) if served == disk => Proof::Loaded,
            Some(_) => Proof::NotLoaded,
            None => Proof::None,
        }
    }
}

fn fold_one(
    all: &mut BTreeMap<PathBuf, Standing>,
    path: &Path,
    sighting: &FileSighting,
    load: &Load,
    (proof, left): (Proof, Option<Digest>),
) {
    if let Some(standing) = all.get_mut(path) {
        standing.fold(sighting, load, proof);
        return;
    }
    let mut standing = Standing::new(left);
    standing.fold(sighting, load, proof);
    all.insert(path.to_owned(), standing);
}

/// The first change of all that is owed.
fn first(all: impl Iterator<Item = Owed>) -> Owed {
    all.fold(Owed::Nothing, |first, owed| match (first, owed) {
        (Owed::Nothing, other) | (other, Owed::Nothing) => other,
        (Owed::Since(one), Owed::Since(other)) => {
            Owed::Since([one, other].into_iter().flatten().min())
        }
    })
}
