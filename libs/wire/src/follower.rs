//! Between an aggregator and those who follow it: who owns the pool, where each stands, and what an heir asks for.

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Cursor, FromAggregator, FromFollower};
use signalbox_types::Version;

use crate::error::WireError;
use crate::frame::{frame, frame_message};
use crate::hello::Hello;

/// What a follower says; `hello` with the first message of a stream.
pub fn follower_message(hello: Option<&Hello>, said: FromFollower) -> pb::FollowerMessage {
    use pb::follower_message::Said;
    let said = match said {
        FromFollower::Cursor(Cursor { version, epoch: highest_epoch }) => {
            let Version { epoch, seq } = version.unwrap_or_default();
            Said::Cursor(pb::Cursor { epoch, seq, highest_epoch })
        }
        FromFollower::Offered(offered) => Said::Offered(frame_message(&offered)),
    };
    pb::FollowerMessage { hello: hello.map(Hello::message), said: Some(said) }
}

/// The last thing that a follower says when it cannot take what it was sent.
pub fn refusal(reason: &WireError) -> pb::FollowerMessage {
    let said = pb::follower_message::Said::Refused(reason.to_string());
    pb::FollowerMessage { hello: None, said: Some(said) }
}

/// What a follower said; its hello is read by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when it is not of this version.
pub fn from_follower(message: pb::FollowerMessage) -> Result<FromFollower, WireError> {
    use pb::follower_message::Said;
    let pb::FollowerMessage { hello: _, said } = message;
    Ok(match said.ok_or(WireError::Missing("what a follower says"))? {
        Said::Cursor(pb::Cursor { epoch, seq, highest_epoch }) => {
            let version = held(epoch, seq);
            FromFollower::Cursor(Cursor { version, epoch: highest_epoch.max(epoch) })
        }
        Said::Offered(offered) => FromFollower::Offered(frame(offered)?),
        Said::Refused(reason) => return Err(WireError::Refused(reason)),
    })
}

/// What an aggregator says; `hello` with the first message of a stream.
pub fn from_aggregator_message(hello: Option<&Hello>, said: &FromAggregator) -> pb::Frame {
    use pb::frame::Frame as Kind;
    let frame = match said {
        FromAggregator::Frame(frame) => frame_message(frame).frame,
        FromAggregator::Standing { epoch } => Some(Kind::Standing(pb::Standing { epoch: *epoch })),
        FromAggregator::Asked { after } => {
            let Version { epoch, seq } = after.unwrap_or_default();
            Some(Kind::Ask(pb::Ask { epoch, seq }))
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
        Some(Kind::Standing(pb::Standing { epoch })) => FromAggregator::Standing { epoch },
        Some(Kind::Ask(pb::Ask { epoch, seq })) => FromAggregator::Asked { after: held(epoch, seq) },
        state => FromAggregator::Frame(frame(pb::Frame { frame: state, hello: None })?),
    })
}

fn held(epoch: u64, seq: u64) -> Option<Version> {
    (epoch != 0).then_some(Version { epoch, seq })
}
