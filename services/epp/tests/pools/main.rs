//! A replica that serves all pools of a fake aggregator, over real sockets.
#![allow(clippy::unwrap_used)] // in a test, a panic is the error report

mod changes;
mod drain;
mod exposition;
mod fake_aggregator;
mod gateway;
mod waiting;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use signalbox_epp::{Epp, EppConfig, FollowedPools, PortFlags};

use crate::fake_aggregator::{FakeAggregator, endpoint_of};
use crate::gateway::{ask, eventually};

/// Ports of pools. Each test has an IP address of its own, on which all are free.
const PORTS: [u16; 4] = [9_002, 9_003, 9_004, 9_005];

/// A replica that serves all pools of an aggregator.
struct Served {
    aggregator: FakeAggregator,
    epp: Epp,
    ip: IpAddr,
}

/// Returns a loopback address that no other test uses.
fn own_ip() -> IpAddr {
    static TESTS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, TESTS.fetch_add(1, Ordering::Relaxed)).into()
}

impl Served {
    /// Starts a replica that has not heard of any pool.
    async fn start() -> Self {
        Self::start_with(Duration::ZERO).await
    }

    async fn start_with(drain_delay: Duration) -> Self {
        Self::start_with_drain(drain_delay, EppConfig::local("epp").drain_timeout).await
    }

    async fn start_with_drain(drain_delay: Duration, drain_timeout: Duration) -> Self {
        Self::start_config(EppConfig { drain_delay, drain_timeout, ..EppConfig::local("epp") }).await
    }

    /// Starts a replica with this configuration, as far as it does not depend on the aggregator.
    async fn start_config(config: EppConfig) -> Self {
        let (aggregator, ip) = (FakeAggregator::start().await, own_ip());
        let config = EppConfig {
            pools: FollowedPools::All,
            aggregators: vec![aggregator.address.into()],
            ext_proc: (ip, PORTS[3]).into(),
            ..config
        };
        let flags = PortFlags { ext_proc: "", health: "", access_log: "", metrics: "" };
        Self { aggregator, epp: Epp::start(config, flags).await.unwrap(), ip }
    }

    fn address(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// Waits until the pool is served on the port.
    async fn wait_served(&self, pool: &str, port: u16) {
        let expected = endpoint_of(pool);
        let is_served = async || ask(self.address(port)).await.filter(|picked| *picked == expected);
        eventually(&format!("{pool} is served on {port}"), is_served).await;
    }

    /// Waits until nobody accepts connections to the port.
    async fn wait_closed(&self, port: u16) {
        let is_closed = async || gateway::connect(self.address(port)).await.is_none().then_some(());
        eventually(&format!("{port} is closed"), is_closed).await;
    }

    /// Returns the metrics page.
    async fn metrics(&self) -> String {
        let (status, page) = gateway::get(self.epp.metrics_address(), "/metrics").await;
        assert!(status.ends_with("200 OK"), "{status}");
        page
    }
}
