//! Every key of the configuration, once: its name, what it may be, its default.
//!
//! A key that this version follows is a `setting`; one that a later version will follow is `planned`.

use std::{path::PathBuf, time::Duration};

use toml::de::DeTable;

use super::{
    error::{Cause, Place, Problem},
    reload,
    settings::{
        ErrorLogSetting, Flags, Limits, Paths, Server, Settings, ShowRequests, TlsProbe, Watch, Web,
    },
    typed::{Section, Sheet},
    value::{
        Fault, Typed, WordOr, absolute_path, argument, boolean, duration_between, fault, list_of,
        one_of, optional, own_file, plain_url, text, unit, word_or,
    },
    web::ListenAddress,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Beyond this it is not a host's configuration any more: each server has hundreds of series.
const MOST_SERVERS: usize = 64;

/// A label's value that still fits a dashboard's legend.
const LONGEST_NAME: usize = 100;

const PID_FILE_FLAG: &str = "--httpd.pid-file";

/// Reads every key; what is wrong is in the sheet afterwards, as are the rows of what was found.
pub(super) fn read<'text>(
    document: Option<&'text DeTable<'text>>,
    sheet: &mut Sheet<'text>,
    flags: Flags,
) -> Settings {
    let mut root = sheet.root(document);
    let watch = watch(root.section("watch"));
    let show_requests = web(root.section("web"));
    let mut servers = servers(&mut root);
    let limits = limits(root.section("limits"));
    reload::read(root.section("reload"));
    root.finish();
    if let Some(pid_file) = &flags.pid_file {
        servers = vec![flagged_server(sheet, pid_file.clone(), servers.is_empty())];
    }
    Settings {
        config_file: None,
        watch,
        servers,
        limits,
        web: Web {
            listen_addresses: match flags.listen_addresses.as_slice() {
                [] => vec![ListenAddress::default()],
                given => given.to_vec(),
            },
            telemetry_path: flags.telemetry_path.clone().unwrap_or_default(),
            config_file: flags.web_config_file.clone(),
            show_requests,
        },
        paths: Paths {
            procfs: flags.procfs.clone().unwrap_or_else(|| "/proc".into()),
            sysfs: flags.sysfs.clone().unwrap_or_else(|| "/sys".into()),
        },
        without_effect: Vec::new(),
        rows: Vec::new(),
        flags,
    }
}

fn watch(mut section: Section<'_, '_>) -> Watch {
    let seconds = Duration::from_secs;
    let interval = duration_between(Duration::from_millis(100)..=MINUTE);
    let interval = section.setting("interval", interval, seconds(1));
    let state_dir = PathBuf::from("/var/lib/gracekeeper");
    let state_dir = section.setting("state_dir", absolute_path, state_dir);
    let ask_httpd = section.setting("ask_httpd", boolean, true);
    let probe = word_or(&["on-change", "off"], duration_between(seconds(1)..=24 * HOUR));
    let tls_probe = match section.setting("tls_probe", probe, WordOr::Word("on-change")) {
        WordOr::Other(period) => TlsProbe::Every(period),
        WordOr::Word("off") => TlsProbe::Off,
        WordOr::Word(_) => TlsProbe::OnChange,
    };
    section.finish();
    Watch { interval, state_dir, ask_httpd, tls_probe }
}

fn web(mut section: Section<'_, '_>) -> ShowRequests {
    let words = one_of(&["off", "method", "path"]);
    let shown = section.setting("show_requests", words, "off");
    section.finish();
    match shown {
        "method" => ShowRequests::Method,
        "path" => ShowRequests::Path,
        _ => ShowRequests::Off,
    }
}

fn servers(root: &mut Section<'_, '_>) -> Vec<Server> {
    let tables = root.tables("server");
    if let Some((at, _)) = tables.get(MOST_SERVERS) {
        let cause = Cause::Value {
            must: format!("at most {MOST_SERVERS} tables"),
            is: tables.len().to_string(),
        };
        root.element("server".to_owned(), *at, None).complain(cause);
        return Vec::new();
    }
    let mut servers: Vec<Server> = Vec::new();
    if tables.is_empty() {
        // Shown with its defaults, so that one sees what could be set.
        server(root.element("server[]".to_owned(), 0, None), &servers);
    }
    for (index, (at, table)) in tables.into_iter().enumerate() {
        let section = root.element(format!("server[{index}]"), at, Some(table));
        let server = server(section, &servers);
        servers.push(server);
    }
    servers
}

fn server(mut section: Section<'_, '_>, earlier: &[Server]) -> Server {
    let name = section.setting("name", optional(server_name), None);
    let pid_file = section.setting("pid_file", optional(absolute_path), None);
    let unit = section.setting("unit", optional(unit), None);
    let error_log = word_or(&["auto", "none"], absolute_path);
    let error_log = section.setting("error_log", error_log, WordOr::Word("auto"));
    let status_url = section.setting("status_url", optional(plain_url), None);
    let auto = || WordOr::Word("auto");
    let program = section.setting("program", word_or(&["auto"], own_file), auto());
    let arguments = word_or(&["auto"], list_of(argument));
    let arguments = section.setting("arguments", arguments, WordOr::Word("auto"));
    let environment_file = word_or(&["auto"], own_file);
    let environment_file = section.setting("environment_file", environment_file, auto());
    if section.is_there() && !section.has("pid_file") && !section.has("unit") {
        section.complain(Cause::Needs("pid_file or unit"));
    }
    let server = Server {
        name,
        pid_file,
        unit,
        error_log: match error_log {
            WordOr::Other(path) => ErrorLogSetting::Path(path),
            WordOr::Word("none") => ErrorLogSetting::None,
            WordOr::Word(_) => ErrorLogSetting::Auto,
        },
        status_url: status_url.map(|url| url.uri().clone()),
        program: program.other(),
        arguments: arguments.other(),
        environment_file: environment_file.other(),
    };
    if let Some((key, cause)) = twice(earlier, &server) {
        section.complain_about(key, cause);
    }
    section.finish();
    server
}

fn server_name(typed: &Typed<'_>) -> Result<String, Fault> {
    let name = text(typed)?;
    if name.chars().count() > LONGEST_NAME {
        let must = format!("at most {LONGEST_NAME} characters long");
        let is = format!("{} characters long", name.chars().count());
        return Err(fault(typed, Cause::Value { must, is }));
    }
    Ok(name)
}

/// What a server has that an earlier one has already.
fn twice(earlier: &[Server], new: &Server) -> Option<(&'static str, Cause)> {
    let file = |server: &Server| server.pid_file.as_ref().map(|file| file.display().to_string());
    let name = |server: &Server| server.name.clone();
    let unit = |server: &Server| server.unit.clone();
    let same = |key, what, of: &dyn Fn(&Server) -> Option<String>| {
        let value = of(new)?;
        let other = earlier.iter().position(|server| of(server).as_ref() == Some(&value))?;
        Some((key, Cause::Twice { what, value, other }))
    };
    same("name", "the name", &name)
        .or_else(|| same("pid_file", "the pid file", &file))
        .or_else(|| same("unit", "the unit", &unit))
}

/// The server that `--httpd.pid-file` names, in place of none of the file's.
fn flagged_server(sheet: &mut Sheet<'_>, pid_file: PathBuf, is_alone: bool) -> Server {
    if !is_alone {
        let cause = Cause::Excludes("the [[server]] of the configuration file");
        let key = PID_FILE_FLAG.to_owned();
        sheet.problems.push(Problem { place: Place::Flag, key, cause });
    }
    let name = "main".to_owned();
    for row in &mut sheet.rows {
        if let Some(key) = row.key.strip_prefix("server[].") {
            row.key = format!("server[0].{key}");
        }
    }
    sheet.overrule("server[0].name", &name, PID_FILE_FLAG);
    sheet.overrule("server[0].pid_file", &pid_file, PID_FILE_FLAG);
    Server { name: Some(name), pid_file: Some(pid_file), ..Server::default() }
}

fn limits(mut section: Section<'_, '_>) -> Limits {
    let timeout = duration_between(Duration::from_millis(100)..=24 * HOUR);
    let restart_timeout = section.setting("restart_timeout", timeout, MINUTE);
    section.finish();
    Limits { restart_timeout }
}
