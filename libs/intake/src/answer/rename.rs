//! Puts the name that a client asked for back into an answer.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::answer::AnswerKind;
use crate::answer::names::Names;
use crate::answer::reframe::Reframer;
use crate::api::Api;

/// Replaces in an answer each `"model":"<target>"`, where there may be a space after the colon, by the same with another
/// name.
#[derive(Debug)]
pub struct Renamer(Way);

#[derive(Debug)]
enum Way {
    Text(Names),
    Messages(Reframer),
}

impl Renamer {
    /// Replaces the name `target` by `asked` in an answer of that kind to a request of `api`; `None` where there is none in it, or
    /// it is not to be read.
    pub fn new(api: Api, kind: AnswerKind, target: &str, asked: &str) -> Option<Self> {
        let names = || Names::new(target, asked);
        Some(Self(match (kind, api) {
            (AnswerKind::Framed, Api::VertexChat | Api::VertexPredict) => {
                Way::Messages(Reframer::new(names()))
            }
            (AnswerKind::Framed | AnswerKind::Unread, _) => return None,
            (AnswerKind::Events | AnswerKind::Whole, _) => Way::Text(names()),
        }))
    }

    /// Takes the next piece of the body; returns what is to be passed on, in order. Of text, at most the beginning of a match is
    /// held back; of gRPC, at most a message, up to a bound. Nothing is held back of the last piece.
    pub fn push(&mut self, piece: Bytes, is_last: bool) -> SmallVec<[Bytes; 3]> {
        match &mut self.0 {
            Way::Text(names) => names.push(piece, is_last),
            Way::Messages(messages) => messages.push(piece, is_last),
        }
    }
}
