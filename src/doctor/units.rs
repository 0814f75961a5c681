//! The service manager's units, with their drop-ins, as its files have them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::text;
use crate::decode::{
    callers::{self, Verdict},
    error_log::escaped,
    unit_file::{self, Setting},
};

/// Where units are looked for: what comes first hides what comes later.
const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// What is shown of a command, in bytes.
const LONGEST: usize = 300;

/// The units of one host.
#[derive(Clone, Debug)]
pub struct Units {
    root: PathBuf,
}

/// A unit and its drop-ins, in the order in which they count.
#[derive(Clone, Debug, Default)]
pub(super) struct Unit {
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
}

/// What a unit's reload does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Its commands, each as `FILE:LINE: COMMAND`.
    pub commands: Vec<String>,
    /// What they do together; `None`: it is not understood, or there are none.
    pub verdict: Option<Verdict>,
}

impl Units {
    /// The units of the host below this root, usually `/`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What `systemctl reload` of a unit does, by its name without `.service`; `None` if no file of
    /// it can be read.
    #[must_use]
    pub fn reload(&self, name: &str) -> Option<Reload> {
        let unit = self.unit(name);
        if unit.files.is_empty() {
            return None;
        }
        let list = unit.list("ExecReload");
        let verdict = callers::reload(list.iter().map(|it| it.value.as_slice()));
        let commands = list.iter().map(|it| {
            // What a script does beside may be secret.
            let own = callers::own(&it.value).found.into_iter().max_by_key(|own| own.verdict);
            let command = own.map_or_else(|| escaped(&it.value, LONGEST), |own| own.command);
            format!("{}:{}: {command}", self.shown(unit.path(it)), it.line)
        });
        Some(Reload { commands: commands.collect(), verdict })
    }

    /// The names of all services, without `.service`, one of each file.
    pub(super) fn services(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        for folder in FOLDERS {
            for path in text::entries(&self.below(folder)).unwrap_or_default() {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let name = name.strip_suffix(".d").unwrap_or(name);
                names.extend(name.strip_suffix(".service").map(str::to_owned));
            }
        }
        // An alias is a link to a unit of another name; an instance has its template's file too.
        let mut seen = BTreeSet::new();
        let is_first = |name: &String| {
            let own = format!("{name}.service");
            let file = self.fragment(name).filter(|path| path.ends_with(&own));
            let file = file.and_then(|path| fs::canonicalize(path).ok());
            file.is_none_or(|file| seen.insert(file))
        };
        names.into_iter().filter(is_first).collect()
    }

    /// A unit by its name, without `.service`.
    pub(super) fn unit(&self, name: &str) -> Unit {
        let fragment = self.fragment(name);
        let fragment = fragment.and_then(|path| text::text(&path).map(|text| (path, text)));
        // By name: what the first folder has hides what later ones have.
        let mut drop_ins: BTreeMap<_, PathBuf> = BTreeMap::new();
        for folder in FOLDERS {
            for of in names(name) {
                let folder = self.below(folder).join(format!("{of}.service.d"));
                for path in text::entries(&folder).unwrap_or_default() {
                    let is_drop_in = path.extension().is_some_and(|it| it == "conf");
                    if let Some(name) = path.file_name().filter(|_| is_drop_in) {
                        drop_ins.entry(name.to_owned()).or_insert(path);
                    }
                }
            }
        }
        let read = |path: PathBuf| text::text(&path).map(|text| (path, text));
        Unit {
            files: fragment.into_iter().chain(drop_ins.into_values().filter_map(read)).collect(),
        }
    }

    /// Whether a unit has a file of its own.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.fragment(name).is_some()
    }

    /// A path as the host has it.
    pub(super) fn shown(&self, path: &Path) -> String {
        text::shown(&self.root, path)
    }

    fn fragment(&self, name: &str) -> Option<PathBuf> {
        let files = names(name).flat_map(|of| {
            FOLDERS.iter().map(move |folder| self.below(folder).join(format!("{of}.service")))
        });
        files.into_iter().find(|path| path.exists())
    }

    fn below(&self, path: &str) -> PathBuf {
        text::below(&self.root, path)
    }
}

impl Unit {
    /// What a list of its section `[Service]` has in the end.
    pub(super) fn list(&self, key: &str) -> Vec<Setting> {
        let texts: Vec<&[u8]> = self.files.iter().map(|(_, text)| text.as_slice()).collect();
        unit_file::list(&texts, "Service", key)
    }

    /// The file of one of its settings.
    pub(super) fn path(&self, setting: &Setting) -> &Path {
        self.files.get(setting.text).map_or(Path::new(""), |(path, _)| path)
    }
}

/// The unit itself, and the template that it is made from.
fn names(name: &str) -> impl Iterator<Item = String> {
    let template = name.split_once('@').filter(|(_, instance)| !instance.is_empty());
    let template = template.map(|(base, _)| format!("{base}@"));
    [Some(name.to_owned()), template].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host(tempfile::TempDir);

    impl Host {
        fn with(files: &[(&str, &str)]) -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            for (path, text) in files {
                let path = text::below(host.0.path(), path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            host
        }

        fn units(&self) -> Units {
            Units::new(self.0.path())
        }
    }

    const DEBIAN: &str = "[Service]\nType=forking\nExecStart=/usr/sbin/apachectl start\n\
        ExecStop=/usr/sbin/apachectl graceful-stop\nExecReload=/usr/sbin/apachectl graceful\n";

    #[test]
    fn a_reload_is_what_the_unit_and_its_drop_ins_make_of_it() {
        let host = Host::with(&[("/lib/systemd/system/apache2.service", DEBIAN)]);
        let reload = host.units().reload("apache2").unwrap();
        assert_eq!(reload.verdict, Some(Verdict::Graceful));
        let said = "/lib/systemd/system/apache2.service:5: /usr/sbin/apachectl graceful";
        assert_eq!(reload.commands, [said]);
        let host = Host::with(&[
            ("/lib/systemd/system/apache2.service", DEBIAN),
            (
                "/etc/systemd/system/apache2.service.d/a.conf",
                "[Service]\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID\n",
            ),
            ("/run/systemd/system/apache2.service.d/a.conf", "[Service]\nExecReload=/x\n"),
            ("/etc/systemd/system/apache2.service.d/a.conf~", "[Service]\nExecReload=\n"),
        ]);
        let reload = host.units().reload("apache2").unwrap();
        assert_eq!(reload.verdict, Some(Verdict::Hard));
        assert_eq!(
            reload.commands,
            ["/etc/systemd/system/apache2.service.d/a.conf:3: /bin/kill -HUP $MAINPID"]
        );
    }

    #[test]
    fn an_instance_has_its_templates_file() {
        let unit = "[Service]\nExecReload=/bin/kill -USR1 $MAINPID\n";
        let host = Host::with(&[
            ("/usr/lib/systemd/system/httpd@.service", unit),
            ("/etc/systemd/system/httpd@two.service.d/x.conf", "[Service]\nExecReload=/y\n"),
        ]);
        assert_eq!(host.units().reload("httpd@two").unwrap().commands.len(), 2);
        assert!(host.units().reload("httpd").is_none());
        assert_eq!(host.units().services(), ["httpd@", "httpd@two"]);
    }

    #[test]
    fn an_alias_is_told_once() {
        let host = Host::with(&[("/lib/systemd/system/apache2.service", DEBIAN)]);
        let folder = text::below(host.0.path(), "/etc/systemd/system");
        fs::create_dir_all(&folder).unwrap();
        let to = text::below(host.0.path(), "/lib/systemd/system/apache2.service");
        std::os::unix::fs::symlink(to, folder.join("httpd.service")).unwrap();
        assert_eq!(host.units().services(), ["apache2"]);
    }
}
