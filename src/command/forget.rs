//! `gracekeeper forget`: drops a server that was seen once and is gone for good.

use std::{io, path::Path, thread, time::Duration};

use anyhow::Context as _;

use super::{complain, print, state_dir::state_dir};
use crate::{
    clock,
    config::Settings,
    exit::Exit,
    model::process::ProcessState,
    observe::{
        discovery::{self, Discovery, Signature},
        pid_file,
        process_table::ProcessTable,
    },
    state::{
        directory::{Folder, StateDirectory, StateError},
        document::{Document, Remembered, SignatureText},
        orders::{Given, Outcome},
        pid_space::PidSpace,
    },
    track::memory::LifeMemory,
};

/// A run looks for orders once an interval, which is a second unless somebody chose more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Forgets the server of this name, by itself or through the run that has the state directory.
pub fn run(settings: &Settings, name: &str) -> anyhow::Result<Exit> {
    let path = state_dir(settings);
    let folder = match Folder::open(&path) {
        Err(StateError::Unusable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return tell(name, &path, &Outcome::Unknown(Vec::new()));
        }
        folder => folder?,
    };
    let outcome = match folder.lock() {
        Ok(directory) => edit(&directory, settings, name)?,
        Err(StateError::Locked { .. }) => {
            let Some(outcome) = ask(&Folder::open(&path)?, name, settings.watch.interval)? else {
                let path = path.display();
                complain(&format!("gracekeeper: {path}: its run does not answer"));
                return Ok(Exit::Locked);
            };
            outcome
        }
        Err(error) => return Err(error.into()),
    };
    tell(name, &path, &outcome)
}

fn tell(name: &str, path: &Path, outcome: &Outcome) -> anyhow::Result<Exit> {
    let refusal = match outcome {
        Outcome::Forgotten => {
            print(&format!("{name} is forgotten\n"))?;
            return Ok(Exit::Success);
        }
        Outcome::Unwritten(cause) => {
            let path = path.display();
            complain(&format!("gracekeeper: {name} is forgotten, but not in {path}: {cause}"));
            return Ok(Exit::Internal);
        }
        Outcome::Up => format!("{name} is up: only a server that is down can be forgotten"),
        Outcome::Configured => {
            format!("{name} is configured: remove its [[server]] first, and reload gracekeeper")
        }
        Outcome::Unknown(known) if known.is_empty() => {
            format!("no server is called {name}: none is remembered in {}", path.display())
        }
        Outcome::Unknown(known) => {
            format!("no server is called {name}: known are {}", known.join(", "))
        }
    };
    complain(&format!("gracekeeper: {refusal}"));
    Ok(Exit::Usage)
}

/// Nobody runs: what is kept is changed under the lock.
fn edit(directory: &StateDirectory, settings: &Settings, name: &str) -> anyhow::Result<Outcome> {
    let path = directory.folder().path().display().to_string();
    let Some(bytes) = directory.folder().read().with_context(|| path.clone())? else {
        return Ok(Outcome::Unknown(Vec::new()));
    };
    let document = Document::decode(&bytes).with_context(|| format!("{path}/servers.json"))?;
    let here = PidSpace::read(&settings.paths.procfs);
    let mut servers = document.into_servers(here.as_ref());
    let Some(place) = servers.iter().position(|server| server.name == name) else {
        return Ok(Outcome::Unknown(servers.into_iter().map(|server| server.name).collect()));
    };
    let server = servers.remove(place);
    if is_configured(&server, settings) {
        return Ok(Outcome::Configured);
    }
    if is_up(&server, settings) {
        return Ok(Outcome::Up);
    }
    let bytes = Document::new(here, servers).encode()?;
    directory.write(&bytes).with_context(|| path)?;
    Ok(Outcome::Forgotten)
}

fn is_configured(known: &Remembered, settings: &Settings) -> bool {
    settings.servers.iter().any(|server| {
        let pid_file = server.pid_file.as_deref();
        // A pid file names the server, and its unit no more than that.
        let unit = server.unit.as_deref().filter(|_| pid_file.is_none());
        known.is_configured_as(pid_file, unit, server.program.as_deref())
    })
}

/// Its parent lives, or it was started again since.
fn is_up(known: &Remembered, settings: &Settings) -> bool {
    let table = ProcessTable::new(settings.paths.procfs.clone());
    let parent = known.memory.life.as_ref().and_then(LifeMemory::parent);
    let row = parent.and_then(|id| table.row(id.pid).ok().filter(|row| row.id == id));
    row.is_some_and(|row| row.state != ProcessState::Ended)
        || is_named(known, &table)
        || is_found(known, &table)
}

/// Its pid file names the parent of an httpd.
fn is_named(known: &Remembered, table: &ProcessTable) -> bool {
    let named = known.any_pid_file().and_then(|path| pid_file::read(&path).ok());
    let row = named.and_then(|named| table.row(named.pid).ok());
    row.is_some_and(|row| discovery::named_parent(table, &row, known.program()).is_some())
}

/// A parent that nobody named is of its unit, or is what its last one was.
fn is_found(known: &Remembered, table: &ProcessTable) -> bool {
    let found = Discovery::default().parents(table, clock::now().uptime).unwrap_or_default();
    found.iter().any(|parent| {
        known.signature.as_ref().is_some_and(|text| is_signature(text, &parent.signature))
            || known.unit().is_some_and(|unit| {
                discovery::unit_of(table, parent.id).is_some_and(|its| its == unit)
            })
    })
}

fn is_signature(text: &SignatureText, signature: &Signature) -> bool {
    let Signature { program, configuration, owner } = signature;
    text.program.0 == *program
        && text.configuration.as_ref().map(|path| &path.0) == configuration.as_ref()
        && text.owner == *owner
}

/// Asks the run that has the lock; `None` if it does not answer.
fn ask(state: &Folder, name: &str, interval: Duration) -> anyhow::Result<Option<Outcome>> {
    let path = state.path();
    let given = Given::give(state, name).map_err(|source| unusable(path, source))?;
    let (started, patience) = (clock::now(), ANSWERED_WITHIN.max(interval * 2));
    loop {
        if let Some(outcome) = given.answer().map_err(|source| unusable(path, source))? {
            return Ok(Some(outcome));
        }
        if clock::now().since(started) >= patience {
            return Ok(None);
        }
        thread::sleep(ASK_AGAIN_AFTER);
    }
}

fn unusable(path: &Path, source: io::Error) -> StateError {
    StateError::Unusable { path: path.to_owned(), source }
}
