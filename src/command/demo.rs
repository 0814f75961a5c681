//! `gracekeeper demo`: `run` beside a private httpd that it restarts in every way.

use std::{
    convert::Infallible, env, ffi::OsString, path::Path, sync::mpsc, thread, time::Duration,
};

use anyhow::{Context, anyhow};
use tokio::{runtime, sync::oneshot};

use super::{print, run::Signals};
use crate::{
    cli::Log,
    config::{Flags, Settings, duration, web::ListenAddress},
    demo::{
        DemoError, configuration, directory::Directory, httpd::Httpd, play::Play,
        traffic::UnusedPorts,
    },
    exit::Exit,
    program::{Output, Program, ProgramError, Start},
};

/// Plays until SIGTERM, SIGINT or SIGHUP, or until httpd or the watching process ends by itself.
///
/// What listens is another process, `gracekeeper run`: it gives up its capabilities, and this one
/// needs them to start root's httpd again.
pub fn run(flags: Flags, log: Log, every: Duration) -> anyhow::Result<Exit> {
    refuse_what_names_a_server(&flags)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    // Before anything is there that they would leave behind.
    let mut signals = runtime.block_on(async { Signals::new() }).context("listen for signals")?;
    let (stop, told) = mpsc::channel();
    let (ending, ended) = oneshot::channel::<Infallible>();
    let playing = thread::Builder::new()
        .name("demo".to_owned())
        .spawn(move || {
            // Dropped at the end, also at that of a panic.
            let _ending = ending;
            play(&flags, &log, every, told)
        })
        .context("start the playing thread")?;
    runtime.block_on(async {
        tokio::select! {
            () = signals.any() => {}
            _ = ended => {}
        }
    });
    drop::<mpsc::Sender<Infallible>>(stop);
    playing.join().map_err(|_| anyhow!("the playing thread panicked"))??;
    Ok(Exit::Success)
}

fn refuse_what_names_a_server(flags: &Flags) -> Result<(), DemoError> {
    if flags.config_file.is_some() {
        return Err(DemoError::Flag { flag: "--config.file" });
    }
    if flags.pid_file.is_some() {
        return Err(DemoError::Flag { flag: "--httpd.pid-file" });
    }
    Ok(())
}

fn play(
    flags: &Flags,
    log: &Log,
    every: Duration,
    told: mpsc::Receiver<Infallible>,
) -> anyhow::Result<()> {
    let directory = Directory::make()?;
    let file =
        directory.write("gracekeeper.toml", &configuration::gracekeeper(directory.path()))?;
    let mut settings = Settings::load(Flags { config_file: Some(file), ..flags.clone() })?;
    let mut ports = UnusedPorts::default();
    // A free port that the kernel chose would be known to the watching process only.
    for address in settings.web.listen_addresses.iter_mut().filter(|it| it.port() == 0) {
        *address = address.with_port(ports.take()?);
    }
    let addresses: Vec<String> =
        settings.web.listen_addresses.iter().map(ListenAddress::reachable).collect();
    // Who has TLS or users is not asked.
    let ready = addresses.first().filter(|_| settings.web.config_file.is_none()).cloned();
    let httpd = Httpd::start(&directory, ports.take()?)?;
    let watch = |httpd: &Httpd| {
        introduce(httpd, &addresses, &settings, every);
        start_watching(&settings, flags, log)
    };
    Play::new(httpd, directory, told, tell).run(every, ready.as_deref(), watch)?;
    Ok(())
}

fn introduce(httpd: &Httpd, addresses: &[String], settings: &Settings, every: Duration) {
    let installation = httpd.installation();
    let scheme = if settings.web.config_file.is_some() { "http(s)" } else { "http" };
    let path = settings.web.telemetry_path.as_str();
    let metrics: Vec<String> =
        addresses.iter().map(|address| format!("{scheme}://{address}{path}")).collect();
    tell(&format!(
        "A private httpd, {program} with MPM {mpm}, serves http://{httpd}/ and is restarted every \
         {every}.\n\
         Metrics are at {metrics}: see httpd_restarts_total, httpd_generation, httpd_children and\n\
         httpd_drain_in_progress change. Ctrl-C ends all of it.\n",
        program = installation.program.display(),
        mpm = installation.mpm.unwrap_or("compiled in"),
        httpd = httpd.address(),
        every = duration::text(every),
        metrics = metrics.join(" and "),
    ));
}

fn start_watching(settings: &Settings, flags: &Flags, log: &Log) -> Result<Program, ProgramError> {
    let this = || Path::new("/proc/self/exe").to_owned();
    let mut arguments: Vec<OsString> = vec!["run".into()];
    let mut flag = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    for address in &settings.web.listen_addresses {
        flag("--web.listen-address", address.to_string().into());
    }
    flag("--web.telemetry-path", settings.web.telemetry_path.as_str().into());
    flag("--path.procfs", settings.paths.procfs.clone().into());
    flag("--log.level", log.level().label().into());
    flag("--log.format", log.format().label().into());
    let files =
        [("--config.file", &settings.config_file), ("--web.config.file", &flags.web_config_file)];
    for (name, file) in files {
        if let Some(file) = file {
            flag(name, file.into());
        }
    }
    Program::start(Start {
        // By its name where that is known, so that `ps` shows it.
        path: env::current_exe().unwrap_or_else(|_| this()),
        arguments,
        environment: env::vars_os().collect(),
        output: Output::Inherited,
    })
}

/// Nobody is told who has closed the other end.
fn tell(text: &str) {
    drop(print(text));
}
