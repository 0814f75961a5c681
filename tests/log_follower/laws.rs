//! An interpreter of what happens to log files, beside a model of what must be read of them.

use std::{fs, fs::File, io::Write as _, mem, os::fd::AsRawFd as _, path::PathBuf};

use gracekeeper::observe::error_log::follower::Follower;
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::{BUFFER, Recorder, open};

#[derive(Clone, Copy, Debug)]
enum Action {
    WriteLine,
    WritePartial,
    FinishLine,
    /// A child of the old generation writes into the file that it inherited.
    OldChildWrites,
    /// As logrotate does it: the new file is there before httpd opens it.
    RenameAndCreate,
    Rename,
    CopyTruncate,
    Delete,
    Recreate,
    /// httpd opens its log anew, as in a restart.
    Reopen,
    Read,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => Just(Action::WriteLine),
        2 => Just(Action::WritePartial),
        2 => Just(Action::FinishLine),
        3 => Just(Action::OldChildWrites),
        3 => Just(Action::RenameAndCreate),
        1 => Just(Action::Rename),
        2 => Just(Action::CopyTruncate),
        1 => Just(Action::Delete),
        1 => Just(Action::Recreate),
        4 => Just(Action::Reopen),
        5 => Just(Action::Read),
    ];
    vec(action, 1..80)
}

/// A file as the model knows it.
#[derive(Debug, Default)]
struct ModelFile {
    unread: String,
    /// What was read of the line that is not over.
    unfinished: String,
    /// Something of it was read, or skipped, so that its truncation can be seen.
    is_begun: bool,
    is_truncated: bool,
    within_skipped_line: bool,
}

/// A real file, by its number in the model.
struct Open {
    file: File,
    number: usize,
}

/// Which file is followed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// The one that httpd writes to.
    Parent,
    /// The one that lies at the path.
    Path,
}

struct World {
    way: Way,
    directory: TempDir,
    files: Vec<ModelFile>,
    /// What lies at the path.
    at_path: Option<usize>,
    writer: Open,
    old_writer: Option<Open>,
    written: usize,
    renamed: usize,
    follower: Follower<Recorder>,
    current: Option<usize>,
    former: Option<usize>,
    expected: Vec<String>,
    skipped: u64,
}

impl World {
    fn new(way: Way) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let writer = Open { file: open(&directory.path().join("error_log")), number: 0 };
        Self {
            way,
            directory,
            files: vec![ModelFile::default()],
            at_path: Some(0),
            writer,
            old_writer: None,
            written: 0,
            renamed: 0,
            follower: Follower::new(Recorder::default()),
            current: None,
            former: None,
            expected: Vec::new(),
            skipped: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("error_log")
    }

    /// No two texts are the same, as lines with a time are not.
    fn text(&mut self, end: &str) -> String {
        self.written += 1;
        format!("<{}{:06}>{end}", "x".repeat(self.written % 90), self.written)
    }

    fn create(&mut self) -> usize {
        if let Some(number) = self.at_path {
            return number;
        }
        drop(open(&self.path()));
        self.files.push(ModelFile::default());
        let number = self.files.len() - 1;
        self.at_path = Some(number);
        number
    }

    fn rename(&mut self) {
        if self.at_path.take().is_some() {
            self.renamed += 1;
            let name = format!("error_log.{}", self.renamed);
            fs::rename(self.path(), self.directory.path().join(name)).unwrap();
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::WriteLine | Action::FinishLine => {
                let text = self.text("\n");
                write(&mut self.writer, &mut self.files, &text);
            }
            Action::WritePartial => {
                let text = self.text("");
                write(&mut self.writer, &mut self.files, &text);
            }
            Action::OldChildWrites => {
                let text = self.text("\n");
                if let Some(old) = &mut self.old_writer {
                    write(old, &mut self.files, &text);
                }
            }
            Action::RenameAndCreate => {
                self.rename();
                self.create();
            }
            Action::Rename => self.rename(),
            Action::CopyTruncate => {
                if let Some(number) = self.at_path {
                    open(&self.path()).set_len(0).unwrap();
                    let file = &mut self.files[number];
                    file.unread.clear();
                    file.is_truncated = file.is_begun;
                }
            }
            Action::Delete => {
                if self.at_path.take().is_some() {
                    fs::remove_file(self.path()).unwrap();
                }
            }
            Action::Recreate => {
                self.create();
            }
            Action::Reopen => {
                let number = self.create();
                let opened = Open { file: open(&self.path()), number };
                self.old_writer = Some(mem::replace(&mut self.writer, opened));
            }
            Action::Read => {
                if self.way == Way::Parent {
                    let file = self.writer.file.try_clone().unwrap();
                    self.turn_to(&file, self.writer.number);
                } else if let Some(number) = self.at_path {
                    self.turn_to(&open(&self.path()), number);
                }
                self.read();
            }
        }
    }

    /// The descriptors above were opened for writing only; what is handed over is for reading.
    fn turn_to(&mut self, file: &File, number: usize) {
        let readable = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        self.follower.turn_to(readable, &mut vec![0; BUFFER]).unwrap();
        if self.current == Some(number) {
            return;
        }
        let Some(current) = self.current.replace(number) else {
            let file = &mut self.files[number];
            file.within_skipped_line = !file.unread.is_empty() && !file.unread.ends_with('\n');
            file.is_begun = !file.unread.is_empty();
            file.is_truncated = false;
            file.unread.clear();
            return;
        };
        if let Some(former) = self.former.replace(current)
            && former != number
        {
            self.expect(former);
            let unfinished = mem::take(&mut self.files[former].unfinished);
            self.expected.extend(Some(unfinished).filter(|it| !it.is_empty()));
        }
    }

    fn read(&mut self) {
        let pass = self.follower.read(&mut vec![0; BUFFER], u64::MAX);
        assert!(!pass.more, "{pass:?}");
        assert_eq!(pass.failed, None);
        for number in [self.former, self.current].into_iter().flatten() {
            self.expect(number);
        }
        assert_eq!(self.follower.sink().lines, self.expected);
        assert_eq!(self.follower.sink().skipped, self.skipped);
    }

    /// Everything that there is in a file is read.
    fn expect(&mut self, number: usize) {
        let file = &mut self.files[number];
        if mem::take(&mut file.is_truncated) {
            file.within_skipped_line = false;
            let unfinished = mem::take(&mut file.unfinished);
            self.expected.extend(Some(unfinished).filter(|it| !it.is_empty()));
            file.is_begun = false;
        }
        let mut unread = mem::take(&mut file.unread);
        file.is_begun |= !unread.is_empty();
        if file.within_skipped_line {
            let end = unread.find('\n').map(|end| end + 1);
            let skipped = end.unwrap_or(unread.len());
            file.within_skipped_line = end.is_none();
            self.skipped += skipped as u64;
            unread.drain(..skipped);
        }
        let mut text = mem::take(&mut file.unfinished) + &unread;
        while let Some(end) = text.find('\n') {
            self.expected.push(text.drain(..=end).filter(|it| *it != '\n').collect());
        }
        file.unfinished = text;
    }
}

fn write(to: &mut Open, files: &mut [ModelFile], text: &str) {
    to.file.write_all(text.as_bytes()).unwrap();
    files[to.number].unread.push_str(text);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_line_is_read_once_and_in_order(
        way in prop_oneof![Just(Way::Parent), Just(Way::Path)],
        actions in actions(),
    ) {
        let mut world = World::new(way);
        for action in actions {
            world.act(action);
        }
        world.act(Action::Read);
    }
}
