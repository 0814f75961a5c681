//! Files that a server is loaded from, as they are on disk.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    source::Why,
    time::{Moment, Timestamp},
    tls::Certificate,
};

/// The beginning of a SHA-256: the same content has the same on every host.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Digest(pub [u8; 16]);

/// The files that are to be watched of one server, as httpd itself tells of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileList {
    /// Every file of the configuration, the main one first, in the order in which httpd reads them.
    pub configuration: Vec<PathBuf>,
    /// What `Include` and `IncludeOptional` name: absolute, with wildcards; a directory means all
    /// files below it.
    pub patterns: Vec<PathBuf>,
    /// Files of certificates.
    pub certificates: Vec<PathBuf>,
    /// Files of private keys; one that has its certificate in it is in both.
    pub keys: Vec<PathBuf>,
    /// Files of chains, authorities and revocation lists; of a directory `DIRECTORY/*`.
    pub trusted: Vec<PathBuf>,
    /// The executable file, modules and libraries: of these only the inode is looked at.
    pub programs: Vec<PathBuf>,
    /// There may be more files than are named, as where httpd may not be asked for them.
    pub is_partial: bool,
    /// What the command line says beside paths: `-D`, `-C`, `-c`.
    pub told: Digest,
}

impl FileList {
    /// Those of the trusted that are a directory's.
    pub fn trusted_directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.trusted.iter().filter(|path| path.ends_with("*"))
    }

    /// The others.
    pub fn trusted_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.trusted.iter().filter(|path| !path.ends_with("*"))
    }
}

/// What a file has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its bytes.
    Bytes(Digest),
    /// It cannot be opened, or is larger than is read: its inode, size and times. They change with
    /// the bytes, and sometimes without.
    Inode(Digest, Why),
    /// There is no such file.
    Missing,
    /// Not even its inode can be looked at; or it is no regular file.
    Unseen(Why),
}

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSighting {
    /// What it has in it.
    pub content: Content,
    /// When it last changed, or any symbolic link on the way to it: whichever is later. Of a file
    /// that is missing when its directory changed. By the kernel's clock, whose ticks are up to
    /// 10 ms apart. `None` where that cannot be told.
    pub changed: Option<Timestamp>,
    /// When its bytes were last written, which tools may set as they like: what `mod_ssl` compares.
    pub modified: Option<Timestamp>,
}

/// What the files of one `Include` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Their names, in order; `Unseen` where a directory cannot be read.
    pub content: Content,
    /// When a directory last changed in which they are looked for, or a link that leads there.
    pub changed: Option<Timestamp>,
}

/// What a key file says of itself, without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// It is encrypted, so that httpd must be told a pass phrase.
    pub is_encrypted: bool,
}

/// All files of a server's list. What could be known of nothing is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSightings {
    /// The list that they belong to.
    pub list: Arc<FileList>,
    /// Every path of configuration, certificates and keys, and what patterns name beside.
    pub files: BTreeMap<PathBuf, FileSighting>,
    /// Every pattern.
    pub listings: BTreeMap<PathBuf, Listing>,
    /// The first certificate of each file that has one and can be read.
    pub certificates: BTreeMap<PathBuf, Certificate>,
    /// Each file of keys that can be read.
    pub keys: BTreeMap<PathBuf, KeyFile>,
    /// The inodes of all programs: another one when one of them was replaced or written.
    pub programs: Digest,
    /// Programs, files of the configuration and directories where `Include` looks for such, which
    /// others than root can write or replace.
    pub insecure: u32,
    /// The first that could not be read, and why: `Limit` where it is too large, `Invalid` where it
    /// is no regular file or leads in a circle. Of files and then of patterns, by their paths.
    pub unread: Option<(PathBuf, Why)>,
    /// Why changes are not heard of but looked for, if that is so: `Limit` where inotify has none
    /// left.
    pub polled: Option<Why>,
    /// What was handed over before this still held then: when the first change was heard of, or when
    /// it was looked in vain. `None` at the first sight.
    pub unchanged_until: Option<Moment>,
    /// Changes that were heard of may have been lost so often, so that all was looked at again.
    pub overflows: u64,
}

/// A program or library that the parent has mapped.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MappedFile {
    /// The path by which it was mapped first, in the parent's own mount namespace.
    pub path: PathBuf,
    /// What it is.
    pub kind: MappedKind,
    /// What lies at that path is not the file that is mapped.
    pub is_replaced: bool,
    /// When what lies there was last written, if that is after the parent's start. What is mapped is
    /// another program then, unless it was loaded later.
    pub written: Option<Timestamp>,
    /// What was written until then was there when it was mapped, unless each restart loads it anew.
    pub began: Timestamp,
    /// When what lies there came there: the last change of its inode; of a file that is gone, of
    /// its directory. `None` while it is neither replaced nor written, or where that cannot be told.
    pub changed: Option<Timestamp>,
}

/// What a mapped file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MappedKind {
    /// The parent's executable file.
    Binary,
    /// Anything else.
    Library,
}

/// The logs that processes have open: regular files that are only appended to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenLogs {
    /// By process: the name of each descriptor's file now, and whether it is deleted. Of many
    /// children some are read in each look, so that the others' are older.
    /// A child has most of them from its parent: equal lists are one.
    pub processes: BTreeMap<super::process::ProcessId, Arc<[OpenLog]>>,
}

/// Which file it is, whatever its name.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct FileIdentity {
    /// The device that it is on.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
    /// When it was created, where the file system keeps that: the number of a file that is gone is
    /// given to a new one.
    pub born: Option<Timestamp>,
}

/// One descriptor of a log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OpenLog {
    /// Which file it is.
    pub file: FileIdentity,
    /// The name that the file has now; of a deleted one the last it had.
    pub path: PathBuf,
    /// It has no name any more.
    pub is_deleted: bool,
}

impl Content {
    /// Why it could not be read, if it could not.
    #[must_use]
    pub const fn hidden(&self) -> Option<Why> {
        match self {
            Self::Inode(_, why) | Self::Unseen(why) => Some(*why),
            Self::Bytes(_) | Self::Missing => None,
        }
    }
}

impl FileSightings {
    /// The first of these that could not be read, and why: files before patterns, by their paths.
    #[must_use]
    pub fn first_unread(&self) -> Option<(PathBuf, Why)> {
        let files = self.files.iter().map(|(path, file)| (path, file.content));
        let listings = self.listings.iter().map(|(path, listing)| (path, listing.content));
        let mut all = files.chain(listings);
        all.find_map(|(path, content)| Some((path.clone(), content.hidden()?)))
    }

    /// One file, if it was looked at.
    #[must_use]
    pub fn file(&self, path: &Path) -> Option<&FileSighting> {
        self.files.get(path)
    }
}

/// When the running generation read its files: what changed later is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loading {
    /// How many the same parent did before.
    pub number: u64,
    /// When it began to read: what is stamped until then was read as it then was.
    pub began: Moment,
}
