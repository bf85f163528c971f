//! Which peers mutual TLS accepts and rejects.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;

use crate::connection::Transport;
use crate::echo_server::start_echo_server;
use crate::{Connection, ExposedListener, FileError, Identity, PeerRole, Security, TlsFlags};

/// A certificate authority and a folder with its files.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a certificate for `name` and its key, and returns the flags that use them.
    fn flags(&self, name: &str, params: CertificateParams) -> TlsFlags {
        let mut params = params;
        params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let (cert_file, key_file) = (self.file(name), self.file(&format!("{name}.key")));
        fs::write(&cert_file, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        TlsFlags {
            tls_ca: Some(self.file("ca")),
            tls_cert: Some(cert_file),
            tls_key: Some(key_file),
            ..TlsFlags::default()
        }
    }

    fn identity(&self, name: &str) -> Arc<Identity> {
        identity(&self.flags(name, CertificateParams::default()))
    }

    /// Returns an identity that accepts only `peer`.
    fn strict_identity(&self, name: &str, peer: &str) -> Arc<Identity> {
        identity(&TlsFlags {
            tls_peer: vec![peer.parse().unwrap()],
            ..self.flags(name, CertificateParams::default())
        })
    }
}

fn identity(flags: &TlsFlags) -> Arc<Identity> {
    Arc::new(flags.identity().unwrap().unwrap())
}

async fn dial(identity: &Identity, to: SocketAddr, name: &str) -> std::io::Result<Connection> {
    let name = name.to_owned().try_into().unwrap();
    let stream = TcpStream::connect(to).await?;
    let stream = TlsConnector::from(identity.configs().client).connect(name, stream).await?;
    Ok(Connection::tls(stream.into()))
}

async fn exchange(connection: &mut Connection) -> std::io::Result<()> {
    connection.write_all(b"ping").await?;
    connection.read_exact(&mut [0; 4]).await.map(|_| ())
}

/// Connects to `server` under the name `name` and exchanges bytes.
async fn connect(server: &Arc<Identity>, client: &Identity, name: &str) -> Result<(), String> {
    let address = start_echo_server(|listener| Security::Mutual(Arc::clone(server)).incoming(listener)).await;
    let exchanged = async { exchange(&mut dial(client, address, name).await?).await };
    exchanged.await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn certificate_of_the_authority_with_the_dialed_name_is_accepted() {
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let (owner, replica) = (ours.identity("owner"), ours.identity("replica"));
    assert_eq!(Ok(()), connect(&owner, &replica, "owner").await);
    let refused = connect(&owner, &replica, "somebody").await.unwrap_err();
    assert!(refused.contains("NotValidForName") || refused.contains("not valid for name"), "{refused}");
    let refused = connect(&other.identity("owner"), &replica, "owner").await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    let refused = connect(&owner, &other.identity("replica"), "owner").await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
}

#[tokio::test]
async fn allowed_names_are_checked_on_both_sides() {
    let ours = Authority::new("ours");
    let (plain_owner, plain_replica) = (ours.identity("owner"), ours.identity("replica"));
    let strict = ours.strict_identity("owner", "replica");
    assert_eq!(Ok(()), connect(&strict, &plain_replica, "owner").await);
    let refused = connect(&strict, &ours.identity("intruder"), "owner").await.unwrap_err();
    assert!(refused.contains("alert") || refused.contains("reset"), "{refused}");
    // Allowed names replace the check of the dialed name.
    let strict = ours.strict_identity("replica", "owner");
    assert_eq!(Ok(()), connect(&plain_owner, &strict, "another-name").await);
    let refused = connect(&ours.identity("intruder"), &strict, "intruder").await.unwrap_err();
    assert!(refused.contains("has the names intruder") && refused.contains("allows owner"), "{refused}");
}

#[tokio::test]
async fn allowed_name_can_be_a_uri() {
    let ours = Authority::new("ours");
    let uri = "spiffe://cluster.local/ns/default/sa/epp";
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    let replica = identity(&ours.flags("replica", params));
    assert_eq!(Ok(()), connect(&ours.strict_identity("owner", uri), &replica, "owner").await);
}

#[tokio::test]
async fn plaintext_is_rejected_and_a_stalled_handshake_blocks_no_other_client() {
    let ours = Authority::new("ours");
    let (owner, replica) = (ours.identity("owner"), ours.identity("replica"));
    let address = start_echo_server(|listener| Security::Mutual(owner).incoming(listener)).await;
    let _stalled = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    let _ = plain.read_to_end(&mut received).await;
    assert!(!received.starts_with(b"PRI"), "plaintext was served");
    exchange(&mut dial(&replica, address, "owner").await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn silent_clients_of_one_address_do_not_block_another() {
    let ours = Authority::new("ours");
    let (owner, replica) = (ours.identity("owner"), ours.identity("replica"));
    let address = start_echo_server(|listener| Security::Mutual(owner).incoming(listener)).await;
    let silent_client = || async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(address).await.unwrap()
    };
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(silent_client().await);
    }
    // They would have to time out, after five seconds, before it is the turn of this one.
    exchange(&mut dial(&replica, address, "owner").await.unwrap()).await.unwrap();
    // The oldest gave way without waiting for their time limit; the newest still have theirs.
    assert_eq!(0, silent[0].read(&mut [0; 1]).await.unwrap_or(0));
    let nothing = silent.last().unwrap().try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(std::io::ErrorKind::WouldBlock, nothing.kind());
}

#[tokio::test]
async fn name_is_allowed_only_in_its_role() {
    let ours = Authority::new("ours");
    let names = ["aggregator=owner", "collector=reader", "epp=picker", "autoscaler=scaler", "any"];
    let flags = TlsFlags {
        tls_peer: names.map(|name| name.parse().unwrap()).to_vec(),
        ..ours.flags("owner", CertificateParams::default())
    };
    let owner = identity(&flags);
    let picker = ours.identity("picker");
    // The handshake accepts each name, and the certificate says which streams its process may open.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let security = Security::Mutual(Arc::clone(&owner));
    let mut incoming = security.clone().incoming(listener);
    let _client = dial(&picker, address, "owner").await.unwrap();
    let accepted = incoming.next().await.unwrap().unwrap();
    let certificate = tonic::transport::server::Connected::connect_info(&accepted);
    assert_eq!(["picker"], certificate.names());
    assert_eq!(Ok(()), security.authorize(&certificate, &[PeerRole::Epp, PeerRole::Aggregator]));
    let refused = security.authorize(&certificate, &[PeerRole::Collector]).unwrap_err().to_string();
    assert!(refused.contains("names picker, and --tls-peer allows reader, any as collector"), "{refused}");
    for name in ["reader", "picker", "scaler"] {
        assert_eq!(Ok(()), connect(&owner, &ours.identity(name), "owner").await, "{name}");
    }
    // A server must be an aggregator.
    let refused = connect(&picker, &owner, "picker").await.unwrap_err();
    assert!(refused.contains("allows owner, any as aggregator"), "{refused}");
    assert!(connect(&owner, &ours.identity("somebody"), "owner").await.is_err());
}

#[tokio::test]
async fn client_without_a_certificate_is_rejected() {
    let ours = Authority::new("ours");
    let address =
        start_echo_server(|listener| Security::Mutual(ours.identity("owner")).incoming(listener)).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ours.file("ca")).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let exchanged = async {
        let name = "owner".try_into().unwrap();
        let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
        exchange(&mut Connection::tls(stream.into())).await
    };
    let refused = exchanged.await.unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

#[tokio::test]
async fn every_connection_performs_a_full_handshake() {
    let ours = Authority::new("ours");
    let (owner, replica) = (ours.identity("owner"), ours.identity("replica"));
    let address = start_echo_server(|listener| Security::Mutual(owner).incoming(listener)).await;
    for _ in 0..3 {
        let mut connection = dial(&replica, address, "owner").await.unwrap();
        exchange(&mut connection).await.unwrap();
        let Transport::Tls(stream) = connection.transport else { panic!("the connection is plaintext") };
        assert_eq!(Some(rustls::HandshakeKind::Full), stream.get_ref().1.handshake_kind());
    }
}

#[tokio::test]
async fn changed_files_apply_to_new_connections_and_open_ones_stay() {
    let (ours, next) = (Authority::new("ours"), Authority::new("another"));
    let (owner, replica) = (ours.identity("owner"), ours.identity("replica"));
    let address = start_echo_server(|listener| Security::Mutual(Arc::clone(&owner)).incoming(listener)).await;
    let mut open = dial(&replica, address, "owner").await.unwrap();
    exchange(&mut open).await.unwrap();
    // Only half of the new files are there: the previous version stays in use.
    fs::copy(next.file("ca"), ours.file("ca")).unwrap();
    next.flags("owner", CertificateParams::default());
    fs::copy(next.file("owner.key"), ours.file("owner.key")).unwrap();
    owner.expire();
    exchange(&mut dial(&replica, address, "owner").await.unwrap()).await.unwrap();
    fs::copy(next.file("owner"), ours.file("owner")).unwrap();
    owner.expire();
    let refused = dial(&replica, address, "owner").await.unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    exchange(&mut dial(&next.identity("replica"), address, "owner").await.unwrap()).await.unwrap();
    exchange(&mut open).await.unwrap();
}

#[test]
fn file_errors_name_the_flag_the_file_and_the_fix() {
    let ours = Authority::new("ours");
    let refused = |flags: &TlsFlags| Security::from_flags(flags).unwrap_err().to_string();
    let flags = ours.flags("owner", CertificateParams::default());
    let missing = TlsFlags { tls_ca: Some("/nowhere/ca".into()), ..flags.clone() };
    assert!(refused(&missing).contains("--tls-ca /nowhere/ca"), "{}", refused(&missing));
    let swapped = TlsFlags { tls_cert: flags.tls_key.clone(), ..flags.clone() };
    assert!(refused(&swapped).contains("expected a certificate in PEM format"), "{}", refused(&swapped));
    let swapped = TlsFlags { tls_key: flags.tls_cert.clone(), ..flags.clone() };
    assert!(refused(&swapped).contains("expected a private key in PEM format"), "{}", refused(&swapped));
    let other = ours.flags("other", CertificateParams::default());
    let mixed = TlsFlags { tls_key: other.tls_key, ..flags };
    assert!(matches!(Security::from_flags(&mixed), Err(FileError::Mismatch { .. })), "{}", refused(&mixed));
    let mut expired = CertificateParams::default();
    expired.not_before = rcgen::date_time_ymd(2001, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let expired = ours.flags("expired", expired);
    assert!(refused(&expired).contains("renew it"), "{}", refused(&expired));
}

#[tokio::test]
async fn without_tls_only_loopback_is_allowed() {
    let everywhere: SocketAddr = "0.0.0.0:9200".parse().unwrap();
    let local = Security::from_flags(&TlsFlags::default()).unwrap();
    assert_eq!(Err(ExposedListener(everywhere)), local.check_listen_address(everywhere));
    assert_eq!(Ok(()), local.check_listen_address("127.0.0.1:9200".parse().unwrap()));
    let refused = local.connect(&"10.0.0.1:9200".parse().unwrap(), |endpoint| endpoint).await;
    assert!(refused.unwrap_err().to_string().contains("--plaintext"));
    let plain = Security::from_flags(&TlsFlags { plaintext: true, ..TlsFlags::default() }).unwrap();
    assert_eq!(Ok(()), plain.check_listen_address(everywhere));
    let limited = |endpoint: tonic::transport::Endpoint| endpoint.connect_timeout(Duration::from_secs(5));
    let error = plain.connect(&"127.0.0.1:1".parse().unwrap(), limited).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}
