//! Generates workloads. Their mean rate is one request per second; [`crate::arrivals`] changes it.

mod agents;
mod conversation;
mod draws;
mod lengths;
mod sessions;
mod shared_prefix;

use rand::Rng;

use crate::{Author, Item, Prompt, Segment};

pub use agents::{Agents, agents, zipf};
pub use conversation::{Conversation, conversation};
pub use draws::LogNormal;
use draws::{log_uniform, uniform_around};
pub use lengths::{Lengths, SystemPrompts, lengths};
pub use shared_prefix::{SharedPrefix, shared_prefix};

/// Returns a request whose send time is still to be set.
fn item(prompt: impl IntoIterator<Item = Segment>, output_tokens: u32, rng: &mut impl Rng) -> Item {
    Item { at_us: 0, prompt: Prompt::new(prompt), output_tokens, answer: rng.random() }
}

/// Creates a segment whose text no other segment has.
fn unique_segment(author: Author, tokens: u32, rng: &mut impl Rng) -> Segment {
    Segment { author, content: rng.random(), tokens }
}
