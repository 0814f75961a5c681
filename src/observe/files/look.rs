//! One look at all files of all servers.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use super::{
    content::{Contents, digest_of_programs},
    listing::{Named, listing},
    places::Places,
    way::Ways,
};
use crate::{
    file_stamp::FileStamp,
    model::files::{FileList, FileSightings},
};

/// A server and what was seen of it last.
#[derive(Debug)]
pub(super) struct Server {
    /// What is wanted of it.
    pub(super) list: Arc<FileList>,
    /// What was handed over last.
    pub(super) last: Option<Arc<FileSightings>>,
    /// Its programs as they were when it was last looked at them alone.
    pub(super) programs: Vec<Option<FileStamp>>,
}

impl Server {
    /// Whether one of its programs is another one than before.
    pub(super) fn look_at_programs(&mut self) -> bool {
        let now: Vec<_> = self.list.programs.iter().map(|path| FileStamp::of(path)).collect();
        let before = std::mem::replace(&mut self.programs, now);
        before.len() == self.programs.len() && before != self.programs
    }
}

/// Looks at all servers; returns what was seen of each, and where something has to happen to make
/// a difference. `polled` and `overflows` are still to be said.
pub(super) fn look(
    servers: &BTreeMap<usize, Server>,
    contents: &mut Contents,
) -> (Vec<(usize, FileSightings)>, Places) {
    let mut ways = Ways::after(std::mem::take(&mut contents.swaps));
    // The directories of libraries are not watched: whenever any program of the host starts, each
    // opening of a library there would be reported.
    let mut unheard = Ways::default();
    contents.begin();
    let seen = servers
        .iter()
        .map(|(number, server)| (*number, sightings(server, contents, &mut ways, &mut unheard)));
    let seen = seen.collect();
    contents.end();
    ways.swaps.end();
    contents.swaps = ways.swaps;
    (seen, ways.places)
}

fn sightings(
    server: &Server,
    contents: &mut Contents,
    ways: &mut Ways,
    unheard: &mut Ways,
) -> FileSightings {
    let (list, before) = (&server.list, server.last.as_deref());
    let mut seen = FileSightings { list: Arc::clone(list), ..FileSightings::default() };
    let mut exposed: BTreeSet<PathBuf> = BTreeSet::new();
    let certificates: BTreeSet<&PathBuf> = list.certificates.iter().collect();
    let keys: BTreeSet<&PathBuf> = list.keys.iter().collect();
    let is_for_tls = |path| certificates.contains(path) || keys.contains(path);
    let configuration = list.configuration.iter().map(|path| (path, true));
    let for_tls = list.certificates.iter().chain(&list.keys).chain(list.trusted_files());
    let for_tls = for_tls.map(|path| (path, false));
    for (path, is_configuration) in configuration.chain(for_tls) {
        if seen.files.contains_key(path) {
            continue;
        }
        let way = ways.heard(path);
        // Of certificates and keys it does not matter: httpd runs nothing that is in them.
        if is_configuration && way.is_exposed {
            exposed.insert(path.clone());
        }
        let earlier = before.and_then(|it| it.file(path));
        let read = contents.look(path, &way, is_for_tls(path), earlier);
        seen.files.insert(path.clone(), read.sighting);
        let certificate = read.certificate.filter(|_| certificates.contains(path));
        seen.certificates.extend(certificate.map(|it| (path.clone(), it)));
        let key = read.key.filter(|_| keys.contains(path));
        seen.keys.extend(key.map(|it| (path.clone(), it)));
    }
    look_at_patterns(server, contents, ways, (&mut seen, &mut exposed));
    let programs: Vec<_> =
        list.programs.iter().map(|path| (path.as_path(), unheard.to(path))).collect();
    let exposed_programs = programs.iter().filter(|(_, way)| way.is_exposed);
    exposed.extend(exposed_programs.map(|(path, _)| (*path).to_owned()));
    seen.programs = digest_of_programs(programs.into_iter());
    seen.insecure = u32::try_from(exposed.len()).unwrap_or(u32::MAX);
    seen.unread = seen.first_unread();
    seen
}

fn look_at_patterns(
    server: &Server,
    contents: &mut Contents,
    ways: &mut Ways,
    (seen, exposed): (&mut FileSightings, &mut BTreeSet<PathBuf>),
) {
    let before = server.last.as_deref();
    let list = &server.list;
    for pattern in list.patterns.iter().chain(list.trusted_directories()) {
        let Named { listing: mut found, names, exposed: directories } = listing(pattern, ways);
        exposed.extend(directories);
        // httpd may load one of them before it could be asked whether it will.
        for path in names {
            if let Entry::Vacant(place) = seen.files.entry(path) {
                let (path, way) = (place.key(), ways.heard(place.key()));
                if way.is_exposed {
                    exposed.insert(path.clone());
                }
                let earlier = before.and_then(|it| it.file(path));
                let read = contents.look(path, &way, false, earlier);
                place.insert(read.sighting);
            }
        }
        if let Some(earlier) = before.and_then(|it| it.listings.get(pattern))
            && earlier.content == found.content
        {
            // What else comes and goes in the same directory is no change of it.
            found.changed = earlier.changed;
        }
        seen.listings.insert(pattern.clone(), found);
    }
}
