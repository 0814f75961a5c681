//! What the repository promises of itself: its README, the order in its source, its exposition.

mod alerts;
mod exposition;
mod layering;
mod paths;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const TOP: &str = env!("CARGO_MANIFEST_DIR");
/// A file is one noun; beyond this many lines it is two.
const LONGEST_FILE: usize = 400;
/// Besides dot-files and what is built.
const AT_THE_TOP: [&str; 13] = [
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "src",
    "tests",
    "dashboards",
    "alerts",
    "packaging",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
];
/// Written by tools: by cargo, and by proptest for the seeds of `tests/`, at a place of its own.
const WRITTEN_BY_TOOLS: [&str; 1] = ["target"];

/// A file of `src` without its tests.
#[derive(Clone, Debug)]
struct Source {
    /// As `use` has it: `expose::metrics`; empty for the roots of the crates.
    module: String,
    file: PathBuf,
    text: String,
}

/// Every file of `src` but those that are tests, by path.
fn sources() -> Vec<Source> {
    let src = Path::new(TOP).join("src");
    let mut files = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 50, "{} files of {}", files.len(), src.display());
    files.iter().map(|file| Source::read(&src, file)).collect()
}

impl Source {
    fn read(src: &Path, path: &Path) -> Self {
        let file = path.strip_prefix(src).unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        let text = match text.find("\n#[cfg(test)]\nmod tests {") {
            Some(end) => text[..end].to_owned(),
            None => text,
        };
        let module = file.with_extension("").display().to_string().replace('/', "::");
        let module = module.strip_suffix("::mod").unwrap_or(&module);
        let module = if matches!(module, "lib" | "main") { "" } else { module };
        Self { module: module.to_owned(), file, text }
    }

    /// Every path that it names from one of these roots, `super` resolved to `crate`.
    fn paths(&self, roots: &[&str]) -> Vec<String> {
        let found = paths::paths(&self.text, roots);
        found.into_iter().map(|path| paths::resolve(&self.module, path).join("::")).collect()
    }
}

#[test]
fn the_readme_has_the_table_of_metrics_as_the_program_prints_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gracekeeper"));
    let printed = command.args(["metrics", "--markdown"]).output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    let readme = fs::read_to_string(Path::new(TOP).join("README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- metrics -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- /metrics -->").unwrap();
    assert!(table == printed, "README.md's table of metrics is out of date: run `make readme`");
}

#[test]
fn no_file_is_longer_than_one_reads() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (source.file.display(), source.text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(file, lines)| format!("src/{file}: {lines} lines without its tests"))
        .collect();
    assert!(long.is_empty(), "more than {LONGEST_FILE}: {long:#?}");
}

#[test]
fn the_top_level_holds_only_what_one_expects_there() {
    let names = fs::read_dir(TOP).unwrap().map(|entry| entry.unwrap().file_name());
    let strange: Vec<String> = names
        .map(|name| name.into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .filter(|name| !AT_THE_TOP.contains(&name.as_str()))
        .filter(|name| !WRITTEN_BY_TOOLS.contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
}
