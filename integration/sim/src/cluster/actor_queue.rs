//! What waits for the actor of a process.
//!
//! The actor of a pool has a mailbox, and a queue of messages with content, which it handles in slices between the
//! messages of its mailbox: the time and the coordinator's answers overtake feedback and reports. Other processes have a
//! mailbox only.

use std::collections::VecDeque;

use crate::cluster::event::Event;
use crate::cluster::lane::Lane;

/// How long messages with content are handled before those of the mailbox get their turn, in microseconds.
const SLICE_US: u64 = 2_000;

#[derive(Debug)]
enum Mail {
    Event(Box<Event>),
    /// Handle a slice of the messages with content.
    Slice,
}

/// The events that wait for one process.
#[derive(Debug, Default)]
pub(crate) struct ActorQueue {
    mailbox: VecDeque<Mail>,
    /// The messages with content, and when each arrived, in microseconds.
    bulk: VecDeque<(u64, Event)>,
    /// When the current slice began, in microseconds.
    slice_since_us: Option<u64>,
    /// Whether the mailbox contains the message that a slice must be handled, or a slice is being handled.
    is_announced: bool,
}

impl ActorQueue {
    /// Adds an event that arrives at `now_us`.
    pub(crate) fn push(&mut self, now_us: u64, lane: Lane, event: Event) {
        match lane {
            Lane::Mailbox => self.mailbox.push_back(Mail::Event(event.into())),
            Lane::Bulk => {
                self.bulk.push_back((now_us, event));
                self.announce();
            }
        }
    }

    /// Adds a message with content within a slice, to be handled before all others.
    pub(crate) fn push_first(&mut self, now_us: u64, event: Event) {
        // What it is the rest of has arrived before the other messages.
        let arrived_us = self.bulk.front().map_or(now_us, |(arrived_us, _)| *arrived_us);
        self.bulk.push_front((arrived_us, event));
    }

    fn announce(&mut self) {
        if !std::mem::replace(&mut self.is_announced, true) {
            self.mailbox.push_back(Mail::Slice);
        }
    }

    /// Takes the next event for an actor that is free at `now_us`. Returns whether it overtakes one that arrived before.
    pub(crate) fn pop(&mut self, now_us: u64) -> Option<(Event, bool)> {
        loop {
            if let Some(since_us) = self.slice_since_us {
                if now_us - since_us < SLICE_US
                    && let Some((_, event)) = self.bulk.pop_front()
                {
                    return Some((event, false));
                }
                self.end_slice();
            }
            match self.mailbox.pop_front()? {
                Mail::Event(event) => return Some((*event, !self.bulk.is_empty())),
                Mail::Slice => self.slice_since_us = Some(now_us),
            }
        }
    }

    fn end_slice(&mut self) {
        (self.slice_since_us, self.is_announced) = (None, false);
        if !self.bulk.is_empty() {
            self.announce();
        }
    }

    /// Returns whether the rest of a message of this stream comes next.
    pub(crate) fn has_rest_of(&self, stream: u64) -> bool {
        let first = self.bulk.front().map(|(_, event)| event);
        matches!(first, Some(Event::FeedbackRest { stream: of, .. }) if *of == stream)
    }

    /// Returns the number of events that wait.
    pub(crate) fn len(&self) -> usize {
        let slices = usize::from(self.is_announced && self.slice_since_us.is_none());
        self.mailbox.len() + self.bulk.len() - slices
    }

    /// Returns for how long the oldest message with content has waited, in microseconds.
    pub(crate) fn waiting_us(&self, now_us: u64) -> u64 {
        self.bulk.front().map_or(0, |(arrived_us, _)| now_us - arrived_us)
    }
}
