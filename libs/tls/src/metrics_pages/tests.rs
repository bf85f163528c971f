//! Which servers of metrics pages are accepted, and what the errors advise.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
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
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
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
    stream.read_to_string(&mut page).await.unwrap();
    Ok(page)
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
    let tls = PageTls::with_authorities(ours.file()).unwrap();
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
    let tls = PageTls::with_authorities(Authority::new().file()).unwrap();
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
    let tls = PageTls::with_authorities(ours.file()).unwrap();
    let address = next.serve(named("127.0.0.1")).await;
    assert!(read(&tls, address, MetricsTls::Verified).await.is_err());
    fs::copy(next.file(), ours.file()).unwrap();
    let Authorities::File(reloading, _) = &tls.authorities else { panic!("there is a file") };
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
    let error = PageTls::with_authorities("/nowhere/ca".into()).unwrap_err().to_string();
    assert!(error.contains("cannot read --metrics-ca /nowhere/ca"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca");
    fs::write(&file, "").unwrap();
    let error = PageTls::with_authorities(file).unwrap_err().to_string();
    assert!(error.contains("expected a certificate in PEM format"), "{error}");
}
