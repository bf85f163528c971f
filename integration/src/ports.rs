//! Finds ports that a process keeps when it restarts.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Context;

/// The first port to use; other programs conventionally use those below.
const FIRST: u16 = 15_000;

/// The file with the kernel's range of ephemeral ports, which outgoing connections use.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The start of that range on systems without the file.
const LAST: u16 = 32_768;

/// The number of ports that this process has looked at. Tests of one process run at the same time, and a port looks
/// free until its new owner listens on it.
static LOOKED_AT: AtomicU16 = AtomicU16::new(0);

/// Free ports, each handed out once in this process. They are outside of the ephemeral range, so that no outgoing
/// connection takes one while its process is down.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    end: u16,
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
        let first = FIRST + (std::process::id().wrapping_mul(97) % (span / 2).max(1)) as u16;
        Self { first, end: end.max(first) }
    }

    /// Returns a free port on loopback.
    ///
    /// # Errors
    /// Fails when no port is free.
    pub fn take(&mut self) -> anyhow::Result<SocketAddr> {
        let next = || {
            let port = self.first.saturating_add(LOOKED_AT.fetch_add(1, Ordering::Relaxed));
            (port < self.end).then_some(port)
        };
        let mut ports = std::iter::from_fn(next);
        let free = ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        Ok((Ipv4Addr::LOCALHOST, free.context("no port is free")?).into())
    }
}

#[cfg(test)]
mod tests {
    use super::Ports;

    #[test]
    fn no_port_is_handed_out_twice_in_a_process() {
        let (mut one, mut other) = (Ports::new(), Ports::new());
        let ports = [one.take(), other.take(), one.take(), other.take()].map(Result::unwrap);
        for (index, port) in ports.iter().enumerate() {
            assert!(!ports[..index].contains(port), "{ports:?}");
        }
    }
}
