//! Programs, modules and libraries that lie otherwise on disk than httpd has them mapped.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Owed;
use crate::model::{
    drift::Reason,
    files::{MappedFile, MappedKind},
    snapshot::Part,
    time::Timestamp,
};

/// Follows what was replaced under a running httpd.
#[derive(Clone, Debug, Default)]
pub struct ProgramTracker {
    /// When each file was replaced: who replaces it again makes nothing younger.
    replaced: BTreeMap<PathBuf, Option<Timestamp>>,
    /// What was made of what.
    latest: Option<Latest>,
}

#[derive(Clone, Debug)]
struct Latest {
    files: Arc<[MappedFile]>,
    modules: Option<Arc<[PathBuf]>>,
    loaded: Timestamp,
    owed: BTreeMap<Reason, Owed>,
}

impl ProgramTracker {
    /// Folds one look. `module_files` are those that the configuration names, where httpd could be
    /// asked for them, and `loaded` is when they were loaded last. Nothing is said of what was not
    /// seen.
    pub fn observe(
        &mut self,
        mapped: Option<&Part<Arc<[MappedFile]>>>,
        module_files: Option<&Arc<[PathBuf]>>,
        loaded: Timestamp,
    ) -> BTreeMap<Reason, Owed> {
        let Some(files) = mapped.and_then(Part::seen) else { return BTreeMap::new() };
        // The same is handed over look by look.
        let known = self.latest.as_ref().filter(|latest| latest.is_of(files, module_files, loaded));
        if let Some(latest) = known {
            return latest.owed.clone();
        }
        let named = module_files.map(AsRef::as_ref).unwrap_or_default();
        let owed = self.fold(files, &Modules::of(named, loaded));
        let (files, modules) = (Arc::clone(files), module_files.cloned());
        self.latest = Some(Latest { files, modules, loaded, owed: owed.clone() });
        owed
    }

    fn fold(&mut self, files: &[MappedFile], modules: &Modules<'_>) -> BTreeMap<Reason, Owed> {
        let mut earlier = std::mem::take(&mut self.replaced);
        let mut owed = BTreeMap::from(
            [Reason::Binary, Reason::Module, Reason::Library].map(|reason| (reason, Owed::Nothing)),
        );
        for file in files.iter().filter(|file| modules.owe(file)) {
            let since = match earlier.remove(&file.path).flatten() {
                Some(since) => Some(file.changed.map_or(since, |changed| changed.min(since))),
                None => file.changed,
            };
            self.replaced.insert(file.path.clone(), since);
            let reason = match file.kind {
                MappedKind::Binary => Reason::Binary,
                MappedKind::Library if modules.includes(&file.path) => Reason::Module,
                MappedKind::Library => Reason::Library,
            };
            owed.entry(reason).and_modify(|owed| *owed = earliest(*owed, since));
        }
        owed
    }
}

impl Latest {
    fn is_of(
        &self,
        files: &Arc<[MappedFile]>,
        modules: Option<&Arc<[PathBuf]>>,
        loaded: Timestamp,
    ) -> bool {
        let is_same_modules = match (&self.modules, modules) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        is_same_modules && self.loaded == loaded && Arc::ptr_eq(&self.files, files)
    }
}

/// The files of modules, whose names may lead over links to where they are mapped from.
struct Modules<'a> {
    paths: BTreeSet<&'a Path>,
    names: BTreeSet<&'a OsStr>,
    loaded: Timestamp,
}

impl<'a> Modules<'a> {
    fn of(files: &'a [PathBuf], loaded: Timestamp) -> Self {
        Self {
            paths: files.iter().map(PathBuf::as_path).collect(),
            names: files.iter().filter_map(|file| file.file_name()).collect(),
            loaded,
        }
    }

    /// What is on disk is not what is run. Each restart unloads modules and loads them again, but
    /// none of the libraries that httpd was started with.
    fn owe(&self, file: &MappedFile) -> bool {
        let is_loaded_anew = file.kind == MappedKind::Library && self.includes(&file.path);
        let began = if is_loaded_anew { self.loaded } else { file.began };
        file.is_replaced || file.written.is_some_and(|written| began < written)
    }

    /// A module that the configuration names no longer is one all the same.
    fn includes(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return false };
        let text = name.to_string_lossy();
        let is_usual = text.starts_with("mod_")
            || path.parent().is_some_and(|directory| directory.ends_with("modules"));
        self.paths.contains(path)
            || self.names.contains(name)
            || (is_usual && text.ends_with(".so"))
    }
}

/// A time that is known is told, whatever is not.
fn earliest(owed: Owed, since: Option<Timestamp>) -> Owed {
    match (owed, since) {
        (Owed::Since(Some(earlier)), Some(since)) => Owed::Since(Some(earlier.min(since))),
        (Owed::Since(Some(earlier)), None) => Owed::Since(Some(earlier)),
        (Owed::Nothing | Owed::Since(None), since) => Owed::Since(since),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::Why;

    const NOTHING: [(Reason, Owed); 3] = [
        (Reason::Binary, Owed::Nothing),
        (Reason::Module, Owed::Nothing),
        (Reason::Library, Owed::Nothing),
    ];

    const fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn kept(path: &str) -> MappedFile {
        let kind = if path.contains("bin/") { MappedKind::Binary } else { MappedKind::Library };
        let (path, began) = (path.into(), at(1));
        MappedFile { path, kind, is_replaced: false, written: None, began, changed: None }
    }

    fn replaced(path: &str, changed: Option<Timestamp>) -> MappedFile {
        MappedFile { is_replaced: true, changed, ..kept(path) }
    }

    fn seen(files: &[MappedFile]) -> Part<Arc<[MappedFile]>> {
        Part::Seen(files.into())
    }

    fn owed(files: &[MappedFile], modules: &[&str]) -> BTreeMap<Reason, Owed> {
        let modules: Arc<[PathBuf]> = modules.iter().map(PathBuf::from).collect();
        ProgramTracker::default().observe(Some(&seen(files)), Some(&modules), at(1))
    }

    #[test]
    fn what_is_not_seen_is_not_told_and_what_lies_as_it_lay_owes_nothing() {
        let mut tracker = ProgramTracker::default();
        assert!(tracker.observe(None, None, at(1)).is_empty());
        assert!(tracker.observe(Some(&Part::Unseen(Why::Permission)), None, at(1)).is_empty());
        let files = [kept("/usr/sbin/httpd"), kept("/lib/libapr-1.so.0")];
        assert_eq!(owed(&files, &[]), NOTHING.into());
    }

    #[test]
    fn each_reason_is_told_since_its_earliest_change() {
        let files = [
            replaced("/usr/sbin/httpd", Some(at(5))),
            replaced("/lib/libssl.so.3", Some(at(9))),
            replaced("/lib/libcrypto.so.3", Some(at(7))),
            replaced("/lib/libz.so.1", None),
            kept("/usr/lib/apache2/modules/mod_ssl.so"),
        ];
        let mut expected: BTreeMap<_, _> = NOTHING.into();
        expected.insert(Reason::Binary, Owed::Since(Some(at(5))));
        expected.insert(Reason::Library, Owed::Since(Some(at(7))));
        assert_eq!(owed(&files, &[]), expected);
        let unknown = [replaced("/lib/libz.so.1", None)];
        assert_eq!(owed(&unknown, &[]).get(&Reason::Library), Some(&Owed::Since(None)));
    }

    #[test]
    fn a_module_is_told_by_the_configuration_or_by_its_usual_name() {
        for (path, modules, is_module) in [
            ("/opt/wsgi/wsgi.so", &["/opt/wsgi/wsgi.so"][..], true),
            ("/usr/lib64/httpd/modules/libphp.so", &["/etc/httpd/modules/libphp.so"], true),
            ("/data/x/php.so", &["/opt/php.so"], true),
            ("/usr/lib64/httpd/modules/libphp.so", &[], true),
            ("/opt/mod_x.so", &[], true),
            ("/opt/mod_x.so.1", &[], false),
            ("/opt/wsgi/wsgi.so", &[], false),
            ("/usr/lib64/libphp.so", &["/etc/httpd/modules/mod_php.so"], false),
        ] {
            let owed = owed(&[replaced(path, Some(at(1)))], modules);
            let reason = if is_module { Reason::Module } else { Reason::Library };
            assert_eq!(owed.get(&reason), Some(&Owed::Since(Some(at(1)))), "{path}");
            let owing = owed.values().filter(|owed| **owed != Owed::Nothing).count();
            assert_eq!(owing, 1, "{path}");
        }
    }

    #[test]
    fn a_module_that_is_named_later_is_told_of_the_same_files() {
        let (mut tracker, path) = (ProgramTracker::default(), "/opt/wsgi/wsgi.so");
        let seen = seen(&[replaced(path, Some(at(1)))]);
        let modules: [Arc<[PathBuf]>; 2] = [[].into(), [PathBuf::from(path)].into()];
        for (modules, reason) in [
            (None, Reason::Library),
            (Some(&modules[0]), Reason::Library),
            (Some(&modules[1]), Reason::Module),
            (Some(&modules[1]), Reason::Module),
        ] {
            let owed = tracker.observe(Some(&seen), modules, at(1));
            let mut owing = owed.iter().filter(|(_, owed)| **owed != Owed::Nothing);
            assert_eq!(owing.next(), Some((&reason, &Owed::Since(Some(at(1))))));
        }
    }

    #[test]
    fn who_replaces_it_again_makes_nothing_younger_but_a_restart_pays_it() {
        let mut tracker = ProgramTracker::default();
        let mut owes = |file: MappedFile| {
            *tracker.observe(Some(&seen(&[file])), None, at(1)).get(&Reason::Module).unwrap()
        };
        assert_eq!(owes(replaced("/x/mod_a.so", Some(at(5)))), Owed::Since(Some(at(5))));
        assert_eq!(owes(replaced("/x/mod_a.so", Some(at(9)))), Owed::Since(Some(at(5))));
        assert_eq!(owes(replaced("/x/mod_a.so", None)), Owed::Since(Some(at(5))));
        assert_eq!(owes(kept("/x/mod_a.so")), Owed::Nothing);
        assert_eq!(owes(replaced("/x/mod_a.so", Some(at(12)))), Owed::Since(Some(at(12))));
    }

    #[test]
    fn what_is_written_in_place_is_owed_until_what_loads_it_has_loaded_it() {
        let written =
            |path: &str| MappedFile { written: Some(at(5)), changed: Some(at(5)), ..kept(path) };
        let listed: Arc<[PathBuf]> = [PathBuf::from("/x/lib/libmime.so")].into();
        let owes = |file: MappedFile, loaded| {
            let files = seen(&[file]);
            let owed = ProgramTracker::default().observe(Some(&files), Some(&listed), at(loaded));
            owed.into_iter().find(|(_, owed)| *owed != Owed::Nothing).map(|(reason, _)| reason)
        };
        for module in ["/x/lib/libmime.so", "/opt/mod_x.so", "/usr/lib/modules/libphp.so"] {
            assert_eq!(owes(written(module), 4), Some(Reason::Module), "{module}");
            assert_eq!(owes(written(module), 6), None, "{module}: a restart loaded it");
        }
        assert_eq!(owes(written("/lib/libz.so"), 6), Some(Reason::Library));
        assert_eq!(owes(written("/usr/bin/httpd"), 6), Some(Reason::Binary));
        let later = MappedFile { began: at(6), ..written("/lib/libz.so") };
        assert_eq!(owes(later, 1), None, "mapped after it was written");
    }
}
