//! One handshake: what a client is shown, whether or not it would be let in.

use std::{
    io::{self, ErrorKind, Read as _},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::BorrowedFd,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::Way;
use crate::{
    clock,
    decode::certificate,
    model::{
        source::Why,
        time::Moment,
        tls::{Certificate, KeyAlgorithm},
    },
    observe::process_table,
};

/// A listener of the same host answers at once, or its queue is full.
const CONNECT: Duration = Duration::from_secs(2);
/// From the connection to the last byte.
const WHOLE: Duration = Duration::from_secs(5);
/// For the listener to hang up, after which its worker is free again.
const FAREWELL: Duration = Duration::from_secs(1);

const RSA: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];
const ECDSA: [SignatureScheme; 3] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
];
const OTHER: [SignatureScheme; 2] = [SignatureScheme::ED25519, SignatureScheme::ED448];

/// Makes handshakes, until it is cancelled.
pub(super) struct Prober<'a> {
    provider: Arc<CryptoProvider>,
    /// Its other end is closed when all is to end.
    cancelled: BorrowedFd<'a>,
}

impl<'a> Prober<'a> {
    pub(super) fn new(cancelled: BorrowedFd<'a>) -> Self {
        Self { provider: Arc::new(ring::default_provider()), cancelled }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        let mut ends = [PollFd::from_borrowed_fd(self.cancelled, PollFlags::IN)];
        poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// The certificate that is served; a handshake that fails once it was shown shows it too.
    pub(super) fn served(&self, way: &Way) -> Result<Certificate, Why> {
        let (stream, place) = connect(&way.places)?;
        let leaf = Arc::new(Leaf { algorithm: way.algorithm, shown: OnceLock::new() });
        let name = way.name.as_deref().and_then(|name| ServerName::try_from(name).ok());
        // rustls asks for no name where it is given an address.
        let name = name.map_or_else(|| ServerName::from(place.ip()), |name| name.to_owned());
        let mut tls = self.client(&leaf, name).map_err(|_| Why::Other)?;
        let mut line = Line { stream, cancelled: self.cancelled, until: clock::now().after(WHOLE) };
        let shaken = line.shake(&mut tls);
        line.hang_up(&mut tls);
        match (leaf.shown.get(), shaken) {
            (Some(Some(shown)), _) if leaf.may_be(shown) => Ok(*shown),
            (Some(_), _) | (None, Ok(())) => Err(Why::Invalid),
            (None, Err(why)) => Err(why),
        }
    }

    fn client(
        &self,
        leaf: &Arc<Leaf>,
        name: ServerName<'static>,
    ) -> Result<ClientConnection, Error> {
        let verifier = Arc::clone(leaf);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = builder.with_no_client_auth();
        // A resumed session shows no certificate.
        config.resumption = Resumption::disabled();
        ClientConnection::new(Arc::new(config), name)
    }
}

/// The first place that is connected to.
fn connect(places: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Why> {
    let mut first = Why::Other;
    for (index, place) in places.iter().enumerate() {
        match TcpStream::connect_timeout(place, CONNECT) {
            Ok(stream) => return Ok((stream, *place)),
            Err(error) if index == 0 => first = reason(&error),
            Err(_) => {}
        }
        if first == Why::Timeout {
            break;
        }
    }
    Err(first)
}

fn reason(error: &io::Error) -> Why {
    const NOBODY: [ErrorKind; 4] = [
        ErrorKind::ConnectionRefused,
        ErrorKind::AddrNotAvailable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::HostUnreachable,
    ];
    /// What does not speak TLS has heard enough.
    const ENDED: [ErrorKind; 4] = [
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
    ];
    if NOBODY.contains(&error.kind()) {
        Why::Missing
    } else if ENDED.contains(&error.kind()) {
        Why::Invalid
    } else {
        process_table::why(error)
    }
}

/// A connection, and until when it may last.
struct Line<'a> {
    stream: TcpStream,
    cancelled: BorrowedFd<'a>,
    until: Moment,
}

impl Line<'_> {
    fn shake(&mut self, tls: &mut ClientConnection) -> Result<(), Why> {
        // All that is written fits the socket's buffer.
        self.stream.set_write_timeout(Some(CONNECT)).map_err(|error| reason(&error))?;
        self.write(tls)?;
        while tls.is_handshaking() {
            self.wait()?;
            if tls.read_tls(&mut self.stream).map_err(|error| reason(&error))? == 0 {
                return Err(Why::Invalid);
            }
            let understood = tls.process_new_packets();
            self.write(tls)?;
            understood.map_err(|_| Why::Invalid)?;
        }
        Ok(())
    }

    fn write(&mut self, tls: &mut ClientConnection) -> Result<(), Why> {
        while tls.wants_write() {
            tls.write_tls(&mut self.stream).map_err(|error| reason(&error))?;
        }
        Ok(())
    }

    /// Says so in TLS and in TCP, and waits for the other end, which else would wait for this one.
    fn hang_up(&mut self, tls: &mut ClientConnection) {
        tls.send_close_notify();
        let is_heard = self.write(tls).is_ok() && self.stream.shutdown(Shutdown::Write).is_ok();
        if !is_heard {
            return;
        }
        self.until = self.until.min(clock::now().after(FAREWELL));
        let mut rest = [0; 4096];
        while self.wait().is_ok() {
            match self.stream.read(&mut rest) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Until there is something to read.
    fn wait(&self) -> Result<(), Why> {
        loop {
            let left = self.until.since(clock::now());
            if left.is_zero() {
                return Err(Why::Timeout);
            }
            let mut ends = [
                PollFd::new(&self.stream, PollFlags::IN),
                PollFd::from_borrowed_fd(self.cancelled, PollFlags::IN),
            ];
            let timeout = Timespec::try_from(left).map_err(|_| Why::Other)?;
            match poll(&mut ends, Some(&timeout)) {
                Ok(0) => return Err(Why::Timeout),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(reason(&error.into())),
                Ok(_) => {}
            }
            let [stream, cancelled] = &ends;
            if !cancelled.revents().is_empty() {
                return Err(Why::Other);
            }
            if !stream.revents().is_empty() {
                return Ok(());
            }
        }
    }
}

/// Takes every certificate, and keeps the first one, the server's own.
#[derive(Debug)]
struct Leaf {
    /// Only such a one is asked for; `None`: any.
    algorithm: Option<KeyAlgorithm>,
    /// `None` in it: something else than a certificate.
    shown: OnceLock<Option<Certificate>>,
}

impl Leaf {
    fn may_be(&self, shown: &Certificate) -> bool {
        self.algorithm.is_none_or(|algorithm| algorithm == shown.algorithm)
    }
}

impl ServerCertVerifier for Leaf {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.shown.get_or_init(|| certificate::of_der(leaf));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// Of two certificates of a host a server shows the one that its client can verify.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self.algorithm {
            Some(KeyAlgorithm::Rsa) => RSA.to_vec(),
            Some(KeyAlgorithm::Ecdsa) => ECDSA.to_vec(),
            Some(KeyAlgorithm::Other) => OTHER.to_vec(),
            None => ECDSA.into_iter().chain(RSA).chain(OTHER).collect(),
        }
    }
}
