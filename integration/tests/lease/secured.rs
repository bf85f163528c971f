//! An etcd that lets in not everybody.

use std::fs;

use signalbox_integration::{Authority, Certificates, Client, Etcd, Scratch, Transport};
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
    let transport = Transport::Mutual(Certificates { ca: ca.file().to_owned(), certificate, key });
    let etcd = Etcd::start_with(&scratch, &client, transport).await.unwrap();
    let with = |ca: &Authority, identity| {
        let tls = Some(TlsFiles { ca: ca.file().to_owned(), identity });
        Coordinator::etcd(EtcdSettings { endpoints: vec![etcd.address().into()], login: None, tls })
    };
    let known = ca.signs(&scratch, "known").unwrap();
    works(&with(&ca, Some(known.clone()))).await;
    refused(&with(&stranger, Some(known))).await;
    refused(&with(&ca, Some(stranger.signs(&scratch, "unknown").unwrap()))).await;
    refused(&with(&ca, None)).await;
    refused(&crate::of(&etcd)).await;
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
