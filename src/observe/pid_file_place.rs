//! Where a parent's pid file lies, and whether a pid file is that parent's.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{discovery::Found, main_configuration, pid_file};
use crate::decode::main_configuration::MainConfiguration;

/// Pid files that distributions compile in or configure, and the configurations that go with them.
const USUAL: [(&str, &str); 10] = [
    ("/etc/apache2", "/run/apache2/apache2.pid"),
    ("/etc/apache2", "/run/apache2/httpd.pid"),
    ("/etc/apache2", "/run/httpd.pid"),
    ("/etc/apache2", "/run/apache2.pid"),
    ("/etc/httpd", "/run/httpd/httpd.pid"),
    ("/etc/httpd", "/run/httpd.pid"),
    ("/usr/local/apache2", "/usr/local/apache2/logs/httpd.pid"),
    ("/usr/local/apache2", "/run/httpd.pid"),
    ("/opt/bitnami/apache", "/opt/bitnami/apache/var/run/httpd.pid"),
    ("/opt/bitnami/apache2", "/opt/bitnami/apache2/logs/httpd.pid"),
];
/// What a build of one's own has below its root.
const BELOW_ROOT: [&str; 4] = ["run/httpd.pid", "logs/httpd.pid", "var/run/httpd.pid", "httpd.pid"];

/// The parent's pid file, if one that is told or usual names the parent.
#[must_use]
pub fn find(found: &Found) -> Option<PathBuf> {
    let everywhere = USUAL.iter().map(|(_, path)| PathBuf::from(path));
    places(found)
        .into_iter()
        .chain(everywhere)
        .find(|path| pid_file::read(path).is_ok_and(|file| file.pid == found.id.pid))
}

/// Whether the parent, by its command line or configuration, writes the pid file at `path`.
#[must_use]
pub fn is_of(path: &Path, found: &Found) -> bool {
    places(found).iter().any(|place| is_same(place, path))
}

/// What is told decides; what is usual for this configuration is believed where nothing is told.
fn places(found: &Found) -> Vec<PathBuf> {
    let path = found.signature.configuration.as_deref();
    let read = path.map(main_configuration::read).transpose();
    let configuration = read.as_ref().ok().cloned().flatten().unwrap_or_default();
    let told = told(found, &configuration);
    if !told.is_empty() {
        return told;
    }
    path.map(usual).unwrap_or_default()
}

fn told(found: &Found, configuration: &MainConfiguration) -> Vec<PathBuf> {
    let path = found.signature.configuration.as_deref();
    let root = configuration.root.clone().or_else(|| found.line.root.clone());
    let root = root.or_else(|| path.and_then(main_configuration::root_of));
    let root = root.unwrap_or_else(|| "/".into());
    let line = found.line.pid_file.as_ref();
    // The command line's last word is httpd's too.
    let told = line.map_or(configuration.pid_files.as_slice(), std::slice::from_ref);
    told.iter().map(|path| root.join(path)).collect()
}

fn usual(configuration: &Path) -> Vec<PathBuf> {
    let of_distributions = USUAL.iter().filter(|(root, _)| configuration.starts_with(root));
    let mut places: Vec<PathBuf> = of_distributions.map(|(_, path)| PathBuf::from(path)).collect();
    places.extend(of_instance(configuration));
    if let Some(root) = main_configuration::root_of(configuration) {
        places.extend(BELOW_ROOT.map(|path| root.join(path)));
    }
    places
}

/// Debian's `/etc/apache2-NAME` has `/run/apache2-NAME`, Red Hat's `httpd@NAME` reads
/// `conf/NAME.conf` and has `/run/httpd/instance-NAME.pid`.
fn of_instance(configuration: &Path) -> Option<PathBuf> {
    let root = main_configuration::root_of(configuration)?;
    let name = root.strip_prefix("/etc").ok()?.to_str()?;
    if name.starts_with("apache2-") {
        return Some(format!("/run/{name}/apache2.pid").into());
    }
    let instance = configuration.file_stem()?.to_str()?;
    (name == "httpd").then(|| format!("/run/httpd/instance-{instance}.pid").into())
}

/// `/var/run` is `/run`, and `/etc/httpd/run` is `/run/httpd`: links are followed as far as they
/// can be seen.
fn is_same(place: &Path, path: &Path) -> bool {
    let real = |path: &Path| -> io::Result<PathBuf> {
        let directory = fs::canonicalize(path.parent().unwrap_or(Path::new("/")))?;
        Ok(fs::canonicalize(path).unwrap_or(directory.join(path.file_name().unwrap_or_default())))
    };
    place == path || matches!((real(place), real(path)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{
        decode::command_line::CommandLine,
        model::{
            process::{Pid, ProcessId},
            time::Uptime,
        },
        observe::discovery::Signature,
    };

    fn found(configuration: &Path, pid_file: Option<&str>) -> Found {
        let line = CommandLine { pid_file: pid_file.map(PathBuf::from), ..CommandLine::default() };
        let id = ProcessId { pid: Pid::new(4711).unwrap(), started: Uptime::default() };
        let configuration = Some(configuration.to_owned());
        let signature = Signature { program: "httpd".into(), configuration, owner: 0 };
        Found { id, signature, line }
    }

    #[test]
    fn an_instance_has_a_pid_file_of_its_own() {
        let usual = |path: &str| usual(Path::new(path));
        assert!(
            usual("/etc/apache2-two/apache2.conf").contains(&"/run/apache2-two/apache2.pid".into())
        );
        assert!(usual("/etc/httpd/conf/two.conf").contains(&"/run/httpd/instance-two.pid".into()));
        assert!(usual("/etc/httpd/conf/httpd.conf").contains(&"/run/httpd/httpd.pid".into()));
        assert!(usual("/srv/w/conf/httpd.conf").contains(&"/srv/w/logs/httpd.pid".into()));
        assert!(!usual("/srv/w/conf/httpd.conf").contains(&"/run/httpd/httpd.pid".into()));
    }

    #[test]
    fn what_the_configuration_tells_decides() {
        let root = tempfile::tempdir().unwrap();
        let main = root.path().join("httpd.conf");
        let at = |name: &str| root.path().join(name);
        assert!(is_of(&at("logs/httpd.pid"), &found(&main, None)), "usual");
        fs::write(&main, "PidFile my.pid\n").unwrap();
        assert!(!is_of(&at("logs/httpd.pid"), &found(&main, None)));
        assert!(is_of(&at("my.pid"), &found(&main, None)));
        symlink(root.path(), at("link")).unwrap();
        assert!(is_of(&at("link/my.pid"), &found(&main, None)), "another way to it");
        assert!(!is_of(&at("my.pid"), &found(&main, Some("/run/x.pid"))));
        assert_eq!(find(&found(&main, None)), None);
        fs::write(at("my.pid"), "4711\n").unwrap();
        assert_eq!(find(&found(&main, None)), Some(at("my.pid")));
    }
}
