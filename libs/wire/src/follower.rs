//! Messages between an aggregator and its followers, except for the encoding of frames.

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Cursor, FromAggregator, FromFollower, HeardOwner};
use signalbox_types::Version;

use crate::error::WireError;
use crate::frame::{decode_frame, encode_frame};
use crate::hello::Hello;

/// Encodes a follower's message. The first message of a stream carries `hello`.
pub fn encode_follower_message(hello: Option<&Hello>, message: FromFollower) -> pb::FollowerMessage {
    use pb::follower_message::Message;
    let message = match message {
        FromFollower::Cursor(cursor) => Message::Cursor(encode_cursor(cursor)),
        FromFollower::Installed(Version { epoch, seq }) => {
            let cursor = pb::Cursor { epoch, seq, highest_epoch: epoch, ..pb::Cursor::default() };
            Message::Cursor(pb::Cursor { is_installed: true, ..cursor })
        }
        FromFollower::FetchReply(fetched) => Message::FetchReply(encode_frame(&fetched)),
    };
    pb::FollowerMessage { hello: hello.map(Hello::message), message: Some(message) }
}

fn encode_cursor(cursor: Cursor) -> pb::Cursor {
    let Cursor { version, epoch: highest_epoch, heard, provisional_since, diverged_at } = cursor;
    let Version { epoch, seq } = version.unwrap_or_default();
    let diverged_at = diverged_at.unwrap_or_default();
    pb::Cursor {
        epoch,
        seq,
        highest_epoch,
        heard_epoch: heard_epoch(heard),
        is_installed: false,
        provisional_since,
        diverged_epoch: diverged_at.epoch,
        diverged_seq: diverged_at.seq,
    }
}

/// Encodes the last message of a follower that rejects a message of the aggregator.
pub fn encode_rejection(reason: &WireError) -> pb::FollowerMessage {
    let message = pb::follower_message::Message::Rejected(reason.to_string());
    pb::FollowerMessage { hello: None, message: Some(message) }
}

/// Decodes a follower's message. Its hello is decoded by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when the message is invalid in this version.
pub fn decode_follower_message(message: pb::FollowerMessage) -> Result<FromFollower, WireError> {
    use pb::follower_message::Message;
    let pb::FollowerMessage { hello: _, message } = message;
    Ok(match message.ok_or(WireError::Missing("follower message"))? {
        Message::Cursor(pb::Cursor { epoch, seq, is_installed: true, .. }) => {
            FromFollower::Installed(Version { epoch, seq })
        }
        Message::Cursor(cursor) => {
            let pb::Cursor { epoch, seq, .. } = cursor;
            FromFollower::Cursor(Cursor {
                version: version(epoch, seq),
                epoch: cursor.highest_epoch.max(epoch),
                heard: heard_owner(cursor.heard_epoch),
                provisional_since: cursor.provisional_since,
                diverged_at: version(cursor.diverged_epoch, cursor.diverged_seq),
            })
        }
        Message::FetchReply(fetched) => FromFollower::FetchReply(decode_frame(fetched)?),
        Message::Rejected(reason) => return Err(WireError::Rejected(reason)),
    })
}

/// Encodes an aggregator's message. The first message of a stream carries `hello`.
pub fn encode_aggregator_message(hello: Option<&Hello>, message: &FromAggregator) -> pb::Frame {
    use pb::frame::Frame as Kind;
    let frame = match message {
        FromAggregator::Frame(frame) => encode_frame(frame).frame,
        FromAggregator::NotOwner { epoch } => Some(Kind::NotOwner(pb::NotOwner { epoch: *epoch })),
        FromAggregator::FetchRequest { after } => {
            let Version { epoch, seq } = after.unwrap_or_default();
            Some(Kind::FetchRequest(pb::FetchRequest { epoch, seq }))
        }
    };
    pb::Frame { frame, hello: hello.map(Hello::message) }
}

/// Decodes an aggregator's message. Its hello is decoded by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when the message is invalid in this version.
pub fn decode_aggregator_message(message: pb::Frame) -> Result<FromAggregator, WireError> {
    use pb::frame::Frame as Kind;
    Ok(match message.frame {
        Some(Kind::NotOwner(pb::NotOwner { epoch })) => FromAggregator::NotOwner { epoch },
        Some(Kind::FetchRequest(pb::FetchRequest { epoch, seq })) => {
            FromAggregator::FetchRequest { after: version(epoch, seq) }
        }
        state => FromAggregator::Frame(decode_frame(pb::Frame { frame: state, hello: None })?),
    })
}

fn heard_epoch(heard: HeardOwner) -> Option<u64> {
    match heard {
        HeardOwner::Unknown => None,
        HeardOwner::Nobody => Some(0),
        HeardOwner::Epoch(epoch) => Some(epoch),
    }
}

fn heard_owner(heard_epoch: Option<u64>) -> HeardOwner {
    match heard_epoch {
        None => HeardOwner::Unknown,
        Some(0) => HeardOwner::Nobody,
        Some(epoch) => HeardOwner::Epoch(epoch),
    }
}

fn version(epoch: u64, seq: u64) -> Option<Version> {
    (epoch != 0).then_some(Version { epoch, seq })
}
