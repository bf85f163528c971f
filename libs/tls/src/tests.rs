//! Who gets in, and who does not.

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

use crate::{Connection, Exposed, FileError, Identity, Security, TlsFlags};

/// An authority, and a folder with files of its own.
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

    /// Writes a certificate of these names and its key, and names them in flags.
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

    /// One that speaks with nobody but `peer`.
    fn choosy(&self, name: &str, peer: &str) -> Arc<Identity> {
        identity(&TlsFlags {
            tls_peer: vec![peer.to_owned()],
            ..self.flags(name, CertificateParams::default())
        })
    }
}

fn identity(flags: &TlsFlags) -> Arc<Identity> {
    Arc::new(flags.identity().unwrap().unwrap())
}

/// Sends back what it gets, on each connection.
async fn echo(security: Security) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = security.incoming(listener);
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

async fn dial(identity: &Identity, to: SocketAddr, name: &str) -> std::io::Result<Connection> {
    let name = name.to_owned().try_into().unwrap();
    let stream = TcpStream::connect(to).await?;
    let stream = TlsConnector::from(identity.configs().client).connect(name, stream).await?;
    Ok(Connection::Tls(Box::new(stream.into())))
}

async fn answers(connection: &mut Connection) -> std::io::Result<()> {
    connection.write_all(b"ping").await?;
    connection.read_exact(&mut [0; 4]).await.map(|_| ())
}

/// What becomes of a connection to `server`, taken for `name`.
async fn meet(server: &Arc<Identity>, client: &Identity, name: &str) -> Result<(), String> {
    let address = echo(Security::Mutual(Arc::clone(server))).await;
    let met = async { answers(&mut dial(client, address, name).await?).await };
    met.await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn who_has_a_certificate_of_the_authority_and_the_dialled_name_gets_in() {
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let (owner, replica) = (ours.identity("owner"), ours.identity("replica"));
    assert_eq!(Ok(()), meet(&owner, &replica, "owner").await);
    let refused = meet(&owner, &replica, "somebody").await.unwrap_err();
    assert!(refused.contains("NotValidForName") || refused.contains("not valid for name"), "{refused}");
    let refused = meet(&other.identity("owner"), &replica, "owner").await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    let refused = meet(&owner, &other.identity("replica"), "owner").await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
}

#[tokio::test]
async fn names_are_checked_on_both_sides_where_they_are_given() {
    let ours = Authority::new("ours");
    let (plain_owner, plain_replica) = (ours.identity("owner"), ours.identity("replica"));
    let choosy = ours.choosy("owner", "replica");
    assert_eq!(Ok(()), meet(&choosy, &plain_replica, "owner").await);
    let refused = meet(&choosy, &ours.identity("intruder"), "owner").await.unwrap_err();
    assert!(refused.contains("alert") || refused.contains("reset"), "{refused}");
    // Whatever name it is dialled by.
    let choosy = ours.choosy("replica", "owner");
    assert_eq!(Ok(()), meet(&plain_owner, &choosy, "whatever").await);
    let refused = meet(&ours.identity("intruder"), &choosy, "intruder").await.unwrap_err();
    assert!(refused.contains("is of intruder") && refused.contains("allows owner"), "{refused}");
}

#[tokio::test]
async fn a_name_may_be_a_uri() {
    let ours = Authority::new("ours");
    let uri = "spiffe://cluster.local/ns/default/sa/epp";
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    let replica = identity(&ours.flags("replica", params));
    assert_eq!(Ok(()), meet(&ours.choosy("owner", uri), &replica, "owner").await);
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in_and_a_hanging_handshake_holds_up_nobody() {
    let ours = Authority::new("ours");
    let (owner, replica) = (ours.identity("owner"), ours.identity("replica"));
    let address = echo(Security::Mutual(owner)).await;
    let _hangs = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said).await;
    assert!(!said.starts_with(b"PRI"), "it was served");
    answers(&mut dial(&replica, address, "owner").await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused() {
    let ours = Authority::new("ours");
    let address = echo(Security::Mutual(ours.identity("owner"))).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ours.file("ca")).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let met = async {
        let name = "owner".try_into().unwrap();
        let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
        answers(&mut Connection::Tls(Box::new(stream.into()))).await
    };
    let refused = met.await.unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

#[tokio::test]
async fn each_connection_shows_its_certificates_anew() {
    let ours = Authority::new("ours");
    let (owner, replica) = (ours.identity("owner"), ours.identity("replica"));
    let address = echo(Security::Mutual(owner)).await;
    for _ in 0..3 {
        let mut connection = dial(&replica, address, "owner").await.unwrap();
        answers(&mut connection).await.unwrap();
        let Connection::Tls(stream) = connection else { panic!("it is plain") };
        assert_eq!(Some(rustls::HandshakeKind::Full), stream.get_ref().1.handshake_kind());
    }
}

#[tokio::test]
async fn changed_files_count_for_new_connections_and_open_ones_stay() {
    let (ours, next) = (Authority::new("ours"), Authority::new("another"));
    let (owner, replica) = (ours.identity("owner"), ours.identity("replica"));
    let address = echo(Security::Mutual(Arc::clone(&owner))).await;
    let mut open = dial(&replica, address, "owner").await.unwrap();
    answers(&mut open).await.unwrap();
    // Half of the files are there: those before stay in use.
    fs::copy(next.file("ca"), ours.file("ca")).unwrap();
    next.flags("owner", CertificateParams::default());
    fs::copy(next.file("owner.key"), ours.file("owner.key")).unwrap();
    owner.expire();
    answers(&mut dial(&replica, address, "owner").await.unwrap()).await.unwrap();
    fs::copy(next.file("owner"), ours.file("owner")).unwrap();
    owner.expire();
    let refused = dial(&replica, address, "owner").await.unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    answers(&mut dial(&next.identity("replica"), address, "owner").await.unwrap()).await.unwrap();
    answers(&mut open).await.unwrap();
}

#[test]
fn each_mistake_in_the_files_names_the_file_and_the_mend() {
    let ours = Authority::new("ours");
    let refused = |flags: &TlsFlags| Security::of(flags).unwrap_err().to_string();
    let flags = ours.flags("owner", CertificateParams::default());
    let missing = TlsFlags { tls_ca: Some("/nowhere/ca".into()), ..flags.clone() };
    assert!(refused(&missing).contains("--tls-ca /nowhere/ca"), "{}", refused(&missing));
    let swapped = TlsFlags { tls_cert: flags.tls_key.clone(), ..flags.clone() };
    assert!(refused(&swapped).contains("a certificate is wanted, in PEM"), "{}", refused(&swapped));
    let swapped = TlsFlags { tls_key: flags.tls_cert.clone(), ..flags.clone() };
    assert!(refused(&swapped).contains("a private key is wanted, in PEM"), "{}", refused(&swapped));
    let other = ours.flags("other", CertificateParams::default());
    let mixed = TlsFlags { tls_key: other.tls_key, ..flags };
    assert!(matches!(Security::of(&mixed), Err(FileError::Mismatch { .. })), "{}", refused(&mixed));
    let mut over = CertificateParams::default();
    over.not_before = rcgen::date_time_ymd(2001, 1, 1);
    over.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let over = ours.flags("over", over);
    assert!(refused(&over).contains("renew it"), "{}", refused(&over));
}

#[tokio::test]
async fn without_tls_only_this_machine_is_spoken_with() {
    let everywhere: SocketAddr = "0.0.0.0:9200".parse().unwrap();
    let local = Security::of(&TlsFlags::default()).unwrap();
    assert_eq!(Err(Exposed(everywhere)), local.listens_at(everywhere));
    assert_eq!(Ok(()), local.listens_at("127.0.0.1:9200".parse().unwrap()));
    let refused = local.connect(&"10.0.0.1:9200".parse().unwrap(), |endpoint| endpoint).await;
    assert!(refused.unwrap_err().to_string().contains("--plaintext"));
    let plain = Security::of(&TlsFlags { plaintext: true, ..TlsFlags::default() }).unwrap();
    assert_eq!(Ok(()), plain.listens_at(everywhere));
    let hurried = |endpoint: tonic::transport::Endpoint| endpoint.connect_timeout(Duration::from_secs(5));
    let nobody = plain.connect(&"127.0.0.1:1".parse().unwrap(), hurried).await.unwrap_err().to_string();
    assert!(nobody.contains("refused"), "{nobody}");
}
