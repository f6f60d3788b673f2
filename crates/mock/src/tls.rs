//! HTTPS, with a CA that is made for one server and that nobody else trusts.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portunus_auth_core::{Clock, SystemClock};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::StartError;
use crate::server::{MockServer, ServerBuilder};
use crate::socket::Socket;

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Apple's clients take no certificate for longer than 825 days, whoever signed it.
const VALID_FOR: Duration = Duration::from_secs(800 * 24 * 3_600);

/// What was chosen of HTTPS.
#[derive(Debug, Default)]
pub(crate) struct Https {
    ca_file: Option<PathBuf>,
}

impl Https {
    pub(crate) fn tls(&self) -> Result<Tls, StartError> {
        let tls = Tls::generate()?;
        let Some(path) = &self.ca_file else { return Ok(tls) };
        // Children may have another working directory.
        let written = std::path::absolute(path).and_then(|path| {
            std::fs::write(&path, tls.ca_pem())?;
            Ok(path)
        });
        let ca_file = written.map_err(|source| StartError::CaFile { path: path.clone(), source })?;
        Ok(Tls { ca_file: Some(ca_file.into()), ..tls })
    }
}

impl ServerBuilder {
    /// Serves HTTPS for 127.0.0.1, `localhost` and `::1`, and so does the OAuth server. The certificates'
    /// CA is new each time ([`MockServer::ca_pem`]).
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.https.get_or_insert_default();
        self
    }

    /// Serves HTTPS as [`tls`](Self::tls) does, and writes the CA's certificate to that file, for clients
    /// that are told of a file to trust.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.https = Some(Https { ca_file: Some(path.into()) });
        self
    }
}

impl MockServer {
    /// The certificate of the CA to trust, in PEM, if it serves HTTPS. The OAuth server has the same.
    pub fn ca_pem(&self) -> Option<&str> {
        self.host.tls().map(Tls::ca_pem)
    }

    /// Where the CA's certificate was written to, as an absolute path, if that was wished.
    pub fn ca_file(&self) -> Option<&Path> {
        self.host.tls().and_then(Tls::ca_file)
    }

    /// The variables by which clients find the CA to trust, if its certificate is in a file. All but Node's
    /// make it the only one that they trust.
    pub(crate) fn ca_env(&self) -> Vec<(&'static str, String)> {
        let names = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];
        let file = self.ca_file().map(|file| file.to_string_lossy().into_owned());
        file.map(|file| names.map(|name| (name, file.clone())).to_vec()).unwrap_or_default()
    }
}

/// The certificate of a server, and that of the CA that signed it. The CA's key is gone.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    ca_pem: Arc<str>,
    /// Where that was written to.
    ca_file: Option<Arc<Path>>,
}

impl Tls {
    pub(crate) fn generate() -> Result<Self, StartError> {
        let (certificate, key, ca) = certificates().map_err(|error| failed(error.into()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key));
        let mut config = config.map_err(|error| failed(error.into()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem: pem(&ca).into(), ca_file: None })
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    pub(crate) async fn accept(&self, socket: Socket) -> io::Result<TlsStream<Socket>> {
        self.acceptor.accept(socket).await
    }
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> StartError {
    StartError::Certificate(error)
}

type Issued = (CertificateDer<'static>, PrivateKeyDer<'static>, CertificateDer<'static>);

/// The certificate and the key of a server, and the certificate of its CA.
fn certificates() -> Result<Issued, rcgen::Error> {
    let mut params = named("Portunus mock CA, for tests only", &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let mut params = named("Portunus mock", &["localhost", "127.0.0.1", "::1"])?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // OpenSSL's strict mode, which is Python's default, asks for it.
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &ca)?;
    Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into(), ca.der().clone()))
}

/// Clients compare with the machine's clock, so certificates go by it and not by the mock's.
fn named(name: &str, hosts: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemClock.now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + VALID_FOR).into();
    Ok(params)
}

/// RFC 7468.
fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
