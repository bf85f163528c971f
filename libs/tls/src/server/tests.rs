use std::fs;
use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use rustls::version::TLS12;
use rustls::{ClientConfig, ProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::client::unverified_client_config;
use crate::echo_server::start_echo_server;
use crate::parameters::MinVersion;

/// Writes a certificate for `name` and its key.
fn write_pair(folder: &Path, name: &str) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    certificate.der().clone()
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(b"ping", &answer);
}

async fn dial(address: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(address.ip().into(), stream).await
}

/// Returns the certificate that the server presents.
async fn presented_certificate(address: SocketAddr) -> CertificateDer<'static> {
    let stream = dial(address, unverified_client_config(None).unwrap()).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn self_signed_certificate_serves_clients_that_do_not_verify_it() {
    let server_tls = ServerTls::self_signed(&TlsParameters::default()).unwrap();
    let address = start_echo_server(|listener| server_tls.clone().incoming(listener)).await;
    let stream = dial(address, unverified_client_config(None).unwrap()).await.unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(Some(&b"h2"[..]), connection.alpn_protocol());
    assert_eq!(Some(ProtocolVersion::TLSv1_3), connection.protocol_version());
    // It is valid now, and every process generates its own.
    check_validity_period(&connection.peer_certificates().unwrap()[0]).unwrap();
    let other = start_echo_server(|listener| {
        ServerTls::self_signed(&TlsParameters::default()).unwrap().incoming(listener)
    })
    .await;
    assert_eq!(presented_certificate(address).await, presented_certificate(address).await);
    assert_ne!(presented_certificate(address).await, presented_certificate(other).await);
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let address = start_echo_server(|listener| {
        ServerTls::self_signed(&TlsParameters::default()).unwrap().incoming(listener)
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    exchange(dial(address, unverified_client_config(None).unwrap()).await.unwrap()).await;
    // The oldest gave way; the newest may still speak.
    assert_eq!(0, silent[0].read(&mut [0]).await.unwrap_or(0));
    let newest = silent.pop().unwrap();
    let connector = TlsConnector::from(Arc::new(unverified_client_config(None).unwrap()));
    exchange(connector.connect(address.ip().into(), newest).await.unwrap()).await;
}

#[tokio::test]
async fn plaintext_connections_pass_unchanged() {
    let address = start_echo_server(|listener| ServerTls::Plaintext.incoming(listener)).await;
    exchange(TcpStream::connect(address).await.unwrap()).await;
}

#[tokio::test]
async fn versions_below_the_minimum_are_rejected() {
    let parameters = TlsParameters { min_version: MinVersion::Tls13, suites: None };
    let address =
        start_echo_server(|listener| ServerTls::self_signed(&parameters).unwrap().incoming(listener)).await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS12]).unwrap();
    let old = old.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let refused = dial(address, old).await.unwrap_err().to_string();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    dial(address, unverified_client_config(None).unwrap()).await.unwrap();
}

#[tokio::test]
async fn changed_files_apply_to_new_connections_and_an_invalid_pair_is_ignored() {
    let folder = TempDir::new().unwrap();
    let first = write_pair(folder.path(), "first");
    let server_tls = ServerTls::from_directory(folder.path(), TlsParameters::default()).unwrap();
    let ServerTls::Tls(certificate) = server_tls.clone() else { panic!("the server is plaintext") };
    let address = start_echo_server(|listener| server_tls.incoming(listener)).await;
    assert_eq!(first, presented_certificate(address).await);
    let open = dial(address, unverified_client_config(None).unwrap()).await.unwrap();
    let old_key = fs::read(folder.path().join("tls.key")).unwrap();
    let second = write_pair(folder.path(), "second");
    let new_key = fs::read(folder.path().join("tls.key")).unwrap();
    fs::write(folder.path().join("tls.key"), old_key).unwrap();
    certificate.expire();
    assert_eq!(first, presented_certificate(address).await, "the key does not match the certificate");
    fs::write(folder.path().join("tls.key"), new_key).unwrap();
    certificate.expire();
    assert_eq!(second, presented_certificate(address).await);
    // Open connections stay open.
    exchange(open).await;
}

#[test]
fn missing_files_are_an_error_that_names_the_flag_and_the_file() {
    let folder = TempDir::new().unwrap();
    let refused =
        |folder: &Path| ServerTls::from_directory(folder, TlsParameters::default()).unwrap_err().to_string();
    assert!(refused(folder.path()).contains("--cert-path") && refused(folder.path()).contains("tls.crt"));
    write_pair(folder.path(), "first");
    fs::write(folder.path().join("tls.key"), "no key").unwrap();
    assert!(refused(folder.path()).contains("expected a private key"), "{}", refused(folder.path()));
}

#[test]
fn expired_certificate_is_still_served() {
    let folder = TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    fs::write(folder.path().join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.path().join("tls.key"), key.serialize_pem()).unwrap();
    ServerTls::from_directory(folder.path(), TlsParameters::default()).unwrap();
}
