//! Files on disk as the observer sees them: beside a real httpd, and with the tools that people use.

use std::{
    collections::BTreeMap,
    fs,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use gracekeeper::{
    decode::includes::includes,
    model::{
        files::{Content, Digest, FileList, FileSightings},
        snapshot::Part,
    },
    observe::{files::FilesObserver, wake::Wake},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
};
use tempfile::TempDir;

/// A directory, and who watches files in it.
struct Watched {
    directory: TempDir,
    observer: FilesObserver,
    ear: OwnedFd,
}

impl Watched {
    fn new(files: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        Self { directory, observer: FilesObserver::start(Wake::new(wake)).unwrap(), ear }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn watch(&self, list: FileList) -> Arc<FileSightings> {
        self.observer.watch(7, Arc::new(list));
        self.until(|_| true)
    }

    /// Runs this in the directory.
    fn shell(&self, script: &str) {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-ec", script]).current_dir(self.directory.path());
        assert!(shell.status().unwrap().success(), "{script}");
    }

    /// What is seen once it is as expected.
    fn until(&self, expected: impl Fn(&FileSightings) -> bool) -> Arc<FileSightings> {
        loop {
            let timeout = Timespec::try_from(Duration::from_secs(60)).unwrap();
            let heard = poll(&mut [PollFd::new(&self.ear, PollFlags::IN)], Some(&timeout)).unwrap();
            assert_eq!(heard, 1, "nothing as expected came");
            rustix::io::read(&self.ear, &mut [0; 64]).unwrap();
            for (server, news) in self.observer.news() {
                let Part::Seen(seen) = news else { panic!("{news:?}") };
                assert_eq!(server, 7);
                if expected(&seen) {
                    return seen;
                }
            }
        }
    }
}

/// The beginning of its SHA-256.
fn digest(bytes: &[u8]) -> Content {
    let whole = ring::digest::digest(&ring::digest::SHA256, bytes);
    Content::Bytes(Digest(whole.as_ref()[..16].try_into().unwrap()))
}

fn has(seen: &FileSightings, path: &Path, text: &str) -> bool {
    seen.file(path).unwrap().content == digest(text.as_bytes())
}

const TREE: [&str; 18] = [
    "c/.conf",
    "c/.a.conf",
    "c/a.conf",
    "c/b.conf",
    "c/a b.conf",
    "c/d.conf/.x",
    "c/d.conf/sub/y",
    "c/a1.cnf",
    "c/ab.cnf",
    "c/]z.cfg",
    "c/xz.cfg",
    "c/v/one/s",
    "c/v/two/s",
    "c/v/three",
    "c/e/z",
    "c/[u",
    "c/A.CONF",
    "c/a.conf~",
];

const PATTERNS: [&str; 21] = [
    "c/*.conf",
    "c/**.conf",
    "c/a[0-9].cnf",
    "c/a[^0-9].cnf",
    "c/a[!0-9].cnf",
    "c/[]x]z.cfg",
    "c/[a-b].conf",
    "c/?.conf",
    "c/.*",
    "c/v/*/s",
    "c/v/*",
    "c/v/t*/",
    "c/v",
    "c/e/../v/o*/s",
    "c/linked*",
    "c/linked.conf",
    "c/\\a.conf",
    "c/[u",
    "c/*[u",
    "none/*.conf",
    "c/*.none",
];

/// What httpd itself reads for a pattern.
fn read_by_httpd(watched: &Watched, pattern: &str) -> Vec<PathBuf> {
    let root = watched.directory.path().display();
    let text = format!(
        "ServerRoot {root}\nErrorLog {root}/error_log\nPidFile {root}/httpd.pid\n\
         LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
         IncludeOptional \"{root}/{pattern}\"\n"
    );
    let file = watched.at("httpd.conf");
    fs::write(&file, text).unwrap();
    let mut httpd = Command::new("apache2");
    let printed = httpd.args(["-t", "-D", "DUMP_INCLUDES", "-f"]).arg(&file).output().unwrap();
    let mut files = includes(&printed.stdout).files;
    assert_eq!(files.first(), Some(&file), "{printed:?}");
    files.remove(0);
    files
}

/// The name is as it was written in one, and as it is in the other.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        if component == std::path::Component::ParentDir {
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}

#[test]
fn a_pattern_names_what_a_real_httpd_reads() {
    let watched = Watched::new(&TREE);
    symlink("e", watched.at("c/linked.conf")).unwrap();
    let patterns: Vec<PathBuf> = PATTERNS.iter().map(|it| watched.at(it)).collect();
    let seen = watched.watch(FileList { patterns, ..FileList::default() });
    let mut most = 0;
    for pattern in PATTERNS {
        let mut files = read_by_httpd(&watched, pattern);
        most = most.max(files.len());
        if pattern.contains("..") {
            // httpd prints what it makes of the path; the listing has it as it is named.
            assert_eq!(files, [plain(&watched.at("c/e/../v/one/s"))]);
            files = vec![watched.at("c/e/../v/one/s")];
        }
        files.sort();
        let names: Vec<u8> = files
            .iter()
            .flat_map(|it| [it.as_os_str().as_encoded_bytes(), b"\0"].concat())
            .collect();
        let listing = seen.listings.get(&watched.at(pattern)).unwrap();
        assert_eq!(listing.content, digest(&names), "{pattern}: httpd reads {files:?}");
        assert!(listing.changed.is_some());
    }
    assert!(most >= 6, "httpd named no more than {most} files");
}

#[test]
fn what_common_tools_do_is_seen() {
    let watched = Watched::new(&["a.conf", "b.conf", "live/x"]);
    watched.shell("ln -s ../archive/1 live/cert; mkdir archive; echo 1 > archive/1");
    let (a, b, certificate) = (watched.at("a.conf"), watched.at("b.conf"), watched.at("live/cert"));
    let first = watched.watch(FileList {
        configuration: vec![a.clone(), b.clone()],
        patterns: vec![watched.at("*.conf")],
        certificates: vec![certificate.clone()],
        ..FileList::default()
    });
    assert!(has(&first, &certificate, "1\n"));
    let times = |seen: &FileSightings, path: &Path| {
        let file = *seen.file(path).unwrap();
        (file.changed.unwrap(), file.modified.unwrap())
    };
    watched.shell("echo one > a.conf");
    watched.until(|seen| has(seen, &a, "one\n"));
    watched.shell("sed -i s/one/two/ a.conf");
    let second = watched.until(|seen| has(seen, &a, "two\n"));
    watched.shell("echo old > old; touch -d 2001-01-01 old; cp -p old a.conf");
    let third = watched.until(|seen| has(seen, &a, "old\n"));
    assert!(times(&third, &a).0 > times(&second, &a).0, "cp cannot keep that one");
    assert!(times(&third, &a).1 < times(&second, &a).1, "but this one");
    watched.shell("mv old b.conf");
    watched.until(|seen| has(seen, &b, "old\n"));
    watched.shell("echo 2 > archive/2; ln -sfn ../archive/2 live/cert");
    watched.until(|seen| has(seen, &certificate, "2\n"));
    watched.shell("cp a.conf c.conf");
    let names = |seen: &FileSightings| seen.listings.values().next().unwrap().content;
    let fourth = watched.until(|seen| names(seen) != names(&first));
    watched.shell("rm c.conf; rm b.conf");
    let fifth = watched.until(|seen| seen.file(&b).unwrap().content == Content::Missing);
    assert_ne!(names(&fifth), names(&fourth));
    watched.shell("mv a.conf b.conf; cp -a b.conf a.conf");
    let last = watched.until(|seen| has(seen, &a, "old\n") && has(seen, &b, "old\n"));
    assert_eq!(names(&last), names(&first));
    let contents: BTreeMap<_, _> = last.files.iter().map(|(path, it)| (path, it.content)).collect();
    assert_eq!(contents.len(), 3);
}

#[test]
fn an_observer_that_is_dropped_leaves_no_thread() {
    let watched = Watched::new(&["a.conf"]);
    watched.watch(FileList { configuration: vec![watched.at("a.conf")], ..FileList::default() });
    let (ear, directory) = (watched.ear, watched.directory);
    drop(watched.observer);
    // The thread held the writing end.
    let mut byte = [0];
    assert_eq!(rustix::io::read(&ear, &mut byte), Ok(0));
    drop(directory);
}
