//! Everything that httpd would read and load when it is asked, looked at before it is run.
//!
//! To read a configuration is to run what it loads: a module's constructors run while httpd prints
//! its includes. So the files are followed as text first, and nobody but root and gracekeeper's
//! own user may be able to change one of them, a module, or a directory in which one is looked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use super::{AskError, settings::values, surroundings::Variables};
use crate::{
    clock,
    decode::{
        command_line::CommandLine,
        directives::loads::{Given, Reached, Text, loads},
    },
    observe::{
        files::wildcard::{matches, wildcard},
        main_configuration, regular_file,
    },
    trusted_path::{Distrust, is_exposed, trusted_directory, trusted_way},
};

/// As many as are followed of what httpd tells.
const MOST_FILES: usize = 50_000;
/// A configuration that is larger is not followed.
const LARGEST: u64 = 16 * 1024 * 1024;
/// httpd's own limit of directories in each other, `AP_MAX_INCLUDE_DIR_DEPTH`.
const DEEPEST: usize = 20;
/// 20 000 small files take a third of it.
const MOST_WORK: Duration = Duration::from_secs(1);

/// Nobody but root and `own`, a uid, can change what httpd would read or load with these arguments.
/// What cannot be looked at with one's own rights, httpd cannot read either: it has the same.
pub(super) fn check(
    line: &CommandLine,
    arguments: &[OsString],
    environment: &Variables,
    own: u32,
) -> Result<(), AskError> {
    let main = main_configuration::path(line);
    // httpd's own root does not depend on which file `-f` names.
    let usual = CommandLine { configuration: None, ..line.clone() };
    let built_in = || main_configuration::root_of(&main_configuration::path(&usual)?);
    let bytes = |text: &OsString| text.as_bytes().to_owned();
    let given = Given {
        root: line.root.clone().or_else(built_in),
        defined: values(arguments, "-D").collect(),
        before: values(arguments, "-C").collect(),
        after: values(arguments, "-c").collect(),
        // The first of a name counts.
        environment: environment
            .iter()
            .rev()
            .map(|(it, value)| (bytes(it), bytes(value)))
            .collect(),
    };
    loads(&given, main.as_deref(), &mut Tree::new(own))
}

struct Tree {
    own: u32,
    included: BTreeMap<PathBuf, Rc<[Text]>>,
    loaded: BTreeSet<PathBuf>,
    /// Directories that may be looked through, by their names.
    directories: BTreeMap<PathBuf, PathBuf>,
    files: usize,
    bytes_left: u64,
    began: Duration,
}

impl Reached for Tree {
    type Error = AskError;

    fn include(&mut self, pattern: &Path) -> Result<Rc<[Text]>, AskError> {
        if let Some(known) = self.included.get(pattern) {
            return Ok(Rc::clone(known));
        }
        let names: Vec<&OsStr> = pattern
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name),
                Component::Prefix(_)
                | Component::RootDir
                | Component::CurDir
                | Component::ParentDir => None,
            })
            .collect();
        let mut texts = Vec::new();
        self.descend("/".into(), &names, &mut texts)?;
        let texts: Rc<[Text]> = texts.into();
        self.included.insert(pattern.to_owned(), Rc::clone(&texts));
        Ok(texts)
    }

    fn load(&mut self, file: &Path) -> Result<(), AskError> {
        if self.loaded.insert(file.to_owned()) {
            self.count()?;
            self.way(file)?;
        }
        Ok(())
    }

    fn unknown(&mut self, argument: &[u8]) -> Result<(), AskError> {
        if self.own != 0 {
            return Ok(());
        }
        let argument = String::from_utf8_lossy(argument);
        Err(AskError::Unchecked { what: format!("where {argument} leads is not known") })
    }

    fn too_much(&mut self, what: &'static str) -> AskError {
        AskError::Unchecked { what: what.to_owned() }
    }

    fn step(&mut self) -> Result<(), AskError> {
        let worked = clock::work_of_this_thread().saturating_sub(self.began);
        if worked > MOST_WORK {
            return Err(self.too_much("to look at all of it takes more than a second"));
        }
        Ok(())
    }
}

impl Tree {
    fn new(own: u32) -> Self {
        Self {
            own,
            included: BTreeMap::new(),
            loaded: BTreeSet::new(),
            directories: BTreeMap::new(),
            files: 0,
            bytes_left: LARGEST,
            began: clock::work_of_this_thread(),
        }
    }

    /// `names`, which may have wildcards, follow the path.
    fn descend(
        &mut self,
        mut path: PathBuf,
        names: &[&OsStr],
        texts: &mut Vec<Text>,
    ) -> Result<(), AskError> {
        let mut rest = names.iter();
        while let Some(name) = rest.next() {
            let Some(pattern) = wildcard(name) else {
                path.push(name);
                continue;
            };
            for entry in self.entries(&path)? {
                if matches(&pattern, &entry) {
                    self.descend(path.join(entry), rest.as_slice(), texts)?;
                }
            }
            return Ok(());
        }
        self.take(path, 0, texts)
    }

    /// The file, or all files below the directory, hidden ones too.
    fn take(&mut self, path: PathBuf, depth: usize, texts: &mut Vec<Text>) -> Result<(), AskError> {
        self.step()?;
        let Some(reached) = self.way(&path)? else { return Ok(()) };
        if reached.is_dir() {
            if depth >= DEEPEST {
                return Err(self.too_much("its directories are within each other too deep"));
            }
            for entry in self.entries(&path)? {
                self.take(path.join(entry), depth + 1, texts)?;
            }
            return Ok(());
        }
        self.count()?;
        let Ok(Some((bytes, _))) = regular_file::read(&reached, self.bytes_left) else {
            return Ok(());
        };
        let length = bytes.len().try_into().unwrap_or(u64::MAX);
        self.bytes_left = self.bytes_left.saturating_sub(length);
        if self.bytes_left == 0 {
            // What fills it may be the beginning of more.
            return Err(self.too_much("it has more than 16 MiB"));
        }
        texts.push(Text { path, bytes });
        Ok(())
    }

    fn count(&mut self) -> Result<(), AskError> {
        self.files += 1;
        let is_too_much = self.files > MOST_FILES;
        if is_too_much { Err(self.too_much("it has more than 50000 files")) } else { Ok(()) }
    }

    /// What lies in a directory, in httpd's order; nobody else may add to it.
    fn entries(&mut self, path: &Path) -> Result<Vec<OsString>, AskError> {
        let Some(reached) = self.way(path)? else { return Ok(Vec::new()) };
        if !reached.is_dir() {
            return Ok(Vec::new());
        }
        let reached = trusted_directory(&reached, self.own).map_err(AskError::Distrusted)?;
        let mut names = Vec::new();
        // One that is closed is closed to httpd too.
        for entry in fs::read_dir(&reached).into_iter().flatten().flatten() {
            self.step()?;
            names.push(entry.file_name());
        }
        names.sort();
        self.directories.insert(path.to_owned(), reached);
        Ok(names)
    }

    /// Where a path leads, over no link; `None` if there is nothing, and nobody else may put
    /// something there.
    fn way(&self, path: &Path) -> Result<Option<PathBuf>, AskError> {
        let known = path.parent().and_then(|above| self.directories.get(above));
        if let (Some(above), Some(name)) = (known, path.file_name()) {
            let reached = above.join(name);
            let is_good = |it: fs::Metadata| !it.is_symlink() && !is_exposed(&it, self.own);
            if fs::symlink_metadata(&reached).is_ok_and(is_good) {
                return Ok(Some(reached));
            }
        }
        match trusted_way(path, self.own) {
            Ok(reached) => Ok(Some(reached)),
            Err(Distrust::Unseen { path, source }) if source.kind() == io::ErrorKind::NotFound => {
                let above = path.parent().unwrap_or(Path::new("/"));
                trusted_directory(above, self.own).map_err(AskError::Distrusted)?;
                Ok(None)
            }
            Err(Distrust::Unseen { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Ok(None)
            }
            // A circle of links, or a path over a file.
            Err(Distrust::Nowhere { .. }) => Ok(None),
            Err(distrust) => Err(AskError::Distrusted(distrust)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tempfile::TempDir;

    use super::*;
    use crate::observe::asked::trust::own_user;

    /// A root with files of these names and texts.
    fn root(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            for above in path.parent().unwrap().ancestors().take_while(|it| *it != root.path()) {
                fs::create_dir_all(above).unwrap();
                set(above, 0o755);
            }
            fs::write(&path, text).unwrap();
            set(&path, 0o644);
        }
        root
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn checked(root: &TempDir, own: u32) -> Result<(), String> {
        let line = CommandLine {
            program: "/usr/sbin/apache2".into(),
            root: Some(root.path().to_owned()),
            ..CommandLine::default()
        };
        let environment = vec![("APACHE_LOG_DIR".into(), "/var/log/apache2".into())];
        check(&line, &[], &environment, own).map_err(|error| error.to_string())
    }

    /// Debian's, without its comments.
    const DEBIAN: &[(&str, &str)] = &[
        (
            "apache2.conf",
            "DefaultRuntimeDir ${APACHE_RUN_DIR}\nPidFile ${APACHE_PID_FILE}\nTimeout 300\n\
             User ${APACHE_RUN_USER}\nErrorLog ${APACHE_LOG_DIR}/error.log\n\
             IncludeOptional mods-enabled/*.load\nIncludeOptional mods-enabled/*.conf\n\
             Include ports.conf\n<Directory />\n\tOptions FollowSymLinks\n</Directory>\n\
             LogFormat \"%h %l %u %t \\\"%r\\\" %>s %O\" common\n\
             IncludeOptional conf-enabled/*.conf\nIncludeOptional sites-enabled/*.conf\n",
        ),
        ("ports.conf", "Listen 80\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n"),
        ("mods-available/mpm.load", "LoadModule m /usr/lib/apache2/modules/mod_mpm_event.so\n"),
        ("mods-enabled/nothing", ""),
        ("conf-enabled/nothing", ""),
        ("sites-enabled/000-default.conf", "<VirtualHost *:80>\n</VirtualHost>\n"),
    ];

    #[test]
    fn what_debian_puts_there_is_good_as_long_as_nobody_else_may_write_it() {
        let root = root(DEBIAN);
        let link = root.path().join("mods-enabled/mpm.load");
        std::os::unix::fs::symlink("../mods-available/mpm.load", link).unwrap();
        assert_eq!(checked(&root, own_user()), Ok(()));
        for (name, mode) in [
            ("mods-available/mpm.load", 0o664),
            ("mods-available", 0o777),
            ("mods-enabled", 0o1777),
            ("conf-enabled", 0o775),
            ("sites-enabled/000-default.conf", 0o666),
            ("ports.conf", 0o646),
        ] {
            let path = root.path().join(name);
            let before = fs::metadata(&path).unwrap().permissions();
            set(&path, mode);
            let expected = format!("refused: others may write {}: its mode", path.display());
            let said = checked(&root, own_user()).unwrap_err();
            assert!(said.starts_with(&expected), "{said}");
            fs::set_permissions(&path, before).unwrap();
        }
        assert_eq!(checked(&root, own_user()), Ok(()));
    }

    #[test]
    fn what_is_not_there_yet_is_not_anybodys_to_put_there() {
        for directive in ["Include x/y/*.conf", "LoadFile x/lib.so", "IncludeOptional x/a.conf"] {
            let root = root(&[("httpd.conf", directive), ("x/nothing", "")]);
            assert_eq!(checked(&root, own_user()), Ok(()));
            set(&root.path().join("x"), 0o1777);
            assert!(checked(&root, own_user()).unwrap_err().contains("/x: its mode is 1777"));
        }
    }

    #[test]
    fn a_name_that_nobody_knows_is_refused_for_root_only() {
        let root = root(&[("httpd.conf", "Include ${NOBODY_KNOWS}/x.conf\n")]);
        if own_user() == 0 {
            let said = checked(&root, 0).unwrap_err();
            assert!(said.ends_with("where ${NOBODY_KNOWS}/x.conf leads is not known"), "{said}");
        } else {
            assert_eq!(checked(&root, own_user()), Ok(()));
        }
    }

    #[test]
    fn what_is_too_much_is_not_followed_and_nothing_is_waited_for() {
        let root = root(&[("httpd.conf", "Include more\n"), ("more/a", "# a\n")]);
        mknodat(CWD, root.path().join("more/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(checked(&root, own_user()), Ok(()));
        fs::File::create(root.path().join("more/large")).unwrap().set_len(LARGEST).unwrap();
        set(&root.path().join("more/large"), 0o644);
        assert!(checked(&root, own_user()).unwrap_err().ends_with("more than 16 MiB"));
        fs::remove_file(root.path().join("more/large")).unwrap();
        fs::create_dir_all(root.path().join("more").join("d/".repeat(DEEPEST))).unwrap();
        let said = checked(&root, own_user()).unwrap_err();
        assert!(said.contains("too deep") || said.contains("others may write"), "{said}");
    }

    #[test]
    fn thousands_of_files_are_looked_at_in_time() {
        let root = root(&[("httpd.conf", "Include many/*.conf\n")]);
        let many = root.path().join("many");
        fs::create_dir(&many).unwrap();
        set(&many, 0o755);
        for number in 0..2000 {
            let file = many.join(format!("{number}.conf"));
            fs::write(&file, "Define HOST x\nInclude common/${HOST}.conf\n").unwrap();
            set(&file, 0o644);
        }
        assert_eq!(checked(&root, own_user()), Ok(()));
    }
}
