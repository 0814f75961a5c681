//! An httpd that speaks TLS, its certificates, and looks at what it serves.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gracekeeper::{
    clock,
    decode::certificate,
    model::{
        files::FileSightings,
        process::{Pid, ProcessId},
        snapshot::Part,
        source::Why,
        time::{Moment, Uptime},
        tls::{Certificate, HostAddress, KeyAlgorithm, ServedCertificates, TlsHost, TlsPair},
    },
    observe::{
        served::{ProbeLook, ProbeWhen, ServedObserver, Workers},
        tls_probe::TlsProber,
        wake::Wake,
    },
};
use rcgen::{CertificateParams, KeyPair};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
};
use tempfile::TempDir;

use crate::harness::{
    Httpd, Mpm, configuration::Builder, eventually, eventually::eventually_within,
    httpd::unused_port,
};

const MODULES: &str = "/usr/lib/apache2/modules";
const RSA: &str = "tests/fixtures/tls/rsa.key";

/// What each file's handshake showed.
type Shown = BTreeMap<PathBuf, Result<Certificate, Why>>;

/// A site to be.
pub(super) struct Plan {
    directory: TempDir,
    text: String,
    hosts: Vec<TlsHost>,
    site: Site,
}

/// What is known of it, as gracekeeper's other parts would tell.
pub(super) struct Site {
    pub(super) hosts: Arc<[TlsHost]>,
    pub(super) listens: Vec<SocketAddr>,
    pub(super) sightings: Arc<FileSightings>,
}

impl Plan {
    pub(super) fn new() -> Self {
        let directory = TempDir::with_prefix("certificates-").unwrap();
        let mut text = format!("LoadModule ssl_module {MODULES}/mod_ssl.so\n");
        text.push_str("SSLSessionCache none\n");
        let sightings = Arc::default();
        let site = Site { hosts: Arc::default(), listens: Vec::new(), sightings };
        Self { directory, text, hosts: Vec::new(), site }
    }

    /// Writes a certificate and its key, and returns the certificate's file.
    pub(super) fn certificate(&mut self, name: &str, algorithm: KeyAlgorithm) -> PathBuf {
        let path = self.directory.path().join(name).with_extension("pem");
        self.site.write(&path, algorithm);
        path
    }

    pub(super) fn listen(&mut self) -> SocketAddr {
        let place = SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()));
        writeln!(self.text, "Listen {place}").unwrap();
        self.site.listens.push(place);
        place
    }

    pub(super) fn host(&mut self, place: SocketAddr, name: &str, files: &[&Path], more: &str) {
        writeln!(self.text, "<VirtualHost *:{}>\nSSLEngine on\n{more}", place.port()).unwrap();
        if !name.is_empty() {
            writeln!(self.text, "ServerName {name}").unwrap();
        }
        let pair = |file: &&Path| TlsPair { certificate: (*file).into(), key: key_of(file) };
        let pairs: Vec<TlsPair> = files.iter().map(pair).collect();
        for TlsPair { certificate, key } in &pairs {
            let [certificate, key] = [certificate, key].map(|path| path.display());
            writeln!(self.text, "SSLCertificateFile {certificate}\nSSLCertificateKeyFile {key}")
                .unwrap();
        }
        self.text.push_str("</VirtualHost>\n");
        self.hosts.push(TlsHost {
            addresses: vec![HostAddress { address: None, port: Some(place.port()) }],
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            aliases: Vec::new(),
            pairs,
        });
    }

    /// The directory must outlive restarts of the httpd.
    pub(super) fn start(
        mut self,
        mpm: Mpm,
        more: impl FnOnce(Builder) -> Builder,
    ) -> (Httpd, Site, TempDir) {
        let httpd = more(Httpd::builder(mpm).extra(&self.text)).start();
        self.site.hosts = self.hosts.into();
        (httpd, self.site, self.directory)
    }
}

impl Site {
    /// Another certificate, with another key, unless that is an RSA key.
    pub(super) fn write(&mut self, path: &Path, algorithm: KeyAlgorithm) -> Certificate {
        let key = match algorithm {
            KeyAlgorithm::Rsa => KeyPair::from_pem(&fs::read_to_string(RSA).unwrap()),
            KeyAlgorithm::Ecdsa | KeyAlgorithm::Other => KeyPair::generate(),
        };
        let key = key.unwrap();
        let parameters = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let made = parameters.self_signed(&key).unwrap();
        fs::write(path, made.pem()).unwrap();
        fs::write(key_of(path), key.serialize_pem()).unwrap();
        let told = certificate::of_der(made.der()).unwrap();
        assert_eq!(told.algorithm, algorithm);
        Arc::make_mut(&mut self.sightings).certificates.insert(path.to_owned(), told);
        // Every change has a value of its own.
        self.sightings = Arc::new(self.sightings.as_ref().clone());
        told
    }

    /// What is on disk.
    pub(super) fn on_disk(&self) -> Shown {
        let each = self.sightings.certificates.iter();
        each.map(|(path, certificate)| (path.clone(), Ok(*certificate))).collect()
    }
}

fn key_of(certificate: &Path) -> PathBuf {
    certificate.with_extension("key")
}

/// Looks at one parent, a second apart by its own clock however fast they come.
pub(super) struct Looks {
    observer: ServedObserver,
    prober: TlsProber,
    ear: OwnedFd,
    at: Moment,
    parent: ProcessId,
    pub(super) loads: u64,
    pub(super) workers: Workers,
}

impl Looks {
    pub(super) fn at(httpd: &Httpd) -> Self {
        let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let pid = Pid::new(httpd.pid().cast_signed()).unwrap();
        Self {
            observer: ServedObserver::new(1, ProbeWhen::OnChange),
            prober: TlsProber::start(Wake::new(wake)).unwrap(),
            ear,
            at: clock::now(),
            parent: ProcessId { pid, started: Uptime::from_micros(1) },
            loads: 0,
            workers: Workers::Ready(16),
        }
    }

    pub(super) fn look(&mut self, site: &Site) -> Option<Part<Arc<ServedCertificates>>> {
        self.at = self.at.after(Duration::from_secs(1)).max(clock::now());
        let look = ProbeLook {
            at: self.at,
            parent: self.parent,
            loads: self.loads,
            sightings: &site.sightings,
            hosts: Some(&site.hosts),
            listens: &site.listens,
            workers: self.workers,
        };
        self.observer.look(&look, Some(&mut self.prober))
    }

    pub(super) fn served(&mut self, site: &Site) -> Shown {
        match self.look(site) {
            Some(Part::Seen(served)) => {
                served.iter().map(|(path, it)| (path.clone(), it.result)).collect()
            }
            Some(Part::Unseen(_)) | None => BTreeMap::new(),
        }
    }

    /// Looks until this is served, and then some more.
    #[track_caller]
    pub(super) fn until_served(&mut self, site: &Site, expected: &Shown) {
        // A thousand handshakes take a while where everybody is busy.
        let patience = Duration::from_secs(180);
        eventually_within(patience, "what is served is what is expected", || {
            self.served(site) == *expected
        });
        for _ in 0..30 {
            assert_eq!(self.served(site), *expected);
        }
    }

    /// Looks until so many files were tried, and tells what became of each.
    #[track_caller]
    pub(super) fn tried(&mut self, site: &Site, count: usize) -> Vec<Result<Certificate, Why>> {
        eventually("all were tried", || {
            Some(self.served(site)).filter(|served| served.len() == count)
        })
        .into_values()
        .collect()
    }

    /// Returns when the prober is done with what the last look asked for.
    #[track_caller]
    pub(super) fn wait(&self) {
        let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.ear, PollFlags::IN)], Some(&timeout)).unwrap();
        assert_eq!(ready, 1, "nothing was asked for");
        rustix::io::read(&self.ear, &mut [0; 64]).unwrap();
    }
}

/// TLS connections that the httpd has begun to answer.
pub(super) fn connections(httpd: &Httpd) -> usize {
    let log = fs::read_to_string(httpd.directory().join("logs/error_log")).unwrap();
    log.matches("AH01964").count()
}
