//! Tests several pools: aggregators that serve all of them, and processes that serve one.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use signalbox_integration::{Client, Epp, Etcd, Fleet, Ports, Service, TestDir, eventually, write_pool};

const SCRAPE_INTERVAL: Duration = Duration::from_millis(50);

/// Returns the pool's full name, NAMESPACE/NAME.
fn full_name(pool: &str) -> String {
    format!("default/{pool}")
}

#[tokio::test]
async fn one_aggregator_serves_several_pools_and_each_follower_one() {
    let (dir, client, mut ports) = (TestDir::new().unwrap(), Client::new(), Ports::new());
    let mut port = || ports.take().unwrap();
    let fleet = Fleet::start(&dir, 5, &[]).await.unwrap();
    let endpoints = |pool, range: Range<usize>| {
        let pods = fleet.pods()[range].iter().map(|(name, address)| (name.as_str(), address.as_str()));
        write_pool(&dir, pool, pods).unwrap()
    };
    let pools = [("chat", endpoints("chat", 0..2), 2.0), ("code", endpoints("code", 2..5), 3.0)];
    let at = port();
    let mut aggregator = Service::aggregator("aggregator", (at, at), port(), &pools[0].1);
    aggregator.flag("--endpoints", &pools[1].1.display().to_string());
    aggregator.start(&dir).await.unwrap();
    let mut services = Vec::new();
    for (pool, _, endpoints) in &pools {
        let mut collector = Service::collector(&format!("collector-{pool}"), port(), SCRAPE_INTERVAL);
        let mut replica = Service::replica(&format!("epp-{pool}"), [port(), port(), port()], port());
        for service in [&mut collector, &mut replica] {
            service.flag("--aggregator", &at.to_string());
            service.flag("--pool", &full_name(pool));
            service.start(&dir).await.unwrap();
        }
        let metrics = replica.metrics().to_string();
        let check = async || {
            let page = client.metrics(&metrics).await?;
            let value = |name| page.sum(&format!("signalbox_epp_{name}"));
            let counts = (value("endpoints"), value("fresh_endpoints"));
            ensure!(counts == (Some(*endpoints), Some(*endpoints)), "{counts:?}");
            Ok(())
        };
        eventually(&format!("the replica of {pool} has that pool's endpoints"), check).await.unwrap();
        services.push((collector, replica));
    }

    let address = at.to_string();
    let without_pool = Epp::start_without_waiting(&dir, "without-pool", &address, &[]).unwrap();
    let with_unknown_pool =
        Epp::start_without_waiting(&dir, "with-unknown-pool", &address, &["--pool", "default/chart"])
            .unwrap();
    let reasons = [
        (&without_pool, "without-pool", "several pools; choose one of default/chat, default/code"),
        (
            &with_unknown_pool,
            "with-unknown-pool",
            "pool default/chart is unknown; this aggregator has default/chat, default/code",
        ),
    ];
    for (process, name, reason) in reasons {
        dir.wait_for_log(name, &["no stream to the aggregator", reason]).await.unwrap();
        dir.wait_for_log("aggregator.0", &["rejected a stream", name, reason]).await.unwrap();
        assert_eq!(process.stdout().unwrap(), "", "{name} became ready");
    }
}

#[tokio::test]
async fn one_replica_and_one_collector_serve_all_pools() {
    let (dir, client, mut ports) = (TestDir::new().unwrap(), Client::new(), Ports::new());
    let mut port = || ports.take().unwrap();
    let fleet = Fleet::start(&dir, 5, &[]).await.unwrap();
    let pools = [("chat", 0..2, port()), ("code", 2..5, port())];
    let mut files = Vec::new();
    for (pool, range, at) in &pools {
        let pods =
            fleet.pods()[range.clone()].iter().map(|(name, address)| (name.as_str(), address.as_str()));
        let file = write_pool(&dir, pool, pods).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let with_port =
            text.replace("namespace: default }", &format!("namespace: default, port: {} }}", at.port()));
        assert_ne!(text, with_port);
        fs::write(&file, with_port).unwrap();
        files.push(file);
    }
    let at = port();
    let mut aggregator = Service::aggregator("aggregator", (at, at), port(), &files[0]);
    aggregator.flag("--endpoints", &files[1].display().to_string());
    aggregator.start(&dir).await.unwrap();
    let mut collector = Service::collector("collector", port(), SCRAPE_INTERVAL);
    let mut replica = Service::replica("epp", [port(), port(), port()], port());
    for service in [&mut collector, &mut replica] {
        service.flag("--aggregator", &at.to_string());
        service.switch("--all-pools");
        service.start(&dir).await.unwrap();
    }
    let metrics = replica.metrics().to_string();
    let check = async || {
        let page = client.metrics(&metrics).await?;
        let fresh = page.by_label("signalbox_epp_fresh_endpoints", "pool");
        let expected = pools.iter().map(|(pool, range, _)| (full_name(pool), range.len() as f64));
        ensure!(fresh == expected.collect(), "{fresh:?}");
        Ok(())
    };
    eventually("the replica has fresh values of all pools' endpoints", check).await.unwrap();
    let collecting = client.metrics(&collector.metrics().to_string()).await.unwrap();
    let scraped = collecting.by_label("signalbox_collector_reports_sent_total", "pool");
    assert!(pools.iter().all(|(pool, ..)| scraped[&full_name(pool)] > 0.0), "{scraped:?}");
    for (pool, _, address) in pools {
        let ask = async || {
            tokio::net::TcpStream::connect(address).await?;
            Ok(())
        };
        eventually(&format!("{pool} is served"), ask).await.unwrap();
    }
}

#[tokio::test]
async fn pools_spread_over_aggregators_and_move_after_a_failure() {
    let (dir, client, mut ports) = (TestDir::new().unwrap(), Client::new(), Ports::new());
    let etcd = Etcd::start(&dir, &client).await.unwrap();
    let names: Vec<String> = (0..8).map(|number| format!("pool-{number}")).collect();
    let files: Vec<PathBuf> = names.iter().map(|name| write_pool(&dir, name, []).unwrap()).collect();
    let mut aggregators = Vec::new();
    for name in ["one", "other"] {
        let at = ports.take().unwrap();
        let mut aggregator = Service::aggregator(name, (at, at), ports.take().unwrap(), &files[0]);
        files[1..].iter().for_each(|file| aggregator.flag("--endpoints", &file.display().to_string()));
        aggregator.flag("--coordinator", &etcd.url());
        aggregator.flag("--failback-after", "1s");
        aggregators.push(aggregator);
    }
    let all: BTreeSet<String> = names.iter().map(|name| full_name(name)).collect();
    let owned = async |aggregator: &Service| {
        let page = client.metrics(&aggregator.metrics().to_string()).await?;
        let owner = page.by_label("signalbox_aggregator_owner", "pool");
        let owned = owner.into_iter().filter_map(|(pool, is_owner)| (is_owner == 1.0).then_some(pool));
        anyhow::Ok(owned.collect::<BTreeSet<String>>())
    };
    let wait_owns_all = async |aggregator: &Service| {
        let check = async || {
            let owned = owned(aggregator).await?;
            ensure!(owned == all, "{owned:?}");
            Ok(())
        };
        eventually("the only aggregator owns all pools", check).await.unwrap();
    };
    let wait_spread = async |aggregators: &[Service]| {
        let check = async || {
            let (one, other) = (owned(&aggregators[0]).await?, owned(&aggregators[1]).await?);
            ensure!(one.is_disjoint(&other) && &one | &other == all, "{one:?} and {other:?}");
            ensure!(one.len() >= 2 && other.len() >= 2, "the pools are not spread: {one:?} and {other:?}");
            Ok(())
        };
        eventually("each pool has one owner, and each aggregator owns pools", check).await.unwrap();
    };

    aggregators[0].start(&dir).await.unwrap();
    wait_owns_all(&aggregators[0]).await;
    aggregators[1].start(&dir).await.unwrap();
    wait_spread(&aggregators).await;
    aggregators[0].kill().unwrap();
    wait_owns_all(&aggregators[1]).await;
    aggregators[0].start(&dir).await.unwrap();
    wait_spread(&aggregators).await;
}
