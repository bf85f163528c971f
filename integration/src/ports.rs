//! Ports that stay with a process when it is started again.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;

/// Below it, ports are other programs' by convention.
const FIRST: u16 = 15_000;

/// Where the kernel says from which range it takes the ports of outgoing connections.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Where that range begins on other systems.
const LAST: u16 = 32_768;

/// Free ports, each given out once, none of which an outgoing connection may take while its process is away.
#[derive(Debug)]
pub struct Ports {
    left: std::ops::Range<u16>,
}

impl Ports {
    /// Begins somewhere: two suites on one machine are unlikely to meet.
    #[expect(
        clippy::new_without_default,
        reason = "where it begins is no default: it is another in each process"
    )]
    pub fn new() -> Self {
        let range = fs::read_to_string(RANGE).ok();
        let end = range.and_then(|range| range.split_whitespace().next()?.parse().ok()).unwrap_or(LAST);
        let span = u32::from(end.saturating_sub(FIRST)).max(1);
        let start = FIRST + (std::process::id().wrapping_mul(97) % (span / 2).max(1)) as u16;
        Self { left: start..end.max(start) }
    }

    /// A free one on loopback.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&mut self) -> anyhow::Result<SocketAddr> {
        let free = self.left.by_ref().find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        Ok((Ipv4Addr::LOCALHOST, free.context("no port is free")?).into())
    }
}

#[cfg(test)]
mod tests {
    use super::Ports;

    #[test]
    fn no_port_is_given_out_twice() {
        let mut ports = Ports::new();
        assert_ne!(ports.take().unwrap(), ports.take().unwrap());
    }
}
