//! Sessions of several turns, each of which sends everything before it.

use rand::Rng;

use super::uniform_around;
use crate::arrivals::pause_us;
use crate::{Author, Item, Prompt, Segment};

/// How the turns of a session follow each other.
pub(super) struct Turns {
    /// Mean number of turns; geometrically distributed.
    pub(super) mean: f64,
    /// Mean number of requests of other sessions between two turns. A pause is at least half of it.
    pub(super) requests_between: f64,
    /// Mean number of output tokens.
    pub(super) output_tokens: u32,
}

/// Appends the turns of a session that starts at `start_us`. `history` holds what precedes its first message, and
/// `message` returns the message of turn 0, 1, 2, ….
pub(super) fn append_session<R: Rng>(
    items: &mut Vec<Item>,
    start_us: f64,
    mut history: Vec<Segment>,
    turns: &Turns,
    mut message: impl FnMut(usize, &mut R) -> Segment,
    rng: &mut R,
) {
    let mut at_us = start_us;
    for turn in 0.. {
        history.push(message(turn, rng));
        let (answer, output_tokens) = (rng.random(), uniform_around(turns.output_tokens, rng));
        let prompt = Prompt::new(history.iter().copied());
        items.push(Item { at_us: at_us as u64, prompt, output_tokens, answer });
        if rng.random::<f64>() < 1.0 / turns.mean {
            return;
        }
        history.push(Segment { author: Author::Assistant, content: answer, tokens: output_tokens });
        let half_us = turns.requests_between / 2.0 * 1e6;
        at_us += half_us + pause_us(2.0 / turns.requests_between, rng);
    }
}

/// Generates the first `requests` requests of sessions that start at random times. `session` appends the turns of
/// the session that starts at a time.
pub(super) fn sessions<R: Rng>(
    requests: u32,
    turns: &Turns,
    mut session: impl FnMut(&mut Vec<Item>, f64, &mut R),
    rng: &mut R,
) -> Vec<Item> {
    let (mut items, mut start_us) = (Vec::new(), 0.0);
    // The rate grows until as many sessions end as start. What is sent before that is cut off.
    let warm_up_us = turns.mean * turns.requests_between * 1e6;
    let end_us = warm_up_us + f64::from(requests) * 1.5e6;
    while start_us < end_us {
        start_us += pause_us(1.0 / turns.mean, rng);
        session(&mut items, start_us, rng);
    }
    items.sort_by_key(|item| item.at_us);
    items.retain(|item| item.at_us as f64 >= warm_up_us);
    items.truncate(requests as usize);
    let start_us = items.first().map_or(0, |first| first.at_us);
    items.iter_mut().for_each(|item| item.at_us -= start_us);
    items
}
