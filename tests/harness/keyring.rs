//! A key with a pass phrase, and a dialog program that gives it, or waits to be told.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use tempfile::TempDir;

use super::{eventually, program};

const KEY: &str = "tests/fixtures/tls/encrypted.key";
const CERTIFICATE: &str = "tests/fixtures/tls/certificate.pem";

/// An encrypted key, and a dialog program that answers by itself unless it is told to ask.
pub(crate) struct Keyring(TempDir);

impl Keyring {
    pub(crate) fn new() -> Self {
        let directory = TempDir::with_prefix("keyring-").unwrap();
        let place = directory.path();
        fs::set_permissions(place, Permissions::from_mode(0o755)).unwrap();
        fs::copy(KEY, place.join("key.pem")).unwrap();
        fs::copy(CERTIFICATE, place.join("certificate.pem")).unwrap();
        mknodat(CWD, place.join("answer"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        // Who asks through a pipe writes into it too, and a reader that has gone would end him.
        let script = format!(
            "#!/bin/sh
if [ -e {0}/ask ]; then read -r phrase < {0}/answer; fi
echo secret
[ $# -gt 0 ] || exec cat > /dev/null
",
            place.display()
        );
        program::write_script(&place.join("dialog"), &script);
        Self(directory)
    }

    /// Where its files are, with others that a test adds.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A virtual host that nobody can reach, whose key is asked for with `dialog`, `exec:` or `|`.
    pub(crate) fn directives(&self, dialog: &str) -> String {
        let place = self.0.path().display();
        format!(
            "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
SSLSessionCache none
SSLPassPhraseDialog \"{dialog}{place}/dialog\"
<VirtualHost 127.0.0.9:443>
    ServerName localhost
    SSLEngine on
    SSLCertificateFile {place}/certificate.pem
    SSLCertificateKeyFile {place}/key.pem
</VirtualHost>"
        )
    }

    /// The key is as good as new, and whoever needs it has to be told the phrase.
    pub(crate) fn asks(&self) {
        self.waits();
        // An older file would do, but the kernel's clock for files is coarse.
        let key = fs::File::options().append(true).open(self.0.path().join("key.pem")).unwrap();
        let before = key.metadata().unwrap().modified().unwrap();
        key.set_modified(before + Duration::from_secs(7)).unwrap();
    }

    /// Who asks from now on waits for [`Keyring::answer`].
    pub(crate) fn waits(&self) {
        fs::write(self.0.path().join("ask"), "").unwrap();
    }

    /// Whoever waits goes on, and nobody waits any more.
    pub(crate) fn answer(&self) {
        let place = self.0.path();
        let mut fifo = eventually("somebody asks", || {
            let mut options = OpenOptions::new();
            let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
            options.write(true).custom_flags(flags).open(place.join("answer")).ok()
        });
        fs::remove_file(place.join("ask")).unwrap();
        fifo.write_all(b"go on\n").unwrap();
    }
}
