//! Which process a connection comes from: the kernel knows the socket, and each process the sockets it holds.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::cast::Who;

/// The kernel's table of sockets.
const SOCKETS: &str = "/proc/net/tcp";

/// Who holds the other end of a connection from `peer` to `here`; `None` when nobody does any more, or none of ours.
pub(crate) fn caller(peer: SocketAddrV4, here: SocketAddrV4) -> Option<Who> {
    let inode = inode(&fs::read_to_string(SOCKETS).ok()?, peer, here)?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut named = processes.filter_map(|process| {
        let who = named(&fs::read(process.path().join("cmdline")).ok()?)?;
        Some((who, process.path().join("fd")))
    });
    let holds = |folder: &std::path::Path| {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| link.as_os_str() == socket.as_str())
    };
    named.find(|(_, folder)| holds(folder)).map(|(who, _)| who)
}

/// The inode of the socket from `local` to `remote` in the kernel's table.
fn inode(table: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (from, to) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
        if (from, to) == (local, remote) { fields.get(9)?.parse().ok() } else { None }
    })
}

/// `0100007F:1F90`: the address in the machine's byte order, the port as it is read.
fn address(text: &str) -> Option<SocketAddrV4> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
    Some(SocketAddrV4::new(Ipv4Addr::from(ip), u16::from_str_radix(port, 16).ok()?))
}

/// Who was started with these arguments, separated by zeros.
fn named(arguments: &[u8]) -> Option<Who> {
    let mut arguments = arguments.split(|byte| *byte == 0).skip_while(|argument| *argument != b"--name");
    let name = std::str::from_utf8(arguments.nth(1)?).ok()?;
    let (role, index) = name.rsplit_once('-')?;
    let index = index.parse().ok()?;
    match role {
        "aggregator" => Some(Who::Aggregator(index)),
        "epp" => Some(Who::Replica(index)),
        "collector" => Some(Who::Collector(index)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::{inode, named};
    use crate::cast::Who;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n   \
        1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 815 1\n";

    #[test]
    fn a_socket_is_found_by_both_ends() {
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert_eq!(inode(TABLE, at(50_000), at(8_080)), Some(815));
        assert_eq!(inode(TABLE, at(8_080), at(50_000)), None);
    }

    #[test]
    fn processes_are_known_by_the_name_they_are_started_with() {
        assert_eq!(named(b"/bin/signalbox-epp\0--name\0epp-2\0--output\0json\0"), Some(Who::Replica(2)));
        assert_eq!(named(b"/bin/signalbox-modelsim\0--name\0pod\0"), None);
        assert_eq!(named(b"cargo\0test\0"), None);
    }
}
