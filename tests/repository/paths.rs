//! Paths as Rust's source names them, `use` trees taken apart, without a parser of the whole.

/// Every path in code, not in comments, that begins with one of these roots.
pub(super) fn paths(text: &str, roots: &[&str]) -> Vec<Vec<String>> {
    let code: String = text.lines().map(|line| without_comment(line).to_owned() + "\n").collect();
    let mut found = Vec::new();
    for root in roots {
        let start = format!("{root}::");
        for (at, _) in code.match_indices(&start) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|before| !is_of_a_name(before) && before != ':') {
                tree(&code[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    found
}

/// `super` from the crate's root, in a file that is this module.
pub(super) fn resolve(module: &str, path: Vec<String>) -> Vec<String> {
    let ups = path.iter().take_while(|name| *name == "super").count();
    if ups == 0 {
        return path;
    }
    let own: Vec<&str> = module.split("::").collect();
    let kept = own.len().saturating_sub(ups);
    let above = std::iter::once("crate").chain(own[..kept].iter().copied()).map(str::to_owned);
    above.chain(path.into_iter().skip(ups)).collect()
}

/// Reads one tree and returns what comes after it.
fn tree<'text>(
    text: &'text str,
    above: &mut Vec<String>,
    found: &mut Vec<Vec<String>>,
) -> &'text str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches([' ', '\n', ',']);
            if rest.is_empty() || rest.starts_with('}') {
                return rest.strip_prefix('}').unwrap_or(rest);
            }
            rest = tree(rest, above, found);
            // `as another_name`
            rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
        }
    }
    let end = text.find(|next| !is_of_a_name(next) && next != '*').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let depth = above.len();
    if !name.is_empty() && name != "self" {
        above.push(name.to_owned());
    }
    let after = match rest.strip_prefix("::") {
        Some(below) if below.starts_with(|next| is_of_a_name(next) || "{*".contains(next)) => {
            tree(below, above, found)
        }
        Some(_) | None => {
            found.push(above.clone());
            rest
        }
    };
    above.truncate(depth);
    after
}

fn is_of_a_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split_once(" // ").map_or(line, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str, roots: &[&str]) -> Vec<String> {
        paths(text, roots).into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn trees_are_taken_apart() {
        let text = "use crate::{\n    clock,\n    model::{\n        time::{self as t, Moment},\n    \
                    },\n    track::*,\n};\nuse std::{fs, io::{self, Read}};\n";
        assert_eq!(
            joined(text, &["crate"]),
            ["crate::clock", "crate::model::time", "crate::model::time::Moment", "crate::track::*"]
        );
        assert_eq!(joined(text, &["std"]), ["std::fs", "std::io", "std::io::Read"]);
    }

    #[test]
    fn paths_in_expressions_count_and_comments_do_not() {
        let text = "/// As [`crate::watch`].\nlet a = crate::clock::now(); // not crate::cli::X\n\
                    let b: Vec<crate::exit::Exit> = f::<crate::model::X>();\nmy_crate::x();\n";
        assert_eq!(
            joined(text, &["crate"]),
            ["crate::clock::now", "crate::exit::Exit", "crate::model::X"]
        );
    }

    #[test]
    fn super_is_the_module_above() {
        let of = |module, text: &str| {
            paths(text, &["super"])
                .into_iter()
                .map(|path| resolve(module, path).join("::"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("expose::metrics", "use super::{catalogue, server::X};"),
            ["crate::expose::catalogue", "crate::expose::server::X"]
        );
        assert_eq!(of("expose::server::site", "super::super::a()"), ["crate::expose::a"]);
    }
}
