//! How long processes take for what they do.

use rand::Rng;
use rand::rngs::SmallRng;

use crate::plan::{Node, pick};

/// How many times as long slow processes take.
const SLOW_FACTORS: [u64; 3] = [10, 20, 40];

/// Which processes are slow until everything heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowNodes {
    /// No process.
    None,
    /// One process.
    One(Node),
    /// All replicas.
    Replicas,
    /// All processes.
    All,
}

impl SlowNodes {
    pub(crate) fn includes(self, node: Node) -> bool {
        match self {
            Self::None => false,
            Self::One(slow) => slow == node,
            Self::Replicas => matches!(node, Node::Replica(_)),
            Self::All => true,
        }
    }
}

/// How long processes take for what they do: a constant for each event, and more for each part of a message that they
/// receive or send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// The time for an event, in microseconds.
    pub event_us: u64,
    /// The time for a change, an entry of a snapshot, a gauge, a block or an endpoint, in microseconds.
    pub part_us: u64,
    /// Which processes are slow.
    pub slow: SlowNodes,
    /// How many times as long a slow process takes.
    pub slow_factor: u64,
}

impl Work {
    /// Processes of which none is slow.
    pub fn quick() -> Self {
        Self { event_us: 10, part_us: 5, slow: SlowNodes::None, slow_factor: 1 }
    }

    pub(super) fn random(rng: &mut SmallRng, nodes: &[Node]) -> Self {
        let slow = match rng.random_range(0..4) {
            0 => SlowNodes::All,
            1 => SlowNodes::One(*pick(rng, nodes)),
            _ => SlowNodes::None,
        };
        Self { slow, slow_factor: *pick(rng, &SLOW_FACTORS), ..Self::quick() }
    }
}
