//! Tests mutual TLS between the services.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use signalbox_integration::{
    CertificateAuthority, Client, Epp, Fleet, Ports, Process, Service, TestDir, built_binary, eventually,
};

/// Configures a service with a certificate, and accepts only peers with these names.
fn secure(
    service: &mut Service,
    ca: &CertificateAuthority,
    (cert, key): &(PathBuf, PathBuf),
    peers: &[&str],
) {
    let files = [("--tls-ca", ca.file()), ("--tls-cert", cert), ("--tls-key", key)];
    files.iter().for_each(|(flag, file)| service.flag(flag, &file.display().to_string()));
    peers.iter().for_each(|peer| service.flag("--tls-peer", peer));
}

/// Starts an EPP replica with these TLS files: authority, certificate and key.
fn start_intruder(dir: &TestDir, name: &str, aggregator: &str, files: &[&Path]) -> anyhow::Result<Process> {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let flags = ["--tls-ca", "--tls-cert", "--tls-key"].into_iter().zip(&files);
    let flags: Vec<&str> = flags.flat_map(|(flag, file)| [flag, file]).collect();
    Epp::start_without_waiting(dir, name, aggregator, &flags)
}

#[tokio::test]
async fn only_peers_with_a_trusted_certificate_and_name_connect() {
    let (dir, client, mut ports) = (TestDir::new().unwrap(), Client::new(), Ports::new());
    let (ours, stranger) = (
        CertificateAuthority::new(&dir, "ours").unwrap(),
        CertificateAuthority::new(&dir, "stranger").unwrap(),
    );
    let fleet = Fleet::start(&dir, 1, &[]).await.unwrap();
    let mut port = || ports.take().unwrap();
    let at = port();
    let mut aggregator = Service::aggregator("aggregator", (at, at), port(), fleet.file());
    secure(&mut aggregator, &ours, &ours.issue(&dir, "pool").unwrap(), &["collector=reader", "epp=picker"]);
    let mut collector = Service::collector("collector", port(), Duration::from_millis(50));
    secure(&mut collector, &ours, &ours.issue(&dir, "reader").unwrap(), &["pool"]);
    let mut replica = Service::replica("epp", [port(), port(), port()], port());
    // Without --tls-peer the replica checks that the certificate is valid for the aggregator's address.
    let picker = ours.issue(&dir, "picker").unwrap();
    secure(&mut replica, &ours, &picker, &[]);
    let address = at.to_string();
    collector.flag("--aggregator", &address);
    replica.flag("--aggregator", &address);
    aggregator.start(&dir).await.unwrap();
    collector.start(&dir).await.unwrap();
    replica.start(&dir).await.unwrap();
    let has_values = async || {
        let fresh =
            client.metrics(&replica.metrics().to_string()).await?.sum("signalbox_epp_fresh_endpoints");
        ensure!(fresh == Some(1.0), "{fresh:?}");
        Ok(())
    };
    eventually("the replica has fresh values of the pod", has_values).await.unwrap();

    let without_tls = start_intruder(&dir, "without-tls", &address, &[]).unwrap();
    dir.wait_for_log("aggregator.0", &["TLS handshake failed", "corrupt message"]).await.unwrap();
    let (cert, key) = stranger.issue(&dir, "reader-of-stranger").unwrap();
    let of_stranger = start_intruder(&dir, "of-stranger", &address, &[ours.file(), &cert, &key]).unwrap();
    dir.wait_for_log("aggregator.0", &["TLS handshake failed", "UnknownIssuer"]).await.unwrap();
    dir.wait_for_log("of-stranger", &["no stream to the aggregator", "alert"]).await.unwrap();
    let (cert, key) = ours.issue(&dir, "somebody").unwrap();
    let with_wrong_name =
        start_intruder(&dir, "with-wrong-name", &address, &[ours.file(), &cert, &key]).unwrap();
    dir.wait_for_log("aggregator.0", &["TLS handshake failed", "has the names somebody"]).await.unwrap();
    let with_wrong_ca =
        start_intruder(&dir, "with-wrong-ca", &address, &[stranger.file(), &picker.0, &picker.1]).unwrap();
    dir.wait_for_log("with-wrong-ca", &["no stream to the aggregator", "UnknownIssuer"]).await.unwrap();
    let [cert, key] = ["reader.pem", "reader.key"].map(|file| dir.path().join(file));
    let as_reader = start_intruder(&dir, "as-reader", &address, &[ours.file(), &cert, &key]).unwrap();
    dir.wait_for_log("aggregator.0", &["rejected a stream", "allows picker as epp or aggregator"])
        .await
        .unwrap();
    for intruder in [without_tls, of_stranger, with_wrong_name, with_wrong_ca, as_reader] {
        assert_eq!(intruder.stdout().unwrap(), "", "the intruder became ready");
    }
}

#[tokio::test]
async fn aggregator_without_tls_flags_does_not_start() {
    let dir = TestDir::new().unwrap();
    let fleet = Fleet::start(&dir, 1, &[]).await.unwrap();
    let flags = ["--endpoints", fleet.file().to_str().unwrap(), "--port", "0", "--metrics-port", "0"];
    let open = Process::start(&dir, "open", &built_binary("signalbox-aggregator").unwrap(), &flags).unwrap();
    dir.wait_for_log("open", &["--tls-ca", "--plaintext", "127.0.0.1"]).await.unwrap();
    drop(open);
}

#[tokio::test]
async fn certificate_of_another_role_is_refused_while_the_pool_goes_on() {
    let (dir, client, mut ports) = (TestDir::new().unwrap(), Client::new(), Ports::new());
    let ours = CertificateAuthority::new(&dir, "ours").unwrap();
    let fleet = Fleet::start(&dir, 1, &[]).await.unwrap();
    let mut port = || ports.take().unwrap();
    let (at, interval) = (port(), Duration::from_millis(50));
    let mut aggregator = Service::aggregator("aggregator", (at, at), port(), fleet.file());
    secure(&mut aggregator, &ours, &ours.issue(&dir, "pool").unwrap(), &["collector=reader", "epp=picker"]);
    let mut collector = Service::collector("collector", port(), interval);
    secure(&mut collector, &ours, &ours.issue(&dir, "reader").unwrap(), &["pool"]);
    let mut replica = Service::replica("epp", [port(), port(), port()], port());
    let picker = ours.issue(&dir, "picker").unwrap();
    secure(&mut replica, &ours, &picker, &["pool"]);
    let mut intruder = Service::collector("intruder", port(), interval);
    secure(&mut intruder, &ours, &picker, &["pool"]);
    for service in [&mut collector, &mut replica, &mut intruder] {
        service.flag("--aggregator", &at.to_string());
    }
    for service in [&mut aggregator, &mut collector, &mut replica] {
        service.start(&dir).await.unwrap();
    }
    let (of_pool, of_replica) = (aggregator.metrics().to_string(), replica.metrics().to_string());
    let refused =
        async || client.metrics(&of_pool).await?.value("signalbox_aggregator_refused_streams_total");
    let seq = async || client.metrics(&of_replica).await?.value("signalbox_epp_view_seq");
    let fresh = async || client.metrics(&of_replica).await?.value("signalbox_epp_fresh_endpoints");
    let is_fresh = async || {
        let fresh = fresh().await?;
        ensure!(fresh == 1.0, "{fresh}");
        Ok(())
    };
    eventually("the replica has fresh values of the pod", is_fresh).await.unwrap();
    assert_eq!(refused().await.unwrap(), 0.0);

    intruder.start(&dir).await.unwrap();
    dir.wait_for_log("aggregator.0", &["rejected a stream", "names picker", "allows reader as collector"])
        .await
        .unwrap();
    let seq_before = seq().await.unwrap();
    // It tries again and again, and the pool changes all the while.
    let is_refused_again = async || {
        ensure!(refused().await? > 2.0, "{} streams were refused", refused().await?);
        assert_eq!(fresh().await?, 1.0, "the values did not stay fresh");
        Ok(())
    };
    eventually("the intruder is refused again", is_refused_again).await.unwrap();
    let waits = fleet.pods()[0].1.clone();
    client.post(&format!("http://{waits}/admin/faults"), r#"{"waiting":7}"#).await.unwrap().ok().unwrap();
    let goes_on = async || {
        ensure!(seq().await? > seq_before, "the pool state does not change");
        Ok(())
    };
    eventually("the replica learns of the pod's new values", goes_on).await.unwrap();
    let connected = client.metrics(&of_pool).await.unwrap();
    assert_eq!(connected.value("signalbox_aggregator_connected_collectors").unwrap(), 1.0);
}
