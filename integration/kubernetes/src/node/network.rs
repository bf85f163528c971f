//! The network of the pods: a router in a network namespace of its own, and one namespace per pod.
//!
//! Each pod has a link to the router, which knows one route per pod. All packets pass the router, also those between
//! two pods and those of the test itself. So its rules give Services their addresses, and can cut pods off.
//! The namespaces end with the sandbox of the test.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::process::Command;

use crate::command::output;
use crate::control_plane::SERVICE_RANGE;

/// The addresses of pods: 10.244.0.0/16. The test has the first one.
const PODS: [u8; 2] = [10, 244];
const HOST: Ipv4Addr = Ipv4Addr::new(PODS[0], PODS[1], 0, 1);

/// The router's address on each link.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The namespace of the router.
const ROUTER: &str = "router";

/// How many addresses of pods share their third number.
const ADDRESSES_PER_BLOCK: u16 = 250;

/// The network of the pods in this sandbox.
#[derive(Debug)]
pub struct Network {
    attached: AtomicU16,
}

/// One pod in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The name of the pod's network namespace.
    pub(crate) namespace: String,
    pub(crate) address: IpAddr,
}

impl Network {
    /// Makes the router and the test's link to it.
    ///
    /// # Errors
    /// Fails outside of a sandbox, and when the kernel lacks a part.
    pub async fn create() -> anyhow::Result<Self> {
        script(&format!(
            "ip netns add {ROUTER}
            ip link add pods type veth peer name host netns {ROUTER}
            ip link set pods up
            ip address add {HOST}/32 dev pods
            ip -netns {ROUTER} link set lo up
            ip -netns {ROUTER} link set host up
            ip -netns {ROUTER} address add {GATEWAY}/32 dev host
            ip -netns {ROUTER} route add {HOST}/32 dev host
            ip route add {GATEWAY}/32 dev pods
            ip route add {0}.{1}.0.0/16 via {GATEWAY} src {HOST}
            ip route add {SERVICE_RANGE} via {GATEWAY} src {HOST}
            nsenter --net=/run/netns/{ROUTER} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'",
            PODS[0], PODS[1]
        ))
        .await?;
        let network = Self { attached: AtomicU16::new(0) };
        network.set_rules(CUT_RULES).await?;
        Ok(network)
    }

    /// Returns the test's own address, which pods can reach.
    pub fn host(&self) -> IpAddr {
        HOST.into()
    }

    /// Makes a namespace with an address of its own. No address is used twice.
    pub(crate) async fn attach(&self) -> anyhow::Result<Attachment> {
        let number = self.attached.fetch_add(1, Ordering::Relaxed);
        let (block, last) = (1 + number / ADDRESSES_PER_BLOCK, 2 + number % ADDRESSES_PER_BLOCK);
        let address = Ipv4Addr::new(PODS[0], PODS[1], block as u8, last as u8);
        let (namespace, link) = (format!("pod-{number}"), format!("pod{number}"));
        script(&format!(
            "ip netns add {namespace}
            ip link add eth0 netns {namespace} type veth peer name {link} netns {ROUTER}
            ip -netns {ROUTER} link set {link} up
            ip -netns {ROUTER} address add {GATEWAY}/32 dev {link}
            ip -netns {ROUTER} route add {address}/32 dev {link}
            ip -netns {namespace} link set lo up
            ip -netns {namespace} link set eth0 up
            ip -netns {namespace} address add {address}/32 dev eth0
            ip -netns {namespace} route add {GATEWAY}/32 dev eth0
            ip -netns {namespace} route add default via {GATEWAY} src {address}
            nsenter --net=/run/netns/{namespace} sh -c 'echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start'"
        ))
        .await?;
        Ok(Attachment { namespace, address: address.into() })
    }

    /// Removes a pod's namespace, and its link with it.
    pub(crate) async fn detach(&self, attachment: &Attachment) -> anyhow::Result<()> {
        script(&format!("ip netns delete {}", attachment.namespace)).await
    }

    /// Drops all packets from and to an address, also of open connections.
    pub(crate) async fn cut(&self, address: IpAddr) -> anyhow::Result<()> {
        self.set_rules(&format!("add element ip cuts addresses {{ {address} }}\n")).await
    }

    /// Lets packets from and to an address pass again.
    pub(crate) async fn mend(&self, address: IpAddr) -> anyhow::Result<()> {
        self.set_rules(&format!("delete element ip cuts addresses {{ {address} }}\n")).await
    }

    /// Runs commands of nftables in the router, all or none of them.
    pub(crate) async fn set_rules(&self, rules: &str) -> anyhow::Result<()> {
        let mut nft = Command::new("nsenter");
        nft.arg(format!("--net=/run/netns/{ROUTER}")).args(["nft", "--file", "-"]);
        output(&mut nft, rules).await?;
        Ok(())
    }
}

/// Drops the packets of addresses that are cut off.
const CUT_RULES: &str = "
table ip cuts {
    set addresses { type ipv4_addr; }
    chain forward {
        type filter hook forward priority filter;
        ip saddr @addresses drop
        ip daddr @addresses drop
    }
}
";

async fn script(text: &str) -> anyhow::Result<()> {
    output(Command::new("sh").args(["-e", "-s"]), text).await?;
    Ok(())
}
