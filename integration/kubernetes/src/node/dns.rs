//! A DNS server for the names of Services, as pods of a cluster have one.
//!
//! Hosts files would do for most programs, but some, such as Envoy, read them once a minute.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context;
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::node::services::Services;

/// The port that resolvers ask.
const PORT: u16 = 53;

/// How long an answer may be cached. CoreDNS says 5 or 30 s, for which tests would have to wait.
const TTL_S: u32 = 1;

/// The largest message that is read.
const MESSAGE_BYTES: usize = 4096;

/// A server that is not answering yet.
#[derive(Debug)]
pub(crate) struct DnsServer {
    socket: UdpSocket,
    services: watch::Receiver<Services>,
}

impl DnsServer {
    /// Listens at an address.
    pub(crate) async fn listen(address: IpAddr, services: watch::Receiver<Services>) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((address, PORT)).await;
        Ok(Self {
            socket: socket.with_context(|| format!("cannot listen on port {PORT} of {address}"))?,
            services,
        })
    }

    /// Answers until the server is dropped.
    pub(crate) async fn run(self) {
        let mut buffer = vec![0; MESSAGE_BYTES];
        loop {
            // Errors are those of single messages: of one that cannot be delivered, for example. Its client asks again.
            let Ok((length, client)) = self.socket.recv_from(&mut buffer).await else { continue };
            let answer = answer(&buffer[..length], &self.services.borrow());
            if let Some(answer) = answer {
                let _ = self.socket.send_to(&answer, client).await;
            }
        }
    }
}

/// Returns the answer to a message, or nothing if it is no question.
fn answer(message: &[u8], services: &Services) -> Option<Vec<u8>> {
    let query = Packet::parse(message).ok()?;
    let question = query.questions.first()?.clone();
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    match services.addresses(&question.qname.to_string()) {
        None => *reply.rcode_mut() = RCODE::NameError,
        // There are no IPv6 addresses: other questions about a known name have an empty answer.
        Some(addresses) if question.qtype == QTYPE::TYPE(TYPE::A) => {
            let addresses = addresses.iter().filter_map(|address| address.parse::<Ipv4Addr>().ok());
            reply.answers.extend(addresses.map(|address| {
                let data = RData::A(A { address: address.into() });
                ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL_S, data)
            }));
        }
        Some(_) => {}
    }
    reply.questions.push(question);
    reply.build_bytes_vec_compressed().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use simple_dns::{CLASS, Name, Packet, Question, RCODE, TYPE};

    use super::answer;
    use crate::node::services::Services;

    fn ask(name: &str, kind: TYPE) -> (RCODE, usize) {
        let service = json!({
            "metadata": { "namespace": "shop", "name": "web" },
            "spec": { "clusterIP": "10.96.0.7", "ports": [{ "port": 80 }] },
        });
        let mut query = Packet::new_query(7);
        let name = Name::new_unchecked(name);
        query.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
        let bytes = answer(&query.build_bytes_vec().unwrap(), &Services::read(&[service], &[])).unwrap();
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!((reply.id(), reply.questions.len()), (7, 1));
        (reply.rcode(), reply.answers.len())
    }

    #[test]
    fn known_names_have_addresses_and_others_do_not_exist() {
        assert_eq!(ask("web.shop.svc.cluster.local", TYPE::A), (RCODE::NoError, 1));
        assert_eq!(ask("WEB.shop.svc.cluster.local", TYPE::A), (RCODE::NoError, 1));
        assert_eq!(ask("web.shop.svc.cluster.local", TYPE::AAAA), (RCODE::NoError, 0));
        assert_eq!(ask("web.shop.svc.cluster.local.svc.cluster.local", TYPE::A), (RCODE::NameError, 0));
        assert_eq!(ask("example.com", TYPE::A), (RCODE::NameError, 0));
        assert!(answer(b"noise", &Services::default()).is_none());
    }
}
