//! Which main configuration an httpd reads, and what that says, without running httpd.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::regular_file;
use crate::decode::{
    command_line::CommandLine,
    main_configuration::{self as decode, MainConfiguration},
};

/// As much of a configuration as is searched.
const LONGEST: u64 = 1 << 20;

/// Roots that distributions compile in, with the main configuration's path below them.
const COMPILED_IN: [(&str, &str); 6] = [
    // Debian; SUSE, Alpine, Gentoo; Red Hat, Arch; the container image and httpd's own default.
    ("/etc/apache2", "apache2.conf"),
    ("/etc/apache2", "httpd.conf"),
    ("/etc/httpd", "conf/httpd.conf"),
    ("/usr/local/apache2", "conf/httpd.conf"),
    ("/opt/bitnami/apache", "conf/httpd.conf"),
    ("/opt/bitnami/apache2", "conf/httpd.conf"),
];

/// Where the main configuration of a command line lies, if that can be told.
#[must_use]
pub fn path(line: &CommandLine) -> Option<PathBuf> {
    let told = line.configuration.as_deref();
    if let Some(path) = told.filter(|path| path.is_absolute()) {
        return Some(plain(path));
    }
    if let Some(root) = line.root.as_deref() {
        // A relative root is below a working directory that only a privileged look would tell.
        let root = Some(root).filter(|root| root.is_absolute())?;
        return below(root, told, &line.program);
    }
    let own = root_of_program(&line.program).map(|root| (root, "conf/httpd.conf"));
    let mut compiled = COMPILED_IN.map(|(root, usual)| (Path::new(root), usual));
    // Both families may be there; a program's name tells its own.
    let family = if is_debian(&line.program) { "/etc/apache2" } else { "/etc/httpd" };
    compiled.sort_by_key(|(root, _)| *root != Path::new(family));
    own.into_iter()
        .chain(compiled)
        .map(|(root, usual)| plain(&root.join(told.unwrap_or(Path::new(usual)))))
        .find(|path| may_exist(path))
}

/// Reads it. An error is one of its text files' first; a FIFO in its place says nothing.
pub fn read(path: &Path) -> io::Result<MainConfiguration> {
    let read = regular_file::read(path, LONGEST)?;
    Ok(read.map(|(text, _)| decode::main_configuration(&text)).unwrap_or_default())
}

/// The port of its first `Listen`, or of that of a file that it includes, as Debian's does.
#[must_use]
pub fn first_port(path: &Path) -> Option<u16> {
    let main = read(path).ok()?;
    let root = main.root.clone().or_else(|| root_of(path));
    let mut included = main.includes.iter().filter_map(|include| {
        let included = read(&root.as_deref()?.join(include)).ok()?;
        included.ports.first().copied()
    });
    main.ports.first().copied().or_else(|| included.next())
}

/// The root that a main configuration lies below.
#[must_use]
pub fn root_of(configuration: &Path) -> Option<PathBuf> {
    let directory = configuration.parent()?;
    let root = if directory.ends_with("conf") { directory.parent()? } else { directory };
    Some(root.to_owned())
}

fn below(root: &Path, told: Option<&Path>, program: &Path) -> Option<PathBuf> {
    if let Some(told) = told {
        return Some(plain(&root.join(told)));
    }
    let mut usual = ["conf/httpd.conf", "apache2.conf", "httpd.conf"].map(|path| root.join(path));
    if is_debian(program) {
        usual.swap(0, 1);
    }
    // What cannot be seen may be there: then it is the program's own.
    let first = usual.first().cloned();
    usual.into_iter().find(|path| may_exist(path)).or(first).map(|path| plain(&path))
}

/// `/ROOT/bin/httpd`, as a build of one's own has it.
fn root_of_program(program: &Path) -> Option<&Path> {
    let directory = program.parent().filter(|_| program.is_absolute())?;
    let binaries = directory.ends_with("bin") || directory.ends_with("sbin");
    directory.parent().filter(|_| binaries)
}

fn is_debian(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"apache2"))
}

fn may_exist(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

/// Without `//` and `/./`, so that the same path is the same.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(program: &str, root: Option<&Path>, configuration: Option<&str>) -> CommandLine {
        CommandLine {
            program: program.into(),
            root: root.map(Path::to_owned),
            configuration: configuration.map(PathBuf::from),
            ..CommandLine::default()
        }
    }

    #[test]
    fn a_configuration_lies_below_the_root_that_was_told() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let at = |name: &str| Some(root.join(name));
        assert_eq!(path(&line("httpd", Some(root), None)), at("conf/httpd.conf"));
        assert_eq!(path(&line("apache2", Some(root), None)), at("apache2.conf"));
        fs::write(root.join("httpd.conf"), "").unwrap();
        assert_eq!(path(&line("apache2", Some(root), None)), at("httpd.conf"));
        assert_eq!(path(&line("httpd", Some(root), Some("./x//y.conf"))), at("x/y.conf"));
        let told = line("httpd", Some(root), Some("/nowhere//x.conf"));
        assert_eq!(path(&told), Some("/nowhere/x.conf".into()));
        assert_eq!(path(&line("httpd", Some(Path::new("here")), None)), None);
    }

    #[test]
    fn a_program_of_its_own_root_reads_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("conf")).unwrap();
        fs::write(root.path().join("conf/httpd.conf"), "").unwrap();
        let program = root.path().join("bin/httpd");
        let found = path(&line(program.to_str().unwrap(), None, None));
        assert_eq!(found, Some(root.path().join("conf/httpd.conf")));
    }

    #[test]
    fn the_first_port_may_be_in_an_included_file() {
        let root = tempfile::tempdir().unwrap();
        let main = root.path().join("apache2.conf");
        fs::write(&main, "Include gone.conf\nInclude ports.conf\n").unwrap();
        assert_eq!(first_port(&main), None);
        fs::write(root.path().join("ports.conf"), "Listen 8080\nListen 8443\n").unwrap();
        assert_eq!(first_port(&main), Some(8080));
        fs::write(&main, "Listen 81\nInclude ports.conf\n").unwrap();
        assert_eq!(first_port(&main), Some(81));
    }
}
