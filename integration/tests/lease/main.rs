//! One behaviour for both coordinators: the one in a process, and the one in a real etcd.

mod outages;
mod promises;
mod secured;
mod seen;

use std::time::Duration;

use signalbox_integration::{Client, Etcd, Scratch};
use signalbox_lease::{Coordinator, EtcdSettings};

use promises::PROMISES;

/// The least that etcd grants.
const TTL: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn the_one_in_a_process_keeps_every_promise() {
    for (name, promise) in PROMISES {
        println!("{name}");
        let coordinator = Coordinator::in_process();
        promise([coordinator.clone(), coordinator]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_in_etcd_keeps_every_promise() {
    let (scratch, client) = (Scratch::new().unwrap(), Client::new());
    for (name, promise) in PROMISES {
        println!("{name}");
        let mut etcd = Etcd::start(&scratch, &client).await.unwrap();
        promise([of(&etcd), of(&etcd)]).await;
        etcd.stop().await.unwrap();
        std::fs::remove_dir_all(scratch.path().join("etcd")).unwrap();
    }
}

fn of(etcd: &Etcd) -> Coordinator {
    let endpoints = vec![etcd.address().into()];
    Coordinator::etcd(EtcdSettings { endpoints, login: None, tls: None })
}
