//! Which certificates httpd names: `-t -D DUMP_CERTS`, to which older ones answer nothing.

use std::collections::BTreeSet;

/// As many names as are kept.
pub const MOST: usize = 50_000;

/// The names of all certificates, each as it is written in the configuration or made of its
/// `ServerRoot`, of servers that speak no TLS too; `None` if httpd tells of none, or of too many.
///
/// `mod_ssl.c` names them server by server. What `mod_md` adds is not among them.
#[must_use]
pub fn certificate_list(printed: &[u8]) -> Option<BTreeSet<Vec<u8>>> {
    let mut lines = printed.split(|byte| *byte == b'\n');
    lines.find(|line| *line == b"Server certificates:")?;
    let mut names = BTreeSet::new();
    for name in lines.map_while(|line| line.strip_prefix(b"  ")) {
        if names.len() == MOST {
            return None;
        }
        names.insert(name.to_owned());
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(printed: &str) -> Option<Vec<String>> {
        let names = certificate_list(printed.as_bytes())?;
        Some(names.into_iter().map(|name| String::from_utf8(name).unwrap()).collect())
    }

    /// As 2.4.71 prints it.
    #[test]
    fn each_certificate_is_named_once() {
        let printed = "Loaded Modules:\n core_module (static)\nServer certificates:\n  a.crt\n\
            \x20 pkcs11:token=x\n  /srv/d d.crt\n  pkcs11:token=x\n  logs/../c.crt\nSyntax OK\n\
            \x20 no.crt\n";
        let expected = ["/srv/d d.crt", "a.crt", "logs/../c.crt", "pkcs11:token=x"];
        assert_eq!(names(printed).unwrap(), expected);
        assert_eq!(names("Server certificates:\n"), Some(Vec::new()));
        assert_eq!(names("Syntax OK\n  a.crt\n"), None);
        assert_eq!(names(""), None);
    }

    #[test]
    fn there_is_a_most() {
        let many = |count: usize| {
            let lines: Vec<_> = (0..count).map(|it| format!("  /{it}\n")).collect();
            names(&format!("Server certificates:\n{}", lines.concat())).map(|names| names.len())
        };
        assert_eq!((many(MOST), many(MOST + 1)), (Some(MOST), None));
    }
}
