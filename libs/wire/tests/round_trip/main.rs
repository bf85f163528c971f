//! Every message survives encoding to bytes and decoding.

mod collector;
mod feedback;
mod flows;
mod follower;
mod frames;
mod request_ends;
mod signal;
mod values;

use prost::Message;

/// Returns the message as its receiver decodes it.
fn through_bytes<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("encoded messages decode")
}
