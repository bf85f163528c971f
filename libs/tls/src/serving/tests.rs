use std::fs;
use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use rustls::version::TLS12;
use rustls::{ClientConfig, ProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt;

use super::*;
use crate::believing::believing;
use crate::offer::MinVersion;

/// Writes a certificate of this name and its key.
fn write(folder: &Path, name: &str) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    certificate.der().clone()
}

/// Sends back what it gets, on each connection.
async fn serve(serving: Serving) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = serving.incoming(listener);
    tokio::spawn(async move {
        while let Some(Ok(connection)) = incoming.next().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(connection);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn answers(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(b"ping", &answer);
}

async fn dial(address: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(address.ip().into(), stream).await
}

/// The certificate that is shown.
async fn shown(address: SocketAddr) -> CertificateDer<'static> {
    let stream = dial(address, believing().unwrap()).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn a_certificate_of_ones_own_making_serves_who_does_not_verify_it() {
    let serving = Serving::self_signed(&Offer::default()).unwrap();
    let address = serve(serving.clone()).await;
    let stream = dial(address, believing().unwrap()).await.unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(Some(&b"h2"[..]), connection.alpn_protocol());
    assert_eq!(Some(ProtocolVersion::TLSv1_3), connection.protocol_version());
    // It is good for years, and another process has another.
    current(&connection.peer_certificates().unwrap()[0]).unwrap();
    let other = serve(Serving::self_signed(&Offer::default()).unwrap()).await;
    assert_eq!(shown(address).await, shown(address).await);
    assert_ne!(shown(address).await, shown(other).await);
}

#[tokio::test]
async fn without_tls_nothing_stands_between() {
    let address = serve(Serving::Plaintext).await;
    answers(TcpStream::connect(address).await.unwrap()).await;
}

#[tokio::test]
async fn versions_below_the_lowest_are_refused() {
    let offer = Offer { min_version: MinVersion::Tls13, suites: None };
    let address = serve(Serving::self_signed(&offer).unwrap()).await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS12]).unwrap();
    let old = old.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let refused = dial(address, old).await.unwrap_err().to_string();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    dial(address, believing().unwrap()).await.unwrap();
}

#[tokio::test]
async fn changed_files_count_for_new_connections_and_a_bad_pair_leaves_the_last_one() {
    let folder = TempDir::new().unwrap();
    let first = write(folder.path(), "first");
    let serving = Serving::of_folder(folder.path(), Offer::default()).unwrap();
    let Serving::Tls(shows) = serving.clone() else { panic!("it is plain") };
    let address = serve(serving).await;
    assert_eq!(first, shown(address).await);
    let open = dial(address, believing().unwrap()).await.unwrap();
    let old_key = fs::read(folder.path().join("tls.key")).unwrap();
    let second = write(folder.path(), "second");
    let new_key = fs::read(folder.path().join("tls.key")).unwrap();
    fs::write(folder.path().join("tls.key"), old_key).unwrap();
    shows.expire();
    assert_eq!(first, shown(address).await, "a certificate with another's key");
    fs::write(folder.path().join("tls.key"), new_key).unwrap();
    shows.expire();
    assert_eq!(second, shown(address).await);
    // What is open stays so.
    answers(open).await;
}

#[test]
fn a_folder_without_the_files_is_an_error_that_names_them() {
    let folder = TempDir::new().unwrap();
    let refused = |folder: &Path| Serving::of_folder(folder, Offer::default()).unwrap_err().to_string();
    assert!(refused(folder.path()).contains("--cert-path") && refused(folder.path()).contains("tls.crt"));
    write(folder.path(), "first");
    fs::write(folder.path().join("tls.key"), "no key").unwrap();
    assert!(refused(folder.path()).contains("a private key is wanted"), "{}", refused(folder.path()));
}

#[test]
fn an_ended_certificate_serves_on() {
    let folder = TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    fs::write(folder.path().join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.path().join("tls.key"), key.serialize_pem()).unwrap();
    Serving::of_folder(folder.path(), Offer::default()).unwrap();
}
