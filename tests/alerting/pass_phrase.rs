//! A key with a pass phrase, and a dialog program that gives it, or waits to be told.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use tempfile::TempDir;

use crate::harness::program;

const CERTIFICATE: &str = include_str!("../fixtures/tls/certificate.pem");
const KEY: &str = include_str!("../fixtures/tls/encrypted.key");
const PHRASE: &str = "secret";

/// What a httpd with such a key needs.
pub(super) struct PassPhrase {
    directory: TempDir,
}

/// The next restart asks, and waits for [`Prompt::answer`].
pub(super) struct Prompt {
    answers: PathBuf,
}

impl PassPhrase {
    /// The dialog program answers by itself.
    pub(super) fn new() -> Self {
        let directory = TempDir::with_prefix("pass-phrase-").unwrap();
        let path = directory.path();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        fs::write(path.join("certificate.pem"), CERTIFICATE).unwrap();
        fs::write(path.join("key.pem"), KEY).unwrap();
        let made = Command::new("mkfifo").arg(path.join("answers")).status().unwrap();
        assert!(made.success(), "{made}");
        let dialog = format!(
            "#!/bin/sh\ncd '{}'\nif [ -e ask ]; then read -r _ < answers; fi\necho {PHRASE}\n",
            path.display()
        );
        program::write_script(&path.join("dialog"), &dialog);
        Self { directory }
    }

    /// A virtual host that nobody can reach: its key is loaded all the same.
    pub(super) fn directives(&self) -> String {
        let path = self.directory.path().display();
        format!(
            "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
SSLPassPhraseDialog exec:{path}/dialog
<VirtualHost 127.0.0.1:443>
SSLEngine on
SSLCertificateFile {path}/certificate.pem
SSLCertificateKeyFile {path}/key.pem
</VirtualHost>"
        )
    }

    /// From now on somebody has to answer. httpd asks for a key that has changed only.
    pub(super) fn ask(&self) -> Prompt {
        let path = self.directory.path();
        fs::write(path.join("ask"), "").unwrap();
        File::options()
            .append(true)
            .open(path.join("key.pem"))
            .unwrap()
            .set_modified(SystemTime::now())
            .unwrap();
        Prompt { answers: path.join("answers") }
    }
}

impl Prompt {
    pub(super) fn answer(self) {
        // Returns when the dialog program reads.
        fs::write(self.answers, "\n").unwrap();
    }
}
