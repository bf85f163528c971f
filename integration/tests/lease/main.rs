//! Tests that both coordinators behave the same: the in-process one and etcd.

mod authentication;
mod conformance;
mod outages;
mod wait;

use std::time::Duration;

use signalbox_integration::{Client, Etcd, TestDir};
use signalbox_lease::{Coordinator, EtcdSettings};

use conformance::TESTS;

/// The shortest lease that etcd grants.
const TTL: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn in_process_coordinator_conforms() {
    for (name, test) in TESTS {
        println!("{name}");
        let coordinator = Coordinator::in_process();
        test([coordinator.clone(), coordinator]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_coordinator_conforms() {
    let (dir, client) = (TestDir::new().unwrap(), Client::new());
    for (name, test) in TESTS {
        println!("{name}");
        let mut etcd = Etcd::start(&dir, &client).await.unwrap();
        test([coordinator(&etcd), coordinator(&etcd)]).await;
        etcd.stop().await.unwrap();
        std::fs::remove_dir_all(dir.path().join("etcd")).unwrap();
    }
}

fn coordinator(etcd: &Etcd) -> Coordinator {
    let endpoints = vec![etcd.address().into()];
    Coordinator::etcd(EtcdSettings { endpoints, login: None, tls: None })
}
