//! An answer over HTTP that something else carries.

use crate::answer::document::Document;
use crate::answer::events::Events;
use crate::answer::usage::{KEY, Usage};

/// Reads an answer in OpenAI's form of which nobody says whether it is one document or a stream of events: a document begins with a
/// brace.
#[derive(Debug, Default)]
pub(crate) enum Carried {
    #[default]
    Awaited,
    Events(Box<Events>),
    Whole(Box<Document>),
}

impl Carried {
    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        if let Self::Awaited = self {
            // However it is cut, what is before the beginning counts for nothing.
            piece = piece.trim_ascii_start();
            match piece.first() {
                None => return,
                Some(b'{') => *self = Self::Whole(Box::new(Document::new(KEY))),
                Some(_) => *self = Self::Events(Box::new(Events::new(KEY))),
            }
        }
        match self {
            Self::Awaited => {}
            Self::Events(events) => events.push(piece),
            Self::Whole(document) => document.push(piece),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::Awaited => Usage::default(),
            Self::Events(events) => events.usage(),
            Self::Whole(document) => document.usage(),
        }
    }
}
