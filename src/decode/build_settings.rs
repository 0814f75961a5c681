//! What httpd prints of how it was built: `-V`.

/// The longest version that is kept; `ServerTokens` of distributions are shorter.
const LONGEST: usize = 64;

/// What is read of it; `None` where a line is missing or holds no such word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildSettings {
    /// `2.4.71` of `Server version: Apache/2.4.71 (Debian)`.
    pub version: Option<String>,
    /// `event`, in small letters, as configured now; of a module that cannot be loaded none.
    pub mpm: Option<String>,
    /// The version of APR that it runs with.
    pub apr: Option<String>,
    /// The version of APR-UTIL that it runs with.
    pub apr_util: Option<String>,
}

/// Reads what httpd printed. Other lines are passed over, and of equal ones the first counts.
///
/// `main.c`, `show_compile_settings`: `-V` prints these in this order, after what the configuration
/// has printed.
#[must_use]
pub fn build_settings(printed: &[u8]) -> BuildSettings {
    let mut found = BuildSettings::default();
    for line in printed.split(|byte| *byte == b'\n') {
        let Ok(line) = str::from_utf8(line) else { continue };
        if let Some(value) = line.strip_prefix("Server version:") {
            let product = value.split_whitespace().next();
            let version = product.and_then(|product| product.split_once('/'));
            found.version = found.version.or_else(|| version.and_then(|(_, it)| word(it)));
        } else if let Some(value) = line.strip_prefix("Server loaded:") {
            found.apr = found.apr.or_else(|| library(value, "APR"));
            found.apr_util = found.apr_util.or_else(|| library(value, "APR-UTIL"));
        } else if let Some(value) = line.strip_prefix("Server MPM:") {
            let mpm = word(value.trim()).map(|it| it.to_ascii_lowercase());
            found.mpm = found.mpm.or(mpm);
        }
    }
    found
}

/// `1.6.3` of ` APR 1.7.2, APR-UTIL 1.6.3, PCRE 10.42`.
fn library(list: &str, name: &str) -> Option<String> {
    let mut libraries = list.split(',').filter_map(|it| it.trim().split_once(' '));
    let (_, version) = libraries.find(|(library, _)| *library == name)?;
    word(version.trim())
}

/// What can stand in a label.
fn word(text: &str) -> Option<String> {
    let fits = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 2.4.71 prints it.
    const PRINTED: &[u8] = b"Server version: Apache/2.4.71 (Debian)\n\
        Server built:   2026-11-12T08:58:41\nServer's Module Magic Number: 20120211:142\n\
        Server loaded:  APR 1.7.2, APR-UTIL 1.6.3, PCRE 10.42 2022-12-11\n\
        Compiled using: APR 1.7.1, APR-UTIL 1.6.2, PCRE 10.42 2022-12-11\n\
        Architecture:   64-bit\nServer MPM:     event\n  threaded:     yes (fixed thread count)\n\
        Server compiled with....\n -D APR_HAS_SENDFILE\n";

    fn told(settings: &BuildSettings) -> [Option<&str>; 4] {
        let BuildSettings { version, mpm, apr, apr_util } = settings;
        [version, mpm, apr, apr_util].map(Option::as_deref)
    }

    #[test]
    fn what_httpd_prints_is_read() {
        let expected = [Some("2.4.71"), Some("event"), Some("1.7.2"), Some("1.6.3")];
        assert_eq!(told(&build_settings(PRINTED)), expected);
    }

    #[test]
    fn other_releases_print_no_less() {
        // Red Hat's 2.4.6, and one that was renamed.
        let printed =
            b"Server version: Apache/2.4.6 (CentOS)\nServer loaded:  APR 1.4.8, APR-UTIL 1.5.2\n\
            Server MPM:     Prefork\n";
        let expected = [Some("2.4.6"), Some("prefork"), Some("1.4.8"), Some("1.5.2")];
        assert_eq!(told(&build_settings(printed)), expected);
        let renamed = build_settings(b"Server version: Example/9.1-beta\r\n");
        assert_eq!(renamed.version.as_deref(), Some("9.1-beta"));
    }

    #[test]
    fn what_is_no_such_text_says_nothing() {
        let long = format!("Server MPM: {}", "x".repeat(65));
        for printed in [
            &b""[..],
            b"Server version: Apache\nServer loaded: APR, APR-UTIL \nServer MPM:\n",
            b"Server MPM: a\x1bb\nServer version: \xff/1\n",
            b"Server MPM: two words\n",
            long.as_bytes(),
        ] {
            assert_eq!(build_settings(printed), BuildSettings::default());
        }
    }
}
