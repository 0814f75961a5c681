//! What one directive says.

use super::{EACH_FILE, Inclusions, Reading, file};
use crate::decode::directives::{
    listen::listen,
    numbers::{integer, place},
    words::{word, words},
};

/// A server that listens at more addresses is not followed to its end.
const MOST_LISTENS: usize = 1024;

/// More files and directories of authorities are not followed.
const MOST_TRUSTED: usize = 4096;

impl Reading<'_> {
    pub(super) fn directive(&mut self, number: u32, line: &[u8], within: &mut Inclusions<'_>) {
        let mut rest = line;
        let name = word(&mut rest).to_ascii_lowercase();
        match name.as_slice() {
            b"include" => self.include(number, rest, within, false),
            b"includeoptional" => self.include(number, rest, within, true),
            b"use" => self.use_macro(rest, within),
            b"define" | b"undefine" | b"loadmodule" => self.carry_out(&name, rest),
            b"loadfile" => self.load_files(rest),
            b"errorlog" | b"customlog" | b"transferlog" | b"globallog" | b"forensiclog" => {
                self.log(&name, rest);
            }
            b"listen" => self.listen(rest),
            b"servername" | b"sslengine" | b"sslcertificatefile" | b"sslcertificatekeyfile" => {
                self.host(&name, rest);
            }
            b"sslcertificatechainfile"
            | b"sslcacertificatefile"
            | b"sslcadnrequestfile"
            | b"sslcarevocationfile"
            | b"sslproxycacertificatefile"
            | b"sslproxycarevocationfile"
            | b"sslproxymachinecertificatefile"
            | b"sslproxymachinecertificatechainfile" => self.trust(rest, b""),
            // In the others OpenSSL looks when a client comes.
            b"sslcacertificatepath" | b"sslcadnrequestpath" | b"sslproxymachinecertificatepath" => {
                self.trust(rest, b"/*");
            }
            b"serveralias" => self.aliases(rest),
            // Certificates of hosts come from elsewhere too: from another TLS module, for one.
            b"mdomain" | b"mdcertificatefile" | b"gnutlsenable" | b"nssengine" | b"tlsengine" => {
                self.hosts.doubt();
            }
            b"sslopensslconfcmd" => self.openssl_command(rest),
            _ => self.number(&name, rest),
        }
    }

    /// What is carried out while httpd reads.
    fn carry_out(&mut self, directive: &[u8], rest: &[u8]) {
        self.settings.is_partial |= self.doubts > 0;
        let mut words = words(rest);
        let (Some(name), value) = (words.next(), words.next()) else { return };
        let (name, value) =
            (self.resolved_now(&name), value.map(|value| self.resolved_now(&value)));
        match directive {
            b"loadmodule" => {
                self.modules.add(&value.unwrap_or_default());
                self.settings.is_partial |= !self.named.load(name);
            }
            b"undefine" => self.named.undefine(&name),
            _ => self.settings.is_partial |= !self.named.define(name, value),
        }
    }

    fn log(&mut self, directive: &[u8], mut rest: &[u8]) {
        self.settings.logs_are_partial |= self.doubts > 0;
        let name = self.resolved_at_last(&word(&mut rest));
        match directive {
            b"errorlog" => self.logs.error(name),
            b"forensiclog" => self.logs.forensic(name),
            _ => self.logs.add(&name),
        }
    }

    fn listen(&mut self, mut rest: &[u8]) {
        let address = self.resolved_at_last(&word(&mut rest));
        match listen(&address) {
            Some(listen) if self.listens.len() < MOST_LISTENS => self.listens.push(listen),
            Some(_) | None => self.settings.is_partial = true,
        }
        self.settings.is_partial |= self.doubts > 0;
    }

    fn number(&mut self, directive: &[u8], mut rest: &[u8]) {
        if place(directive, &mut self.settings).is_none() {
            return;
        }
        let number = integer(&self.resolved_at_last(&word(&mut rest)));
        if let Some(place) = place(directive, &mut self.settings) {
            *place = Some(number);
        }
        self.settings.is_partial |= self.doubts > 0;
    }

    /// Files of this name that lie elsewhere, the linker finds where it looks for libraries.
    fn load_files(&mut self, rest: &[u8]) {
        for name in words(rest) {
            let name = self.resolved_now(&name);
            let is_there = name.contains(&b'/')
                || (self.spend(EACH_FILE) && self.files.exists(&name) == Some(true));
            if is_there {
                self.modules.add(&name);
            }
        }
    }

    pub(super) fn enter_host(&mut self, rest: &[u8]) {
        let end = rest.iter().rposition(|byte| *byte == b'>').unwrap_or(rest.len());
        let rest = self.resolved_at_last(rest.get(..end).unwrap_or_default());
        self.settings.tls_is_partial |= self.doubts > 0;
        self.hosts.enter(words(&rest));
    }

    /// What a host says of itself and of TLS.
    fn host(&mut self, directive: &[u8], mut rest: &[u8]) {
        self.settings.tls_is_partial |= self.doubts > 0;
        let value = self.resolved_at_last(&word(&mut rest));
        match directive {
            b"servername" => self.hosts.name(&value),
            b"sslengine" => self.hosts.engine(&value),
            b"sslcertificatekeyfile" => self.hosts.key(file(self.told, &value)),
            _ => self.hosts.certificate(file(self.told, &value)),
        }
    }

    /// A file that `mod_ssl` reads when it is loaded, or a directory of them.
    fn trust(&mut self, mut rest: &[u8], within: &[u8]) {
        self.settings.tls_is_partial |= self.doubts > 0;
        let mut name = self.resolved_at_last(&word(&mut rest));
        name.extend_from_slice(within);
        let is_kept = self.trusted.len() < MOST_TRUSTED && self.trusted.add(&name);
        self.settings.tls_is_partial |= !is_kept;
    }

    fn aliases(&mut self, rest: &[u8]) {
        self.settings.tls_is_partial |= self.doubts > 0;
        let rest = self.resolved_at_last(rest);
        for alias in words(&rest) {
            self.hosts.alias(&alias);
        }
    }

    /// `mod_ssl` hands some on to OpenSSL, which then knows of others.
    fn openssl_command(&mut self, mut rest: &[u8]) {
        let name = word(&mut rest).to_ascii_lowercase();
        if [&b"certificate"[..], b"privatekey"].contains(&name.as_slice()) {
            self.hosts.doubt();
        }
        if [&b"dhparameters"[..], b"chaincafile", b"verifycafile"].contains(&name.as_slice()) {
            self.trust(rest, b"");
        }
    }
}
