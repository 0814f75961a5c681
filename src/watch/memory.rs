//! What earlier runs knew, and what the next one will: loaded, kept up to date, forgotten.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tracing::{info, warn};

use super::{discover::is_of_others, server::Server};
use crate::{
    model::{journal::Entry, time::Moment},
    observe::{
        discovery::{Signature, is_trusted},
        server::{Past, Target},
    },
    state::{
        directory::{Folder, StateDirectory, StateError},
        document::{Document, Remembered, SignatureText},
        journal,
        orders::{Order, Outcome},
        path_text::PathText,
        pid_space::PidSpace,
        writer::Writer,
    },
    track::memory::LifeMemory,
};

/// Children come and go all the time, and are kept for the case that their parent ends while
/// nobody looks.
const CHILDREN_ARE_KEPT_EVERY: Duration = Duration::from_secs(10);

/// Where something happens all the time, what is known waits no longer for its lines.
const LINES_ARE_AWAITED: Duration = Duration::from_secs(2);

/// What is kept in the state directory, if there is one.
#[derive(Debug)]
pub(super) struct Memory {
    kept: Option<Kept>,
    /// Servers that were seen, and are not watched.
    others: Vec<Remembered>,
    space: Option<PidSpace>,
}

#[derive(Debug)]
struct Kept {
    directory: Arc<StateDirectory>,
    writer: Writer,
    last: Option<(Document, Moment)>,
    /// When orders were last looked for.
    heard: Option<Moment>,
    /// Since when lines of the journal are waited for.
    waits: Option<Moment>,
}

impl Memory {
    /// Reads what the last run left in this directory. Without a directory, or beside another run,
    /// nothing is kept; beside one, or where it cannot be, that is said.
    pub(super) fn open(path: Option<&Path>, procfs: &Path) -> Self {
        let space = PidSpace::read(procfs);
        let nothing = Self { kept: None, others: Vec::new(), space };
        let Some(path) = path else { return nothing };
        let directory = match Folder::make(path).and_then(Folder::lock) {
            Ok(directory) => Arc::new(directory),
            Err(error) => {
                warn_of(path, &error);
                return nothing;
            }
        };
        if let Err(error) = Order::clear(directory.folder()) {
            warn!(directory = %path.display(), %error, "no order to forget is taken");
        }
        let others = load(&directory, nothing.space.as_ref());
        match Writer::start(Arc::clone(&directory)) {
            Ok(writer) => Self {
                kept: Some(Kept { directory, writer, last: None, heard: None, waits: None }),
                others,
                ..nothing
            },
            Err(error) => {
                warn!(%error, "state is not kept: no thread to write it");
                Self { others, ..nothing }
            }
        }
    }

    /// What earlier runs wrote into the journal, the oldest first: at most the newest `most`.
    pub(super) fn journal(&self, most: usize) -> Vec<Entry> {
        let kept = self.kept.as_ref();
        kept.map_or_else(Vec::new, |kept| journal::newest(kept.directory.folder(), most))
    }

    /// Writes a line into the journal, if there is one.
    pub(super) fn write(&mut self, line: String) {
        if let Some(kept) = &mut self.kept {
            kept.writer.write_with_the_next(line);
        }
    }

    /// The name of the server that an operator configured like this, if it was seen before.
    pub(super) fn name(&self, target: &Target) -> Option<String> {
        let known = self.others.iter().find(|known| is_of(known, target));
        known.map(|known| known.name.clone())
    }

    /// What is known of the server that an operator configured like this; it is watched now.
    pub(super) fn take(&mut self, name: &str, target: &Target) -> Option<Remembered> {
        let is_it = |known: &Remembered| is_of(known, target);
        let of_name = self.others.iter().position(|known| is_it(known) && known.name == name);
        let place = of_name.or_else(|| self.others.iter().position(is_it))?;
        Some(self.others.remove(place))
    }

    /// Every server that was discovered, as far as there is room for it: those of root's and of
    /// one's own first. They are watched now; other users' servers are else forgotten.
    pub(super) fn take_discovered(&mut self, most: usize) -> Vec<Remembered> {
        let trusted = |known: &mut Remembered| known.is_discovered() && !is_others(known);
        let mut taken: Vec<Remembered> = self.others.extract_if(.., trusted).take(most).collect();
        let (others, rest) = mem::take(&mut self.others).into_iter().partition(is_others);
        self.others = rest;
        let others: Vec<Remembered> = others;
        let room = most.saturating_sub(taken.len());
        taken.extend(others.into_iter().take(room));
        taken
    }

    /// A server that is no longer watched.
    pub(super) fn put(&mut self, server: Remembered) {
        self.others.retain(|other| !server.takes_the_place_of(other));
        if !is_others(&server) {
            self.others.push(server);
        }
    }

    /// Keeps what is known now, if that is news. It `waits` for lines that tell of it: who is killed
    /// in between must not know of what he never told.
    pub(super) fn keep<'a>(
        &mut self,
        at: Moment,
        servers: impl Iterator<Item = &'a Server>,
        waits: bool,
    ) {
        let Some(kept) = &mut self.kept else { return };
        if waits && at.since(*kept.waits.get_or_insert(at)) < LINES_ARE_AWAITED {
            return;
        }
        kept.waits = None;
        let document = document(at, servers, &self.others, self.space.as_ref());
        let is_known = !kept.writer.is_waited_for()
            && kept.last.as_ref().is_some_and(|(last, when)| {
                let recent = at.since(*when) < CHILDREN_ARE_KEPT_EVERY;
                document.tells_the_same_as(last) && (recent || document.names_the_same_as(last))
            });
        if !is_known && kept.writer.take(document.clone()) {
            kept.last = Some((document, at));
        }
    }

    /// Keeps it for the last time.
    pub(super) fn end<'a>(self, at: Moment, servers: impl Iterator<Item = &'a Server>) {
        let document = document(at, servers, &self.others, self.space.as_ref());
        if let Some(kept) = self.kept {
            kept.writer.end_with(document);
        }
    }

    /// What was ordered to be forgotten; looked for once in an interval.
    pub(super) fn orders(&mut self, at: Moment, interval: Duration) -> Vec<Order> {
        let Some(kept) = &mut self.kept else { return Vec::new() };
        if kept.heard.is_some_and(|heard| at.since(heard) < interval) {
            return Vec::new();
        }
        kept.heard = Some(at);
        let (orders, strange) = Order::take(kept.directory.folder());
        for file in strange {
            warn!(file = %file.display(), "no order, taken away");
        }
        orders
    }

    /// Answers an order that was obeyed, once what is known now is kept.
    pub(super) fn answer_when_kept(&mut self, obeyed: Order) {
        if let Some(kept) = &mut self.kept {
            kept.writer.answer_with_the_next(obeyed);
        }
    }

    /// Forgets a server that is not watched; else names all that are known besides.
    pub(super) fn forget(&mut self, name: &str) -> Outcome {
        let place = self.others.iter().position(|other| other.name == name);
        if let Some(place) = place {
            self.others.remove(place);
            return Outcome::Forgotten;
        }
        Outcome::Unknown(self.others.iter().map(|other| other.name.clone()).collect())
    }
}

/// It was discovered, and is neither root's nor of gracekeeper's own user.
fn is_others(known: &Remembered) -> bool {
    known.is_discovered() && !known.signature.as_ref().is_some_and(|it| is_trusted(it.owner))
}

fn is_of(known: &Remembered, target: &Target) -> bool {
    let Target { pid_file, program, unit, .. } = target;
    known.is_configured_as(pid_file.as_deref(), unit.as_deref(), program.as_deref())
}

/// What is kept of a watched server.
pub(super) fn remembered(at: Moment, server: &Server) -> Remembered {
    let Target { pid_file, program, unit, signature } = server.observer.target().clone();
    let own = server.observer.own_pid_file().map(Path::to_owned);
    let signature = signature.map(|signature| SignatureText {
        program: PathText(signature.program),
        configuration: signature.configuration.map(PathText),
        owner: signature.owner,
    });
    let mut known = Remembered::new(server.name.clone(), [pid_file, program, own], unit, signature);
    known.memory = server.remember(at);
    known
}

/// Whom an earlier run knew.
pub(super) fn past(known: &Remembered) -> Past {
    let life = known.memory.life.as_ref();
    Past {
        signature: known.signature.as_ref().map(signature),
        own_pid_file: known.own_pid_file(),
        parent: life.and_then(LifeMemory::parent),
        children: life.into_iter().flat_map(LifeMemory::children).collect(),
        ended: life.into_iter().flat_map(LifeMemory::ended).collect(),
    }
}

fn signature(text: &SignatureText) -> Signature {
    let path = |text: &PathText| -> PathBuf { text.0.clone() };
    Signature {
        program: path(&text.program),
        configuration: text.configuration.as_ref().map(path),
        owner: text.owner,
    }
}

fn document<'a>(
    at: Moment,
    servers: impl Iterator<Item = &'a Server>,
    others: &[Remembered],
    space: Option<&PidSpace>,
) -> Document {
    // Everybody can have as many servers as he likes that are down.
    let servers = servers.filter(|it| it.may_be_up() || !is_of_others(it.observer.target()));
    let mut known: Vec<Remembered> = servers.map(|server| remembered(at, server)).collect();
    let is_watched = |other: &&Remembered| known.iter().any(|it| it.takes_the_place_of(other));
    let unwatched = others.iter().filter(|other| !is_watched(other));
    let unwatched: Vec<Remembered> = unwatched.cloned().collect();
    known.extend(unwatched);
    Document::new(space.cloned(), known)
}

/// What the last run left. What cannot be believed is put aside.
fn load(directory: &StateDirectory, space: Option<&PidSpace>) -> Vec<Remembered> {
    let read = directory.folder().read().map_err(|error| error.to_string());
    let document = read.and_then(|bytes| {
        let document = bytes.map(|bytes| Document::decode(&bytes)).transpose();
        document.map_err(|error| error.to_string())
    });
    match document {
        Ok(document) => document.map_or_else(Vec::new, |it| it.into_servers(space)),
        Err(cause) => {
            let path = directory.folder().path().display();
            match directory.set_aside() {
                Ok(now) => warn!(directory = %path, cause, now, "state not believed, put aside"),
                Err(error) => warn!(directory = %path, cause, %error, "state not believed"),
            }
            Vec::new()
        }
    }
}

/// One line: what is lost, why, and what mends it.
fn warn_of(path: &Path, error: &StateError) {
    let directory = path.display();
    let mend = match error {
        StateError::Unusable { .. } => {
            "make it, owned by the user that runs gracekeeper (systemd: StateDirectory=), or name \
             another as state_dir in [watch]"
        }
        StateError::Exposed { .. } => "let root own what is named, and nobody else write it",
        StateError::Locked { .. } => {
            info!(%directory, "another gracekeeper keeps its state here, this one keeps none");
            return;
        }
    };
    let cause = match error {
        StateError::Unusable { source, .. } => source.to_string(),
        StateError::Exposed { .. } | StateError::Locked { .. } => error.to_string(),
    };
    warn!(%directory, cause, mend, "state is not kept: a restart of gracekeeper forgets all");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovered(name: &str, owner: u32) -> Remembered {
        let signature =
            SignatureText { program: PathText("httpd".into()), configuration: None, owner };
        Remembered::new(name.to_owned(), [None, None, None], None, Some(signature))
    }

    fn memory(others: Vec<Remembered>) -> Memory {
        Memory { kept: None, others, space: None }
    }

    fn names(servers: &[Remembered]) -> Vec<&str> {
        servers.iter().map(|server| server.name.as_str()).collect()
    }

    #[test]
    fn roots_servers_are_taken_up_before_those_of_others() {
        let unit = Some("unit".to_owned());
        let configured = Remembered::new("unit".to_owned(), [None, None, None], unit, None);
        let known = ["a", "b", "c"].map(|name| discovered(name, 64_999)).into_iter();
        let known = known.chain([configured, discovered("d", 0), discovered("e", 0)]);
        let mut memory = memory(known.collect());
        assert_eq!(names(&memory.take_discovered(3)), ["d", "e", "a"]);
        assert_eq!(names(&memory.others), ["unit"], "the others' are forgotten");
    }

    #[test]
    fn roots_servers_for_which_there_is_no_room_are_kept() {
        let mut memory = memory(vec![discovered("a", 0), discovered("b", 0)]);
        assert_eq!(names(&memory.take_discovered(1)), ["a"]);
        assert_eq!(names(&memory.others), ["b"]);
    }

    #[test]
    fn another_users_server_that_is_no_longer_watched_is_not_kept() {
        let mut memory = memory(Vec::new());
        memory.put(discovered("a", 64_999));
        memory.put(discovered("b", 0));
        assert_eq!(names(&memory.others), ["b"]);
    }
}
