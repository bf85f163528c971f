//! Which messages from other processes may queue for a pool's actor. They are bounded per stream, so that one process does not
//! keep the others of its pool out, and per pool, so that a pool that stalls does not keep the others out.

use std::collections::{BTreeMap, VecDeque};

/// How many bytes of messages may queue for a pool's actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// What a message counts for at least. It bounds the number of messages.
    pub message_bytes: usize,
    /// Of one stream. A single message may have as many.
    pub stream_bytes: usize,
    /// Of all streams.
    pub pool_bytes: usize,
}

impl Default for MessageLimits {
    /// At most 256 messages of a stream, and 1,024 of a pool.
    fn default() -> Self {
        Self { message_bytes: 64 << 10, stream_bytes: 16 << 20, pool_bytes: 64 << 20 }
    }
}

/// What a message is, which decides what bounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    /// It is small, and must not wait for the messages of other streams: only its stream bounds it.
    Control,
    /// It has content: its stream and its pool bound it.
    Content,
}

/// What a message takes of the budget until it is handled.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "give it back with `MessageBudget::release`"]
pub struct MessageShare {
    stream: u64,
    kind: MessageKind,
    bytes: usize,
}

impl MessageShare {
    /// Returns the stream of the message.
    pub fn stream(&self) -> u64 {
        self.stream
    }
}

/// What a message waits for. It takes the room in its stream first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Stream,
    Pool,
}

#[derive(Debug, Default)]
struct Stream {
    used: usize,
    /// The message that waits: the stream is read no further.
    waiting: Option<(Wait, MessageKind, usize)>,
}

/// What the queued messages of a pool take, and which messages wait for room.
#[derive(Debug, Default)]
pub struct MessageBudget {
    limits: MessageLimits,
    /// The streams of which a message waits or is queued.
    streams: BTreeMap<u64, Stream>,
    /// Bytes of the queued messages with content.
    pool_used: usize,
    /// The streams that wait for room in the pool, in the order in which they get it.
    pool_waiting: VecDeque<u64>,
}

impl MessageBudget {
    /// Returns an unused budget.
    pub fn new(limits: MessageLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Admits a message, or lets it wait: [`Self::release`] and [`Self::cancel`] return the share when there is room. A stream
    /// has one message that waits at a time.
    pub fn request(&mut self, stream: u64, kind: MessageKind, bytes: usize) -> Option<MessageShare> {
        let bytes = bytes.clamp(self.limits.message_bytes, self.limits.stream_bytes);
        let entry = self.streams.entry(stream).or_default();
        debug_assert_eq!(None, entry.waiting, "stream {stream} is read although a message of it waits");
        entry.waiting = Some((Wait::Stream, kind, bytes));
        self.advance(stream).pop()
    }

    /// Takes back the share of a message that was handled. Returns those of messages that waited and are admitted now.
    #[expect(clippy::needless_pass_by_value, reason = "a share is given back once")]
    pub fn release(&mut self, share: MessageShare) -> Vec<MessageShare> {
        let MessageShare { stream, kind, bytes } = share;
        if kind == MessageKind::Content {
            self.pool_used -= bytes;
        }
        self.give_back(stream, bytes);
        self.advance(stream)
    }

    /// Forgets the message of a stream that waits. Returns the shares of other messages, which are admitted now.
    pub fn cancel(&mut self, stream: u64) -> Vec<MessageShare> {
        let waiting = self.streams.get_mut(&stream).and_then(|entry| entry.waiting.take());
        if let Some((Wait::Pool, _, bytes)) = waiting {
            self.pool_waiting.retain(|waiting| *waiting != stream);
            self.give_back(stream, bytes);
        }
        self.advance(stream)
    }

    fn give_back(&mut self, stream: u64, bytes: usize) {
        self.streams.entry(stream).and_modify(|entry| entry.used -= bytes);
    }

    /// Admits what there is room for, after a message of this stream came or went.
    fn advance(&mut self, stream: u64) -> Vec<MessageShare> {
        let mut admitted = Vec::new();
        if let Some(entry) = self.streams.get_mut(&stream) {
            match entry.waiting {
                Some((Wait::Stream, kind, bytes)) if entry.used + bytes <= self.limits.stream_bytes => {
                    entry.used += bytes;
                    entry.waiting = Some((Wait::Pool, kind, bytes)).filter(|_| kind == MessageKind::Content);
                    match kind {
                        MessageKind::Control => admitted.push(MessageShare { stream, kind, bytes }),
                        MessageKind::Content => self.pool_waiting.push_back(stream),
                    }
                }
                None if entry.used == 0 => drop(self.streams.remove(&stream)),
                _ => {}
            }
        }
        // In the order in which they came, also if a later one would need less room: so everyone gets its turn.
        while let Some(stream) = self.pool_waiting.front().copied()
            && let Some(entry) = self.streams.get_mut(&stream)
            && let Some((_, kind, bytes)) =
                entry.waiting.take_if(|(_, _, bytes)| self.pool_used + *bytes <= self.limits.pool_bytes)
        {
            self.pool_waiting.pop_front();
            self.pool_used += bytes;
            admitted.push(MessageShare { stream, kind, bytes });
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: MessageLimits = MessageLimits { message_bytes: 2, stream_bytes: 8, pool_bytes: 20 };

    /// Lets random streams send, cancel, and have their oldest message handled.
    fn steps() -> impl Strategy<Value = Vec<(u8, u64, bool, usize)>> {
        prop::collection::vec((0_u8..8, 0_u64..5, any::<bool>(), 0_usize..12), 1..300)
    }

    proptest! {
        #[test]
        fn queue_is_bounded_and_every_stream_gets_its_turn(steps in steps()) {
            let (mut budget, mut queued) = (MessageBudget::new(LIMITS), VecDeque::<MessageShare>::new());
            // Which other streams were admitted to the pool since each stream began to wait for it.
            let mut overtaken: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            for (step, stream, has_content, bytes) in steps {
                let kind = if has_content { MessageKind::Content } else { MessageKind::Control };
                let waits = budget.streams.get(&stream).is_some_and(|entry| entry.waiting.is_some());
                let admitted = match step {
                    0..4 if !waits => {
                        let is_idle = !queued.iter().any(|share| share.stream == stream);
                        let share = budget.request(stream, kind, bytes);
                        prop_assert!(share.is_some() || !is_idle || has_content, "{stream} waits for others");
                        Vec::from_iter(share)
                    }
                    4 if waits => {
                        overtaken.remove(&stream);
                        budget.cancel(stream)
                    }
                    _ => queued.pop_front().map(|share| budget.release(share)).unwrap_or_default(),
                };
                for share in admitted {
                    overtaken.remove(&share.stream);
                    if share.kind == MessageKind::Content {
                        overtaken.values_mut().for_each(|by| by.push(share.stream));
                    }
                    queued.push_back(share);
                }
                for waiting in &budget.pool_waiting {
                    overtaken.entry(*waiting).or_default();
                }
                for by in overtaken.values() {
                    let times = |of: &u64| by.iter().filter(|stream| *stream == of).count();
                    prop_assert!(by.iter().all(|of| times(of) <= 1), "one stream overtakes again and again: {by:?}");
                }
                let of_stream = |of| queued.iter().filter(|share| share.stream == of).map(|share| share.bytes).sum();
                prop_assert!((0..5).map(of_stream).all(|bytes: usize| bytes <= LIMITS.stream_bytes));
                let content = queued.iter().filter(|share| share.kind == MessageKind::Content);
                prop_assert!(content.map(|share| share.bytes).sum::<usize>() <= LIMITS.pool_bytes);
            }
            // Whoever waits is admitted when what is queued is handled, and then nothing is left.
            while let Some(share) = queued.pop_front() {
                queued.extend(budget.release(share));
            }
            prop_assert!(budget.streams.is_empty() && budget.pool_waiting.is_empty() && budget.pool_used == 0);
        }
    }

    #[test]
    fn stream_that_sends_much_leaves_room_for_others() {
        let (mut budget, mut queued) = (MessageBudget::new(LIMITS), Vec::new());
        while let Some(share) = budget.request(1, MessageKind::Content, 0) {
            queued.push(share);
        }
        assert_eq!(LIMITS.stream_bytes / LIMITS.message_bytes, queued.len());
        // Even a message above the limit, whose size was misjudged, is admitted when it is the only one.
        let large = budget.request(2, MessageKind::Content, LIMITS.stream_bytes + 1);
        assert!(large.is_some());
        let next = queued.pop().map(|share| budget.release(share));
        assert_eq!(Some(1), next.map(|admitted| admitted.len()));
    }
}
