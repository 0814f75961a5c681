//! What on this host restarts httpd: units, logrotate, cron, hooks of certificates and networks.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Serialize;

use super::{
    text::{self, Read},
    units::Units,
};
use crate::decode::callers::{self as decode, Caller, Verdict, lines_naming};

/// Files that are read themselves, and directories of which each file is.
const PLACES: [&str; 31] = [
    "/etc/logrotate.conf",
    "/etc/logrotate.d",
    "/etc/crontab",
    "/etc/anacrontab",
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/var/spool/cron",
    "/var/spool/cron/crontabs",
    "/var/spool/cron/tabs",
    "/etc/letsencrypt/cli.ini",
    "/etc/letsencrypt/renewal",
    "/etc/letsencrypt/renewal-hooks/pre",
    "/etc/letsencrypt/renewal-hooks/deploy",
    "/etc/letsencrypt/renewal-hooks/post",
    "/etc/dehydrated",
    "/root/.acme.sh",
    "/etc/acme.sh",
    "/etc/network/if-up.d",
    "/etc/dhcp/dhclient-exit-hooks.d",
    "/etc/NetworkManager/dispatcher.d",
    "/etc/ppp/ip-up.d",
    "/etc/apt/apt.conf.d",
    "/etc/ca-certificates/update.d",
    "/etc/monitrc",
    "/etc/monit",
    "/etc/monit.d",
    "/etc/monit/conf.d",
    "/etc/monit/conf-enabled",
];
/// Directories whose directories are places, one for each domain.
const PLACES_OF_PLACES: [&str; 2] = ["/root/.acme.sh", "/etc/acme.sh"];
/// What of a unit is a command.
const COMMANDS: [&str; 7] = [
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
];
const HTTPDS: [&str; 3] = ["apache2", "httpd", "apache"];
/// So many of one file are told that are graceful, and so many that are not: a file of thousands is
/// a list of something else.
const MOST: usize = 1000;

/// Who restarts httpd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Callers {
    /// Files that were read.
    pub files: usize,
    /// What was found, by file.
    pub found: Vec<Call>,
    /// Files of which more was found than is told.
    pub left_out: Vec<LeftOut>,
    /// What could not be read, or not to its end.
    pub unread: Vec<Unread>,
}

/// What is not told of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The file.
    pub file: String,
    /// So many commands more.
    pub commands: usize,
}

/// One command that restarts or stops httpd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u32,
    /// What it does.
    pub does: &'static str,
    /// As it is written.
    pub command: String,
    /// What should be written instead; `None` of what is graceful.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
}

/// A place that was not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Where.
    pub file: String,
    /// Why.
    pub cause: String,
}

impl Call {
    /// It is a graceful restart, which harms nobody.
    #[must_use]
    pub fn is_graceful(&self) -> bool {
        self.instead.is_none()
    }
}

/// Looks through the host below `root`, usually `/`; httpd's units may have further names, without
/// `.service`.
#[must_use]
pub fn scan(root: &Path, names: &[&str]) -> Callers {
    let mut scan = Scan {
        root,
        units: Units::new(root),
        names,
        told: Callers::default(),
        files: BTreeMap::new(),
        seen: BTreeSet::new(),
    };
    for place in PLACES {
        scan.place(&text::below(root, place));
    }
    for place in PLACES_OF_PLACES {
        for folder in text::entries(&text::below(root, place)).unwrap_or_default() {
            if folder.is_dir() {
                scan.place(&folder);
            }
        }
    }
    scan.services();
    let left_out = scan.files.into_iter().filter(|(_, told)| told.left_out > 0);
    let left_out = left_out.map(|(file, told)| LeftOut { file, commands: told.left_out }).collect();
    Callers { left_out, ..scan.told }
}

/// What was told of one file.
#[derive(Default)]
struct Told {
    graceful: usize,
    others: usize,
    left_out: usize,
}

struct Scan<'a> {
    root: &'a Path,
    units: Units,
    names: &'a [&'a str],
    told: Callers,
    files: BTreeMap<String, Told>,
    /// The same command is found in a line and in a script within it.
    seen: BTreeSet<(String, u32, String)>,
}

impl Scan<'_> {
    fn place(&mut self, path: &Path) {
        match text::entries(path) {
            Ok(entries) if entries.is_empty() => self.file(path),
            Ok(entries) => entries.iter().for_each(|entry| self.file(entry)),
            Err(cause) => self.unread(path, cause),
        }
    }

    fn file(&mut self, path: &Path) {
        let text = match text::read(path) {
            Read::Text(text) => text,
            Read::Beginning(text) => {
                self.unread(path, "is longer than 1 MiB: its beginning is read".to_owned());
                text
            }
            Read::Missing | Read::Directory => return,
            Read::Unread(cause) => return self.unread(path, cause),
        };
        self.told.files += 1;
        let found = lines_naming(&text, self.names);
        self.tell_all(path, found, None);
    }

    /// All that is found in a file; where it is one command of a unit, on its line.
    fn tell_all(&mut self, path: &Path, all: decode::Callers, line: Option<u32>) {
        let decode::Callers { found, left_out, is_cut, .. } = all;
        if is_cut {
            self.unread(path, "has more commands than are read: its beginning is read".to_owned());
        }
        if left_out > 0 {
            self.files.entry(text::shown(self.root, path)).or_default().left_out += left_out;
        }
        for caller in found {
            self.tell(path, Caller { line: line.unwrap_or(caller.line), ..caller });
        }
    }

    fn unread(&mut self, path: &Path, cause: String) {
        self.told.unread.push(Unread { file: text::shown(self.root, path), cause });
    }

    fn services(&mut self) {
        for name in self.units.services() {
            let unit = self.units.unit(&name);
            self.told.files += unit.files.len();
            let is_httpds = self.is_httpds(&name);
            for key in COMMANDS {
                for setting in unit.list(key) {
                    let path = unit.path(&setting).to_owned();
                    let found = self.commands(&setting.value, key, is_httpds);
                    self.tell_all(&path, found, Some(setting.line));
                }
            }
        }
    }

    /// httpd's own unit starts and stops it by right; its reload should be graceful.
    fn commands(&self, value: &[u8], key: &str, is_httpds: bool) -> decode::Callers {
        if !is_httpds {
            return lines_naming(value, self.names);
        }
        let mut own =
            if key == "ExecReload" { decode::own(value) } else { decode::Callers::default() };
        // What a unit reloads of itself is what its other commands do.
        let worst = own.found.iter().map(|it| it.verdict).max();
        own.found.retain(|it| Some(it.verdict) == worst);
        own.found.truncate(1);
        own.found.iter_mut().for_each(|it| it.reloads = None);
        own
    }

    fn is_httpds(&self, name: &str) -> bool {
        let base = name.split('@').next().unwrap_or(name);
        HTTPDS.contains(&base) || self.names.contains(&name) || self.names.contains(&base)
    }

    fn tell(&mut self, path: &Path, caller: Caller) {
        let Caller { line, verdict, command, reloads } = caller;
        let reload = reloads.as_deref().and_then(|unit| self.units.reload(unit)?.verdict);
        let really = reload.unwrap_or(verdict);
        let instead = match (really, reloads) {
            (Verdict::Graceful, _) => None,
            (Verdict::Hard | Verdict::Full | Verdict::Stop, Some(unit)) => {
                Some(format!("mend ExecReload of {unit}.service: {}", drop_in(&unit, None)))
            }
            (Verdict::Hard | Verdict::Full | Verdict::Stop, None) => Some(self.instead()),
        };
        let file = text::shown(self.root, path);
        if !self.seen.insert((file.clone(), line, command.clone())) {
            return;
        }
        let told = self.files.entry(file.clone()).or_default();
        let kept = if instead.is_none() { &mut told.graceful } else { &mut told.others };
        if *kept >= MOST {
            told.left_out += 1;
            return;
        }
        *kept += 1;
        self.told.found.push(Call { file, line, does: word(really), command, instead });
    }

    /// The graceful restart of this host.
    fn instead(&self) -> String {
        let mut names = self.names.iter().chain(&HTTPDS);
        let unit = names.find(|name| {
            let reload = self.units.reload(name);
            reload.is_some_and(|reload| reload.verdict == Some(Verdict::Graceful))
        });
        unit.map_or_else(
            || "apachectl graceful".to_owned(),
            |unit| format!("systemctl reload {unit}"),
        )
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Graceful => "graceful restart",
        Verdict::Hard => "hard restart",
        Verdict::Full => "full restart",
        Verdict::Stop => "stop",
    }
}

/// A command that makes a unit's reload graceful. Of the ways to it, `-k graceful` is the one that
/// checks the configuration first.
pub(super) fn drop_in(unit: &str, program: Option<&str>) -> String {
    let command = program.unwrap_or("/usr/sbin/apachectl graceful");
    let folder = format!("/etc/systemd/system/{unit}.service.d");
    format!(
        "mkdir -p {folder} && printf '[Service]\\nExecReload=\\nExecReload={command}\\n' > \
         {folder}/reload.conf && systemctl daemon-reload"
    )
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn put(root: &Path, path: &str, text: &str) -> PathBuf {
        let path = text::below(root, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    const DEBIAN: &str = "[Service]\nExecStart=/usr/sbin/apachectl start\n\
        ExecStop=/usr/sbin/apachectl graceful-stop\nExecReload=/usr/sbin/apachectl graceful\n";

    fn shown(callers: &Callers) -> Vec<String> {
        let found = callers.found.iter().filter(|call| !call.is_graceful());
        found.map(|it| format!("{}:{} {}", it.file, it.line, it.does)).collect()
    }

    #[test]
    fn every_place_of_a_host_is_looked_through() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path();
        put(root, "/lib/systemd/system/apache2.service", DEBIAN);
        for path in [
            "/etc/logrotate.d/web",
            "/etc/cron.d/web",
            "/etc/cron.daily/web",
            "/var/spool/cron/crontabs/root",
            "/etc/letsencrypt/renewal-hooks/deploy/web",
            "/etc/letsencrypt/renewal/x.conf",
            "/root/.acme.sh/x_ecc/x.conf",
            "/etc/dehydrated/hook.sh",
            "/etc/NetworkManager/dispatcher.d/web",
            "/etc/apt/apt.conf.d/99web",
            "/etc/monit/monitrc",
        ] {
            put(root, path, "# x\nhook = 'systemctl restart apache2'\n");
        }
        put(
            root,
            "/etc/logrotate.d/fine",
            "/a {\npostrotate\nsystemctl reload apache2\nendscript\n}\n",
        );
        put(
            root,
            "/usr/lib/systemd/system/renew.service",
            "[Service]\nExecStartPost=/bin/sh -c \\\n 'kill -HUP $(cat /run/apache2/apache2.pid)'\n",
        );
        let told = scan(root, &[]);
        assert_eq!(told.unread, []);
        let hard = shown(&told);
        assert_eq!(hard.len(), 12, "{hard:#?}");
        assert!(hard.contains(&"/etc/cron.d/web:2 full restart".to_owned()), "{hard:#?}");
        assert!(hard.contains(&"/root/.acme.sh/x_ecc/x.conf:2 full restart".to_owned()));
        assert!(hard.contains(&"/usr/lib/systemd/system/renew.service:2 hard restart".to_owned()));
        // That of logrotate, and the unit's own.
        assert_eq!(told.found.iter().filter(|it| it.is_graceful()).count(), 2);
        let instead = told.found.iter().find_map(|call| call.instead.clone());
        assert_eq!(instead.as_deref(), Some("systemctl reload apache2"));
    }

    #[test]
    fn a_reload_is_as_hard_as_its_unit_makes_it() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path();
        put(root, "/lib/systemd/system/apache2.service", DEBIAN);
        put(
            root,
            "/etc/logrotate.d/apache2",
            "postrotate\ninvoke-rc.d apache2 reload\nendscript\n",
        );
        assert_eq!(shown(&scan(root, &[])), [""; 0]);
        let text = "[Service]\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID\n";
        put(root, "/etc/systemd/system/apache2.service.d/hard.conf", text);
        let told = scan(root, &[]);
        assert_eq!(
            shown(&told),
            [
                "/etc/logrotate.d/apache2:2 hard restart",
                "/etc/systemd/system/apache2.service.d/hard.conf:3 hard restart"
            ]
        );
        assert!(told.found[0].instead.as_ref().unwrap().contains("printf '[Service]"));
    }

    #[test]
    fn what_cannot_be_read_is_said_and_never_waited_for() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path();
        let fifo = put(root, "/etc/cron.d/fifo", "");
        fs::remove_file(&fifo).unwrap();
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        put(root, "/etc/cron.d/program", "\u{7f}ELF\0apache systemctl restart apache2");
        let long = "service apache2 restart\n".to_owned() + &"#\n".repeat(1 << 20);
        put(root, "/etc/cron.daily/long", &long);
        let told = scan(root, &[]);
        let unread: Vec<_> =
            told.unread.iter().map(|it| format!("{} {}", it.file, it.cause)).collect();
        assert_eq!(
            unread,
            [
                "/etc/cron.d/fifo is no regular file",
                "/etc/cron.d/program is a program",
                "/etc/cron.daily/long is longer than 1 MiB: its beginning is read"
            ]
        );
        assert_eq!(shown(&told), ["/etc/cron.daily/long:1 full restart"]);
    }

    #[test]
    fn what_is_left_out_of_a_file_is_said_and_other_files_are_told() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path();
        put(root, "/etc/cron.d/many", &"systemctl restart apache2\n".repeat(MOST + 5));
        put(root, "/etc/monitrc", "exec \"/usr/sbin/apachectl restart\"\n");
        let told = scan(root, &[]);
        assert_eq!(told.found.len(), MOST + 1);
        assert!(shown(&told).contains(&"/etc/monitrc:1 hard restart".to_owned()));
        let left = LeftOut { file: "/etc/cron.d/many".to_owned(), commands: 5 };
        assert_eq!(told.left_out, [left]);
        put(root, "/etc/cron.d/many", &("x\n".repeat(30_000) + "service apache2 restart\n"));
        let cause = "has more commands than are read: its beginning is read".to_owned();
        let unread = Unread { file: "/etc/cron.d/many".to_owned(), cause };
        assert_eq!(scan(root, &[]).unread, [unread]);
    }

    #[test]
    fn what_stands_beside_a_command_is_nobodys_business() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path();
        let line = "5 4 * * * root PASSWORD=hunter2 curl -u a:sekret https://x; A=hunter2 \
                    systemctl restart apache2 # sekret\n";
        put(root, "/etc/cron.d/web", line);
        let unit =
            "[Service]\nExecReload=/bin/sh -c 'curl -u a:sekret https://x; kill -HUP $MAINPID'\n";
        put(root, "/etc/systemd/system/apache2.service", unit);
        let told = scan(root, &[]);
        let commands: Vec<_> = told.found.iter().map(|it| it.command.as_str()).collect();
        assert_eq!(commands, ["systemctl restart apache2", "kill -HUP $MAINPID"]);
        let reload = Units::new(root).reload("apache2").unwrap();
        assert_eq!(reload.commands, ["/etc/systemd/system/apache2.service:2: kill -HUP $MAINPID"]);
    }

    #[test]
    fn an_empty_host_calls_nobody() {
        let host = tempfile::tempdir().unwrap();
        assert_eq!(scan(host.path(), &["shop"]), Callers::default());
    }
}
