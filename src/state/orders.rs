//! What `forget` asks of a run that has the lock, and what that answers: files in `forget/`.
//!
//! The command puts `NUMBER.order` there, its own process number; the run takes it away and leaves
//! `NUMBER.answer`, which the command takes away. Both appear under these names when they are
//! whole.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    process,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat},
    io::Errno,
    process::geteuid,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::directory::Folder;
use crate::trusted_path::Rights;

const FOLDER: &str = "forget";
const ORDER: &str = "order";
const ANSWER: &str = "answer";
const NEW: &str = "new";
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
    /// The run has forgotten it, but could not write that; why.
    Unwritten(String),
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

/// An order that was taken.
#[derive(Debug)]
pub struct Order {
    /// The server to be forgotten.
    pub name: String,
    tray: Tray,
    answer: OsString,
}

/// An order that was given, and is taken back when this value goes.
#[derive(Debug)]
pub struct Given {
    tray: Tray,
    order: String,
    answer: String,
}

impl Given {
    /// Gives the order to forget a server to the run that has the lock of this state directory.
    pub fn give(state: &Folder, name: &str) -> io::Result<Self> {
        match mkdirat(state, FOLDER, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let file = |kind: &str| format!("{}.{kind}", process::id());
        let given = Self { tray: Tray::open(state)?, order: file(ORDER), answer: file(ANSWER) };
        given.tray.remove(given.answer.as_ref());
        given.tray.place(given.order.as_ref(), &Request { name: name.to_owned() })?;
        Ok(given)
    }

    /// What became of it, once the run says so.
    pub fn answer(&self) -> io::Result<Option<Outcome>> {
        match self.tray.read(self.answer.as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.tray.remove(self.order.as_ref());
        self.tray.remove(self.answer.as_ref());
    }
}

impl Order {
    /// Takes the orders that wait in this state directory. What cannot be read is taken away too,
    /// and is named by the second value.
    #[must_use]
    pub fn take(state: &Folder) -> (Vec<Self>, Vec<OsString>) {
        let (mut orders, mut strange) = (Vec::new(), Vec::new());
        let Ok(tray) = Tray::open(state) else {
            return (orders, strange);
        };
        for file in tray.files(&[ORDER]).unwrap_or_default() {
            let request = tray.read(&file);
            tray.remove(&file);
            if let Ok(Request { name }) = request {
                let answer = Path::new(&file).with_extension(ANSWER).into_os_string();
                orders.push(Self { name, tray: tray.clone(), answer });
            } else {
                strange.push(file);
            }
        }
        (orders, strange)
    }

    /// Tells who gave it what became of it.
    pub fn answer(self, outcome: &Outcome) -> io::Result<()> {
        self.tray.place(&self.answer, outcome)
    }

    /// Takes away what an earlier run left, orders too: who gave them has gone. An error says why
    /// no orders can be taken.
    pub fn clear(state: &Folder) -> io::Result<()> {
        let tray = match Tray::open(state) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            tray => tray?,
        };
        for file in tray.files(&[ORDER, ANSWER, NEW])? {
            tray.remove(&file);
        }
        Ok(())
    }
}

/// Where orders and answers lie, held open: whatever takes its name later is not followed.
#[derive(Clone, Debug)]
struct Tray(Arc<OwnedFd>);

impl Tray {
    fn open(state: &Folder) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = File::from(openat(state.as_fd(), FOLDER, flags, Mode::empty())?);
        let (rights, own) = (Rights::of(&folder.metadata()?), geteuid().as_raw());
        if rights.let_others_write(own) {
            let Rights { mode, owner } = rights;
            return Err(io::Error::other(format!(
                "{FOLDER}: must be writable by its owner alone, who is user {own} or root; is user \
                 {owner}'s, with mode {mode:04o}"
            )));
        }
        Ok(Self(Arc::new(folder.into())))
    }

    /// The files of these kinds, as many as are taken at once.
    fn files(&self, kinds: &[&str]) -> io::Result<Vec<OsString>> {
        let names = Dir::read_from(&*self.0)?.filter_map(Result::ok);
        let names = names.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        let is_one = |name: &OsString| {
            Path::new(name).extension().is_some_and(|its| kinds.iter().any(|kind| its == *kind))
        };
        Ok(names.filter(is_one).take(MOST).collect())
    }

    fn place(&self, name: &OsStr, value: &impl Serialize) -> io::Result<()> {
        let new = Path::new(name).with_extension(NEW);
        self.remove(new.as_os_str());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&*self.0, &new, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&serde_json::to_vec(value)?)?;
        Ok(renameat(&*self.0, &new, &*self.0, name)?)
    }

    fn read<T: DeserializeOwned>(&self, name: &OsStr) -> io::Result<T> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&*self.0, name, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// What cannot be removed is not there, or is somebody else's mistake.
    fn remove(&self, name: &OsStr) {
        let _ = unlinkat(&*self.0, name, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink},
        path::PathBuf,
    };

    use super::*;

    struct State(tempfile::TempDir, Folder);

    impl State {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let folder = Folder::open(directory.path()).unwrap();
            Self(directory, folder)
        }

        fn tray(&self) -> PathBuf {
            let tray = self.0.path().join(FOLDER);
            fs::DirBuilder::new().mode(0o700).recursive(true).create(&tray).unwrap();
            tray
        }
    }

    #[test]
    fn an_order_is_answered_and_nothing_stays() {
        let state = State::new();
        let given = Given::give(&state.1, "a/\u{e4} b").unwrap();
        assert_eq!(given.answer().unwrap(), None);
        let (mut orders, strange) = Order::take(&state.1);
        assert!(strange.is_empty());
        let order = orders.pop().unwrap();
        assert_eq!(order.name, "a/\u{e4} b");
        assert!(Order::take(&state.1).0.is_empty(), "it is taken once, however late the answer is");
        let outcome = Outcome::Unknown(vec!["b".to_owned()]);
        order.answer(&outcome).unwrap();
        assert_eq!(given.answer().unwrap(), Some(outcome));
        drop(given);
        assert_eq!(fs::read_dir(state.tray()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_order_is_taken_away() {
        let state = State::new();
        let strange = state.tray().join("7.order");
        fs::write(&strange, "{").unwrap();
        let (orders, taken) = Order::take(&state.1);
        assert_eq!((orders.len(), taken), (0, vec!["7.order".into()]));
        assert!(!strange.exists());
    }

    #[test]
    fn an_order_that_nobody_takes_is_taken_back() {
        let state = State::new();
        drop(Given::give(&state.1, "x").unwrap());
        assert!(Order::take(&state.1).0.is_empty());
        let given = Given::give(&state.1, "x").unwrap();
        Order::clear(&state.1).unwrap();
        assert!(Order::take(&state.1).0.is_empty());
        drop(given);
    }

    #[test]
    fn a_link_in_the_place_of_orders_is_not_followed() {
        let (state, elsewhere) = (State::new(), tempfile::tempdir().unwrap());
        let precious = elsewhere.path().join("7.order");
        fs::write(&precious, "{\"name\":\"x\"}").unwrap();
        symlink(elsewhere.path(), state.0.path().join(FOLDER)).unwrap();
        assert!(Order::clear(&state.1).is_err());
        assert!(Order::take(&state.1).0.is_empty());
        assert!(Given::give(&state.1, "x").is_err());
        let left: Vec<_> =
            fs::read_dir(elsewhere.path()).unwrap().map(|it| it.unwrap().path()).collect();
        assert_eq!(left, [precious]);
    }

    #[test]
    fn only_orders_and_answers_are_cleared() {
        let state = State::new();
        let tray = state.tray();
        for name in ["7.order", "7.answer", "7.new", "precious", "order"] {
            fs::write(tray.join(name), "").unwrap();
        }
        Order::clear(&state.1).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&tray).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["order", "precious"]);
    }

    #[test]
    fn where_others_may_write_no_order_is_taken() {
        let state = State::new();
        fs::write(state.tray().join("7.order"), "{\"name\":\"x\"}").unwrap();
        fs::set_permissions(state.tray(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(Order::take(&state.1).0.is_empty());
        let error = Given::give(&state.1, "x").unwrap_err().to_string();
        assert!(error.ends_with("with mode 0770"), "{error}");
        fs::set_permissions(state.tray(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(Order::take(&state.1).0.len(), 1);
    }
}
