//! `gracekeeper doctor`: what is closed, what mends it, and what around httpd is unsound.

use std::{
    env,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
    process::geteuid,
};
use tokio::{runtime, sync::watch as channel};

use super::{complain, print, run::options};
use crate::{
    cli::Form,
    clock,
    config::{
        Settings,
        settings::{ErrorLogSetting, Server},
    },
    doctor::{
        callers,
        hygiene::{self, Subject},
        report::{self, Report, ServerReport},
        sources::{self, SourceReport, Viewer},
    },
    exit::Exit,
    expose::publication::{Publication, PublishedServer},
    model::{process::ProcessId, settings::Mpm, source::Why},
    observe::{
        asked::{Answer, Asked, Asker, ErrorLogPlace, Question},
        discovery, privileges,
        process_table::ProcessTable,
        resources::Mounts,
        scoreboard::ScoreboardReader,
        wake::Wake,
    },
    version,
    watch::{Order, Readers, Watch, WatchOptions},
};

/// As long as sources are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Looks follow each other as fast while somebody waits.
const INTERVAL: Duration = Duration::from_millis(250);
/// What does not apply has not begun to after so many looks.
const ENOUGH_LOOKS: u32 = 4;
/// A question has 10 s for each of up to three programs.
const ANSWERED_WITHIN: Duration = Duration::from_secs(35);
/// Where the host's own files are.
const ROOT: &str = "/";

/// What one httpd said, or why it did not.
type Told = Result<Answer, String>;

/// Looks, and prints what was found.
pub fn run(settings: &Settings, form: Form, with_callers: bool) -> anyhow::Result<Exit> {
    let procfs = settings.paths.procfs.clone();
    ensure!(procfs.join("self").exists(), "--path.procfs: {} is no procfs", procfs.display());
    let table = ProcessTable::new(procfs.clone());
    if table.all().err() == Some(Why::Permission) {
        complain(&format!("gracekeeper: {}: permission denied", procfs.display()));
        return Ok(Exit::Permission);
    }
    // What cannot be raised may do as it is.
    let _ = privileges::raise_descriptor_limit();
    let servers = look(settings)?;
    let parents: Vec<&PublishedServer> = servers.iter().collect();
    let answers = ask(settings, &parents)?;
    let units: Vec<String> = servers
        .iter()
        .filter_map(|server| unit(settings, server, &table))
        .chain(settings.servers.iter().filter_map(|server| server.unit.clone()))
        .map(|unit| unit.strip_suffix(".service").unwrap_or(&unit).to_owned())
        .collect();
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    let reports = servers.iter().zip(&answers).map(|(server, told)| {
        let told = told.as_ref().map_err(String::as_str);
        examined(settings, server, told, &table)
    });
    let report = Report {
        user: sources::user_name(geteuid().as_raw()),
        servers: reports.collect(),
        callers: with_callers.then(|| callers::scan(Path::new(ROOT), &names)),
    };
    match form {
        Form::Json => print(&report::json(&report)?)?,
        Form::Table | Form::Markdown => print(&report::table(&report, is_coloured()))?,
    }
    Ok(Exit::Success)
}

fn is_coloured() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What a run would see, which nobody hears of and which is not kept.
fn look(settings: &Settings) -> anyhow::Result<Arc<[PublishedServer]>> {
    let own = options(settings);
    let options = WatchOptions { state_dir: None, interval: own.interval.min(INTERVAL), ..own };
    let procfs = settings.paths.procfs.clone();
    let mounts = Mounts { procfs: procfs.clone(), sysfs: settings.paths.sysfs.clone() };
    let (scoreboards, logs) =
        ScoreboardReader::start(&procfs).context("start the reading process")?;
    let readers = Readers { scoreboards, logs };
    let build = [version::VERSION, version::REVISION, version::RUSTC];
    let (publish, publication) = channel::channel(Arc::new(Publication::default()));
    let (give, taken) = mpsc::channel();
    let watching = thread::Builder::new().name("watch".to_owned()).spawn(move || {
        // As a run has it: what this thread starts has no privileges either. Capabilities belong to
        // threads; this process keeps them for the host's own files.
        privileges::keep_none()?;
        let (watch, controls) = Watch::new(options, mounts, readers, build)?;
        // Who started this waits for it.
        drop(give.send(controls));
        watch.run(&publish)
    });
    let watching = watching.context("start the watching thread")?;
    let Ok(controls) = taken.recv() else {
        let ended = watching.join().map_err(|_| anyhow!("the watching thread panicked"))?;
        ended.context("watch the kernel's events")?;
        return Err(anyhow!("the watching thread ended"));
    };
    let seen = settled(publication);
    controls.give(Order::Stop);
    let watched = watching.join().map_err(|_| anyhow!("the watching thread panicked"))?;
    watched.context("watch the kernel's events")?;
    seen
}

/// The servers once every source has answered or will not, and after 5 s at the latest.
fn settled(
    mut publication: channel::Receiver<Arc<Publication>>,
) -> anyhow::Result<Arc<[PublishedServer]>> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.context("start the runtime")?;
    runtime.block_on(async {
        let mut looks = 0;
        let until = async {
            while publication.changed().await.is_ok() {
                looks += 1;
                let is_settled = |server| has_settled(server, looks);
                if publication.borrow_and_update().servers.iter().all(is_settled) {
                    return;
                }
            }
        };
        // What is there by then is shown.
        let _ = tokio::time::timeout(PATIENCE, until).await;
    });
    let latest = publication.borrow();
    Ok(Arc::clone(&latest.servers))
}

fn has_settled(server: &PublishedServer, looks: u32) -> bool {
    if server.up == Some(false) {
        return true;
    }
    server.sources.iter().all(|source| match (source.up, source.why) {
        (Some(true), _) => true,
        // Nobody lets it in meanwhile; but a log is not looked for before httpd was asked.
        (Some(false), Some(Why::Permission)) | (None, _) => looks >= ENOUGH_LOOKS,
        (Some(false), _) => false,
    })
}

/// What each httpd says of its configuration, in the same order.
fn ask(settings: &Settings, servers: &[&PublishedServer]) -> anyhow::Result<Vec<Told>> {
    let questions: Vec<Option<Question>> = servers
        .iter()
        .map(|server| server.parent.map(|parent| question(configured(settings, server), parent)))
        .collect();
    if !settings.watch.ask_httpd {
        return Ok(questions.iter().map(|_| Err("ask_httpd is false".to_owned())).collect());
    }
    if questions.iter().all(Option::is_none) {
        return Ok(questions.iter().map(|_| Err("it does not run".to_owned())).collect());
    }
    let table = ProcessTable::new(settings.paths.procfs.clone());
    let (mut reader, _logs) =
        ScoreboardReader::start(&settings.paths.procfs).context("start the reading process")?;
    let asking = thread::Builder::new().name("doctor".to_owned()).spawn(move || {
        // httpd is run as it is in a run: without privileges.
        privileges::keep_none()?;
        answers(table, questions, &mut reader)
    });
    let asked = asking.context("start a thread")?.join();
    asked.map_err(|_| anyhow!("the asking thread panicked"))?.context("ask httpd")
}

fn answers(
    table: ProcessTable,
    questions: Vec<Option<Question>>,
    reader: &mut ScoreboardReader,
) -> io::Result<Vec<Told>> {
    let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let asker = Asker::start(table, Wake::new(wake))?;
    let mut told: Vec<Told> =
        questions.iter().map(|_| Err("it did not answer in time".to_owned())).collect();
    let mut open = 0;
    for (server, question) in questions.into_iter().enumerate() {
        let Some(mut question) = question else {
            if let Some(told) = told.get_mut(server) {
                *told = Err("it does not run".to_owned());
            }
            continue;
        };
        question.environment = reader.environment(question.parent).ok();
        asker.ask(server, question);
        open += 1;
    }
    let deadline = clock::now().after(ANSWERED_WITHIN);
    while open > 0 {
        let now = clock::now();
        if now >= deadline {
            break;
        }
        let left = Timespec::try_from(deadline.since(now)).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(&ear, PollFlags::IN)], Some(&left))?;
        let _ = rustix::io::read(&ear, &mut [0; 64]);
        for Asked { server, result, .. } in asker.answers() {
            open -= 1;
            if let Some(told) = told.get_mut(server) {
                *told = result.map_err(|error| error.to_string());
            }
        }
    }
    Ok(told)
}

fn question(server: Option<&Server>, parent: ProcessId) -> Question {
    let arguments = server.and_then(|server| server.arguments.as_ref());
    Question {
        parent,
        program: server.and_then(|server| server.program.clone()),
        arguments: arguments.map(|list| list.iter().map(Into::into).collect()),
        environment_file: server.and_then(|server| server.environment_file.clone()),
        environment: None,
    }
}

/// The settings of a server that an operator listed.
fn configured<'a>(settings: &'a Settings, server: &PublishedServer) -> Option<&'a Server> {
    if let [only] = settings.servers.as_slice() {
        return Some(only);
    }
    settings.servers.iter().find(|it| {
        let unit = it.unit.as_deref();
        it.name.as_deref().or(unit) == Some(server.name.as_str())
    })
}

fn unit(settings: &Settings, server: &PublishedServer, table: &ProcessTable) -> Option<String> {
    let named = configured(settings, server).and_then(|it| it.unit.clone());
    let named = named.map(|unit| unit.strip_suffix(".service").unwrap_or(&unit).to_owned());
    named.or_else(|| discovery::unit_of(table, server.parent?))
}

fn examined(
    settings: &Settings,
    server: &PublishedServer,
    told: Result<&Answer, &str>,
    table: &ProcessTable,
) -> ServerReport {
    let procfs = settings.paths.procfs.as_path();
    let own = geteuid().as_raw();
    let user = server.parent.and_then(|parent| table.user(parent.pid).ok());
    let viewer = Viewer {
        user: sources::user_name(own),
        is_httpds: user == Some(own),
        yama: sources::yama(procfs),
        log: log(configured(settings, server), told),
    };
    let found = server.sources.iter().map(|it| SourceReport {
        source: it.source,
        up: it.up,
        reason: it.why,
        lost: sources::lost(it.source),
        mend: it.why.and_then(|why| sources::mend(it.source, why, &viewer, it.mend)),
    });
    let unit = unit(settings, server, table);
    let hygiene = server.parent.map(|parent| {
        hygiene::findings(&Subject {
            root: Path::new(ROOT),
            table,
            procfs,
            parent,
            unit: unit.as_deref(),
            answer: told,
            mpm: server.mpm.as_deref().and_then(mpm),
        })
    });
    ServerReport {
        server: server.name.clone(),
        up: server.up,
        pid: server.parent.map(|parent| parent.pid.as_raw()),
        version: server.version.clone(),
        mpm: server.mpm.clone(),
        sources: found.collect(),
        hygiene: hygiene.unwrap_or_default(),
    }
}

/// Where the error log is; where httpd does not tell, where distributions have it.
fn log(server: Option<&Server>, told: Result<&Answer, &str>) -> Option<PathBuf> {
    if let Some(ErrorLogSetting::Path(path)) = server.map(|server| &server.error_log) {
        return Some(path.clone());
    }
    let named = told.ok().and_then(|answer| match answer.error_log.as_ref()? {
        ErrorLogPlace::File(path) => Some(path.clone()),
        ErrorLogPlace::Syslog | ErrorLogPlace::Pipe | ErrorLogPlace::Stream => None,
    });
    let usual = ["/var/log/apache2/error.log", "/var/log/httpd/error_log"].map(PathBuf::from);
    named.or_else(|| usual.into_iter().find(|path| path.parent().is_some_and(Path::exists)))
}

fn mpm(name: &str) -> Option<Mpm> {
    match name {
        "event" => Some(Mpm::Event),
        "worker" => Some(Mpm::Worker),
        "prefork" => Some(Mpm::Prefork),
        _ => None,
    }
}
