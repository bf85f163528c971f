//! Writes protobuf messages.

use prost::encoding::{WireType, encode_key, encode_varint};

pub(crate) fn varint(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_varint(number, &mut bytes);
    bytes
}

pub(crate) fn number(field: u32, value: u64) -> Vec<u8> {
    [key(field, WireType::Varint), varint(value)].concat()
}

pub(crate) fn bytes(field: u32, value: &[u8]) -> Vec<u8> {
    [&key(field, WireType::LengthDelimited), &varint(value.len() as u64), value].concat()
}

pub(crate) fn packed(field: u32, values: &[u32]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = values.iter().map(|value| varint(u64::from(*value))).collect();
    bytes(field, &values.concat())
}

pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

fn key(field: u32, wire_type: WireType) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(field, wire_type, &mut bytes);
    bytes
}
