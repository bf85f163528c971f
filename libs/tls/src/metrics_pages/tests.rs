//! Which servers of metrics pages are accepted, and what the errors advise.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A certificate authority and a folder with its certificate.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca")
    }

    /// Starts a server whose certificate was issued as `params` say.
    async fn serve(&self, params: CertificateParams) -> SocketAddr {
        self.serve_verifying(params, Arc::new(NoClientAuth)).await
    }

    /// Starts a server that verifies its clients.
    async fn serve_verifying(
        &self,
        params: CertificateParams,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_client_cert_verifier(clients);
        let mut config = config.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.write_all(b"page").await;
                    let _ = stream.shutdown().await;
                }
            }
        })
        .await
    }
}

/// Starts a server that handles each connection with `handle`.
async fn serve<F: Future<Output = ()> + Send + 'static>(
    handle: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

fn trusting_file(ca: PathBuf) -> Result<PageTls, FileError> {
    PageTls::with_files(PageTlsFiles { ca: Some(ca), own: None })
}

/// Returns the parameters of a certificate for this name or address.
fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// Connects to `address` by its IP address and reads what the server sends.
async fn read(tls: &PageTls, address: SocketAddr, metrics_tls: MetricsTls) -> Result<String, String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let connected = tls.connect(&address.ip().to_string(), stream, metrics_tls).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    assert_eq!(Some(&b"http/1.1"[..]), stream.get_ref().1.alpn_protocol());
    let mut page = String::new();
    let read = stream.read_to_string(&mut page).await;
    let explained = |error: std::io::Error| match PageTlsError::from_broken_connection(&error) {
        Some(error) => error.to_string(),
        None => error.to_string(),
    };
    read.map(|_| page).map_err(explained)
}

/// Checks that the error contains each of `parts`.
fn assert_says(read: Result<String, String>, parts: &[&str]) {
    let error = read.unwrap_err();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

const SKIP: &str = "signalbox.dev/metrics-insecure-skip-verify: \"true\"";

#[tokio::test]
async fn certificate_must_be_of_a_trusted_authority_and_for_the_host() {
    let (ours, other) = (Authority::new(), Authority::new());
    let tls = trusting_file(ours.file()).unwrap();
    let good = ours.serve(named("127.0.0.1")).await;
    assert_eq!(Ok("page".to_owned()), read(&tls, good, MetricsTls::Verified).await);
    let foreign = other.serve(named("127.0.0.1")).await;
    let file = ours.file().display().to_string();
    assert_says(read(&tls, foreign, MetricsTls::Verified).await, &["--metrics-ca", &file, SKIP]);
    let misnamed = ours.serve(named("vllm.default.svc")).await;
    assert_says(read(&tls, misnamed, MetricsTls::Verified).await, &["not valid for 127.0.0.1", SKIP]);
    let mut params = named("127.0.0.1");
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    assert_says(read(&tls, ours.serve(params).await, MetricsTls::Verified).await, &["expired", "renew it"]);
    let mut params = named("127.0.0.1");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_says(read(&tls, ours.serve(params).await, MetricsTls::Verified).await, &["CA:TRUE", SKIP]);
    for address in [foreign, misnamed] {
        assert_eq!(Ok("page".to_owned()), read(&tls, address, MetricsTls::Unverified).await);
    }
}

#[tokio::test]
async fn authority_that_the_platform_does_not_know_is_rejected() {
    let address = Authority::new().serve(named("127.0.0.1")).await;
    let tls = PageTls::default();
    assert_says(read(&tls, address, MetricsTls::Verified).await, &["--metrics-ca"]);
    assert_eq!(Ok("page".to_owned()), read(&tls, address, MetricsTls::Unverified).await);
}

#[tokio::test]
async fn server_without_tls_is_told_from_a_broken_connection() {
    let tls = trusting_file(Authority::new().file()).unwrap();
    let plain = serve(async |mut stream: TcpStream| {
        let _ = stream.read_u8().await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    assert_says(read(&tls, plain.await, MetricsTls::Unverified).await, &["http:// instead of https://"]);
    let closing = serve(async |stream: TcpStream| drop(stream)).await;
    let stream = TcpStream::connect(closing).await.unwrap();
    let error = tls.connect("127.0.0.1", stream, MetricsTls::Verified).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn changed_authorities_apply_to_new_connections() {
    let (ours, next) = (Authority::new(), Authority::new());
    let tls = trusting_file(ours.file()).unwrap();
    let address = next.serve(named("127.0.0.1")).await;
    assert!(read(&tls, address, MetricsTls::Verified).await.is_err());
    fs::copy(next.file(), ours.file()).unwrap();
    let (reloading, _) = tls.files.as_ref().unwrap();
    reloading.expire();
    assert_eq!(Ok("page".to_owned()), read(&tls, address, MetricsTls::Verified).await);
    fs::write(ours.file(), "not a certificate").unwrap();
    reloading.expire();
    assert_eq!(
        Ok("page".to_owned()),
        read(&tls, address, MetricsTls::Verified).await,
        "the last valid version"
    );
}

#[test]
fn unusable_authorities_file_is_rejected_with_its_flag_and_path() {
    let error = trusting_file("/nowhere/ca".into()).unwrap_err().to_string();
    assert!(error.contains("cannot read --metrics-ca /nowhere/ca"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca");
    fs::write(&file, "").unwrap();
    let error = trusting_file(file).unwrap_err().to_string();
    assert!(error.contains("expected a certificate in PEM format"), "{error}");
}

#[tokio::test]
async fn server_that_asks_for_a_client_certificate_gets_the_one_of_the_files() {
    let authority = Authority::new();
    let mut roots = RootCertStore::empty();
    let pem = fs::read(authority.file()).unwrap();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let address = authority.serve_verifying(named("127.0.0.1"), clients).await;
    for metrics_tls in [MetricsTls::Verified, MetricsTls::Unverified] {
        let without = trusting_file(authority.file()).unwrap();
        let needed = ["--metrics-cert", "--metrics-key"];
        assert_says(read(&without, address, metrics_tls).await, &needed);
    }
    let (cert, key) = (authority.folder.path().join("cert"), authority.folder.path().join("key"));
    let write = |issuer: &Authority, pair: &KeyPair| {
        let own = named("collector").signed_by(pair, &issuer.issuer).unwrap();
        fs::write(&cert, own.pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
    };
    write(&authority, &KeyPair::generate().unwrap());
    let files = PageTlsFiles { ca: Some(authority.file()), own: Some((cert.clone(), key.clone())) };
    let tls = PageTls::with_files(files.clone()).unwrap();
    for metrics_tls in [MetricsTls::Verified, MetricsTls::Unverified] {
        assert_eq!(Ok("page".to_owned()), read(&tls, address, metrics_tls).await);
    }
    let other_authority = PageTls::with_files(PageTlsFiles { ca: None, ..files.clone() }).unwrap();
    assert_says(read(&other_authority, address, MetricsTls::Verified).await, &["--metrics-ca"]);
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = PageTls::with_files(files).unwrap_err().to_string();
    assert!(error.contains("cannot use --metrics-cert") && error.contains("--metrics-key"), "{error}");
}

#[tokio::test]
async fn verification_can_be_turned_off_for_all_pages() {
    let foreign = Authority::new().serve(named("elsewhere")).await;
    for tls in [PageTls::default(), trusting_file(Authority::new().file()).unwrap()] {
        assert!(read(&tls, foreign, MetricsTls::Verified).await.is_err());
        let tls = tls.verifying_none();
        assert_eq!(Ok("page".to_owned()), read(&tls, foreign, MetricsTls::Verified).await);
    }
}
