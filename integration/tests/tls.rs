//! Processes that speak TLS with each other, and others that want to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use signalbox_integration::{Authority, Client, Fleet, Ports, Process, Scratch, Service, built, eventually};

/// Shows a service's certificate, and takes only peers of these names.
fn secure(service: &mut Service, ca: &Authority, (cert, key): &(PathBuf, PathBuf), peers: &[&str]) {
    let files = [("--tls-ca", ca.file()), ("--tls-cert", cert), ("--tls-key", key)];
    files.iter().for_each(|(flag, file)| service.flag(flag, &file.display().to_string()));
    peers.iter().for_each(|peer| service.flag("--tls-peer", peer));
}

/// Starts an EPP replica that nobody waits for.
fn intrude(scratch: &Scratch, name: &str, aggregator: &str, flags: &[&Path]) -> anyhow::Result<Process> {
    let mut all = vec!["--bind", "127.0.0.1", "--output", "json", "--aggregator", aggregator];
    for port in ["--grpc-port", "--grpc-health-port", "--access-log-port", "--metrics-port"] {
        all.extend([port, "0"]);
    }
    let names = ["--tls-ca", "--tls-cert", "--tls-key"];
    let files: Vec<String> = flags.iter().map(|file| file.display().to_string()).collect();
    all.extend(
        names.iter().copied().zip(files.iter().map(String::as_str)).flat_map(|(flag, file)| [flag, file]),
    );
    Process::start(scratch, name, &built("signalbox-epp")?, &all)
}

/// Waits until a process has logged a line with all of these in it.
async fn logs(scratch: &Scratch, name: &str, parts: &[&str]) -> anyhow::Result<()> {
    let log = scratch.path().join(format!("{name}.log"));
    let check = async || {
        let text = fs::read_to_string(&log)?;
        ensure!(text.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{text}");
        Ok(())
    };
    eventually(&format!("{name} logs {parts:?}"), check).await
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

    let _plain = intrude(&scratch, "plain", &address, &[]).unwrap();
    logs(&scratch, "aggregator.0", &["a connection is refused", "corrupt message"]).await.unwrap();
    let (cert, key) = stranger.signs(&scratch, "reader-of-others").unwrap();
    let _other = intrude(&scratch, "other", &address, &[ours.file(), &cert, &key]).unwrap();
    logs(&scratch, "aggregator.0", &["a connection is refused", "UnknownIssuer"]).await.unwrap();
    logs(&scratch, "other", &["no stream to the aggregator", "alert"]).await.unwrap();
    let (cert, key) = ours.signs(&scratch, "somebody").unwrap();
    let _named = intrude(&scratch, "named", &address, &[ours.file(), &cert, &key]).unwrap();
    logs(&scratch, "aggregator.0", &["a connection is refused", "is of somebody"]).await.unwrap();
    let _misled = intrude(&scratch, "misled", &address, &[stranger.file(), &picker.0, &picker.1]).unwrap();
    logs(&scratch, "misled", &["no stream to the aggregator", "UnknownIssuer"]).await.unwrap();
    for intruder in ["plain", "other", "named", "misled"] {
        let said = fs::read_to_string(scratch.path().join(format!("{intruder}.out"))).unwrap();
        assert!(said.is_empty(), "{intruder} is ready: {said}");
    }
}

#[tokio::test]
async fn what_would_be_open_to_anybody_does_not_start() {
    let scratch = Scratch::new().unwrap();
    let fleet = Fleet::start(&scratch, 1, &[]).await.unwrap();
    let flags = ["--endpoints", fleet.file().to_str().unwrap(), "--port", "0", "--metrics-port", "0"];
    let open = Process::start(&scratch, "open", &built("signalbox-aggregator").unwrap(), &flags).unwrap();
    logs(&scratch, "open", &["--tls-ca", "--plaintext", "127.0.0.1"]).await.unwrap();
    drop(open);
}
