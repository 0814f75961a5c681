//! Finds the httpd that is installed here: its program, its modules, its MPM, its user.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::DemoError;

/// Debian's, Red Hat's; then what `PATH` has; then httpd's own place.
const PROGRAMS: [&str; 2] = ["usr/sbin/apache2", "usr/sbin/httpd"];
const NAMES_IN_PATH: [&str; 2] = ["apache2", "httpd"];
const OWN_PLACE: &str = "usr/local/apache2/bin/httpd";
const MODULES: [&str; 4] = [
    "usr/lib/apache2/modules",
    "usr/lib64/httpd/modules",
    "etc/httpd/modules",
    "usr/local/apache2/modules",
];
/// The best first.
const MPMS: [&str; 3] = ["event", "worker", "prefork"];
/// Debian's, Red Hat's, httpd's own default, and whom every Linux has.
const USERS: [&str; 4] = ["www-data", "apache", "daemon", "nobody"];

/// An httpd that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The program.
    pub program: PathBuf,
    /// Where its modules are.
    pub modules: PathBuf,
    /// Its MPM; `None` if that is no module but compiled in.
    pub mpm: Option<&'static str>,
}

/// Whom the children of root's httpd belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: &'static str,
    /// The group's number.
    pub group: u32,
}

impl Installation {
    /// Finds it.
    pub fn find() -> Result<Self, DemoError> {
        Self::find_below(Path::new("/"), env::var_os("PATH").as_deref())
    }

    fn find_below(root: &Path, path: Option<&OsStr>) -> Result<Self, DemoError> {
        let in_path = env::split_paths(path.unwrap_or_default())
            .flat_map(|folder| NAMES_IN_PATH.map(|name| folder.join(name)));
        let mut programs = PROGRAMS.map(|program| root.join(program)).into_iter();
        let mut programs = programs.by_ref().chain(in_path).chain([root.join(OWN_PLACE)]);
        let Some(program) = programs.find(|program| is_program(program)) else {
            let missing = format!(
                "no httpd is installed: there is no {}, no {}, no apache2 or httpd in PATH",
                PROGRAMS.map(|program| root.join(program).display().to_string()).join(", no "),
                root.join(OWN_PLACE).display(),
            );
            let remedy = "on Debian `apt-get install apache2-bin` brings one, on Red Hat \
                          `dnf install httpd`";
            return Err(DemoError::NotInstalled { missing, remedy });
        };
        // As `make install` lays it out: bin/httpd and modules/ side by side.
        let beside = program.parent().and_then(Path::parent).map(|top| top.join("modules"));
        let mut folders = beside.into_iter().chain(MODULES.map(|folder| root.join(folder)));
        let Some(modules) = folders.find(|folder| folder.join("mod_authz_core.so").exists()) else {
            let missing = format!(
                "{} has no modules: mod_authz_core.so is in none of {}",
                program.display(),
                MODULES.map(|folder| root.join(folder).display().to_string()).join(", "),
            );
            let remedy = "its package brings them, apache2-bin on Debian, httpd-core on Red Hat";
            return Err(DemoError::NotInstalled { missing, remedy });
        };
        let is_there = |mpm: &&str| modules.join(format!("mod_mpm_{mpm}.so")).exists();
        let mpm = MPMS.into_iter().find(is_there);
        Ok(Self { program, modules, mpm })
    }
}

impl User {
    /// The first of the usual ones that this host has.
    pub fn find() -> Result<Self, DemoError> {
        let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::find_in(&table).ok_or_else(|| DemoError::NotInstalled {
            missing: format!("/etc/passwd has no user {}", USERS.join(", ")),
            remedy: "root's httpd needs one of them for its children",
        })
    }

    fn find_in(table: &str) -> Option<Self> {
        USERS.into_iter().find_map(|name| {
            let mut lines = table.lines();
            let fields = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            // name:password:uid:gid:...
            let group = fields.split(':').nth(2)?.parse().ok()?;
            Some(Self { name, group })
        })
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn complaint(found: Result<Installation, DemoError>) -> String {
        found.unwrap_err().to_string()
    }

    #[test]
    fn where_nothing_is_installed_it_says_what_is_missing_and_how_to_get_it() {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("usr/sbin/apache2");
        let said = complaint(Installation::find_below(root.path(), None));
        assert!(said.contains(&program.display().to_string()), "{said}");
        assert!(said.contains("apt-get install apache2-bin"), "{said}");
        touch(&program, 0o644);
        assert_eq!(complaint(Installation::find_below(root.path(), None)), said);
        touch(&program, 0o755);
        let said = complaint(Installation::find_below(root.path(), None));
        assert!(said.starts_with(&format!("{} has no modules", program.display())), "{said}");
    }

    #[test]
    fn the_best_mpm_that_is_there_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let modules = root.path().join("usr/lib64/httpd/modules");
        touch(&root.path().join("opt/sbin/httpd"), 0o755);
        touch(&modules.join("mod_authz_core.so"), 0o644);
        let path = root.path().join("opt/sbin").into_os_string();
        let mpm = || {
            let found = Installation::find_below(root.path(), Some(&path)).unwrap();
            assert_eq!(found.modules, modules);
            found.mpm
        };
        assert_eq!(mpm(), None);
        touch(&modules.join("mod_mpm_prefork.so"), 0o644);
        assert_eq!(mpm(), Some("prefork"));
        touch(&modules.join("mod_mpm_event.so"), 0o644);
        assert_eq!(mpm(), Some("event"));
    }

    #[test]
    fn the_user_is_a_whole_name_of_the_table() {
        let table = "root:x:0:0::/root:/bin/sh\nwww-data2:x:7:8::/:\nnobody:x:65534:65533::/:\n";
        assert_eq!(User::find_in(table), Some(User { name: "nobody", group: 65533 }));
        assert_eq!(User::find_in("root:x:0:0::/root:/bin/sh\n"), None);
    }
}
