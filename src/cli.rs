//! Commands and flags.

mod doctor;
mod history;

use std::{io, path::PathBuf, time::Duration};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, builder::StyledStr,
    error::ErrorKind,
};

pub use self::{
    doctor::Doctor,
    history::{History, Shape},
};
use crate::{
    config::{
        Flags, duration,
        show::Row,
        web::{ListenAddress, TelemetryPath},
    },
    exit::Exit,
    log_format::{Format, Level},
    version,
};

/// Tells what every restart of an Apache HTTP Server was and did, and serves it to Prometheus.
///
/// gracekeeper runs beside an Apache HTTP Server 2.4. It needs no configuration: without one it
/// watches the servers that run on this host, as far as it may see them.
#[derive(Debug, Parser)]
#[command(name = "gracekeeper", subcommand_required = true, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags that stand before the command, or after it.
    #[command(flatten)]
    pub flags: GlobalFlags,
}

/// What gracekeeper can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watches httpd and serves what it saw.
    ///
    /// The metrics are served until SIGTERM or SIGINT. Nothing is signalled, and nothing is written
    /// where httpd reads.
    Run,
    /// Shows all of it with a private httpd.
    ///
    /// Starts the httpd that is installed here, on a free port of 127.0.0.1 and with a directory of
    /// its own, asks it for pages, and restarts it again and again: gracefully, gracefully during a
    /// slow download, hard, and by a stop and a start. `run` watches it under the name demo, at the
    /// same addresses. It ends at SIGTERM, SIGINT or SIGHUP and leaves nothing behind. No other httpd
    /// is touched.
    Demo(Demo),
    /// Forgets a server that is gone for good.
    ///
    /// A server that was found once is shown from then on, as down while it is, also after
    /// gracekeeper or the host was restarted. This drops one that is down and is not configured, from
    /// the state directory and from what the running gracekeeper shows. The exit code is 0 once it is
    /// forgotten, 64 for a server that is up, configured or not known, 75 if the running gracekeeper
    /// does not answer, and 77 without the permission to change the state directory: the user that
    /// gracekeeper runs as has it.
    Forget(Forget),
    /// Shows what restarts happened.
    ///
    /// Without a LOG this is the journal that gracekeeper writes into its state directory. With error
    /// logs it is what they tell: starts, stops, each restart with how it ended and, of one that
    /// failed, httpd's own words, crashed children, limits that were reached. Logs may be plain or
    /// gzip, and in any order; together they are one story. A log is believed: whatever runs in httpd
    /// can write into it. A restart that took more than 60 s is told as hung, too. Times before which
    /// a ~ stands are those of a file whose lines have none. The exit code is 0, 64 for a log that
    /// does not exist or an unknown time zone, 70 if a log could not be read to its end, and 77 for
    /// one that must not be read.
    History(History),
    /// Says what gracekeeper cannot read, and what mends it.
    ///
    /// Looks at httpd as `run` does, for at most 5 s, writes nothing, and can be used beside a running
    /// gracekeeper. Of each server it shows every source, what is not known without it and the line
    /// that makes it speak: for the user that runs this, which should be the one that runs
    /// gracekeeper. Then what is unsound around httpd: files that others may write, an open
    /// server-status, a logout that takes semaphores away, a shared process group, an accept queue that
    /// the kernel cuts, a reload that is none. The exit code is 0 whatever was found, 64 for an invalid
    /// configuration, and 77 where nothing may be read.
    Doctor(Doctor),
    /// Prints every metric with its type, its labels and its meaning.
    Metrics(MetricsForm),
    /// Checks or shows the configuration.
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigCommand),
    /// Reads for the watching process what needs a capability.
    #[command(hide = true)]
    Reader,
}

/// How the demonstration goes.
#[derive(Clone, Copy, Debug, Args)]
pub struct Demo {
    /// Waits this long from one restart to the next; at least 100ms.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = pace)]
    every: Duration,
}

impl Demo {
    /// From one restart to the next.
    #[must_use]
    pub const fn every(self) -> Duration {
        self.every
    }
}

/// What is to be forgotten.
#[derive(Clone, Debug, Args)]
pub struct Forget {
    /// Names the server, as its label has it.
    #[arg(value_name = "NAME")]
    name: String,
}

impl Forget {
    /// The server's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Checks the configuration and reports all that is wrong with it.
    ///
    /// The exit code is 0 for a configuration that `run` would take, 64 for another one, and 77 for
    /// one that must not be read.
    Check {
        /// Names the file to check, in place of the one of --config.file.
        #[arg(value_name = "FILE", conflicts_with = "config_file")]
        file: Option<PathBuf>,
    },
    /// Shows every effective setting and where it comes from.
    Show(TableForm),
}

/// How the catalogue is printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct MetricsForm {
    /// Prints the table of the README.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// How a table is printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct TableForm {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Columns for people.
    Table,
    /// A table in Markdown.
    Markdown,
    /// For programs.
    Json,
}

/// The flags of the Prometheus exporters, and gracekeeper's own.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Settings")]
pub struct GlobalFlags {
    /// Reads this configuration file instead of /etc/gracekeeper/gracekeeper.toml, which need not exist.
    #[arg(long = "config.file", global = true, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Listens on this address instead of 127.0.0.1:10117; an empty host means every interface, port 0 a free port.
    ///
    /// The flag can be given several times.
    #[arg(long = "web.listen-address", global = true, value_name = "ADDRESS")]
    listen_addresses: Vec<ListenAddress>,
    /// Reads TLS and authentication from this file, as the Prometheus exporter-toolkit does.
    #[arg(long = "web.config.file", global = true, value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// Serves the metrics under this path instead of /metrics.
    #[arg(long = "web.telemetry-path", global = true, value_name = "PATH")]
    telemetry_path: Option<TelemetryPath>,
    /// Finds procfs here instead of at /proc.
    #[arg(long = "path.procfs", global = true, value_name = "DIRECTORY")]
    procfs: Option<PathBuf>,
    /// Finds sysfs here instead of at /sys.
    #[arg(long = "path.sysfs", global = true, value_name = "DIRECTORY")]
    sysfs: Option<PathBuf>,
    /// Watches the one server that writes this pid file, under the name main.
    #[arg(long = "httpd.pid-file", global = true, value_name = "FILE", value_parser = absolute)]
    pid_file: Option<PathBuf>,
    /// Says how the program logs.
    #[command(flatten)]
    log: Log,
}

/// The flags of the log.
#[derive(Clone, Debug, Args)]
pub struct Log {
    /// Logs what is at least this important; the default is info.
    #[arg(long = "log.level", global = true, value_name = "LEVEL")]
    level: Option<Level>,
    /// Logs in this format; the default is logfmt.
    #[arg(long = "log.format", global = true, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Cli {
    /// Reads the command line; prints help, the version or what is wrong, and says how to exit.
    pub fn from_arguments() -> Result<Self, Exit> {
        let matches = command().try_get_matches();
        matches.and_then(|matches| Self::from_arg_matches(&matches)).map_err(|error| {
            // Nobody is left to be told that this could not be printed.
            drop(error.print());
            let was_asked = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
            if was_asked.contains(&error.kind()) { Exit::Success } else { Exit::Usage }
        })
    }
}

impl GlobalFlags {
    /// The flags that are settings.
    #[must_use]
    pub fn settings(&self) -> Flags {
        let flags = self.clone();
        Flags {
            config_file: flags.config_file,
            listen_addresses: flags.listen_addresses,
            web_config_file: flags.web_config_file,
            telemetry_path: flags.telemetry_path,
            procfs: flags.procfs,
            sysfs: flags.sysfs,
            pid_file: flags.pid_file,
        }
    }

    /// The flags of the log.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log.clone()
    }
}

impl Log {
    /// How important a line must be.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level.unwrap_or_default()
    }

    /// How a line looks.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format.unwrap_or_default()
    }

    /// These flags as `config show` prints them.
    #[must_use]
    pub fn rows(&self) -> [Row; 2] {
        let (level, format) = (self.level.map(Level::label), self.format.map(Format::label));
        [
            Row::flag("--log.level", level.map(Into::into), Level::default().label().into()),
            Row::flag("--log.format", format.map(Into::into), Format::default().label().into()),
        ]
    }
}

impl MetricsForm {
    /// The form that the flags ask for.
    #[must_use]
    pub const fn form(self) -> Form {
        match self {
            Self { markdown: true, .. } => Form::Markdown,
            Self { json: true, .. } => Form::Json,
            Self { .. } => Form::Table,
        }
    }
}

impl TableForm {
    /// The form that the flag asks for.
    #[must_use]
    pub const fn form(self) -> Form {
        if self.json { Form::Json } else { Form::Table }
    }
}

/// The command line's grammar, with help in whole sentences.
fn command() -> clap::Command {
    let mut command = Cli::command().version(version::TEXT);
    // Only then are there the help flags, and the global flags in each command.
    command.build();
    whole_sentences(command).mut_subcommand("metrics", without_settings)
}

/// clap takes the full stop off the first paragraph of each comment.
fn whole_sentences(command: clap::Command) -> clap::Command {
    let about = command.get_about().map(sentence);
    let command = match about {
        Some(about) => command.about(about),
        None => command,
    };
    command.mut_args(described).mut_subcommands(whole_sentences)
}

fn described(argument: clap::Arg) -> clap::Arg {
    match argument.get_id().as_str() {
        "help" => {
            argument.help("Prints this help.").long_help("Prints this help; -h a shorter one.")
        }
        "version" => argument.help("Prints the version."),
        _ => match argument.get_help().map(sentence) {
            Some(help) => argument.help(help),
            None => argument,
        },
    }
}

fn sentence(text: &StyledStr) -> String {
    let text = text.to_string();
    if text.ends_with('.') { text } else { text + "." }
}

/// The catalogue is the same whatever is set, so its help need not list what can be.
fn without_settings(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| {
        let is_setting = argument.is_global_set();
        argument.hide(is_setting)
    })
}

fn pace(text: &str) -> Result<Duration, &'static str> {
    let pace = duration::parse(text).filter(|pace| *pace >= Duration::from_millis(100));
    pace.ok_or("must be a duration such as 20s or 1m30s, and at least 100ms")
}

/// A path from the command line: what it is relative to is gone once the program serves.
fn absolute(path: &str) -> io::Result<PathBuf> {
    std::path::absolute(path)
}

#[cfg(test)]
mod tests {
    use clap::error::Result;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli> {
        let arguments = std::iter::once("gracekeeper").chain(arguments.iter().copied());
        let matches = command().try_get_matches_from(arguments)?;
        Cli::from_arg_matches(&matches)
    }

    #[test]
    fn the_grammar_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for arguments in [
            ["--config.file", "/x", "--log.level=debug", "run"],
            ["run", "--config.file", "/x", "--log.level=debug"],
        ] {
            let cli = parse(&arguments).unwrap();
            assert_eq!(cli.flags.settings().config_file, Some("/x".into()));
            assert_eq!(cli.flags.log().level(), Level::Debug);
            assert_eq!(cli.flags.log().format(), Format::Logfmt);
        }
    }

    #[test]
    fn several_addresses_can_be_listened_on() {
        let cli = parse(&["run", "--web.listen-address=:1", "--web.listen-address", "[::1]:2"]);
        let addresses = cli.unwrap().flags.settings().listen_addresses;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, [":1", "[::1]:2"]);
    }

    #[test]
    fn a_pid_file_is_found_whatever_the_working_directory_becomes() {
        let flags = parse(&["run", "--httpd.pid-file=x.pid"]).unwrap().flags.settings();
        assert!(flags.pid_file.unwrap().is_absolute());
    }

    #[test]
    fn the_catalogue_has_three_forms() {
        let form = |arguments: &[&str]| {
            let command = parse(arguments).unwrap().command;
            let Command::Metrics(form) = command else { panic!("{command:?}") };
            form.form()
        };
        assert_eq!(form(&["metrics"]), Form::Table);
        assert_eq!(form(&["metrics", "--markdown"]), Form::Markdown);
        assert_eq!(form(&["metrics", "--json"]), Form::Json);
        assert!(parse(&["metrics", "--json", "--markdown"]).is_err());
    }
}
