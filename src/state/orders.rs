//! What `forget` asks of a run that has the lock, and what that answers: files in `forget/`.
//!
//! The command puts `NUMBER.order` there, its own process number; the run takes it away and leaves
//! `NUMBER.answer`, which the command takes away. Both appear under these names when they are
//! whole.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process,
};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const FOLDER: &str = "forget";
const ORDER: &str = "order";
const ANSWER: &str = "answer";
/// More than the names of all servers that can be remembered.
const LONGEST: u64 = 1 << 20;
/// As many are taken at once; more are taken next time.
const MOST: usize = 64;

/// What became of a server that is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is forgotten.
    Forgotten,
    /// It runs.
    Up,
    /// An operator configured it, so that it exists in any case.
    Configured,
    /// No server has this name; these are known.
    Unknown(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    name: String,
}

/// An order that waits.
#[derive(Debug)]
pub struct Order {
    /// The server to be forgotten.
    pub name: String,
    file: PathBuf,
}

/// An order that was given, and is taken back when this value goes.
#[derive(Debug)]
pub struct Given {
    order: PathBuf,
    answer: PathBuf,
}

impl Given {
    /// Gives the order to forget a server to the run that has the lock of this state directory.
    pub fn give(state: &Path, name: &str) -> io::Result<Self> {
        let folder = folder(state)?;
        let file = |kind: &str| folder.join(format!("{}.{kind}", process::id()));
        let given = Self { order: file(ORDER), answer: file(ANSWER) };
        remove(&given.answer);
        place(&given.order, &Request { name: name.to_owned() })?;
        Ok(given)
    }

    /// What became of it, once the run says so.
    pub fn answer(&self) -> io::Result<Option<Outcome>> {
        match read(&self.answer) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        remove(&self.order);
        remove(&self.answer);
    }
}

impl Order {
    /// The orders that wait in this state directory. What cannot be read is taken away, and is
    /// named by the second value.
    #[must_use]
    pub fn waiting(state: &Path) -> (Vec<Self>, Vec<PathBuf>) {
        let (mut orders, mut strange) = (Vec::new(), Vec::new());
        let Ok(entries) = fs::read_dir(state.join(FOLDER)) else {
            return (orders, strange);
        };
        for entry in entries.filter_map(Result::ok).take(MOST) {
            let file = entry.path();
            if file.extension().is_none_or(|extension| extension != ORDER) {
                continue;
            }
            if let Ok(Request { name }) = read(&file) {
                orders.push(Self { name, file });
            } else {
                remove(&file);
                strange.push(file);
            }
        }
        (orders, strange)
    }

    /// Tells who gave it what became of it.
    pub fn answer(self, outcome: &Outcome) -> io::Result<()> {
        let placed = place(&self.file.with_extension(ANSWER), outcome);
        remove(&self.file);
        placed
    }

    /// Takes away what an earlier run left, orders too: who gave them has gone.
    pub fn clear(state: &Path) {
        let entries = fs::read_dir(state.join(FOLDER)).into_iter().flatten();
        for entry in entries.filter_map(Result::ok) {
            remove(&entry.path());
        }
    }
}

fn folder(state: &Path) -> io::Result<PathBuf> {
    let folder = state.join(FOLDER);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(folder),
    }
}

fn place(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    remove(&new);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    fs::rename(new, path)
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// What cannot be removed is not there, or is somebody else's mistake.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_answered_and_nothing_stays() {
        let state = tempfile::tempdir().unwrap();
        let given = Given::give(state.path(), "a/\u{e4} b").unwrap();
        assert_eq!(given.answer().unwrap(), None);
        let (mut orders, strange) = Order::waiting(state.path());
        assert!(strange.is_empty());
        let order = orders.pop().unwrap();
        assert_eq!(order.name, "a/\u{e4} b");
        let outcome = Outcome::Unknown(vec!["b".to_owned()]);
        order.answer(&outcome).unwrap();
        assert_eq!(given.answer().unwrap(), Some(outcome));
        drop(given);
        assert_eq!(fs::read_dir(state.path().join(FOLDER)).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_order_is_taken_away() {
        let state = tempfile::tempdir().unwrap();
        let strange = folder(state.path()).unwrap().join("7.order");
        fs::write(&strange, "{").unwrap();
        let (orders, taken) = Order::waiting(state.path());
        assert_eq!((orders.len(), taken), (0, vec![strange.clone()]));
        assert!(!strange.exists());
    }

    #[test]
    fn an_order_that_nobody_takes_is_taken_back() {
        let state = tempfile::tempdir().unwrap();
        drop(Given::give(state.path(), "x").unwrap());
        assert!(Order::waiting(state.path()).0.is_empty());
        let given = Given::give(state.path(), "x").unwrap();
        Order::clear(state.path());
        assert!(Order::waiting(state.path()).0.is_empty());
        drop(given);
    }
}
