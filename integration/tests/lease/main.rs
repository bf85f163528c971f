//! Tests that all coordinators behave the same: the in-process one, etcd, and Kubernetes.

mod authentication;
mod conformance;
mod fake_api;
mod kubernetes;
mod outages;
mod wait;

use std::time::Duration;

use signalbox_integration::{Client, Etcd, TestDir};
use signalbox_lease::{Coordinator, EtcdSettings};

use conformance::TESTS;
use fake_api::FakeApi;

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

#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_coordinator_conforms() {
    for (name, test) in TESTS {
        println!("{name}");
        let api = FakeApi::start().await.unwrap();
        test([api.coordinator().await, api.coordinator().await]).await;
    }
}

fn coordinator(etcd: &Etcd) -> Coordinator {
    let endpoints = vec![etcd.address().into()];
    Coordinator::etcd(EtcdSettings { endpoints, login: None, tls: None })
}
