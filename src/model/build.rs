//! What httpd is made of.

/// The version of a running httpd and of what it runs with; `None` where that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpdBuild {
    /// httpd's, such as `2.4.71`.
    pub version: Option<String>,
    /// `event`, `worker`, `prefork` or another.
    pub mpm: Option<String>,
    /// APR's.
    pub apr: Option<String>,
    /// APR-UTIL's.
    pub apr_util: Option<String>,
    /// OpenSSL's.
    pub openssl: Option<String>,
}

/// What stands before a version of OpenSSL among a server's tokens.
const OPENSSL: &str = "OpenSSL/";
/// The longest version that is kept.
const LONGEST: usize = 64;

impl HttpdBuild {
    /// Takes the version of OpenSSL from httpd's own tokens, as `mod_status` shows them with
    /// `ServerTokens Full`, if they are those of this httpd.
    pub fn take_openssl(&mut self, tokens: &str) {
        let mut words = tokens.split_whitespace();
        let product = words.next().and_then(|word| word.split_once('/'));
        let own = product.is_some_and(|(_, it)| Some(it) == self.version.as_deref());
        let openssl = words.find_map(|word| word.strip_prefix(OPENSSL)).filter(|it| {
            own && (1..=LONGEST).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_graphic())
        });
        self.openssl = openssl.map(str::to_owned).or(self.openssl.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_openssl_is_that_of_the_same_httpd() {
        let mut build = HttpdBuild { version: Some("2.4.71".to_owned()), ..HttpdBuild::default() };
        build.take_openssl("Apache/2.4.70 (Debian) OpenSSL/3.0.18");
        assert_eq!(build.openssl, None);
        build.take_openssl("Apache/2.4.71 (Debian) OpenSSL/3.0.19 mod_wsgi/5");
        build.take_openssl("Apache/2.4.71 (Debian)");
        assert_eq!(build.openssl.as_deref(), Some("3.0.19"));
        HttpdBuild::default().take_openssl("");
    }
}
