//! `gracekeeper history`: what restarts happened, from the journal or from error logs.

use std::{
    collections::BTreeSet,
    env,
    io::{self, BufWriter, IsTerminal as _, Write},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{complain, state_dir::state_dir};
use crate::{
    cli::{History, Shape},
    clock,
    config::Settings,
    decode::error_log::escaped,
    exit::Exit,
    history::{
        calendar::Calendar,
        journal::{self, Ordered},
        story::Story,
        stream::{Log, LogError, Logs},
        summary::Summary,
        table::Table,
    },
    log_format,
    model::journal::Entry,
    observe::privileges::raise_descriptor_limit,
};

/// Notes that are told before what is ready of the story is shown.
const NOTES_AT_ONCE: usize = 1024;
/// What the server of logs is called if nobody says.
const SERVER: &str = "httpd";
/// What is shown of a path, in bytes.
const LONGEST_PATH: usize = 4096;
/// Lines of a journal that are no entries are named one by one up to here.
const MOST_WARNINGS: u64 = 10;

/// Where entries are shown.
struct Shown<Output: Write> {
    output: Output,
    shape: Shape,
    table: Table,
    summary: Summary,
    is_begun: bool,
}

/// An entry as programs read it.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// `at` is a file's time, as none of its lines has one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    approximate: bool,
}

/// Shows what happened.
pub fn run(
    settings: impl FnOnce() -> anyhow::Result<Settings>,
    asked: &History,
) -> anyhow::Result<Exit> {
    let named = asked.timezone().map(TimeZone::get);
    let Ok(zone) = named.unwrap_or_else(|| Ok(TimeZone::system())) else {
        let name = asked.timezone().unwrap_or_default();
        let known = "names are such as Europe/Berlin or UTC";
        complain(&format!("gracekeeper: {name:?} is no time zone that this host knows: {known}"));
        return Ok(Exit::Usage);
    };
    let stdout = io::stdout();
    let is_coloured =
        stdout.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut shown = Shown {
        output: BufWriter::new(stdout.lock()),
        shape: asked.shape(),
        table: Table { zone: zone.clone(), guessed: BTreeSet::new(), is_coloured },
        summary: Summary::default(),
        is_begun: false,
    };
    let told = if asked.logs().is_empty() {
        from_journal(&state_dir(&settings()?), asked.server(), &mut shown)
    } else {
        from_logs(asked, &zone, &mut shown)
    };
    match told.and_then(|exit| shown.finish().map(|()| exit)) {
        // `gracekeeper history | head` has all that it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        result => Ok(result?),
    }
}

fn from_logs<Output: Write>(
    asked: &History,
    zone: &TimeZone,
    shown: &mut Shown<Output>,
) -> io::Result<Exit> {
    // Every log stays open until it was told. What cannot be raised may do as it is.
    let _ = raise_descriptor_limit();
    let now = clock::now().wall;
    let mut exit = Exit::Success;
    let mut logs = Vec::new();
    for path in asked.logs() {
        let log = if path.as_os_str() == "-" {
            let calendar = Calendar::new(zone.clone(), now);
            Log::read(Path::new("standard input"), Box::new(io::stdin()), calendar)
        } else {
            Log::open(path, zone, now)
        };
        match log {
            Ok(log) => {
                if let Some(at) = log.time_of_file() {
                    shown.table.guessed.insert(at);
                    let name = log.name();
                    complain(&format!(
                        "gracekeeper: {name}: no line tells a time: the file's is told"
                    ));
                }
                logs.push(log);
            }
            Err(error @ LogError::Broken { .. }) => {
                complain(&format!("gracekeeper: {error}"));
                exit = Exit::Internal;
            }
            Err(error) => return Ok(refuse(&error)),
        }
    }
    let mut logs = Logs::new(logs);
    for (copy, whole) in logs.drop_copies() {
        complain(&format!("gracekeeper: {copy}: {whole} has all that is in it: left out"));
    }
    let mut story = Story::new(asked.server().unwrap_or(SERVER));
    let mut count = 0;
    loop {
        match logs.next_note() {
            Ok(Some((instant, note))) => {
                story.take(instant, note);
                count += 1;
            }
            Ok(None) => break,
            Err(error) => {
                complain(&format!("gracekeeper: {error}: what comes after is not told"));
                exit = Exit::Internal;
            }
        }
        if count % NOTES_AT_ONCE == 0 {
            shown.show(story.ready())?;
        }
    }
    shown.show(story.end())?;
    Ok(exit)
}

fn refuse(error: &LogError) -> Exit {
    complain(&format!("gracekeeper: {error}"));
    match error {
        LogError::Unreadable { source, .. } | LogError::Broken { source, .. } => exit_of(source),
        LogError::Directory { .. } | LogError::Compressed { .. } => Exit::Usage,
    }
}

fn exit_of(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::PermissionDenied {
        Exit::Permission
    } else if error.kind() == io::ErrorKind::NotFound {
        Exit::Usage
    } else {
        Exit::Internal
    }
}

fn from_journal<Output: Write>(
    directory: &Path,
    server: Option<&str>,
    shown: &mut Shown<Output>,
) -> io::Result<Exit> {
    let files = match journal::files(directory) {
        Ok(files) => files,
        Err(error) => return Ok(no_journal(directory, &error)),
    };
    let mut ordered = Ordered::default();
    let mut unreadable = 0;
    for path in &files {
        let mut result = Ok(());
        let read = journal::read(path, |entry| match entry {
            Ok(entry) if server.is_none_or(|server| server == entry.server) => {
                if let (Some(oldest), true) = (ordered.take(entry), result.is_ok()) {
                    result = shown.show([oldest].into_iter());
                }
            }
            Ok(_) => {}
            Err(line) => {
                unreadable += 1;
                if unreadable <= MOST_WARNINGS {
                    let path = name(path);
                    complain(&format!("gracekeeper: {path}: line {line} is no entry: left out"));
                }
            }
        });
        result?;
        match read {
            // It may be rotated away at this very moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound && files.len() > 1 => {}
            Err(error) => return Ok(no_journal(path, &error)),
            Ok(true) => {}
            Ok(false) => {
                let path = name(path);
                complain(&format!("gracekeeper: {path}: is no regular file: left out"));
            }
        }
    }
    shown.show(ordered.end())?;
    if unreadable > MOST_WARNINGS {
        complain(&format!("gracekeeper: {unreadable} lines of the journal are no entries"));
    }
    Ok(Exit::Success)
}

fn no_journal(path: &Path, error: &io::Error) -> Exit {
    let hint = if error.kind() == io::ErrorKind::NotFound {
        ": gracekeeper has written no journal there; name error logs to read them instead"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        ": read it as root, or as the user that gracekeeper runs as"
    } else {
        ""
    };
    complain(&format!("gracekeeper: {}: {error}{hint}", name(path)));
    exit_of(error)
}

/// A path as text that does nothing to a terminal.
fn name(path: &Path) -> String {
    escaped(path.as_os_str().as_bytes(), LONGEST_PATH)
}

impl<Output: Write> Shown<Output> {
    fn show(&mut self, entries: impl Iterator<Item = Entry>) -> io::Result<()> {
        for entry in entries {
            match self.shape {
                Shape::Json => {
                    let approximate = self.table.guessed.contains(&entry.at);
                    let line = serde_json::to_string(&Line { entry: &entry, approximate })?;
                    writeln!(self.output, "{}", log_format::escaped(&line))?;
                }
                Shape::Summary => self.summary.take(&entry),
                Shape::Table => {
                    if !std::mem::replace(&mut self.is_begun, true) {
                        self.output.write_all(self.table.head().as_bytes())?;
                    }
                    self.output.write_all(self.table.row(&entry).as_bytes())?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.shape == Shape::Summary {
            self.output.write_all(self.summary.text(&self.table).as_bytes())?;
        }
        self.output.flush()
    }
}
