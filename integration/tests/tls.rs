//! Processes that speak TLS with each other, and others that want to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use signalbox_integration::{
    Authority, Client, Epp, Fleet, Ports, Process, Scratch, Service, built, eventually,
};

/// Shows a service's certificate, and takes only peers of these names.
fn secure(service: &mut Service, ca: &Authority, (cert, key): &(PathBuf, PathBuf), peers: &[&str]) {
    let files = [("--tls-ca", ca.file()), ("--tls-cert", cert), ("--tls-key", key)];
    files.iter().for_each(|(flag, file)| service.flag(flag, &file.display().to_string()));
    peers.iter().for_each(|peer| service.flag("--tls-peer", peer));
}

/// Starts an EPP replica with these files: authority, certificate and key.
fn intrude(scratch: &Scratch, name: &str, aggregator: &str, files: &[&Path]) -> anyhow::Result<Process> {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let named = ["--tls-ca", "--tls-cert", "--tls-key"].into_iter().zip(&files);
    let flags: Vec<&str> = named.flat_map(|(flag, file)| [flag, file]).collect();
    Epp::unready(scratch, name, aggregator, &flags)
}

#[tokio::test]
async fn who_is_known_takes_part_and_nobody_else_does() {
    let (scratch, client, mut ports) = (Scratch::new().unwrap(), Client::new(), Ports::new());
    let (ours, stranger) =
        (Authority::new(&scratch, "ours").unwrap(), Authority::new(&scratch, "stranger").unwrap());
    let fleet = Fleet::start(&scratch, 1, &[]).await.unwrap();
    let mut port = || ports.take().unwrap();
    let at = port();
    let mut aggregator = Service::aggregator("aggregator", (at, at), port(), fleet.file());
    secure(&mut aggregator, &ours, &ours.signs(&scratch, "pool").unwrap(), &["reader", "picker"]);
    let mut collector = Service::collector("collector", port(), Duration::from_millis(50));
    secure(&mut collector, &ours, &ours.signs(&scratch, "reader").unwrap(), &["pool"]);
    let mut replica = Service::replica("epp", [port(), port(), port()], port());
    // It checks that the aggregator has the address that it is reached by.
    let picker = ours.signs(&scratch, "picker").unwrap();
    secure(&mut replica, &ours, &picker, &[]);
    let address = at.to_string();
    collector.flag("--aggregator", &address);
    replica.flag("--aggregator", &address);
    aggregator.start(&scratch).await.unwrap();
    collector.start(&scratch).await.unwrap();
    replica.start(&scratch).await.unwrap();
    let read = async || {
        let fresh =
            client.metrics(&replica.metrics().to_string()).await?.sum("signalbox_epp_fresh_endpoints");
        ensure!(fresh == Some(1.0), "{fresh:?}");
        Ok(())
    };
    eventually("the pod's values come through to the replica", read).await.unwrap();

    let plain = intrude(&scratch, "plain", &address, &[]).unwrap();
    scratch.logs("aggregator.0", &["a connection is refused", "corrupt message"]).await.unwrap();
    let (cert, key) = stranger.signs(&scratch, "reader-of-others").unwrap();
    let other = intrude(&scratch, "other", &address, &[ours.file(), &cert, &key]).unwrap();
    scratch.logs("aggregator.0", &["a connection is refused", "UnknownIssuer"]).await.unwrap();
    scratch.logs("other", &["no stream to the aggregator", "alert"]).await.unwrap();
    let (cert, key) = ours.signs(&scratch, "somebody").unwrap();
    let named = intrude(&scratch, "named", &address, &[ours.file(), &cert, &key]).unwrap();
    scratch.logs("aggregator.0", &["a connection is refused", "is of somebody"]).await.unwrap();
    let misled = intrude(&scratch, "misled", &address, &[stranger.file(), &picker.0, &picker.1]).unwrap();
    scratch.logs("misled", &["no stream to the aggregator", "UnknownIssuer"]).await.unwrap();
    for intruder in [plain, other, named, misled] {
        assert_eq!(intruder.printed().unwrap(), "", "it is ready");
    }
}

#[tokio::test]
async fn what_would_be_open_to_anybody_does_not_start() {
    let scratch = Scratch::new().unwrap();
    let fleet = Fleet::start(&scratch, 1, &[]).await.unwrap();
    let flags = ["--endpoints", fleet.file().to_str().unwrap(), "--port", "0", "--metrics-port", "0"];
    let open = Process::start(&scratch, "open", &built("signalbox-aggregator").unwrap(), &flags).unwrap();
    scratch.logs("open", &["--tls-ca", "--plaintext", "127.0.0.1"]).await.unwrap();
    drop(open);
}
