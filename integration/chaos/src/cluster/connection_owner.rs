//! Finds the process at the other end of a connection: `/proc/net/tcp` has the socket's inode, and
//! `/proc/PID/fd` has the inodes of each process's sockets.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::process_id::ProcessId;

/// The kernel's table of TCP sockets.
const SOCKETS: &str = "/proc/net/tcp";

/// Returns the process that opened the connection from `peer` to `local`; `None` when the connection is
/// closed or its process is not one of the test.
pub(crate) fn connection_owner(peer: SocketAddrV4, local: SocketAddrV4) -> Option<ProcessId> {
    let inode = inode(&fs::read_to_string(SOCKETS).ok()?, peer, local)?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut known = processes.filter_map(|process| {
        let id = process_of(&fs::read(process.path().join("cmdline")).ok()?)?;
        Some((id, process.path().join("fd")))
    });
    let holds = |folder: &std::path::Path| {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| link.as_os_str() == socket.as_str())
    };
    known.find(|(_, folder)| holds(folder)).map(|(id, _)| id)
}

/// Returns the inode of the socket from `local` to `remote` in the kernel's table.
fn inode(table: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (from, to) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
        if (from, to) == (local, remote) { fields.get(9)?.parse().ok() } else { None }
    })
}

/// Parses an address such as `0100007F:1F90`: the IP address is in the machine's byte order, the port in
/// reading order.
fn address(text: &str) -> Option<SocketAddrV4> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
    Some(SocketAddrV4::new(Ipv4Addr::from(ip), u16::from_str_radix(port, 16).ok()?))
}

/// Returns the process with these arguments, which are separated by zero bytes.
fn process_of(arguments: &[u8]) -> Option<ProcessId> {
    let mut arguments = arguments.split(|byte| *byte == 0).skip_while(|argument| *argument != b"--name");
    let name = std::str::from_utf8(arguments.nth(1)?).ok()?;
    let (role, index) = name.rsplit_once('-')?;
    let index = index.parse().ok()?;
    match role {
        "aggregator" => Some(ProcessId::Aggregator(index)),
        "epp" => Some(ProcessId::Replica(index)),
        "collector" => Some(ProcessId::Collector(index)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::{inode, process_of};
    use crate::process_id::ProcessId;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n   \
        1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 815 1\n";

    #[test]
    fn socket_is_found_by_both_addresses() {
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert_eq!(inode(TABLE, at(50_000), at(8_080)), Some(815));
        assert_eq!(inode(TABLE, at(8_080), at(50_000)), None);
    }

    #[test]
    fn process_is_identified_by_its_name_flag() {
        assert_eq!(
            process_of(b"/bin/signalbox-epp\0--name\0epp-2\0--output\0json\0"),
            Some(ProcessId::Replica(2))
        );
        assert_eq!(process_of(b"/bin/signalbox-modelsim\0--name\0pod\0"), None);
        assert_eq!(process_of(b"cargo\0test\0"), None);
    }
}
