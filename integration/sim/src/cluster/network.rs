//! Carries messages on streams between processes, and delays, loses, duplicates and cuts them.

use std::collections::BTreeMap;

use rand::Rng;

use crate::cluster::event::Event;
use crate::cluster::message::{End, Payload, StreamKind};
use crate::cluster::queue::Queue;
use crate::plan::{Links, Mode, Node};

/// A stream between two runs of processes. Arrays are indexed by [`End`].
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) kind: StreamKind,
    pub(crate) client: (Node, u32),
    pub(crate) server: (Node, u32),
    /// Whether each end still uses the stream.
    is_used: [bool; 2],
    /// Nothing arrives any more, although the ends may not know it yet.
    is_broken: bool,
    /// When the last message to each end arrives.
    last_arrival_us: [u64; 2],
    /// Messages to each end that wait until the link is no longer cut.
    blocked: [Vec<Payload>; 2],
    /// Whether a message was sent to each end.
    has_sent: [bool; 2],
    /// Messages to each end that have not arrived yet.
    pub(crate) in_flight: [usize; 2],
    unresponsive_since_us: Option<u64>,
}

impl Stream {
    pub(crate) fn process_at(&self, end: End) -> (Node, u32) {
        match end {
            End::Client => self.client,
            End::Server => self.server,
        }
    }

    /// Returns the link that leads to `end`.
    fn link_to(&self, end: End) -> (Node, Node) {
        (self.process_at(end.other()).0, self.process_at(end).0)
    }
}

/// All streams, and the state of the links between processes. A link has a direction: from the first node to
/// the second.
#[derive(Debug)]
pub(crate) struct Network {
    mode: Mode,
    links: Links,
    streams: BTreeMap<u64, Stream>,
    opened: u64,
    /// How many faults cut each link at the moment.
    cuts: BTreeMap<(Node, Node), u32>,
    extra_delay_us: BTreeMap<(Node, Node), u64>,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) broken: u64,
}

impl Network {
    pub(crate) fn new(mode: Mode, links: Links) -> Self {
        let (streams, cuts, extra_delay_us) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { mode, links, streams, opened: 0, cuts, extra_delay_us, lost: 0, duplicated: 0, broken: 0 }
    }

    /// Stops random loss and duplication, and delivers everything in order. Cuts remain.
    pub(crate) fn heal(&mut self) {
        self.mode = Mode::Streams;
        (self.links.loss_ppm, self.links.duplicate_ppm) = (0, 0);
    }

    /// Returns whether no fault cuts the link.
    pub(crate) fn is_open(&self, from: Node, to: Node) -> bool {
        !self.cuts.contains_key(&(from, to))
    }

    /// Draws the delay of one message, in microseconds.
    pub(crate) fn delay_us(&self, queue: &mut Queue, from: Node, to: Node) -> u64 {
        let extra_delay_us = self.extra_delay_us.get(&(from, to)).copied().unwrap_or(0);
        let most_us = self.links.jitter_us;
        // The smaller of two draws: most messages are fast, and a few are slow.
        let jitter_us = queue.rng.random_range(0..=most_us).min(queue.rng.random_range(0..=most_us));
        self.links.delay_us + jitter_us + extra_delay_us
    }

    /// Adds a delay to both directions between two nodes; 0 removes it.
    pub(crate) fn slow_down(&mut self, between: (Node, Node), by_ms: u64) {
        for link in [between, (between.1, between.0)] {
            if by_ms == 0 {
                self.extra_delay_us.remove(&link)
            } else {
                self.extra_delay_us.insert(link, by_ms * 1_000)
            };
        }
    }

    pub(crate) fn cut(&mut self, link: (Node, Node)) {
        *self.cuts.entry(link).or_default() += 1;
    }

    /// Ends one fault that cuts this link. After the last one, blocked messages are delivered.
    pub(crate) fn mend(&mut self, queue: &mut Queue, link: (Node, Node)) {
        let Some(cuts) = self.cuts.get_mut(&link) else { return };
        *cuts -= 1;
        if *cuts > 0 {
            return;
        }
        self.cuts.remove(&link);
        // TCP retransmits after a backoff that grew during the cut.
        let backoff_us = queue.rng.random_range(0..400_000);
        let ids: Vec<u64> = self.streams.keys().copied().collect();
        for id in ids {
            for end in [End::Client, End::Server] {
                let Some(stream) = self.streams.get_mut(&id) else { continue };
                if stream.link_to(end) == link {
                    for payload in std::mem::take(&mut stream.blocked[end as usize]) {
                        self.deliver(queue, id, end, backoff_us, payload);
                    }
                }
            }
        }
    }

    /// Opens a stream unless the link is cut in either direction. A message tells the client when the stream
    /// is open.
    pub(crate) fn open(
        &mut self,
        queue: &mut Queue,
        kind: StreamKind,
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
            last_arrival_us: [0, 0],
            blocked: [Vec::new(), Vec::new()],
            has_sent: [false, false],
            in_flight: [0, 0],
            unresponsive_since_us: None,
        };
        self.streams.insert(self.opened, stream);
        let connect_us = self.delay_us(queue, client.0, server.0);
        self.deliver(queue, self.opened, End::Client, connect_us, Payload::Opened);
        Some(self.opened)
    }

    /// Returns when the last message that is under way arrives, in microseconds.
    pub(crate) fn last_arrival_us(&self) -> u64 {
        self.streams.values().flat_map(|stream| stream.last_arrival_us).max().unwrap_or(0)
    }

    pub(crate) fn stream(&self, id: u64) -> Option<&Stream> {
        self.streams.get(&id)
    }

    /// Returns whether the server of a stream still uses it.
    pub(crate) fn is_served(&self, id: u64) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.is_used[End::Server as usize])
    }

    /// Sends a message to `end` after a while. The first message in each direction is never lost.
    pub(crate) fn send(&mut self, queue: &mut Queue, id: u64, end: End, after_us: u64, payload: Payload) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_broken || !stream.is_used[end.other() as usize] {
            return;
        }
        let is_first = !std::mem::replace(&mut stream.has_sent[end as usize], true);
        let link = stream.link_to(end);
        stream.in_flight[end as usize] += 1;
        let is_datagram = self.mode == Mode::Datagrams && payload.is_datagram();
        let is_lost = !is_first && queue.rng.random_range(0..1_000_000) < self.links.loss_ppm;
        if self.cuts.contains_key(&link) {
            if is_datagram && !is_first {
                self.lose(id, end);
            } else if let Some(stream) = self.streams.get_mut(&id) {
                stream.blocked[end as usize].push(payload);
            }
        } else if is_lost && is_datagram {
            self.lose(id, end);
        } else if is_lost {
            self.reset(queue, id);
        } else {
            if is_datagram && queue.rng.random_range(0..1_000_000) < self.links.duplicate_ppm {
                self.duplicated += 1;
                self.streams.entry(id).and_modify(|stream| stream.in_flight[end as usize] += 1);
                self.deliver(queue, id, end, after_us, payload.clone());
            }
            self.deliver(queue, id, end, after_us, payload);
        }
    }

    fn lose(&mut self, id: u64, end: End) {
        self.lost += 1;
        self.streams.entry(id).and_modify(|stream| stream.in_flight[end as usize] -= 1);
    }

    fn deliver(&mut self, queue: &mut Queue, id: u64, end: End, after_us: u64, payload: Payload) {
        let Some(stream) = self.streams.get(&id) else { return };
        let (from, to) = stream.link_to(end);
        let mut at_us = queue.now_us() + after_us + self.delay_us(queue, from, to);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if self.mode == Mode::Streams || !payload.is_datagram() {
            at_us = at_us.max(stream.last_arrival_us[end as usize]);
            stream.last_arrival_us[end as usize] = at_us;
        }
        queue.schedule_at_us(at_us, Event::Message { stream: id, end, payload });
    }

    /// Takes a message off the stream and returns whether its end receives it.
    pub(crate) fn accept(&mut self, id: u64, end: End, payload: &Payload) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        let is_close = matches!(payload, Payload::Closed);
        if !is_close && !matches!(payload, Payload::Opened) {
            stream.in_flight[end as usize] -= 1;
        }
        stream.is_used[end as usize] && (is_close || !stream.is_broken)
    }

    /// Closes a stream at one end and notifies the other end.
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
        if self.cuts.contains_key(&stream.link_to(other)) {
            stream.blocked[other as usize].push(Payload::Closed);
        } else {
            self.deliver(queue, id, other, 0, Payload::Closed);
        }
    }

    /// Breaks a stream. Each end learns of it within 200 ms.
    pub(crate) fn reset(&mut self, queue: &mut Queue, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if std::mem::replace(&mut stream.is_broken, true) {
            return;
        }
        self.broken += 1;
        for end in [End::Client, End::Server] {
            let after_us = queue.rng.random_range(0..200_000);
            queue.schedule_after_us(after_us, Event::Message { stream: id, end, payload: Payload::Closed });
        }
    }

    /// Returns all streams of a process, with the process's end.
    pub(crate) fn streams_of(&self, node: Node) -> Vec<(u64, End)> {
        let mut streams = Vec::new();
        for (id, stream) in &self.streams {
            for end in [End::Client, End::Server] {
                if stream.process_at(end).0 == node && stream.is_used[end as usize] {
                    streams.push((*id, end));
                }
            }
        }
        streams
    }

    /// Returns the streams opened by `client` whose server has been unreachable for at least `after_us`, as
    /// HTTP/2 keep-alive would find them.
    pub(crate) fn unresponsive_streams(
        &mut self,
        now_us: u64,
        client: (Node, u32),
        after_us: u64,
        is_running: impl Fn((Node, u32)) -> bool,
    ) -> Vec<u64> {
        let mut unresponsive = Vec::new();
        for (id, stream) in &mut self.streams {
            if stream.client != client || !stream.is_used[End::Client as usize] {
                continue;
            }
            let is_responsive = !self.cuts.contains_key(&stream.link_to(End::Server))
                && !self.cuts.contains_key(&stream.link_to(End::Client))
                && is_running(stream.server);
            if is_responsive {
                stream.unresponsive_since_us = None;
            } else if now_us - *stream.unresponsive_since_us.get_or_insert(now_us) >= after_us {
                unresponsive.push(*id);
            }
        }
        unresponsive
    }
}
