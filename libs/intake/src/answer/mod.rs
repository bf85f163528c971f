//! What model servers answer: how many tokens it took, and under which model's name.
//!
//! Answers pass through while they are read: no more of one is kept than a line or a number of it, however it is cut
//! into pieces, and how it is cut makes no difference.

mod carried;
mod document;
mod events;
mod frames;
mod names;
mod reframe;
mod rename;
mod usage;

pub use rename::Renamer;
pub use usage::Usage;

use document::Document;
use events::Events;
use frames::{Frames, Layout};

use crate::api::Api;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerKind {
    /// A stream of server-sent events.
    Events,
    /// One JSON document.
    Whole,
    /// Messages of gRPC, each after its 5 bytes of length.
    Framed,
    /// Something that is not to be read: an error, something compressed, something of which nobody needs the usage.
    #[default]
    Unread,
}

/// Reads from an answer what it says of its usage.
#[derive(Debug)]
pub struct UsageReader {
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Events(Box<Events>),
    Whole(Document),
    Framed(Frames),
    Nothing,
}

impl UsageReader {
    /// A reader of the answer to a request of `api`. Where an API has no answers of that kind, nothing is read.
    pub fn new(api: Api, kind: AnswerKind) -> Self {
        let reading = match (kind, api) {
            (AnswerKind::Framed, Api::VllmGrpcGenerate) => Reading::Framed(Frames::new(Layout::Generate)),
            (AnswerKind::Framed, Api::VllmGrpcEmbed) => Reading::Framed(Frames::new(Layout::Embed)),
            (AnswerKind::Framed, Api::VertexChat | Api::VertexPredict) => {
                Reading::Framed(Frames::new(Layout::HttpBody))
            }
            (AnswerKind::Unread | AnswerKind::Framed, _) => Reading::Nothing,
            (_, api) if api == Api::Opaque || api.is_grpc() => Reading::Nothing,
            (AnswerKind::Events, api) => Reading::Events(Box::new(Events::new(usage::key_of(api)))),
            (AnswerKind::Whole, api) => Reading::Whole(Document::new(usage::key_of(api))),
        };
        Self { reading }
    }

    /// Reads the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.reading {
            Reading::Events(events) => events.push(piece),
            Reading::Whole(document) => document.push(piece),
            Reading::Framed(frames) => frames.push(piece),
            Reading::Nothing => {}
        }
    }

    /// What the answer said so far; nothing where it said nothing.
    pub fn usage(&self) -> Option<Usage> {
        let usage = match &self.reading {
            Reading::Events(events) => events.usage(),
            Reading::Whole(document) => document.usage(),
            Reading::Framed(frames) => frames.usage(),
            Reading::Nothing => Usage::default(),
        };
        (usage != Usage::default()).then_some(usage)
    }
}
