//! Finds ports that a process keeps when it restarts.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;

/// The first port to use; other programs conventionally use those below.
const FIRST: u16 = 15_000;

/// The file with the kernel's range of ephemeral ports, which outgoing connections use.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The start of that range on systems without the file.
const LAST: u16 = 32_768;

/// Free ports, each handed out once. They are outside of the ephemeral range, so that no outgoing connection
/// takes one while its process is down.
#[derive(Debug)]
pub struct Ports {
    left: std::ops::Range<u16>,
}

impl Ports {
    /// Starts at a port that depends on the process ID, so that two test runs on one machine rarely collide.
    #[expect(
        clippy::new_without_default,
        reason = "the first port differs between processes, so there is no default value"
    )]
    pub fn new() -> Self {
        let range = fs::read_to_string(RANGE).ok();
        let end = range.and_then(|range| range.split_whitespace().next()?.parse().ok()).unwrap_or(LAST);
        let span = u32::from(end.saturating_sub(FIRST)).max(1);
        let start = FIRST + (std::process::id().wrapping_mul(97) % (span / 2).max(1)) as u16;
        Self { left: start..end.max(start) }
    }

    /// Returns a free port on loopback.
    ///
    /// # Errors
    /// Fails when no port is free.
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
