//! An etcd that lets in not everybody.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use signalbox_integration::{Certificates, Client, Etcd, Scratch, Transport};
use signalbox_lease::{Coordinator, EtcdSettings, Login, OwnerSeen, TlsFiles};

use crate::TTL;
use crate::seen::{aggregator, granted, members, owner, pool};

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_password_gets_in_and_others_do_not() {
    let (scratch, client) = (Scratch::new().unwrap(), Client::new());
    let etcd = Etcd::start(&scratch, &client).await.unwrap();
    etcd.require_password(&client, "sesame").await.unwrap();
    let with = |password: &str| {
        let password_file = scratch.path().join(password);
        fs::write(&password_file, format!("{password}\n")).unwrap();
        let login = Login { user: "root".to_owned(), password_file };
        Coordinator::etcd(EtcdSettings {
            endpoints: vec![etcd.address().into()],
            login: Some(login),
            tls: None,
        })
    };
    works(&with("sesame")).await;
    refused(&with("guessed")).await;
    refused(&crate::of(&etcd)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_a_certificate_that_the_other_trusts() {
    let (scratch, client) = (Scratch::new().unwrap(), Client::new());
    let (ca, stranger) =
        (Authority::new(&scratch, "ca").unwrap(), Authority::new(&scratch, "stranger").unwrap());
    let (certificate, key) = ca.signs(&scratch, "etcd").unwrap();
    let transport = Transport::Mutual(Certificates { ca: ca.file.clone(), certificate, key });
    let etcd = Etcd::start_with(&scratch, &client, transport).await.unwrap();
    let with = |ca: &Authority, identity| {
        let tls = Some(TlsFiles { ca: ca.file.clone(), identity });
        Coordinator::etcd(EtcdSettings { endpoints: vec![etcd.address().into()], login: None, tls })
    };
    let known = ca.signs(&scratch, "known").unwrap();
    works(&with(&ca, Some(known.clone()))).await;
    refused(&with(&stranger, Some(known))).await;
    refused(&with(&ca, Some(stranger.signs(&scratch, "unknown").unwrap()))).await;
    refused(&with(&ca, None)).await;
    refused(&crate::of(&etcd)).await;
}

/// Signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(scratch: &Scratch, name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let (key, file) = (KeyPair::generate()?, scratch.path().join(format!("{name}.pem")));
        fs::write(&file, params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), file })
    }

    /// A certificate for this machine, and its key.
    fn signs(&self, scratch: &Scratch, name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(["127.0.0.1".to_owned()])?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = ["pem", "key"].map(|kind| scratch.path().join(format!("{name}.{kind}")));
        fs::write(&files[0], certificate.pem())?;
        fs::write(&files[1], key.serialize_pem())?;
        Ok(files.into())
    }
}

async fn works(coordinator: &Coordinator) {
    let session = coordinator.join(aggregator("a"), TTL);
    members(coordinator, &["a"]).await;
    granted(&session, 0).await;
    owner(coordinator, Some("a")).await;
    session.leave().await;
}

async fn refused(coordinator: &Coordinator) {
    coordinator.published(&pool()).await.expect_err("it is let in");
    assert_eq!(OwnerSeen::Unknown, *coordinator.owner(&pool()).borrow());
}
