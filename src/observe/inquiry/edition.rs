//! Which edition of its files an answer is about: httpd is asked once of each.

use std::{collections::BTreeSet, path::PathBuf};

use crate::{
    decode::digest::digest,
    model::{
        files::{Content, Digest, FileList, FileSightings},
        source::Why,
        time::Timestamp,
    },
};

/// The kernel stamps a file with the clock of its last tick.
const TICK: i64 = 10_000;

/// The files of a list as they were sighted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edition {
    /// What httpd reads in a configtest: the contents of the configuration, and which certificates
    /// and keys there are that are not empty.
    pub(super) digest: Digest,
    /// The programs and modules, which it loads then.
    pub(super) programs: Digest,
    /// How many of them were looked at.
    pub(super) programs_listed: usize,
    /// When the last of them changed.
    changed: Option<Timestamp>,
    /// Something that httpd would read or look for may be hidden from gracekeeper's user.
    pub(super) hides: bool,
}

impl Edition {
    pub(super) fn of(sightings: &FileSightings) -> Self {
        let mut hash = Vec::new();
        let list = &sightings.list;
        let mut edition = Self {
            digest: Digest::default(),
            programs: sightings.programs,
            programs_listed: list.programs.len(),
            changed: None,
            hides: false,
        };
        let empty = digest([]);
        let for_tls: BTreeSet<&PathBuf> = list.certificates.iter().chain(&list.keys).collect();
        // Those too that a pattern names and httpd has not told of yet.
        for (_, file) in sightings.files.iter().filter(|(path, _)| !for_tls.contains(path)) {
            edition.take(&mut hash, file.content, file.changed);
        }
        for listing in list.patterns.iter().filter_map(|it| sightings.listings.get(it)) {
            edition.take(&mut hash, listing.content, listing.changed);
        }
        for path in list.certificates.iter().chain(&list.keys) {
            let usable = sightings.file(path).map(|file| match file.content {
                Content::Bytes(bytes) => bytes != empty,
                Content::Inode(..) => true,
                Content::Missing | Content::Unseen(_) => false,
            });
            hash.push(u8::from(usable == Some(true)));
            let hides = |content| content == Content::Unseen(Why::Permission);
            edition.hides |= sightings.file(path).is_some_and(|file| hides(file.content));
        }
        edition.digest = digest([hash.as_slice()]);
        edition
    }

    fn take(&mut self, hash: &mut Vec<u8>, content: Content, changed: Option<Timestamp>) {
        self.changed = self.changed.max(changed);
        match content {
            Content::Bytes(bytes) => hash.extend_from_slice(&bytes.0),
            Content::Inode(inode, why) => {
                hash.extend_from_slice(b"inode");
                hash.extend_from_slice(&inode.0);
                self.hides |= why == Why::Permission;
            }
            Content::Missing => hash.extend_from_slice(b"missing"),
            Content::Unseen(why) => {
                hash.extend_from_slice(b"unseen");
                self.hides |= why == Why::Permission;
            }
        }
    }

    /// One of the files may have changed while httpd read them, from `asked` until `now`. A stamp of
    /// the future was made before the clock was set back: it says nothing of today.
    pub(super) fn changed_between(&self, asked: Timestamp, now: Timestamp) -> bool {
        let (from, to) = (asked.as_micros() - TICK, now.as_micros() + TICK);
        self.changed.is_some_and(|changed| (from..=to).contains(&changed.as_micros()))
    }
}

/// Both ask for the same configuration, certificates and keys.
pub(super) fn are_alike(one: &FileList, other: &FileList) -> bool {
    one.configuration == other.configuration
        && one.patterns == other.patterns
        && one.certificates == other.certificates
        && one.keys == other.keys
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::model::files::FileSighting;

    fn sightings(contents: &[Content], changed: i64) -> FileSightings {
        let paths: Vec<PathBuf> =
            (0..contents.len()).map(|number| PathBuf::from(format!("/{number}"))).collect();
        let changed = Some(Timestamp::from_micros(changed));
        let files = paths.iter().cloned().zip(contents.iter().map(|content| FileSighting {
            content: *content,
            changed,
            modified: changed,
        }));
        FileSightings {
            files: files.collect(),
            list: Arc::new(FileList { configuration: paths, ..FileList::default() }),
            ..FileSightings::default()
        }
    }

    #[test]
    fn another_content_is_another_edition_and_another_time_is_not() {
        let [one, two] = [1, 2].map(|byte| Content::Bytes(Digest([byte; 16])));
        let edition = |contents: &[Content], changed| Edition::of(&sightings(contents, changed));
        assert_eq!(edition(&[one, two], 1).digest, edition(&[one, two], 2).digest);
        assert_ne!(edition(&[one, two], 1).digest, edition(&[two, one], 1).digest);
        assert_ne!(edition(&[one], 1).digest, edition(&[Content::Missing], 1).digest);
        assert!(!edition(&[one], 1).hides);
        assert!(edition(&[one, Content::Unseen(Why::Permission)], 1).hides);
    }

    #[test]
    fn what_changed_while_httpd_read_is_of_no_edition() {
        let edition = Edition::of(&sightings(&[Content::Missing], 100_000));
        let at = Timestamp::from_micros;
        assert!(edition.changed_between(at(105_000), at(200_000)), "a tick");
        assert!(edition.changed_between(at(50_000), at(95_000)));
        assert!(!edition.changed_between(at(150_000), at(200_000)));
        assert!(!edition.changed_between(at(10_000), at(20_000)), "the clock was set back");
    }
}
