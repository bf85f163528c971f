//! What can be revoked for requests that wait, and what is to be. Beside flow control as earlier releases know it, so that they
//! see no change.

use signalbox_flow::{PeerRevocable, Revocable, RevocableClass};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::FlowChange;
use signalbox_types::Origin;

use crate::error::WireError;
use crate::flow_bounds::{MAX_AMOUNT, MAX_REQUESTS, decode_number};
use crate::no_op::no_op_change;

pub(crate) fn encode_report((class, revocable): (RevocableClass, Revocable)) -> pb::Revocable {
    let Revocable { requests, tokens, newest_age_ms, oldest_age_ms, revoked } = revocable;
    let class = Some(encode_class(class));
    pb::Revocable { class, requests, tokens, newest_age_ms, oldest_age_ms, revoked }
}

pub(crate) fn decode_report(message: pb::Revocable) -> Result<(RevocableClass, Revocable), WireError> {
    let pb::Revocable { class, requests, tokens, newest_age_ms, oldest_age_ms, revoked } = message;
    check_amounts(requests, tokens)?;
    let revoked = decode_number(revoked)?;
    let revocable = Revocable { requests, tokens, newest_age_ms, oldest_age_ms, revoked };
    Ok((decode_class(class)?, revocable))
}

pub(crate) fn encode_change(origin: Origin, class: RevocableClass, revocable: PeerRevocable) -> pb::Change {
    let revocable = Some(encode_peer(class, revocable));
    let message = pb::RevocableChanged { origin: origin.0, revocable };
    pb::Change { revocable: Some(message), ..no_op_change() }
}

pub(crate) fn decode_change(message: pb::RevocableChanged) -> Result<FlowChange, WireError> {
    let pb::RevocableChanged { origin, revocable } = message;
    let (class, revocable) = decode_peer(revocable.ok_or(WireError::Missing("what can be revoked"))?)?;
    Ok(FlowChange::RevocableChanged { origin: Origin(origin), class, revocable })
}

pub(crate) fn encode_peer(class: RevocableClass, revocable: PeerRevocable) -> pb::PeerRevocable {
    let PeerRevocable { requests, tokens, newest_ms, oldest_ms, revoked, ordered } = revocable;
    let class = Some(encode_class(class));
    pb::PeerRevocable { class, requests, tokens, newest_ms, oldest_ms, revoked, ordered }
}

pub(crate) fn decode_peer(message: pb::PeerRevocable) -> Result<(RevocableClass, PeerRevocable), WireError> {
    let pb::PeerRevocable { class, requests, tokens, newest_ms, oldest_ms, revoked, ordered } = message;
    check_amounts(requests, tokens)?;
    let (revoked, ordered) = (decode_number(revoked)?, decode_number(ordered)?);
    let revocable = PeerRevocable { requests, tokens, newest_ms, oldest_ms, revoked, ordered };
    Ok((decode_class(class)?, revocable))
}

/// Checks the number of classes of one replica.
pub(crate) fn check_classes(classes: usize) -> Result<(), WireError> {
    if classes > PeerRevocable::MAX_CLASSES {
        return Err(WireError::Bounds("the number of classes that can be revoked at a replica"));
    }
    Ok(())
}

fn check_amounts(requests: u64, tokens: u64) -> Result<(), WireError> {
    if requests > MAX_REQUESTS || tokens > MAX_AMOUNT {
        return Err(WireError::Bounds("what can be revoked of a class"));
    }
    Ok(())
}

fn encode_class(class: RevocableClass) -> pb::RevocableClass {
    let RevocableClass { priority, is_processed } = class;
    pb::RevocableClass { priority, is_processed }
}

fn decode_class(message: Option<pb::RevocableClass>) -> Result<RevocableClass, WireError> {
    let pb::RevocableClass { priority, is_processed } =
        message.ok_or(WireError::Missing("the class of what can be revoked"))?;
    if priority >= 0 {
        return Err(WireError::Bounds("the priority of what can be revoked"));
    }
    Ok(RevocableClass { priority, is_processed })
}
