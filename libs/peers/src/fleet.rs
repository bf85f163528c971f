//! Learns which pools and aggregators there are: keeps a stream open to each aggregator, and merges what they
//! tell.

mod aggregators;
mod merge;
mod resolve;
mod stream;

use std::collections::BTreeMap;

use signalbox_types::PeerAddress;
use signalbox_wire::Hello;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub(crate) use self::aggregators::watch_aggregators;
pub use self::merge::Fleet;
use self::merge::{FleetInput, FleetMerger};
use self::resolve::watch_addresses;
use self::stream::FleetStream;
use crate::connections::Connections;

/// Messages of all streams together that can queue.
const MAX_QUEUED_MESSAGES: usize = 64;

/// Whom to ask for the fleet, and how.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// Name of this process.
    pub name: String,
    /// Addresses of aggregators. A host name stands for all its IP addresses, which are looked up every few
    /// seconds. The aggregators also name each other.
    pub aggregators: Vec<PeerAddress>,
    /// Connections to them.
    pub connections: Connections,
}

/// Watches the fleet. While no aggregator can be reached, the last known pools and aggregators stay.
pub fn watch_fleet(settings: FleetSettings) -> watch::Receiver<Fleet> {
    let (fleet, receiver) = watch::channel(Fleet::default());
    tokio::spawn(async move {
        tokio::select! {
            () = run(settings, &fleet) => {}
            () = fleet.closed() => {}
        }
    });
    receiver
}

async fn run(settings: FleetSettings, fleet: &watch::Sender<Fleet>) {
    let (inputs, mut received) = mpsc::channel(MAX_QUEUED_MESSAGES);
    let mut given = watch_addresses(settings.aggregators);
    let hello = Hello { pool: None, name: settings.name };
    let mut merger = FleetMerger::new(given.borrow_and_update().clone());
    let mut tasks: BTreeMap<PeerAddress, JoinSet<()>> = BTreeMap::new();
    loop {
        let targets = merger.targets();
        // Dropping a set aborts its task.
        tasks.retain(|aggregator, _| targets.contains(aggregator));
        for aggregator in targets {
            tasks.entry(aggregator.clone()).or_insert_with(|| {
                let connections = settings.connections.clone();
                let stream =
                    FleetStream { aggregator, hello: hello.clone(), connections, inputs: inputs.clone() };
                JoinSet::from_iter([stream.keep_open()])
            });
        }
        let input = tokio::select! {
            // The task that looks addresses up ends with its receiver.
            Ok(()) = given.changed() => FleetInput::Given(given.borrow_and_update().clone()),
            Some(input) = received.recv() => input,
        };
        merger.handle(input);
        // A stream that was aborted cannot report its end.
        merger.retain(|aggregator| tasks.contains_key(aggregator));
        fleet.send_if_modified(|last| {
            let is_changed = last != merger.fleet();
            if is_changed {
                last.clone_from(merger.fleet());
            }
            is_changed
        });
    }
}
