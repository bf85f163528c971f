//! Tests etcd with passwords and with client certificates.

use std::fs;

use signalbox_integration::{CertificateAuthority, Certificates, Client, Etcd, TestDir, Transport};
use signalbox_lease::{Coordinator, EtcdSettings, Login, RegisteredOwner, TlsFiles};

use crate::TTL;
use crate::wait::{aggregator, pool, wait_granted, wait_members, wait_owner};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_password_is_accepted() {
    let (dir, client) = (TestDir::new().unwrap(), Client::new());
    let etcd = Etcd::start(&dir, &client).await.unwrap();
    etcd.require_password(&client, "sesame").await.unwrap();
    let with = |password: &str| {
        let password_file = dir.path().join(password);
        fs::write(&password_file, format!("{password}\n")).unwrap();
        let login = Login { user: "root".to_owned(), password_file };
        Coordinator::etcd(EtcdSettings {
            endpoints: vec![etcd.address().into()],
            login: Some(login),
            tls: None,
        })
    };
    check_accepted(&with("sesame")).await;
    check_refused(&with("guessed")).await;
    check_refused(&crate::coordinator(&etcd)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_trusted_certificates_are_accepted() {
    let (dir, client) = (TestDir::new().unwrap(), Client::new());
    let (ca, stranger) = (
        CertificateAuthority::new(&dir, "ca").unwrap(),
        CertificateAuthority::new(&dir, "stranger").unwrap(),
    );
    let (certificate, key) = ca.issue(&dir, "etcd").unwrap();
    let transport = Transport::MutualTls(Certificates { ca: ca.file().to_owned(), certificate, key });
    let etcd = Etcd::start_with(&dir, &client, transport).await.unwrap();
    let with = |ca: &CertificateAuthority, identity| {
        let tls = Some(TlsFiles { ca: ca.file().to_owned(), identity });
        Coordinator::etcd(EtcdSettings { endpoints: vec![etcd.address().into()], login: None, tls })
    };
    let known = ca.issue(&dir, "known").unwrap();
    check_accepted(&with(&ca, Some(known.clone()))).await;
    check_refused(&with(&stranger, Some(known))).await;
    check_refused(&with(&ca, Some(stranger.issue(&dir, "unknown").unwrap()))).await;
    check_refused(&with(&ca, None)).await;
    check_refused(&crate::coordinator(&etcd)).await;
}

async fn check_accepted(coordinator: &Coordinator) {
    let session = coordinator.join(aggregator("a"), TTL);
    wait_members(coordinator, &["a"]).await;
    wait_granted(&session, 0).await;
    wait_owner(coordinator, Some("a")).await;
    session.leave().await;
}

async fn check_refused(coordinator: &Coordinator) {
    coordinator.read_signal(&pool()).await.expect_err("etcd accepts the client");
    assert_eq!(RegisteredOwner::Unknown, *coordinator.owner(&pool()).borrow());
}
