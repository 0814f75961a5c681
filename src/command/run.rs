//! `gracekeeper run`: watches, and serves what it saw.

use std::{ffi::OsString, io, sync::Arc, thread, time::Duration};

use anyhow::{Context, anyhow, ensure};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch as channel,
};
use tracing::{error, info, warn};

use super::state_dir::{refuse_exposed, state_dir};
use crate::{
    clock,
    config::{
        Settings,
        settings::{self, ErrorLogSetting, TlsProbe},
    },
    exit::Exit,
    expose::{
        publication::Publication,
        server::{self, BoundListener, ServerOptions},
        web_config::{WebConfigFile, WebConfigState},
    },
    model::scoreboard::ShowRequests,
    observe::{
        inquiry::Calling, log_source::LogChoice, privileges, resources::Mounts,
        scoreboard::ScoreboardReader, served::ProbeWhen, server::Target,
    },
    version,
    watch::{Choices, Controls, Order, Readers, Wanted, Watch, WatchOptions},
};

/// What the program has open before anybody connects.
const FEWEST_DESCRIPTORS: u64 = 48;
/// The first look rarely takes longer; if it does, it is not waited for.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// Watches until it is told to end.
pub fn run(settings: Settings) -> anyhow::Result<Exit> {
    warn_of_what_has_no_effect(&settings);
    refuse_exposed(&settings)?;
    let web_config = settings.web.config_file.as_deref();
    let web_config = web_config.map(|path| WebConfigFile::open(path, WebConfigFile::LOOK_EVERY));
    let web_config = web_config.transpose()?.map(Arc::new);
    let addresses: Vec<String> =
        settings.web.listen_addresses.iter().map(ToString::to_string).collect();
    let listeners = server::bind(&addresses)?;
    let procfs = settings.paths.procfs.clone();
    ensure!(procfs.join("self").exists(), "--path.procfs: {} is no procfs", procfs.display());
    // While there still are privileges: it keeps those that this process gives up next.
    let (scoreboards, logs) =
        ScoreboardReader::start(&procfs).context("start the reading process")?;
    let readers = Readers { scoreboards, logs };
    if let Err(error) = privileges::raise_descriptor_limit() {
        warn!(%error, "descriptor limit not raised");
    }
    let descriptors = privileges::descriptor_limit();
    ensure!(descriptors >= FEWEST_DESCRIPTORS, "{descriptors} file descriptors are too few");
    privileges::keep_none().context("give up privileges")?;

    let build = [version::VERSION, version::REVISION, version::RUSTC];
    let mounts = Mounts { procfs, sysfs: settings.paths.sysfs.clone() };
    let (watch, controls) = Watch::new(options(&settings), mounts, readers, build)
        .context("watch the kernel's events")?;
    let first = Publication { stale_after: watch.stale_after(), ..Publication::default() };
    let (publish, publication) = channel::channel(Arc::new(first));
    let watching = thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || watch.run(&publish))
        .context("start the watching thread")?;

    let web = ServerOptions {
        telemetry_path: settings.web.telemetry_path.as_str().to_owned(),
        web_config,
        ..ServerOptions::default()
    };
    let served = serve(listeners, publication, web, settings, &controls);
    controls.give(Order::Stop);
    let watched = watching.join().map_err(|_| anyhow!("the watching thread panicked"))?;
    watched.context("watch the kernel's events")?;
    served?;
    info!("ended");
    Ok(Exit::Success)
}

fn warn_of_what_has_no_effect(settings: &Settings) {
    for key in &settings.without_effect {
        warn!(key, "setting has no effect in this version");
    }
}

/// What the watch is told by these settings.
pub(super) fn options(settings: &Settings) -> WatchOptions {
    WatchOptions {
        interval: settings.watch.interval,
        restart_timeout: settings.limits.restart_timeout,
        servers: settings.servers.iter().map(wanted).collect(),
        ask_httpd: settings.watch.ask_httpd,
        tls_probe: match settings.watch.tls_probe {
            TlsProbe::OnChange => ProbeWhen::OnChange,
            TlsProbe::Off => ProbeWhen::Off,
            TlsProbe::Every(period) => ProbeWhen::Every(period),
        },
        state_dir: Some(state_dir(settings)),
        show_requests: match settings.web.show_requests {
            settings::ShowRequests::Off => ShowRequests::Off,
            settings::ShowRequests::Method => ShowRequests::Method,
            settings::ShowRequests::Path => ShowRequests::Path,
        },
    }
}

fn wanted(server: &settings::Server) -> Wanted {
    let settings::Server { name, pid_file, unit, error_log, status_url, program, .. } = server;
    // A pid file names the server, and its unit no more than that.
    let found_by_unit = unit.clone().filter(|_| pid_file.is_none());
    let arguments = server.arguments.as_ref();
    Wanted {
        name: name.clone().or_else(|| unit.clone()),
        target: Target {
            pid_file: pid_file.clone(),
            program: program.clone(),
            unit: found_by_unit,
            signature: None,
        },
        choices: Choices {
            error_log: match error_log {
                ErrorLogSetting::Auto => LogChoice::Auto,
                ErrorLogSetting::None => LogChoice::None,
                ErrorLogSetting::Path(path) => LogChoice::Path(path.clone()),
            },
            status_url: status_url.clone(),
            calling: Calling {
                program: program.clone(),
                arguments: arguments.map(|list| list.iter().map(OsString::from).collect()),
                environment_file: server.environment_file.clone(),
            },
        },
    }
}

fn serve(
    listeners: Vec<BoundListener>,
    publication: channel::Receiver<Arc<Publication>>,
    web: ServerOptions,
    settings: Settings,
    controls: &Controls,
) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    let served = runtime.block_on(async {
        // Who scrapes as soon as he is told where finds every server in it.
        let mut first = publication.clone();
        let _ = tokio::time::timeout(FIRST_LOOK, first.changed()).await;
        for listener in &listeners {
            info!(address = %listener.address(), "listening");
        }
        let mut signals = Signals::new().context("listen for signals")?;
        let states = web.web_config.as_ref().map(|file| file.states());
        let looks = publication.clone();
        let stop = until_told(&mut signals, looks, states, settings, controls);
        server::serve(listeners, publication, web, stop).await.context("serve")
    });
    // The check of a password cannot be cancelled, and is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

/// The signals that gracekeeper listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves at the next of them.
    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Resolves at SIGTERM, at SIGINT, and when there will be no more looks; passes on what happens
/// to the configuration meanwhile.
async fn until_told(
    signals: &mut Signals,
    mut looks: channel::Receiver<Arc<Publication>>,
    mut states: Option<channel::Receiver<WebConfigState>>,
    mut settings: Settings,
    controls: &Controls,
) {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.hang_up.recv() => reread(&mut settings, controls),
            look = looks.changed() => if look.is_err() { return },
            state = next(&mut states) => controls.give(Order::WebConfiguration(state)),
        }
    }
}

/// The web configuration's next state; pending for good where there is none.
async fn next(states: &mut Option<channel::Receiver<WebConfigState>>) -> WebConfigState {
    if let Some(states) = states
        && states.changed().await.is_ok()
    {
        return *states.borrow_and_update();
    }
    std::future::pending().await
}

fn reread(settings: &mut Settings, controls: &Controls) {
    match settings.reread() {
        Ok(new) => {
            warn_of_what_has_no_effect(&new);
            info!("configuration read again");
            controls.give(Order::Configure(options(&new), clock::now().wall));
            *settings = new;
        }
        Err(error) => {
            error!(%error, "configuration not read again, the old one stays");
            controls.give(Order::ConfigurationFailed);
        }
    }
}
