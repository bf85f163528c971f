//! Streams between processes, and what becomes of what is sent on them.

use std::collections::BTreeMap;

use rand::Rng;
use signalbox_state::{AssignedEndpoint, Feedback, FromAggregator, FromFollower, Report};
use signalbox_types::Origin;

use crate::plan::{Links, Mode, Node};
use crate::queue::{Event, Queue};

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Subscribe,
    Feed,
    Collect,
}

/// A side of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Client,
    Server,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// The client learns that the stream is open.
    Opened,
    /// The other side is gone.
    Closed,
    Down(FromAggregator),
    Up(FromFollower),
    Batch(Feedback),
    NeedChain(u64),
    Expired(Origin),
    Join(String),
    Reports(u64, Vec<Report>),
    Directive(u64, Vec<AssignedEndpoint>),
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    pub(crate) client: (Node, u32),
    pub(crate) server: (Node, u32),
    /// Whether each end still uses it.
    is_used: [bool; 2],
    /// Nothing gets through any more, though the ends may not know.
    is_broken: bool,
    /// When the last message in each direction arrives.
    last_us: [u64; 2],
    /// What waits for the way to be free again.
    held: [Vec<Payload>; 2],
    has_spoken: [bool; 2],
    /// Messages to each end that it has not taken yet.
    pub(crate) on_the_way: [usize; 2],
    out_of_contact_since_us: Option<u64>,
}

impl Stream {
    pub(crate) fn of(&self, end: End) -> (Node, u32) {
        match end {
            End::Client => self.client,
            End::Server => self.server,
        }
    }
}

/// All streams, and the ways between processes.
#[derive(Debug)]
pub(crate) struct Network {
    mode: Mode,
    links: Links,
    streams: BTreeMap<u64, Stream>,
    opened: u64,
    cuts: BTreeMap<(Node, Node), u32>,
    slow_us: BTreeMap<(Node, Node), u64>,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) broken: u64,
}

impl Network {
    pub(crate) fn new(mode: Mode, links: Links) -> Self {
        let (streams, cuts, slow_us) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { mode, links, streams, opened: 0, cuts, slow_us, lost: 0, repeated: 0, broken: 0 }
    }

    /// From now on nothing is lost any more but what is cut, and everything comes in order.
    pub(crate) fn heal(&mut self) {
        self.mode = Mode::Streams;
        (self.links.lost_ppm, self.links.repeated_ppm) = (0, 0);
    }

    pub(crate) fn is_open(&self, from: Node, to: Node) -> bool {
        !self.cuts.contains_key(&(from, to))
    }

    pub(crate) fn delay_us(&self, queue: &mut Queue, from: Node, to: Node) -> u64 {
        let slow_us = self.slow_us.get(&(from, to)).copied().unwrap_or(0);
        let most_us = self.links.jitter_us;
        // Most are quick, some are late.
        let jitter_us = queue.dice.random_range(0..=most_us).min(queue.dice.random_range(0..=most_us));
        self.links.delay_us + jitter_us + slow_us
    }

    pub(crate) fn slow(&mut self, between: (Node, Node), by_ms: u64) {
        for way in [between, (between.1, between.0)] {
            if by_ms == 0 {
                self.slow_us.remove(&way)
            } else {
                self.slow_us.insert(way, by_ms * 1_000)
            };
        }
    }

    pub(crate) fn cut(&mut self, way: (Node, Node)) {
        *self.cuts.entry(way).or_default() += 1;
    }

    /// One reason less why this way is cut; what waited goes on when there is none.
    pub(crate) fn mend(&mut self, queue: &mut Queue, way: (Node, Node)) {
        let Some(reasons) = self.cuts.get_mut(&way) else { return };
        *reasons -= 1;
        if *reasons > 0 {
            return;
        }
        self.cuts.remove(&way);
        // TCP tries again after a while that grew meanwhile.
        let pause_us = queue.dice.random_range(0..400_000);
        let ids: Vec<u64> = self.streams.keys().copied().collect();
        for id in ids {
            for end in [End::Client, End::Server] {
                let Some(stream) = self.streams.get_mut(&id) else { continue };
                if (stream.of(end.other()).0, stream.of(end).0) == way {
                    for payload in std::mem::take(&mut stream.held[end as usize]) {
                        self.deliver(queue, id, end, pause_us, payload);
                    }
                }
            }
        }
    }

    /// Opens a stream, if the other side can be reached and `is_up`. The client is told when it is open.
    pub(crate) fn open(
        &mut self,
        queue: &mut Queue,
        kind: Kind,
        client: (Node, u32),
        server: (Node, u32),
    ) -> Option<u64> {
        if !self.is_open(client.0, server.0) || !self.is_open(server.0, client.0) {
            return None;
        }
        self.opened += 1;
        let stream = Stream {
            kind,
            client,
            server,
            is_used: [true, true],
            is_broken: false,
            last_us: [0, 0],
            held: [Vec::new(), Vec::new()],
            has_spoken: [false, false],
            on_the_way: [0, 0],
            out_of_contact_since_us: None,
        };
        self.streams.insert(self.opened, stream);
        let there_us = self.delay_us(queue, client.0, server.0);
        self.deliver(queue, self.opened, End::Client, there_us, Payload::Opened);
        Some(self.opened)
    }

    pub(crate) fn stream(&self, id: u64) -> Option<&Stream> {
        self.streams.get(&id)
    }

    /// Sends to `end`.
    pub(crate) fn send(&mut self, queue: &mut Queue, id: u64, end: End, payload: Payload) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_broken || !stream.is_used[end.other() as usize] {
            return;
        }
        let is_first = !std::mem::replace(&mut stream.has_spoken[end as usize], true);
        let way = (stream.of(end.other()).0, stream.of(end).0);
        stream.on_the_way[end as usize] += 1;
        let is_datagram = self.mode == Mode::Datagrams
            && matches!(payload, Payload::Down(_) | Payload::Up(_) | Payload::Batch(_));
        let is_lost = !is_first && queue.dice.random_range(0..1_000_000) < self.links.lost_ppm;
        if self.cuts.contains_key(&way) {
            if is_datagram && !is_first {
                self.lose(id, end);
            } else if let Some(stream) = self.streams.get_mut(&id) {
                stream.held[end as usize].push(payload);
            }
        } else if is_lost && is_datagram {
            self.lose(id, end);
        } else if is_lost {
            self.break_off(queue, id);
        } else {
            if is_datagram && queue.dice.random_range(0..1_000_000) < self.links.repeated_ppm {
                self.repeated += 1;
                self.streams.entry(id).and_modify(|stream| stream.on_the_way[end as usize] += 1);
                self.deliver(queue, id, end, 0, payload.clone());
            }
            self.deliver(queue, id, end, 0, payload);
        }
    }

    fn lose(&mut self, id: u64, end: End) {
        self.lost += 1;
        self.streams.entry(id).and_modify(|stream| stream.on_the_way[end as usize] -= 1);
    }

    fn deliver(&mut self, queue: &mut Queue, id: u64, end: End, after_us: u64, payload: Payload) {
        let Some(stream) = self.streams.get(&id) else { return };
        let (from, to) = (stream.of(end.other()).0, stream.of(end).0);
        let mut at_us = queue.now_us() + after_us + self.delay_us(queue, from, to);
        let is_datagram = matches!(payload, Payload::Down(_) | Payload::Up(_) | Payload::Batch(_));
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if self.mode == Mode::Streams || !is_datagram {
            at_us = at_us.max(stream.last_us[end as usize]);
            stream.last_us[end as usize] = at_us;
        }
        queue.at_us(at_us, Event::Message { stream: id, end, payload });
    }

    /// Whether a message on a stream reaches its end now.
    pub(crate) fn arrives(&mut self, id: u64, end: End, payload: &Payload) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        let is_end = matches!(payload, Payload::Closed);
        if !is_end && !matches!(payload, Payload::Opened) {
            stream.on_the_way[end as usize] -= 1;
        }
        stream.is_used[end as usize] && (is_end || !stream.is_broken)
    }

    /// One end is done with a stream. The other one learns of it.
    pub(crate) fn close(&mut self, queue: &mut Queue, id: u64, end: End) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !std::mem::replace(&mut stream.is_used[end as usize], false) {
            return;
        }
        let other = end.other();
        if !stream.is_used[other as usize] {
            self.streams.remove(&id);
            return;
        }
        let way = (stream.of(end).0, stream.of(other).0);
        if self.cuts.contains_key(&way) {
            stream.held[other as usize].push(Payload::Closed);
        } else {
            self.deliver(queue, id, other, 0, Payload::Closed);
        }
    }

    /// A stream breaks in the middle; each end learns of it by and by.
    pub(crate) fn break_off(&mut self, queue: &mut Queue, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if std::mem::replace(&mut stream.is_broken, true) {
            return;
        }
        self.broken += 1;
        for end in [End::Client, End::Server] {
            let after_us = queue.dice.random_range(0..200_000);
            queue.after_us(after_us, Event::Message { stream: id, end, payload: Payload::Closed });
        }
    }

    /// All streams of a process.
    pub(crate) fn streams_of(&self, node: Node) -> Vec<(u64, End)> {
        let mut streams = Vec::new();
        for (id, stream) in &self.streams {
            for end in [End::Client, End::Server] {
                if stream.of(end).0 == node && stream.is_used[end as usize] {
                    streams.push((*id, end));
                }
            }
        }
        streams
    }

    /// The streams that a process has opened and on which it has heard nothing for too long, as keep-alive would.
    pub(crate) fn out_of_contact(
        &mut self,
        now_us: u64,
        client: (Node, u32),
        after_us: u64,
        is_running: impl Fn((Node, u32)) -> bool,
    ) -> Vec<u64> {
        let mut lost = Vec::new();
        for (id, stream) in &mut self.streams {
            if stream.client != client || !stream.is_used[End::Client as usize] {
                continue;
            }
            let there = (stream.client.0, stream.server.0);
            let back = (stream.server.0, stream.client.0);
            let is_in_contact = !self.cuts.contains_key(&there)
                && !self.cuts.contains_key(&back)
                && is_running(stream.server);
            if is_in_contact {
                stream.out_of_contact_since_us = None;
            } else if now_us - *stream.out_of_contact_since_us.get_or_insert(now_us) >= after_us {
                lost.push(*id);
            }
        }
        lost
    }
}
