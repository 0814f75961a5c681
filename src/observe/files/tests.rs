//! The thread as a whole: each change is one news, whatever tools make of it.

use std::{
    fs::{self, Permissions},
    os::{
        fd::OwnedFd,
        unix::fs::{PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
    pipe::{PipeFlags, pipe_with},
    process::{Gid, Uid, geteuid},
    thread::{set_thread_res_gid, set_thread_res_uid},
};

use super::*;
use crate::{
    decode::digest::digest,
    model::{
        files::{Content, Digest},
        source::Why,
    },
};

/// Nothing is looked for, only heard of.
const HEARING: Pace = Pace {
    quiet: Duration::from_millis(300),
    longest: Duration::from_secs(20),
    poll: Duration::from_secs(3600),
    programs: Duration::from_secs(3600),
    retry: Duration::from_secs(3600),
};
/// Nothing has to be heard of.
const LOOKING: Pace =
    Pace { poll: Duration::from_millis(50), retry: Duration::from_millis(100), ..HEARING };

/// Files of one server, and who watches them.
struct Watched {
    root: PathBuf,
    observer: FilesObserver,
    ear: OwnedFd,
    _directory: tempfile::TempDir,
}

impl Watched {
    fn new(pace: Pace, files: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), file).unwrap();
        }
        let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let observer = FilesObserver::start_at(pace, Wake::new(wake)).unwrap();
        Self { root, observer, ear, _directory: directory }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    /// The first sight of these.
    fn watch(&self, configuration: &[&str], patterns: &[&str]) -> Seen<'_> {
        let all = |paths: &[&str]| paths.iter().map(|path| self.at(path)).collect();
        self.watch_list(FileList {
            configuration: all(configuration),
            patterns: all(patterns),
            ..FileList::default()
        })
    }

    fn watch_list(&self, list: FileList) -> Seen<'_> {
        self.observer.watch(0, Arc::new(list));
        self.next()
    }

    fn listen(&self) {
        let timeout = Timespec::try_from(Duration::from_secs(60)).unwrap();
        let heard = poll(&mut [PollFd::new(&self.ear, PollFlags::IN)], Some(&timeout)).unwrap();
        assert_eq!(heard, 1, "nothing new came");
        rustix::io::read(&self.ear, &mut [0; 64]).unwrap();
    }

    /// What comes next.
    fn next(&self) -> Seen<'_> {
        loop {
            self.listen();
            // A wake may be for what was taken together with the last news.
            if let Some((0, Part::Seen(seen))) = self.observer.news().next() {
                return Seen { watched: self, seen };
            }
        }
    }
}

struct Seen<'a> {
    watched: &'a Watched,
    seen: Arc<FileSightings>,
}

impl Seen<'_> {
    fn content(&self, path: &str) -> Content {
        self.seen.file(&self.watched.at(path)).unwrap().content
    }

    /// These are the texts.
    #[track_caller]
    fn has(&self, texts: &[(&str, &str)]) -> &Self {
        for (path, text) in texts {
            assert_eq!(self.content(path), bytes(text), "{path}");
        }
        self
    }

    fn names(&self, pattern: &str) -> Content {
        self.seen.listings.get(&self.watched.at(pattern)).unwrap().content
    }

    /// These are the names.
    #[track_caller]
    fn lists(&self, pattern: &str, names: &[&str]) -> &Self {
        let names = names.iter().map(|name| format!("{}\0", self.watched.at(name).display()));
        assert_eq!(self.names(pattern), bytes(&names.collect::<String>()));
        self
    }
}

fn bytes(text: &str) -> Content {
    Content::Bytes(digest([text.as_bytes()]))
}

#[test]
fn an_edit_is_one_news_whatever_the_editor_does() {
    let watched = Watched::new(HEARING, &["a.conf", "last"]);
    let mut seen = watched.watch(&["a.conf", "last"], &["*.conf"]);
    seen.has(&[("a.conf", "a.conf"), ("last", "last")]).lists("*.conf", &["a.conf"]);
    assert_eq!((seen.seen.polled, seen.seen.overflows), (None, 0));
    let edits: [fn(&Watched, &str); 5] = [
        |it, text| it.write("a.conf", text),
        |it, text| {
            it.write("a.conf.new", text);
            it.rename("a.conf.new", "a.conf");
        },
        // vim
        |it, text| {
            it.write(".a.conf.swp", "");
            it.write("4913", "");
            fs::remove_file(it.at("4913")).unwrap();
            it.rename("a.conf", "a.conf~");
            it.write("a.conf", text);
            fs::set_permissions(it.at("a.conf"), Permissions::from_mode(0o644)).unwrap();
            fs::remove_file(it.at("a.conf~")).unwrap();
            fs::remove_file(it.at(".a.conf.swp")).unwrap();
        },
        |it, text| {
            fs::remove_file(it.at("a.conf")).unwrap();
            it.write("a.conf", text);
        },
        |it, text| {
            it.write("a.conf", "");
            it.write("a.conf", "half");
            it.write("a.conf", text);
        },
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let text = format!("edit {number}");
        let names = seen.names("*.conf");
        edit(&watched, &text);
        seen = watched.next();
        seen.has(&[("a.conf", &text)]);
        assert_eq!(seen.names("*.conf"), names);
        // Whatever came next would come before this.
        watched.write("last", &text);
        seen = watched.next();
        seen.has(&[("a.conf", &text), ("last", &text)]);
    }
}

#[test]
fn what_is_taken_back_is_as_it_was() {
    let watched = Watched::new(HEARING, &["conf.d/a.conf"]);
    let first = watched.watch(&["conf.d/a.conf"], &["conf.d/*.conf"]);
    watched.write("conf.d/a.conf", "other");
    watched.next().has(&[("conf.d/a.conf", "other")]);
    watched.write("conf.d/a.conf", "conf.d/a.conf");
    let back = watched.next();
    assert_eq!(back.content("conf.d/a.conf"), first.content("conf.d/a.conf"));
    fs::remove_file(watched.at("conf.d/a.conf")).unwrap();
    let gone = watched.next();
    assert_eq!(gone.content("conf.d/a.conf"), Content::Missing);
    assert!(gone.seen.file(&watched.at("conf.d/a.conf")).unwrap().changed.is_some());
    gone.lists("conf.d/*.conf", &[]);
    watched.write("conf.d/a.conf", "conf.d/a.conf");
    let back = watched.next();
    assert_eq!(back.content("conf.d/a.conf"), first.content("conf.d/a.conf"));
    assert_eq!(back.names("conf.d/*.conf"), first.names("conf.d/*.conf"));
    // Tools that compare times see that it was touched.
    let file = fs::File::options().write(true).open(watched.at("conf.d/a.conf")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let touched = watched.next();
    let sighting = touched.seen.file(&watched.at("conf.d/a.conf")).unwrap();
    assert_eq!(sighting.content, first.content("conf.d/a.conf"));
    assert_eq!(sighting.modified.unwrap().as_micros(), 0);
    assert!(sighting.changed.unwrap().as_micros() > 0);
}

#[test]
fn a_file_that_comes_to_a_pattern_is_news_and_a_temporary_one_is_not() {
    let watched = Watched::new(HEARING, &["x"]);
    fs::create_dir(watched.at("conf.d")).unwrap();
    let patterns = ["conf.d/*.conf", "vhosts/*/site.conf", "all", "main.conf"];
    let first = watched.watch(&[], &patterns);
    for pattern in patterns {
        first.lists(pattern, &[]);
    }
    watched.write("conf.d/.a.conf.swp", "");
    watched.write("conf.d/a.conf~", "");
    watched.write("conf.d/a.conf", "");
    let seen = watched.next();
    seen.lists("conf.d/*.conf", &["conf.d/a.conf"]);
    fs::create_dir_all(watched.at("vhosts/one")).unwrap();
    watched.write("vhosts/one/site.conf", "");
    watched.next().lists("vhosts/*/site.conf", &["vhosts/one/site.conf"]);
    fs::create_dir_all(watched.at("all/a/b")).unwrap();
    watched.write("all/a/b/.c", "");
    watched.next().lists("all", &["all/a/b/.c"]);
    watched.write("main.conf", "");
    let seen = watched.next();
    seen.lists("main.conf", &["main.conf"]).lists("all", &["all/a/b/.c"]);
    fs::remove_dir_all(watched.at("vhosts")).unwrap();
    watched.next().lists("vhosts/*/site.conf", &[]);
    fs::create_dir_all(watched.at("vhosts/one")).unwrap();
    watched.write("vhosts/one/site.conf", "");
    watched.next().lists("vhosts/*/site.conf", &["vhosts/one/site.conf"]);
}

#[test]
fn links_that_are_set_anew_are_one_change() {
    let watched = Watched::new(
        HEARING,
        &["archive/x1.pem", "archive/x2.pem", "k8s/..1/httpd.conf", "k8s/..1/b.conf"],
    );
    fs::create_dir(watched.at("live")).unwrap();
    symlink("../archive/x1.pem", watched.at("live/x.pem")).unwrap();
    symlink("..1", watched.at("k8s/..data")).unwrap();
    for name in ["httpd.conf", "b.conf"] {
        symlink(format!("..data/{name}"), watched.at("k8s").join(name)).unwrap();
    }
    let first = watched.watch(&["k8s/httpd.conf", "k8s/b.conf", "live/x.pem"], &["k8s/*.conf"]);
    first.has(&[("live/x.pem", "archive/x1.pem"), ("k8s/b.conf", "k8s/..1/b.conf")]);
    // certbot
    fs::remove_file(watched.at("live/x.pem")).unwrap();
    symlink("../archive/x2.pem", watched.at("live/x.pem")).unwrap();
    let seen = watched.next();
    seen.has(&[("live/x.pem", "archive/x2.pem")]);
    let changed = |seen: &Seen<'_>, path: &str| {
        seen.seen.file(&seen.watched.at(path)).unwrap().changed.unwrap()
    };
    assert!(changed(&seen, "live/x.pem") >= changed(&first, "live/x.pem"));
    // The kubelet
    fs::create_dir(watched.at("k8s/..2")).unwrap();
    watched.write("k8s/..2/httpd.conf", "2");
    watched.write("k8s/..2/b.conf", "k8s/..1/b.conf");
    symlink("..2", watched.at("k8s/..data_tmp")).unwrap();
    watched.rename("k8s/..data_tmp", "k8s/..data");
    fs::remove_dir_all(watched.at("k8s/..1")).unwrap();
    let seen = watched.next();
    seen.has(&[("k8s/httpd.conf", "2"), ("k8s/b.conf", "k8s/..1/b.conf")]);
    assert_eq!(seen.names("k8s/*.conf"), first.names("k8s/*.conf"));
    // Where they lead now is watched.
    watched.write("k8s/..2/httpd.conf", "3");
    watched.next().has(&[("k8s/httpd.conf", "3")]);
    watched.write("archive/x2.pem", "written over");
    watched.next().has(&[("live/x.pem", "written over")]);
}

#[test]
fn what_is_no_file_does_not_keep_anybody_waiting() {
    let watched = Watched::new(HEARING, &["directory/x"]);
    let fifo = watched.at("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    symlink("circle", watched.at("circle")).unwrap();
    symlink("/dev/zero", watched.at("device")).unwrap();
    let seen = watched.watch(&["fifo", "directory", "circle", "device", "none/x"], &["circle/*"]);
    for path in ["fifo", "directory", "circle", "device"] {
        assert_eq!(seen.content(path), Content::Unseen(Why::Invalid), "{path}");
    }
    assert_eq!(seen.content("none/x"), Content::Missing);
    assert_eq!(seen.names("circle/*"), Content::Unseen(Why::Invalid));
    fs::create_dir(watched.at("none")).unwrap();
    watched.write("none/x", "here");
    watched.next().has(&[("none/x", "here")]);
}

#[test]
fn a_directory_that_is_put_in_the_place_of_another_is_watched() {
    let watched = Watched::new(HEARING, &["httpd/conf/a", "httpd/b", "new/conf/a", "new/b"]);
    watched.watch(&["httpd/conf/a", "httpd/b"], &[]);
    watched.rename("httpd", "old");
    watched.rename("new", "httpd");
    let seen = watched.next();
    seen.has(&[("httpd/conf/a", "new/conf/a"), ("httpd/b", "new/b")]);
    watched.write("old/conf/a", "of no interest");
    watched.write("httpd/conf/a", "written");
    watched.next().has(&[("httpd/conf/a", "written"), ("httpd/b", "new/b")]);
    for text in ["anew", "anew again"] {
        fs::remove_dir_all(watched.at("httpd/conf")).unwrap();
        fs::create_dir(watched.at("httpd/conf")).unwrap();
        watched.write("httpd/conf/a", text);
        watched.next().has(&[("httpd/conf/a", text)]);
    }
}

#[test]
fn programs_and_rights_are_looked_at_too() {
    let watched = Watched::new(LOOKING, &["a.conf", "module.so"]);
    let seen = |it: Seen<'_>| (it.seen.programs, it.seen.insecure);
    let list = FileList {
        configuration: vec![watched.at("a.conf")],
        programs: vec![watched.at("module.so")],
        ..FileList::default()
    };
    let (programs, insecure) = seen(watched.watch_list(list));
    assert_ne!(programs, Digest::default());
    watched.write("module.so", "other");
    let (others, _) = seen(watched.next());
    assert_ne!(others, programs);
    if geteuid().is_root() {
        assert_eq!(insecure, 0);
        fs::set_permissions(watched.at("a.conf"), Permissions::from_mode(0o666)).unwrap();
        assert_eq!(seen(watched.next()).1, 1);
        fs::set_permissions(&watched.root, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(seen(watched.next()).1, 2, "each may be replaced");
    } else {
        assert_eq!(insecure, 2, "others than root may write them");
    }
}

#[test]
fn where_others_may_put_what_is_included_counts_once() {
    if !geteuid().is_root() {
        return;
    }
    let watched = Watched::new(HEARING, &["main", "inc/a.conf", "inc/b.conf", "sticky/x"]);
    fs::create_dir(watched.at("empty")).unwrap();
    allow(&watched.at("empty"), 0o777);
    allow(&watched.at("sticky"), 0o1777);
    allow(&watched.at("inc/b.conf"), 0o666);
    let insecure = |patterns: &[&str]| {
        watched.observer.forget(0);
        watched.watch(&["main"], patterns).seen.insecure
    };
    assert_eq!(insecure(&["inc/*.conf"]), 1, "a file that httpd has not listed");
    assert_eq!(insecure(&["inc/*.conf", "inc/b.conf", "inc/b*"]), 1);
    assert_eq!(insecure(&["empty/*.conf"]), 1, "the directory");
    assert_eq!(insecure(&["empty/*.conf", "empty/*.x", "empty"]), 1);
    assert_eq!(insecure(&["sticky/*.conf"]), 1, "what is there is safe, what may come is not");
    assert_eq!(insecure(&["empty/none/x.conf"]), 1);
    allow(&watched.at("inc"), 0o777);
    assert_eq!(insecure(&["inc/*.conf"]), 3, "each may be replaced, and others may come");
}

#[test]
fn the_first_that_cannot_be_read_is_named() {
    let watched = Watched::new(HEARING, &["a", "z"]);
    let named = |name: &str, why| Some((watched.at(name), why));
    let fifo = watched.at("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    symlink("circle", watched.at("circle")).unwrap();
    assert_eq!(watched.watch(&["a", "z"], &["a*"]).seen.unread, None);
    let large = fs::File::options().write(true).open(watched.at("z")).unwrap();
    large.set_len(17 << 20).unwrap();
    assert_eq!(watched.next().seen.unread, named("z", Why::Limit));
    assert_eq!(watched.watch(&["z", "fifo"], &[]).seen.unread, named("fifo", Why::Invalid));
    assert_eq!(watched.watch(&["a"], &["circle/*"]).seen.unread, named("circle/*", Why::Invalid));
}

#[test]
fn a_thread_that_is_not_heard_of_is_stuck() {
    let watched = Watched::new(HEARING, &["a"]);
    let later = |seconds: u64| crate::clock::now().after(Duration::from_secs(seconds));
    assert!(!watched.observer.is_stuck(later(1_000_000)), "nothing is watched");
    watched.watch(&["a"], &[]);
    assert!(!watched.observer.is_stuck(later(0)));
    assert!(watched.observer.is_stuck(later(3600 + 90)));
    watched.observer.forget(0);
    while watched.observer.is_stuck(later(1_000_000)) {
        std::thread::yield_now();
    }
}

#[test]
fn servers_share_directories_and_one_is_forgotten() {
    let watched = Watched::new(HEARING, &["a", "b"]);
    watched.watch(&["a"], &[]);
    let other = Arc::new(FileList { configuration: vec![watched.at("b")], ..FileList::default() });
    let news = || {
        watched.listen();
        watched.observer.news().map(|(number, _)| number).collect::<Vec<_>>()
    };
    watched.observer.watch(1, Arc::clone(&other));
    assert_eq!(news(), [1]);
    watched.observer.watch(1, Arc::new((*other).clone()));
    watched.write("a", "one");
    assert_eq!(news(), [0], "the same list is nothing new");
    watched.observer.forget(0);
    watched.write("a", "two");
    watched.write("b", "two");
    assert_eq!(news(), [1]);
}

#[test]
fn what_was_lost_count_of_is_looked_at_again() {
    let watched = Watched::new(HEARING, &["a"]);
    assert_eq!(watched.watch(&["a"], &[]).seen.overflows, 0);
    watched.observer.bell.lose();
    assert_eq!(watched.next().seen.overflows, 1);
    watched.write("a", "heard again");
    watched.next().has(&[("a", "heard again")]);
}

#[test]
fn one_edit_among_twenty_thousand_files_is_found() {
    let watched = Watched::new(HEARING, &[]);
    let names: Vec<String> = (0..20_000).map(|number| format!("{number:05}.conf")).collect();
    for name in &names {
        watched.write(name, name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = watched.watch(&names, &["*.conf"]);
    first.lists("*.conf", &names).has(&[("19999.conf", "19999.conf")]);
    watched.write("12345.conf", "edited");
    let seen = watched.next();
    seen.has(&[("12345.conf", "edited")]);
    let differ = |path: &&&str| seen.content(path) != first.content(path);
    assert_eq!(names.iter().filter(differ).count(), 1);
}

/// Runs this as another user, who is nobody else's: what a thread starts is that user's.
fn as_user(number: u32, test: fn()) {
    if !geteuid().is_root() {
        return test();
    }
    let run = move || {
        let (group, user) = (Gid::from_raw(number), Uid::from_raw(number));
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        test();
    };
    let thread = Builder::new().spawn(run).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn rights_that_are_lost_and_given_back_are_followed() {
    as_user(64_101, || {
        let watched = Watched::new(HEARING, &["conf/a", "conf/d/b"]);
        let first = watched.watch(&["conf/a", "conf/d/b"], &["conf/d/*"]);
        allow(&watched.at("conf/a"), 0);
        let closed = watched.next();
        let Content::Inode(_, Why::Permission) = closed.content("conf/a") else {
            panic!("{:?}", closed.seen);
        };
        allow(&watched.at("conf/a"), 0o600);
        watched.next().has(&[("conf/a", "conf/a")]);
        allow(&watched.at("conf/d"), 0);
        let closed = watched.next();
        assert_eq!(closed.content("conf/d/b"), Content::Unseen(Why::Permission));
        assert_eq!(closed.names("conf/d/*"), Content::Unseen(Why::Permission));
        allow(&watched.at("conf/d"), 0o700);
        let back = watched.next();
        assert_eq!(back.seen.listings, first.seen.listings);
        back.has(&[("conf/a", "conf/a"), ("conf/d/b", "conf/d/b")]);
    });
}

#[test]
fn a_directory_that_may_be_entered_and_not_listed_is_looked_at() {
    as_user(64_103, || {
        let watched = Watched::new(LOOKING, &["conf/a", "closed/b"]);
        allow(&watched.at("closed"), 0);
        allow(&watched.at("conf"), 0o300);
        let first = watched.watch(&["conf/a", "closed/b"], &[]);
        assert_eq!(first.seen.polled, Some(Why::Permission));
        assert_eq!(first.seen.unread, Some((watched.at("closed/b"), Why::Permission)));
        watched.write("conf/a", "found");
        watched.next().has(&[("conf/a", "found")]);
        allow(&watched.at("conf"), 0o700);
        assert_eq!(watched.next().seen.polled, None, "what is closed is not looked at either");
        allow(&watched.at("closed"), 0o700);
    });
}

#[test]
fn without_inotify_changes_are_looked_for_and_it_is_tried_again() {
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap();
    if !geteuid().is_root() || most.trim().parse::<usize>().unwrap() > 512 {
        let why = b"not tested: inotify would be left to no other test\n";
        io::Write::write_all(&mut io::stderr(), why).unwrap();
        return;
    }
    as_user(64_102, || {
        let instance = || inotify::init(inotify::CreateFlags::CLOEXEC);
        let mut all: Vec<OwnedFd> = std::iter::from_fn(|| instance().ok()).collect();
        let watched = Watched::new(LOOKING, &["a"]);
        assert_eq!(watched.watch(&["a"], &[]).seen.polled, Some(Why::Limit));
        watched.write("a", "found");
        watched.next().has(&[("a", "found")]);
        all.clear();
        assert_eq!(watched.next().seen.polled, None);
    });
}
