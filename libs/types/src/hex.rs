//! Serializes 64-bit ids as 16 hexadecimal digits, because JSON tools round numbers to 53 bits.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(bits: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{bits:016x}"))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let digits = String::deserialize(deserializer)?;
    let bits = u64::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 16);
    bits.ok_or_else(|| Error::custom(format!("\"{digits}\" is not 16 hexadecimal digits")))
}
