//! One path: what the running generation read there, and whether something else lies there now.

use super::Owed;
use crate::model::{
    files::{Content, Digest, FileSighting},
    time::Timestamp,
};

/// More changes of one file in one restart are not told apart.
const MOST_EARLIER: usize = 8;

/// So long what is not named any more is kept, if it was not loaded; longer than restarts take.
const KEPT: Timestamp = Timestamp::from_micros(600_000_000);

/// So much later than it happened a change is heard of on a host that is very busy, in microseconds.
const HEARD_LATE: i64 = 2_000_000;

/// The load that sightings are held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// What is stamped until then was read as it then was.
    pub(super) began: Timestamp,
    /// A change that was heard of later is the first one after the load.
    pub(super) certain: Timestamp,
    /// What was sighted before still held then.
    pub(super) held_until: Option<Timestamp>,
    /// The files were not held against it before.
    pub(super) is_new: bool,
}

/// What somebody else tells of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing.
    None,
    /// What lies there is loaded.
    Loaded,
    /// It is not.
    NotLoaded,
}

/// Where one path stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// It was listed when the files were first held against this load.
    is_original: bool,
    /// It came after the load, where that was seen.
    is_added: bool,
    /// What was handed over last.
    told: Option<FileSighting>,
    /// The same, dated by when it came there.
    sighted: Option<FileSighting>,
    /// When what was sighted before that still held.
    held_until: Option<Timestamp>,
    /// What was sighted before, the oldest first: a restart that hangs has read what lay there then.
    earlier: Vec<(FileSighting, Option<Timestamp>)>,
    /// When it was missed first since it was sighted: nothing names it any more.
    gone: Option<Timestamp>,
    /// What was read; `None` where that is not known.
    loaded: Option<Read>,
    /// What an earlier run knew to have been read.
    left: Option<Digest>,
    owed: Owed,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    content: Content,
    modified: Option<Timestamp>,
}

impl Load {
    /// It is stamped after the load had begun.
    fn is_later(&self, sighting: &FileSighting) -> bool {
        sighting.changed.is_some_and(|changed| changed > self.began)
    }

    /// A change may be the second of two that were sighted as one, the first of which was read: where
    /// what was sighted before them is not known to have held beyond the load.
    fn may_hide(&self, held_until: Option<Timestamp>) -> bool {
        held_until.is_none_or(|held_until| held_until < self.certain)
    }
}

impl Standing {
    /// Of a path that was not sighted before.
    pub(super) const fn new(left: Option<Digest>) -> Self {
        Self {
            is_original: false,
            is_added: false,
            told: None,
            sighted: None,
            held_until: None,
            earlier: Vec::new(),
            gone: None,
            loaded: None,
            left,
            owed: Owed::Nothing,
        }
    }

    /// What is owed of it, as far as it counts.
    pub(super) const fn owed(&self) -> Owed {
        self.owed
    }

    /// What was read, while something else lies there.
    pub(super) fn unpaid(&self) -> Option<Digest> {
        let read = self.loaded.filter(|_| self.owed != Owed::Nothing)?;
        match read.content {
            Content::Bytes(digest) => Some(digest),
            Content::Inode(..) | Content::Missing | Content::Unseen(_) => None,
        }
    }

    /// It was there to be read, so that what became of it is drift. One that came later is not
    /// loaded, and is not to be: whatever names it is drift itself.
    pub(super) const fn is_known(&self) -> bool {
        self.is_original || self.loaded.is_some()
    }

    /// Something was seen of it.
    pub(super) fn is_seen(&self) -> bool {
        self.sighted.is_some_and(|it| !matches!(it.content, Content::Unseen(_)))
    }

    /// When it last changed, as far as is known.
    pub(super) fn changed(&self) -> Option<Timestamp> {
        self.sighted.and_then(|it| it.changed)
    }

    /// Its bytes were written since it was loaded: `mod_ssl` reads a key again whose time is
    /// another. Where that is not known, it is so if they were written after the load began.
    pub(super) fn is_written_since(&self, began: Timestamp) -> bool {
        let modified = self.sighted.and_then(|it| it.modified);
        match self.loaded {
            Some(Read { content: Content::Missing, .. }) => true,
            Some(Read { modified: Some(loaded), .. }) => modified.is_some_and(|it| it != loaded),
            Some(Read { modified: None, .. }) | None => modified.is_some_and(|it| it > began),
        }
    }

    /// Nothing names it in this look; it was read all the same if that was otherwise until then.
    /// Whether it is still to be known of.
    pub(super) fn fold_gone(&mut self, at: Timestamp, load: &Load) -> bool {
        let gone = *self.gone.get_or_insert(at);
        if load.is_new {
            self.loaded = self.sighted.and_then(|last| self.sighted_then(&last, load));
            (self.is_original, self.is_added) = (true, false);
            self.earlier.clear();
        }
        // A restart that is in progress may have read it, though it was not loaded before.
        let micros = at.as_micros().saturating_sub(gone.as_micros());
        let may_be_read = !load.is_new && micros < KEPT.as_micros();
        gone > load.began && (self.loaded.is_some() || may_be_read)
    }

    /// Folds one sighting.
    pub(super) fn fold(&mut self, told: &FileSighting, load: &Load, proof: Proof) {
        self.gone = None;
        let now = &self.dated(told, load);
        let before = self.sighted.replace(*now);
        let is_other = before.is_none_or(|before| before.changed != now.changed);
        self.is_added |= before.is_none() && load.is_later(now) && now.content != Content::Missing;
        if is_other {
            let held_until = std::mem::replace(&mut self.held_until, load.held_until);
            self.earlier.extend(before.map(|before| (before, held_until)));
            let superfluous = self.earlier.len().saturating_sub(MOST_EARLIER);
            self.earlier.drain(..superfluous);
        }
        let is_news = now.changed.is_some() && before != Some(*now);
        let mut is_left = false;
        if load.is_new {
            (self.is_original, self.is_added) = (true, false);
            self.owed = Owed::Nothing;
            let left = self.left.take().map(Content::Bytes);
            let left = left.map(|content| Read { content, modified: None });
            is_left = left.is_some();
            // Known is better than told by stamps, which come with a directory.
            self.loaded = left.or_else(|| self.sighted_then(now, load));
            self.earlier.clear();
        }
        if load.is_later(now) {
            if is_other && load.may_hide(self.held_until) && !load.is_new {
                self.loaded = None;
            }
        } else if !is_left && (is_news || load.is_new || self.loaded.is_none()) {
            self.was_read(before, now);
        }
        if proof == Proof::Loaded && self.loaded.is_none() {
            // Its bytes, at least: nothing tells with which time.
            self.loaded = Read::of(now).map(|read| Read { modified: None, ..read });
        }
        let differs = if proof == Proof::NotLoaded { Some(true) } else { self.differs(now) };
        self.owed = match (differs, self.owed) {
            (Some(false), _) => Owed::Nothing,
            (Some(true), Owed::Nothing) => Owed::Since(now.changed),
            (Some(true), owed @ Owed::Since(_)) | (None, owed) => owed,
        };
    }

    /// A file that comes with its directory, or with what is mounted there, keeps the stamp that it
    /// had elsewhere: of what was seen to lie there until later, it came no sooner than that ended.
    fn dated(&mut self, told: &FileSighting, load: &Load) -> FileSighting {
        let before = self.told.replace(*told);
        if let (Some(dated), true) = (self.sighted, before == Some(*told)) {
            return dated;
        }
        let is_seen = |content| matches!(content, Content::Bytes(_) | Content::Missing);
        let are_seen =
            before.is_some_and(|before| is_seen(before.content) && is_seen(told.content));
        let is_older = |held: &Timestamp| {
            told.changed.is_some_and(|changed| {
                changed.as_micros().saturating_add(HEARD_LATE) < held.as_micros()
            })
        };
        let came = load.held_until.filter(|held| are_seen && is_older(held));
        FileSighting { changed: came.or(told.changed), ..*told }
    }

    /// What was sighted last of what had changed before the load began.
    fn sighted_then(&self, now: &FileSighting, load: &Load) -> Option<Read> {
        let is_read =
            |it: &(FileSighting, _)| it.0.changed.is_none_or(|changed| changed <= load.began);
        let newest_first =
            || [(*now, self.held_until)].into_iter().chain(self.earlier.iter().rev().copied());
        let (read, _) = newest_first().find(is_read)?;
        let next = newest_first().take_while(|it| !is_read(it)).last();
        let hides = next.is_some_and(|(_, held_until)| load.may_hide(held_until));
        Read::of(&read).filter(|_| !hides)
    }

    /// It was read as it is now; but bytes that were seen then are better than an inode.
    fn was_read(&mut self, before: Option<FileSighting>, now: &FileSighting) {
        let same = before.is_some_and(|it| it.changed == now.changed && it.changed.is_some());
        let was_seen = self.loaded.is_some_and(|it| matches!(it.content, Content::Bytes(_)));
        let is_seen = matches!(now.content, Content::Bytes(_) | Content::Missing);
        if let Some(read) = Read::of(now).filter(|_| is_seen || !(same && was_seen)) {
            self.loaded = Some(read);
        }
    }

    /// `None` where that cannot be told.
    fn differs(&self, now: &FileSighting) -> Option<bool> {
        let Some(loaded) = self.loaded else {
            if self.is_added && now.content == Content::Missing {
                return Some(false);
            }
            return (!matches!(now.content, Content::Unseen(_))).then_some(true);
        };
        match (loaded.content, now.content) {
            (_, Content::Unseen(_)) | (Content::Unseen(_), _) => None,
            (Content::Bytes(read), Content::Bytes(now))
            | (Content::Inode(read, _), Content::Inode(now, _)) => Some(read != now),
            (Content::Missing, Content::Missing) => Some(false),
            (Content::Missing, Content::Bytes(_) | Content::Inode(..))
            | (Content::Bytes(_) | Content::Inode(..), Content::Missing) => Some(true),
            // Rights change no byte.
            (Content::Bytes(_), Content::Inode(..)) | (Content::Inode(..), Content::Bytes(_)) => {
                Some(loaded.modified != now.modified)
            }
        }
    }
}

impl Read {
    fn of(sighting: &FileSighting) -> Option<Self> {
        let FileSighting { content, modified, .. } = *sighting;
        (!matches!(content, Content::Unseen(_))).then_some(Self { content, modified })
    }
}
