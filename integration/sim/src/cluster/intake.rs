//! How an aggregator reads the streams that others have opened to it: each up to the message for which there is no room.

use std::collections::{BTreeMap, VecDeque};

use signalbox_state::{FromFollower, MessageBudget, MessageKind, MessageLimits, MessageShare};

use crate::cluster::event::Event;
use crate::cluster::message::{End, Payload};

/// The weight of a message, and of each of its parts, in bytes.
const MESSAGE_BYTES: usize = 64;
const PART_BYTES: usize = 8;

/// How many messages with content of each other stream were handled since a message arrived.
type OvertakenBy = BTreeMap<u64, usize>;

/// The streams of one aggregator.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    limits: MessageLimits,
    budget: MessageBudget,
    /// What has arrived on each stream and was not read. The first message of each waits for room.
    unread: BTreeMap<u64, VecDeque<Event>>,
    /// The shares of the messages that queue for the actor, in the order of their arrival.
    queued: BTreeMap<(u64, MessageKind), VecDeque<MessageShare>>,
    /// The streams with a message with content that was not handled, and before which nothing of the stream waited.
    turns: BTreeMap<u64, OvertakenBy>,
}

/// What happened to a message that was read or handled.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// What queues for the actor now.
    pub(crate) events: Vec<Event>,
    /// How messages of one stream kept others from their turn.
    pub(crate) starved: Option<String>,
    /// Whether a message waits for room now.
    pub(crate) waits: bool,
}

impl Intake {
    pub(crate) fn new(limits: MessageLimits) -> Self {
        Self { limits, budget: MessageBudget::new(limits), ..Self::default() }
    }

    /// Reads an event that arrives on a stream, unless an earlier one of the stream waits.
    pub(crate) fn arrive(&mut self, stream: u64, event: Event) -> Admitted {
        let kind = kind_of(&event);
        let has_more = self.unread.contains_key(&stream)
            || [MessageKind::Control, MessageKind::Content].iter().any(|kind| self.is_queued(stream, *kind));
        if kind == Some(MessageKind::Content) && !has_more {
            self.turns.insert(stream, OvertakenBy::new());
        }
        self.unread.entry(stream).or_default().push_back(event);
        let mut admitted = Admitted::default();
        if self.unread[&stream].len() == 1 {
            self.read(stream, &mut admitted);
        }
        if admitted.waits && kind == Some(MessageKind::Control) && !has_more {
            admitted.starved = Some(format!("a message without content waits on stream {stream} for others"));
        }
        admitted
    }

    /// Gives back the share of a message that the actor has handled.
    pub(crate) fn finish(&mut self, stream: u64, kind: MessageKind) -> Admitted {
        let mut admitted = Admitted { starved: self.end_turn(stream, kind), ..Admitted::default() };
        let Some(share) = self.queued.get_mut(&(stream, kind)).and_then(VecDeque::pop_front) else {
            return admitted;
        };
        self.queued.retain(|_, shares| !shares.is_empty());
        let shares = self.budget.release(share);
        let streams: Vec<u64> = shares.iter().map(MessageShare::stream).collect();
        // All of them queue before more is read of any: what is read next may be admitted at once.
        shares.into_iter().for_each(|share| self.admit(share, &mut admitted));
        streams.into_iter().for_each(|stream| self.read(stream, &mut admitted));
        admitted
    }

    fn is_queued(&self, stream: u64, kind: MessageKind) -> bool {
        self.queued.contains_key(&(stream, kind))
    }

    /// Reads a stream up to the message for which there is no room.
    fn read(&mut self, stream: u64, admitted: &mut Admitted) {
        while let Some(event) = self.unread.get(&stream).and_then(VecDeque::front) {
            match kind_of(event) {
                None => self.take_first(stream, admitted),
                Some(kind) => match self.budget.request(stream, kind, bytes(event)) {
                    Some(share) => self.admit(share, admitted),
                    None => {
                        admitted.waits = true;
                        return;
                    }
                },
            }
        }
        self.unread.remove(&stream);
    }

    fn admit(&mut self, share: MessageShare, admitted: &mut Admitted) {
        let stream = share.stream();
        if let Some(kind) = self.unread.get(&stream).and_then(VecDeque::front).and_then(kind_of) {
            self.queued.entry((stream, kind)).or_default().push_back(share);
        }
        self.take_first(stream, admitted);
    }

    fn take_first(&mut self, stream: u64, admitted: &mut Admitted) {
        admitted.events.extend(self.unread.get_mut(&stream).and_then(VecDeque::pop_front));
    }

    /// Records that a message is handled. Returns whom it has kept from its turn: only as much of one stream as may queue is
    /// handled before the message of another.
    fn end_turn(&mut self, stream: u64, kind: MessageKind) -> Option<String> {
        if kind == MessageKind::Control {
            return None;
        }
        self.turns.remove(&stream);
        let most = self.limits.stream_bytes / self.limits.message_bytes;
        let mut starved = None;
        for (waiting, overtaken_by) in &mut self.turns {
            let count = overtaken_by.entry(stream).or_default();
            *count += 1;
            if *count > most {
                starved = Some(format!("{count} messages of stream {stream} come before one of {waiting}"));
            }
        }
        starved
    }
}

/// Returns what bounds a message; `None` if it takes nothing of the budget.
pub(crate) fn kind_of(event: &Event) -> Option<MessageKind> {
    match event {
        Event::Message { end: End::Server, payload, .. } => match payload {
            Payload::Feedback(_)
            | Payload::Reports(..)
            | Payload::FromFollower(FromFollower::FetchReply(_)) => Some(MessageKind::Content),
            Payload::FromFollower(_) => Some(MessageKind::Control),
            _ => None,
        },
        Event::FeedbackRest { .. } => Some(MessageKind::Content),
        _ => None,
    }
}

fn bytes(event: &Event) -> usize {
    MESSAGE_BYTES + PART_BYTES * event.parts() as usize
}
