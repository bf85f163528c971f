//! Between an aggregator and those who follow it: who owns the pool, where each stands, and what an heir asks for.

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Cursor, FromAggregator, FromFollower};
use signalbox_types::Version;

use crate::error::WireError;
use crate::frame::{frame, frame_message};
use crate::hello::Hello;

/// What a follower says; `hello` with the first message of a stream.
pub fn follower_message(hello: Option<&Hello>, message: FromFollower) -> pb::FollowerMessage {
    use pb::follower_message::Message;
    let message = match message {
        FromFollower::Cursor(Cursor { version, epoch: highest_epoch }) => {
            let Version { epoch, seq } = version.unwrap_or_default();
            Message::Cursor(pb::Cursor { epoch, seq, highest_epoch })
        }
        FromFollower::Offered(offered) => Message::Offered(frame_message(&offered)),
    };
    pb::FollowerMessage { hello: hello.map(Hello::message), message: Some(message) }
}

/// The last thing that a follower says when it cannot take what it was sent.
pub fn refusal(reason: &WireError) -> pb::FollowerMessage {
    let message = pb::follower_message::Message::Refused(reason.to_string());
    pb::FollowerMessage { hello: None, message: Some(message) }
}

/// What a follower said; its hello is read by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when it is not of this version.
pub fn from_follower(message: pb::FollowerMessage) -> Result<FromFollower, WireError> {
    use pb::follower_message::Message;
    let pb::FollowerMessage { hello: _, message } = message;
    Ok(match message.ok_or(WireError::Missing("what a follower says"))? {
        Message::Cursor(pb::Cursor { epoch, seq, highest_epoch }) => {
            let version = held(epoch, seq);
            FromFollower::Cursor(Cursor { version, epoch: highest_epoch.max(epoch) })
        }
        Message::Offered(offered) => FromFollower::Offered(frame(offered)?),
        Message::Refused(reason) => return Err(WireError::Refused(reason)),
    })
}

/// What an aggregator says; `hello` with the first message of a stream.
pub fn from_aggregator_message(hello: Option<&Hello>, message: &FromAggregator) -> pb::Frame {
    use pb::frame::Frame as Kind;
    let frame = match message {
        FromAggregator::Frame(frame) => frame_message(frame).frame,
        FromAggregator::NotOwner { epoch } => Some(Kind::NotOwner(pb::NotOwner { epoch: *epoch })),
        FromAggregator::FetchRequest { after } => {
            let Version { epoch, seq } = after.unwrap_or_default();
            Some(Kind::FetchRequest(pb::FetchRequest { epoch, seq }))
        }
    };
    pb::Frame { frame, hello: hello.map(Hello::message) }
}

/// What an aggregator said; its hello is read by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when it is not of this version.
pub fn from_aggregator(message: pb::Frame) -> Result<FromAggregator, WireError> {
    use pb::frame::Frame as Kind;
    Ok(match message.frame {
        Some(Kind::NotOwner(pb::NotOwner { epoch })) => FromAggregator::NotOwner { epoch },
        Some(Kind::FetchRequest(pb::FetchRequest { epoch, seq })) => {
            FromAggregator::FetchRequest { after: held(epoch, seq) }
        }
        state => FromAggregator::Frame(frame(pb::Frame { frame: state, hello: None })?),
    })
}

fn held(epoch: u64, seq: u64) -> Option<Version> {
    (epoch != 0).then_some(Version { epoch, seq })
}
