//! Which modules httpd has: `-t -D DUMP_MODULES`, and what `<IfModule>` calls them.

use std::collections::BTreeSet;

/// Modules by their identifiers, such as `ssl_module`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modules {
    /// Those that are built in: there from the start.
    pub built_in: BTreeSet<Vec<u8>>,
    /// Those that a `LoadModule` loads.
    pub loaded: BTreeSet<Vec<u8>>,
}

/// Sources whose names do not follow from the identifier.
const SOURCES: [(&[u8], &[u8]); 7] = [
    (b"core_module", b"core.c"),
    (b"http_module", b"http_core.c"),
    (b"ldap_module", b"util_ldap.c"),
    (b"mpm_event_module", b"event.c"),
    (b"mpm_worker_module", b"worker.c"),
    (b"mpm_prefork_module", b"prefork.c"),
    (b"mpm_itk_module", b"mpm_itk.c"),
];

/// Reads what httpd printed; `None` where it told of none, as one without `mod_so` does.
#[must_use]
pub fn modules(printed: &[u8]) -> Option<Modules> {
    let mut lines = printed.split(|byte| *byte == b'\n');
    lines.find(|line| *line == b"Loaded Modules:")?;
    let mut found = Modules::default();
    for line in lines.map_while(|line| line.strip_prefix(b" ")) {
        if let Some(name) = line.strip_suffix(b" (static)") {
            found.built_in.insert(name.to_owned());
        } else if let Some(name) = line.strip_suffix(b" (shared)") {
            found.loaded.insert(name.to_owned());
        }
    }
    (found != Modules::default()).then_some(found)
}

/// Whether `<IfModule>` finds a module by this name: an identifier, or the name of its source.
#[must_use]
pub fn has_module(identifiers: &BTreeSet<Vec<u8>>, name: &[u8]) -> bool {
    if identifiers.contains(name) {
        return true;
    }
    if let Some((identifier, _)) = SOURCES.iter().find(|(_, source)| *source == name) {
        return identifiers.contains(*identifier);
    }
    let stem = name.strip_prefix(b"mod_").and_then(|rest| rest.strip_suffix(b".c"));
    stem.map(|stem| [stem, b"_module"].concat()).is_some_and(|identifier| {
        let is_another = SOURCES.iter().any(|(other, _)| *other == identifier);
        !is_another && identifiers.contains(&identifier)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 2.4.71 prints it, between its other answers.
    const PRINTED: &[u8] = b"Group: name=\"#-1\" id=4294967295\nLoaded Modules:\n\
        \x20core_module (static)\n so_module (static)\n mpm_event_module (shared)\n\
        \x20php_module (shared)\nSyntax OK\n x_module (static)\n";

    #[test]
    fn modules_are_told_apart() {
        let found = modules(PRINTED).unwrap();
        let names = |names: [&str; 2]| names.map(|name| name.as_bytes().to_owned()).into();
        assert_eq!(found.built_in, names(["core_module", "so_module"]));
        assert_eq!(found.loaded, names(["mpm_event_module", "php_module"]));
        assert_eq!(modules(b""), None);
        assert_eq!(modules(b"Loaded Modules:\nSyntax OK\n"), None);
    }

    #[test]
    fn a_module_has_two_names() {
        let found = modules(PRINTED).unwrap();
        for (name, is_there) in [
            ("mpm_event_module", true),
            ("event.c", true),
            ("mod_mpm_event.c", false),
            ("php_module", true),
            ("mod_php.c", true),
            ("mod_php5.c", false),
            ("worker.c", false),
            ("mod_so.c", false),
            ("", false),
        ] {
            assert_eq!(has_module(&found.loaded, name.as_bytes()), is_there, "{name}");
        }
        assert!(has_module(&found.built_in, b"mod_so.c") && has_module(&found.built_in, b"core.c"));
    }
}
