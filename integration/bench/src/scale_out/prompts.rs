//! The prompts of the simulated requests: conversations with agents. All conversations with one agent start with its
//! instructions and tools, and each turn repeats the turns before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_types::BlockHash;

use super::shape::Shape;

/// Blocks of an agent's instructions and tools: 2,048 tokens.
const AGENT_BLOCKS: u64 = 32;

/// Blocks that a turn adds: 512 tokens.
const TURN_BLOCKS: u64 = 8;

/// Turns of a conversation. Then another one starts.
const TURNS: u64 = 8;

/// Time between two turns of a conversation in seconds.
const TURN_SECONDS: usize = 4;

/// Endpoints to which new conversations with one agent are sent, and endpoints for each agent. Each endpoint thus serves
/// four agents.
const ENDPOINTS_PER_AGENT: usize = 16;
const AGENT_SPACING: usize = 4;

/// One request's prompt and the endpoint that is chosen for it.
pub(super) struct Turn {
    /// The position of the endpoint in the order of keys.
    pub(super) position: usize,
    pub(super) chain: Arc<[BlockHash]>,
    /// The number of leading blocks that the pool knows, and that the endpoint holds.
    pub(super) known: usize,
    pub(super) held: usize,
}

struct Conversation {
    position: usize,
    turns: u64,
    chain: Arc<[BlockHash]>,
    known: usize,
    held: usize,
}

/// All conversations that are going on. They take turns.
pub(super) struct Conversations {
    endpoints: usize,
    all: Vec<Conversation>,
    next: usize,
    turns: u64,
    /// Agents, and the endpoints that served them.
    served: BTreeSet<(usize, usize)>,
    rng: SmallRng,
}

impl Conversations {
    /// Starts as many conversations as cause the requests of `shape`, each at a random turn.
    pub(super) fn new(shape: Shape) -> Self {
        let mut conversations = Self {
            endpoints: shape.endpoints,
            all: Vec::new(),
            next: 0,
            turns: 0,
            served: BTreeSet::new(),
            rng: SmallRng::seed_from_u64(1),
        };
        for _ in 0..shape.requests_per_second * TURN_SECONDS {
            let mut conversation = conversations.begin();
            for _ in 0..conversations.rng.random_range(1..=TURNS) {
                conversations.turns += 1;
                conversation.add_turn(conversations.turns);
            }
            conversation.known = conversation.chain.len();
            conversation.held = conversation.known;
            conversations.all.push(conversation);
        }
        conversations
    }

    /// Returns the latest turn of each conversation: what the caches hold when traffic starts.
    pub(super) fn latest_turns(&self) -> impl Iterator<Item = (usize, &Arc<[BlockHash]>)> {
        self.all.iter().map(|conversation| (conversation.position, &conversation.chain))
    }

    /// Returns the next turn of the conversation whose turn it is.
    pub(super) fn next_turn(&mut self) -> Turn {
        if self.all[self.next].turns >= TURNS {
            self.all[self.next] = self.begin();
        }
        self.turns += 1;
        let count = self.all.len();
        let conversation = &mut self.all[self.next];
        self.next = (self.next + 1) % count;
        conversation.add_turn(self.turns);
        let (known, held) = (conversation.known, conversation.held);
        (conversation.known, conversation.held) = (conversation.chain.len(), conversation.chain.len());
        Turn { position: conversation.position, chain: Arc::clone(&conversation.chain), known, held }
    }

    fn begin(&mut self) -> Conversation {
        let agent = self.rng.random_range(0..self.endpoints.div_ceil(AGENT_SPACING));
        let near = self.rng.random_range(0..ENDPOINTS_PER_AGENT);
        let position = (agent * AGENT_SPACING + near) % self.endpoints;
        let is_known = self.served.range((agent, 0)..(agent + 1, 0)).next().is_some();
        let is_held = !self.served.insert((agent, position));
        let chain: Arc<[_]> = (0..AGENT_BLOCKS).map(|at| block(1, agent as u64, at)).collect();
        let [known, held] = [is_known, is_held].map(|is| if is { chain.len() } else { 0 });
        Conversation { position, turns: 0, chain, known, held }
    }
}

impl Conversation {
    /// Adds the blocks of turn `number` of all conversations.
    fn add_turn(&mut self, number: u64) {
        self.turns += 1;
        self.chain = self.chain.iter().copied().chain(unshared(number, TURN_BLOCKS)).collect();
    }
}

/// Returns `blocks` blocks that only the prompt with this number has.
pub(super) fn unshared(number: u64, blocks: u64) -> impl Iterator<Item = BlockHash> {
    (0..blocks).map(move |at| block(2, number, at))
}

fn block(kind: u64, of: u64, at: u64) -> BlockHash {
    // A bijection, so that different blocks have different hashes. The lowest bits differ the most, as in real hashes.
    let mixed = (kind << 62 | of << 16 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    BlockHash((mixed ^ mixed >> 32).max(1))
}
