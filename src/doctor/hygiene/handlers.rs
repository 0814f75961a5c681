//! `server-status` and `server-info` that anybody may ask.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::Subject;
use crate::doctor::{Check, Finding, text};

const HANDLERS: [&[u8]; 2] = [b"server-status", b"server-info"];

/// A place that one of them answers at, and what is required there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    handler: String,
    /// The section, as it is written.
    section: String,
    file: PathBuf,
    line: u32,
    /// Something is required of who asks, and it is not that all may.
    is_guarded: bool,
    /// `Require all granted`.
    is_granted: bool,
}

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let Ok(answer) = subject.answer else {
        return subject.unasked(Check::StatusHandler, "server-status").into_iter().collect();
    };
    let mut places = BTreeMap::new();
    let mut found = Vec::new();
    for file in &answer.includes {
        if let Some(text) = text::text(file) {
            read(file, &text, &mut places);
        } else {
            let thing = file.display().to_string();
            found.push(Check::StatusHandler.unknown(thing, "cannot be read"));
        }
    }
    let open = places.iter().filter(|(_, it)| !it.handler.is_empty() && !it.is_guarded);
    let open: Vec<Finding> = open.map(|(_, place)| warning(place)).collect();
    if open.is_empty() && found.is_empty() {
        let places = places.values().filter(|place| !place.handler.is_empty()).count();
        let cause = match places {
            0 => "no section has the handler".to_owned(),
            1 => "the one section that has the handler requires something".to_owned(),
            _ => format!("all {places} sections that have the handler require something"),
        };
        return vec![Check::StatusHandler.ok("server-status, server-info", cause)];
    }
    found.extend(open);
    found
}

fn warning(place: &Place) -> Finding {
    let Place { handler, section, file, line, is_granted, .. } = place;
    let why = if *is_granted { "Require all granted" } else { "no Require of its own" };
    let thing = format!("{handler} in {section}");
    let cause = format!("{}:{line}: {why}: requests and clients are shown", file.display());
    let mend = format!("in {section} of {}:{line}: Require local", file.display());
    Check::StatusHandler.warning(thing, cause, mend)
}

/// Reads the sections of one file. Those of the same path count as one, as httpd merges them.
fn read(file: &Path, text: &[u8], places: &mut BTreeMap<String, Place>) {
    let mut open: Vec<(String, Place)> = Vec::new();
    for (line, text) in lines(text) {
        let words = words(&text);
        let Some(first) = words.first() else { continue };
        if first.starts_with("</") {
            close(&mut open, places, first);
            continue;
        }
        if first.starts_with('<') {
            let name = words.join(" ");
            let section = name.replace('"', "");
            let place = Place { section, line, file: file.to_owned(), ..Place::default() };
            open.push((normal(&name), place));
            continue;
        }
        let Some((_, place)) = open.last_mut() else { continue };
        let rest: Vec<String> = words.iter().skip(1).map(|word| word.to_lowercase()).collect();
        match first.to_lowercase().as_str() {
            "sethandler" => {
                let is_it = |name: &&[u8]| rest.first().is_some_and(|it| it.as_bytes() == *name);
                if HANDLERS.iter().any(|name| is_it(&&**name)) {
                    place.handler = rest.first().cloned().unwrap_or_default();
                    place.line = line;
                }
            }
            "require" => {
                let is_granted = rest == ["all", "granted"];
                place.is_granted |= is_granted;
                place.is_guarded |= !is_granted;
            }
            // Of 2.2, with mod_access_compat.
            "deny" => place.is_guarded = true,
            _ => {}
        }
    }
    while let Some((name, place)) = open.pop() {
        merge(&mut open, places, name, place);
    }
}

fn close(open: &mut Vec<(String, Place)>, places: &mut BTreeMap<String, Place>, end: &str) {
    let kind = end.trim_start_matches("</").trim_end_matches('>').to_lowercase();
    let is_open = |(name, _): &(String, Place)| name.trim_start_matches('<').starts_with(&kind);
    // A stray end closes nothing.
    if !open.iter().any(is_open) {
        return;
    }
    while let Some((name, place)) = open.pop() {
        let is_last = is_open(&(name.clone(), Place::default()));
        merge(open, places, name, place);
        if is_last {
            return;
        }
    }
}

/// A section of requests is a place; what else groups directives belongs to what is around it.
fn merge(
    open: &mut [(String, Place)],
    places: &mut BTreeMap<String, Place>,
    name: String,
    place: Place,
) {
    let is_place =
        ["<location", "<directory", "<files", "<proxy"].iter().any(|it| name.starts_with(it));
    let into = match open.last_mut() {
        Some((_, around)) if !is_place => around,
        Some(_) | None if is_place => places.entry(name).or_default(),
        Some(_) | None => return,
    };
    if !place.handler.is_empty() {
        into.handler = place.handler;
        if is_place {
            into.section = place.section;
        }
        (into.file, into.line) = (place.file, place.line);
    }
    into.is_granted |= place.is_granted;
    into.is_guarded |= place.is_guarded;
}

/// `<Location "/server-status/">` and `<location /server-status>` are one.
fn normal(section: &str) -> String {
    let inner = section.trim_end_matches('>').trim();
    let (kind, path) = inner.split_once(' ').unwrap_or((inner, ""));
    let path = path.trim().trim_matches('"').trim_end_matches('/');
    let path = if path.is_empty() { "/" } else { path };
    format!("{} {path}>", kind.to_lowercase())
}

/// Lines without comments, those that a backslash joins as one, with the number of the first.
fn lines(text: &[u8]) -> Vec<(u32, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(u32, String)> = None;
    for (number, line) in (1_u32..).zip(text.split(|byte| *byte == b'\n')) {
        let line = String::from_utf8_lossy(line.trim_ascii());
        let (first, mut whole) = open.take().unwrap_or((number, String::new()));
        if let Some(part) = line.strip_suffix('\\') {
            whole.push_str(part);
            open = Some((first, whole));
        } else {
            whole.push_str(&line);
            lines.push((first, whole));
        }
    }
    lines.extend(open);
    lines.retain(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
}

fn words(line: &str) -> Vec<String> {
    line.split_ascii_whitespace().map(|word| word.trim_matches('"').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(texts: &[&str]) -> Vec<(String, u32, bool)> {
        let mut places = BTreeMap::new();
        for text in texts {
            read(Path::new("/x.conf"), text.as_bytes(), &mut places);
        }
        let open = places.into_iter().filter(|(_, it)| !it.handler.is_empty() && !it.is_guarded);
        open.map(|(path, it)| (path, it.line, it.is_granted)).collect()
    }

    fn at(path: &str, line: u32, is_granted: bool) -> (String, u32, bool) {
        (format!("<location {path}>"), line, is_granted)
    }

    #[test]
    fn a_handler_that_requires_nothing_is_open() {
        let text = "\n<Location \"/server-status\">\n  SetHandler server-status\n</Location>\n";
        assert_eq!(open(&[text]), [at("/server-status", 3, false)]);
        let granted = "<location /i>\nSetHandler \"server-info\"\n\
            <RequireAny>\nRequire all granted\n</RequireAny>\n</location>";
        assert_eq!(open(&[granted]), [at("/i", 2, true)]);
    }

    #[test]
    fn what_debian_ships_is_guarded() {
        let debian = "<IfModule mod_status.c>\n\t# Allow\n\tExtendedStatus On\n\
            \t<Location /server-status>\n\t\tSetHandler server-status\n\t\tRequire local\n\
            \t\t#Require ip 192.0.2.0/24\n\t</Location>\n</IfModule>\n";
        assert_eq!(open(&[debian]), []);
        for guard in [
            "Require ip 10.0.0.0/8",
            "Require valid-user",
            "Order deny,allow\nDeny from all\nAllow from 127.0.0.1",
            "<RequireAll>\nRequire all granted\nRequire not ip 10.1\n</RequireAll>",
            "<IfModule mod_authz_core.c>\nRequire host x\n</IfModule>",
        ] {
            let text = format!("<Location /s>\nSetHandler server-status\n{guard}\n</Location>\n");
            assert_eq!(open(&[&text]), [], "{guard}");
        }
    }

    #[test]
    fn sections_of_one_path_are_one() {
        let one = "<Location /s>\nSetHandler server-status\n</Location>\n";
        assert_eq!(open(&[one, "<Location \"/s/\">\nRequire local\n</Location>\n"]), []);
        assert_eq!(open(&[one, "<Location /t>\nRequire local\n</Location>\n"]).len(), 1);
    }

    #[test]
    fn texts_that_are_broken_are_read_all_the_same() {
        for text in ["</Location>", "<Location", "SetHandler server-status", "<A>\n</B>\n<", "\\"] {
            open(&[text]);
        }
        assert_eq!(open(&["<Location /s>\nSetHandler server-status"]).len(), 1);
        assert_eq!(open(&["#<Location /s>\nSetHandler server-status\n#</Location>"]), []);
    }
}
