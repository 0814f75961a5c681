//! The program: command line to settings to command to exit code.

use std::{panic, process::ExitCode};

use gracekeeper::{
    cli::{Cli, Command, ConfigCommand},
    command,
    config::Settings,
    exit::Exit,
    log_format,
};

fn main() -> ExitCode {
    let cli = match Cli::from_arguments() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    // A panic has already been reported by its hook; here it only becomes the contract's exit code.
    let exit = panic::catch_unwind(|| dispatch(cli)).unwrap_or(Ok(Exit::Internal));
    exit.unwrap_or_else(|error| command::report(&error)).into()
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let (log, flags) = (cli.flags.log(), cli.flags.settings());
    match cli.command {
        Command::Run => {
            let settings = Settings::load(flags)?;
            log_format::init(log.format(), log.level())?;
            command::run::run(settings)
        }
        Command::Demo(demo) => command::demo::run(flags, log, demo.every()),
        Command::Forget(forget) => command::forget::run(&Settings::load(flags)?, forget.name()),
        Command::History(asked) => command::history::run(|| Ok(Settings::load(flags)?), &asked),
        Command::Doctor(doctor) => {
            let settings = Settings::load(flags)?;
            command::doctor::run(&settings, doctor.form(), doctor.with_callers())
        }
        Command::Metrics(form) => command::metrics::run(form.form()),
        Command::Config(ConfigCommand::Check { file }) => command::config::check(flags, file),
        Command::Config(ConfigCommand::Show(form)) => {
            command::config::show(flags, &log, form.form())
        }
        Command::Reader => command::reader::run(flags.procfs),
    }
}
