//! The members of a JSON object that are read, and what they say.

use signalbox_types::ResponseKey;

use crate::response::error::ErrorMembers;
use crate::response::event::{ends_response, names_response};
use crate::response::usage::{UsageParts, parse_last_meta_info, parse_usage};

/// Maximum length of a captured value. It bounds the memory that a response costs.
pub(super) const MAX_VALUE_BYTES: usize = 16_384;

/// A member of the outermost object whose own members are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enclosing {
    /// Of OpenAI's responses API.
    Response,
    /// Of Anthropic's messages API.
    Message,
}

/// A member whose value is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Kind,
    Object,
    Error,
    OuterStatus,
    Usage,
    MetaInfo,
    EnclosedUsage(Enclosing),
    EnclosedError,
    Id,
    EnclosedId,
}

/// The value of a member, as far as it was read.
#[derive(Debug)]
pub(super) struct Capture {
    member: Member,
    /// Number of open brackets around the value.
    pub(super) depth: usize,
    value: Vec<u8>,
    is_too_long: bool,
    /// Number of open brackets around the array whose items are being left out.
    array_depth: Option<usize>,
}

impl Capture {
    pub(super) fn new(member: Member, depth: usize) -> Self {
        Self { member, depth, value: Vec::new(), is_too_long: false, array_depth: None }
    }

    /// Appends bytes of the value, except the items of arrays.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.array_depth.is_some() {
            return;
        }
        if self.is_too_long || self.value.len() + bytes.len() > MAX_VALUE_BYTES {
            self.is_too_long = true;
            self.value = Vec::new();
        } else {
            self.value.extend_from_slice(bytes);
        }
    }

    /// Begins an array with this many brackets open around it. Its items are left out: they are no token counts, and
    /// the probabilities of all tokens, which SGLang writes beside the counts, are long.
    pub(super) fn begin_array(&mut self, depth: usize) {
        self.array_depth.get_or_insert(depth);
    }

    /// Ends the array with this many brackets open around it.
    pub(super) fn end_array(&mut self, depth: usize) {
        self.array_depth = self.array_depth.filter(|begun| *begun != depth);
    }
}

/// The values of the members that were found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Whether the kind is that of an event whose response reports its usage and error.
    pub(super) ends_response: bool,
    pub(super) starts_message: bool,
    /// Whether the kind is that of an event whose response has its id.
    pub(super) names_response: bool,
    pub(super) id: Option<ResponseKey>,
    pub(super) enclosed_id: Option<ResponseKey>,
    pub(super) usage: UsageParts,
    pub(super) meta_info: UsageParts,
    pub(super) last_meta_info: UsageParts,
    pub(super) response_usage: UsageParts,
    pub(super) message_usage: UsageParts,
    pub(super) error: ErrorMembers,
    pub(super) enclosed_error: ErrorMembers,
}

impl Found {
    pub(super) fn add(&mut self, Capture { member, value, is_too_long, .. }: &Capture) {
        let text = || str::from_utf8(value).unwrap_or_default().trim().trim_matches('"');
        match member {
            Member::Error if *is_too_long => self.error.on_long_error(),
            Member::EnclosedError if *is_too_long => self.enclosed_error.on_long_error(),
            _ if *is_too_long => {}
            Member::Kind => {
                self.error.on_kind(text());
                self.ends_response = ends_response(text());
                self.starts_message = text() == "message_start";
                self.names_response = names_response(text());
            }
            Member::Id => self.id = response_key(value),
            Member::EnclosedId => self.enclosed_id = response_key(value),
            Member::Object => self.error.on_kind(text()),
            Member::Error => self.error.on_error(value),
            Member::EnclosedError => self.enclosed_error.on_error(value),
            Member::OuterStatus => self.error.on_outer_status(value),
            Member::Usage => self.usage.merge(parse_usage(value)),
            Member::MetaInfo => {
                self.meta_info.merge(parse_usage(value));
                self.last_meta_info.merge(parse_last_meta_info(value));
            }
            Member::EnclosedUsage(Enclosing::Response) => self.response_usage.merge(parse_usage(value)),
            Member::EnclosedUsage(Enclosing::Message) => self.message_usage.merge(parse_usage(value)),
        }
    }
}

fn response_key(value: &[u8]) -> Option<ResponseKey> {
    serde_json::from_slice::<String>(value.trim_ascii()).ok().map(|id| ResponseKey::of(&id))
}
