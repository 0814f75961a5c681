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
use rustix::process::geteuid;
use tokio::{runtime, sync::watch as channel, time};

use super::{complain, print, run::options};
use crate::{
    cli::Form,
    config::{
        Settings,
        settings::{ErrorLogSetting, Server, TlsProbe},
    },
    doctor::{
        callers,
        hygiene::{self, Subject},
        report::{self, Report, ServerReport},
        sources::{self, SourceReport, Viewer},
    },
    exit::Exit,
    expose::publication::{Publication, PublishedServer},
    model::{
        settings::Mpm,
        source::{Source, Why},
        told::Told,
    },
    observe::{
        discovery, privileges, process_table::ProcessTable, resources::Mounts,
        scoreboard::ScoreboardReader, served::ProbeWhen,
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
/// A question has 10 s for each of up to three programs; one httpd is asked after the other.
const ANSWERED_WITHIN: Duration = Duration::from_secs(35);
/// Where the host's own files are.
const ROOT: &str = "/";

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
    let units: Vec<String> = servers
        .iter()
        .filter_map(|server| unit(settings, server, &table))
        .chain(settings.servers.iter().filter_map(|server| server.unit.clone()))
        .map(|unit| unit.strip_suffix(".service").unwrap_or(&unit).to_owned())
        .collect();
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    let reports = servers.iter().map(|server| examined(settings, server, &table));
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
    let asks = own.ask_httpd;
    let interval = own.interval.min(INTERVAL);
    // A run beside this one has handshakes enough with the same listeners.
    let options = WatchOptions { state_dir: None, interval, tls_probe: ProbeWhen::Off, ..own };
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
    let seen = settled(publication, asks);
    controls.give(Order::Stop);
    let watched = watching.join().map_err(|_| anyhow!("the watching thread panicked"))?;
    watched.context("watch the kernel's events")?;
    seen
}

/// The servers once every source has answered or will not, after 5 s at the latest; and once each
/// httpd has answered that `asks` lets be asked, or none of them has within 35 s.
fn settled(
    mut publication: channel::Receiver<Arc<Publication>>,
    asks: bool,
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
        let _ = time::timeout(PATIENCE, until).await;
        let mut open = if asks { unanswered(&publication.borrow().servers) } else { 0 };
        while open > 0 {
            let fewer = publication.wait_for(|latest| unanswered(&latest.servers) < open);
            let Ok(Ok(latest)) = time::timeout(ANSWERED_WITHIN, fewer).await else { return };
            open = unanswered(&latest.servers);
        }
    });
    let latest = publication.borrow();
    Ok(Arc::clone(&latest.servers))
}

/// How many httpds run that have neither answered nor refused.
fn unanswered(servers: &[PublishedServer]) -> usize {
    servers.iter().filter(|server| server.parent.is_some() && server.said.is_none()).count()
}

/// What httpd says of its configuration, or why that is not known.
fn told<'a>(settings: &Settings, server: &'a PublishedServer) -> Result<&'a Told, &'a str> {
    match &server.said {
        _ if !settings.watch.ask_httpd => Err("ask_httpd is false"),
        Some(Ok(told)) => Ok(told),
        Some(Err(cause)) => Err(cause),
        None if server.parent.is_none() => Err("it does not run"),
        None => Err("it did not answer in time"),
    }
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

fn examined(settings: &Settings, server: &PublishedServer, table: &ProcessTable) -> ServerReport {
    let told = told(settings, server);
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
        note: None,
    });
    let probes = settings.watch.tls_probe != TlsProbe::Off;
    let left_alone = probes.then(|| sources::not_asked(Source::TlsProbe));
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
        sources: found.chain(left_alone).collect(),
        note: (server.up == Some(false)).then(|| down(viewer.log.as_deref())),
        hygiene: hygiene.unwrap_or_default(),
    }
}

/// What an operator does about an httpd that is down.
fn down(log: Option<&Path>) -> String {
    let log = log.map_or_else(|| "its error log".to_owned(), |it| it.display().to_string());
    format!("nothing is asked while httpd is down: start it; why it ended may stand in {log}")
}

/// Where the error log is; where httpd does not tell, where distributions have it.
fn log(server: Option<&Server>, told: Result<&Told, &str>) -> Option<PathBuf> {
    if let Some(ErrorLogSetting::Path(path)) = server.map(|server| &server.error_log) {
        return Some(path.clone());
    }
    let named = told.ok().and_then(|told| told.error_log.clone());
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
