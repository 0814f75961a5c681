//! What files have in them: read once, and again when they are not what they were.

use std::{
    collections::BTreeMap,
    fs::Metadata,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::way::{End, Swaps, Way, why};
use crate::{
    clock,
    decode::{certificate, digest::digest, private_key},
    file_stamp::FileStamp,
    model::{
        files::{Content, Digest, FileSighting, KeyFile},
        source::Why,
        time::Timestamp,
        tls::Certificate,
    },
    observe::regular_file,
};

/// As much of one file as is read, in bytes.
const LARGEST: u64 = 16 << 20;
/// As much as is read in one look, in bytes.
const LARGEST_IN_ALL: u64 = 256 << 20;
/// A file that was written so lately may be written again without another stamp: the kernel's
/// clock goes on in ticks. In microseconds.
const TWO_TICKS: u64 = 20_000;
/// A file that changes while it is read is read so often.
const MOST_READINGS: usize = 3;

/// What is known of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    /// What the file is now.
    pub(super) sighting: FileSighting,
    /// Its first certificate, if it was wanted for TLS and has one.
    pub(super) certificate: Option<Certificate>,
    /// Its key, if it was wanted for TLS and has one.
    pub(super) key: Option<KeyFile>,
}

/// What was read, by path.
#[derive(Debug, Default)]
pub(super) struct Contents {
    known: BTreeMap<PathBuf, Known>,
    /// What is remembered of the ways to them.
    pub(super) swaps: Swaps,
    /// The number of this look.
    look: u64,
    /// Bytes that may still be read in it.
    left: u64,
}

#[derive(Debug)]
struct Known {
    stamp: FileStamp,
    /// The same stamp will mean the same content.
    is_settled: bool,
    is_for_tls: bool,
    content: Content,
    certificate: Option<Certificate>,
    key: Option<KeyFile>,
    look: u64,
}

impl Contents {
    /// Another look begins.
    pub(super) fn begin(&mut self) {
        self.look += 1;
        self.left = LARGEST_IN_ALL;
    }

    /// What was not looked at in this look is forgotten.
    pub(super) fn end(&mut self) {
        let look = self.look;
        self.known.retain(|_, known| known.look == look);
    }

    /// Looks at the file where this path leads. `earlier` is what was seen last.
    pub(super) fn look(
        &mut self,
        path: &Path,
        way: &Way,
        is_for_tls: bool,
        earlier: Option<&FileSighting>,
    ) -> Read {
        let nothing = |content, changed| Read {
            sighting: FileSighting { content, changed, modified: None },
            certificate: None,
            key: None,
        };
        match &way.end {
            End::There(metadata) => self.look_at(path, way, metadata, is_for_tls),
            End::Missing(_) => {
                let earlier = earlier.filter(|it| it.content == Content::Missing);
                // It does not go once more whenever something else comes or goes there.
                let changed = earlier.and_then(|it| it.changed);
                nothing(Content::Missing, changed.or_else(|| stamp(way.changed())))
            }
            End::Unseen(why) => nothing(Content::Unseen(*why), None),
        }
    }

    fn look_at(&mut self, path: &Path, way: &Way, metadata: &Metadata, is_for_tls: bool) -> Read {
        let now = FileStamp::read(metadata);
        let fresh = self.known.get_mut(path).filter(|known| {
            known.stamp == now && known.is_settled && (known.is_for_tls || !is_for_tls)
        });
        if let Some(known) = fresh {
            known.look = self.look;
            return known.seen(way, now);
        }
        let mut known = self.read(&way.reached, metadata, is_for_tls);
        known.look = self.look;
        let seen = known.seen(way, known.stamp);
        self.known.insert(path.to_owned(), known);
        seen
    }

    fn read(&mut self, path: &Path, metadata: &Metadata, is_for_tls: bool) -> Known {
        let mut known = Known::unread(FileStamp::read(metadata), is_for_tls);
        if !metadata.is_file() {
            known.content = Content::Unseen(Why::Invalid);
            return known;
        }
        for _ in 0..MOST_READINGS {
            let before = known.stamp;
            if before.bytes() > LARGEST.min(self.left) {
                known.content = Content::Inode(digest_of(&before), Why::Limit);
                // The next look may have room for it.
                known.is_settled &= before.bytes() > LARGEST;
                return known;
            }
            let result = regular_file::read(path, LARGEST + 1);
            known.take(result);
            if let Content::Bytes(_) = known.content {
                self.left = self.left.saturating_sub(before.bytes());
            }
            match FileStamp::of(path) {
                Some(after) if after != before => known.renew(after),
                Some(_) | None => return known,
            }
        }
        // Whatever it is by now: somebody writes it on and on.
        known.is_settled = false;
        known
    }
}

impl Known {
    fn unread(stamp: FileStamp, is_for_tls: bool) -> Self {
        Self {
            stamp,
            is_settled: is_settled(&stamp),
            is_for_tls,
            content: Content::Missing,
            certificate: None,
            key: None,
            look: 0,
        }
    }

    fn renew(&mut self, stamp: FileStamp) {
        (self.stamp, self.is_settled) = (stamp, is_settled(&stamp));
    }

    fn take(&mut self, result: io::Result<Option<(Vec<u8>, Metadata)>>) {
        (self.certificate, self.key) = (None, None);
        self.content = match result {
            Ok(Some((bytes, _))) if bytes.len() as u64 > LARGEST => {
                Content::Inode(digest_of(&self.stamp), Why::Limit)
            }
            Ok(Some((bytes, _))) => {
                if self.is_for_tls {
                    self.certificate = certificate::first(&bytes);
                    self.key = private_key::key_file(&bytes);
                }
                Content::Bytes(digest([bytes.as_slice()]))
            }
            Ok(None) => Content::Unseen(Why::Invalid),
            Err(error) => {
                let why = why(&error);
                // Rights change the stamp; what else it was may be over the next time.
                self.is_settled &= why == Why::Permission;
                Content::Inode(digest_of(&self.stamp), why)
            }
        };
    }

    fn seen(&self, way: &Way, stamp_now: FileStamp) -> Read {
        let changed = stamp_now.changed_at();
        let changed = way.linked.map_or(changed, |linked| linked.max(changed));
        Read {
            sighting: FileSighting {
                content: self.content,
                changed: stamp(Some(changed)),
                modified: stamp(Some(stamp_now.modified_at())),
            },
            certificate: self.certificate,
            key: self.key,
        }
    }
}

fn is_settled(stamp: &FileStamp) -> bool {
    // A stamp of the future was made before the clock was set back: it says nothing of today.
    clock::now().wall.as_micros().abs_diff(stamp.changed_at()) > TWO_TICKS
}

/// Microseconds since the epoch.
pub(super) fn stamp(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_micros)
}

/// When a directory got or lost an entry, in microseconds since the epoch.
pub(super) fn modified(metadata: &Metadata) -> i64 {
    FileStamp::read(metadata).modified_at()
}

/// The digest of a stamp.
pub(super) fn digest_of(stamp: &FileStamp) -> Digest {
    let bytes: Vec<u8> = stamp.each_byte().collect();
    digest([bytes.as_slice()])
}

/// The digest of the inodes of programs, in their order.
pub(super) fn digest_of_programs<'a>(ways: impl Iterator<Item = (&'a Path, Way)>) -> Digest {
    let mut bytes = Vec::new();
    for (path, way) in ways {
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        bytes.push(0);
        match &way.end {
            End::There(metadata) => bytes.extend(FileStamp::read(metadata).each_byte()),
            End::Missing(_) => bytes.push(1),
            End::Unseen(_) => bytes.push(2),
        }
    }
    digest([bytes.as_slice()])
}

#[cfg(test)]
mod tests {
    use std::{fs, time::SystemTime};

    use super::*;
    use crate::observe::files::way::Ways;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// Written long ago as far as the look can tell, once that settles.
        fn write(&self, name: &str, text: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }

    fn look(contents: &mut Contents, path: &Path) -> FileSighting {
        contents.look(path, &Ways::default().to(path), false, None).sighting
    }

    /// Until what was written is older than two ticks.
    fn settle(contents: &mut Contents, path: &Path) -> FileSighting {
        loop {
            contents.begin();
            let seen = look(contents, path);
            contents.end();
            if contents.known.get(path).is_some_and(|known| known.is_settled) {
                return seen;
            }
        }
    }

    #[test]
    fn bytes_are_read_again_only_when_the_stamp_moved() {
        let files = Files::new();
        let path = files.write("a", b"one");
        let mut contents = Contents::default();
        let first = settle(&mut contents, &path);
        contents.begin();
        assert_eq!(look(&mut contents, &path), first);
        assert_eq!(contents.left, LARGEST_IN_ALL, "nothing was read");
        files.write("a", b"two");
        let second = look(&mut contents, &path);
        assert_eq!(second.content, Content::Bytes(digest([b"two".as_slice()])));
        assert_eq!(contents.left, LARGEST_IN_ALL - 3);
        // Of the same size, and within the same tick perhaps.
        files.write("a", b"six");
        let third = look(&mut contents, &path);
        assert_eq!(third.content, Content::Bytes(digest([b"six".as_slice()])));
    }

    #[test]
    fn what_is_not_looked_at_any_more_is_forgotten() {
        let files = Files::new();
        let mut contents = Contents::default();
        settle(&mut contents, &files.write("a", b"a"));
        settle(&mut contents, &files.write("b", b"b"));
        assert_eq!(contents.known.len(), 1);
    }

    #[test]
    fn a_file_that_is_too_large_is_known_by_its_inode() {
        let files = Files::new();
        let path = files.write("large", b"");
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        let mut contents = Contents::default();
        let first = settle(&mut contents, &path);
        let Content::Inode(digest, Why::Limit) = first.content else { panic!("{first:?}") };
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let second = look(&mut contents, &path);
        assert!(matches!(second.content, Content::Inode(other, Why::Limit) if other != digest));
    }

    #[test]
    fn what_is_read_in_one_look_has_a_limit() {
        let files = Files::new();
        let (one, other) = (files.write("a", b"12345"), files.write("b", b"12345"));
        // Until both are old enough to be known by their stamps.
        settle(&mut Contents::default(), &one);
        settle(&mut Contents::default(), &other);
        let mut contents = Contents::default();
        contents.begin();
        contents.left = 9;
        assert!(matches!(look(&mut contents, &one).content, Content::Bytes(_)));
        assert!(matches!(look(&mut contents, &other).content, Content::Inode(_, Why::Limit)));
        assert!(matches!(settle(&mut contents, &other).content, Content::Bytes(_)), "tried again");
    }
}
