//! A helper's command line: does it write a log, or ask for a pass phrase?

use crate::model::waiting::HelperKind;

/// Programs that are known to stand behind a piped log, whatever they are given.
const LOGGERS: [&[u8]; 8] = [
    b"rotatelogs",
    b"cronolog",
    b"logger",
    b"systemd-cat",
    b"multilog",
    b"svlogd",
    b"httplog",
    b"vlogger",
];

/// What `ask-for-passphrase` of Debian, `httpd-ssl-pass-dialog` of Fedora and their like become.
const ASKERS: [&[u8]; 5] = [
    b"systemd-ask-password",
    b"systemd-tty-ask-password-agent",
    b"ask-for-passphrase",
    b"httpd-ssl-pass-dialog",
    b"apache2-systemd-ask-pass",
];

/// What a key may be, as OpenSSL and `mod_ssl` call it: `UDP` and `TLS` are what a logger speaks.
const ALGORITHMS: [&[u8]; 14] = [
    b"RSA", b"RSA-PSS", b"DSA", b"ECC", b"EC", b"ECDSA", b"DH", b"DHX", b"ED25519", b"ED448",
    b"X25519", b"X448", b"SM2", b"UNKNOWN",
];

/// Reads a command line: arguments that end in NUL.
#[must_use]
pub fn helper_kind(command: &[u8]) -> HelperKind {
    let arguments: Vec<&[u8]> =
        command.split(|byte| *byte == 0).filter(|argument| !argument.is_empty()).collect();
    // A script is called by its interpreter, a logger by a shell.
    let called = || arguments.iter().take(3).copied().map(base_name);
    if called().any(|name| ASKERS.contains(&name)) {
        return HelperKind::Asker;
    }
    // `ssl_engine_pphrase.c`: the program is given `SERVERNAME:PORT` and the key's algorithm.
    if let [_, .., server, algorithm] = arguments.as_slice()
        && is_server(server)
        && is_algorithm(algorithm)
    {
        return HelperKind::Asker;
    }
    let words = arguments.iter().flat_map(|argument| argument.split(u8::is_ascii_whitespace));
    if words.take(8).map(base_name).any(|name| LOGGERS.contains(&name)) {
        return HelperKind::Logger;
    }
    // `ssl_engine_rand.c`: the program is given the number of bytes, 0 if none is configured.
    match arguments.as_slice() {
        [_, .., count] if count.iter().all(u8::is_ascii_digit) => HelperKind::RandomSource,
        _ => HelperKind::Other,
    }
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// `localhost:443`, and where a key has a number of its own `localhost:443:0`.
fn is_server(argument: &[u8]) -> bool {
    let mut parts = argument.split(|byte| *byte == b':').skip(1).peekable();
    parts.peek().is_some()
        && argument.first() != Some(&b':')
        && parts.any(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

fn is_algorithm(argument: &[u8]) -> bool {
    ALGORITHMS.contains(&argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_is_called_with_a_server_and_an_algorithm() {
        let asks = |command: &[u8]| helper_kind(command) == HelperKind::Asker;
        assert!(asks(b"/etc/ssl/pp.sh\0localhost:443\0RSA\0"));
        assert!(asks(b"/bin/sh\0/etc/ssl/pp.sh\0[::1]:8443\0ECC\0"));
        assert!(asks(b"/etc/ssl/pp\0www.example:443:0\0UNKNOWN\0"));
        assert!(asks(b"/bin/systemd-ask-password\0--timeout=0\0Enter passphrase for x\0"));
        assert!(asks(b"/bin/sh\0/usr/share/apache2/ask-for-passphrase\0x:443\0RSA\0"));
        assert!(asks(b"/bin/sh\0/opt/ask and logger\0localhost:443\0RSA\0"), "whatever its name");
        assert!(asks(b"/etc/ssl/pp\0localhost:443\0ED25519\0"));
        assert!(!asks(b"/opt/ship\0loghost:5140\0UDP\0"));
        assert!(!asks(b"/etc/ssl/pp.sh\0"));
        assert!(!asks(b"/etc/ssl/pp.sh\0localhost\0RSA\0"));
        assert!(!asks(b"localhost:443\0RSA\0"), "there is no program");
        assert!(!asks(b""));
    }

    #[test]
    fn a_logger_is_known_by_its_name() {
        let logs = |command: &[u8]| helper_kind(command) == HelperKind::Logger;
        assert!(logs(b"/usr/bin/rotatelogs\0-n\x001\0/var/log/x\x001G\0"));
        assert!(logs(b"/bin/sh\0-c\0/usr/bin/logger -t httpd\0"));
        assert!(!logs(b"/opt/own/archive\0/var/log/x\0"));
    }

    #[test]
    fn a_random_source_is_called_with_how_much_is_wanted() {
        let seeds = |command: &[u8]| helper_kind(command) == HelperKind::RandomSource;
        assert!(seeds(b"/bin/sh\0/opt/seed\x00512\0"));
        assert!(seeds(b"/opt/seed\x000\0"));
        assert!(!seeds(b"/opt/seed\0"));
        assert!(!seeds(b"512\0"), "there is no program");
        assert!(!seeds(b"/usr/bin/rotatelogs\0/var/log/x\x0086400\0"));
    }
}
