//! Kinds of model servers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::custom_engine::CustomEngine;

/// The kind of model server that an endpoint runs. It decides how the metrics page is parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// vLLM, and servers that export the same metric names.
    #[default]
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server.
    TrtLlm,
    /// Triton with the TensorRT-LLM backend.
    TritonTrtLlm,
    /// Triton with any other backend.
    Triton,
    /// Text Generation Inference.
    Tgi,
    /// The server of llama.cpp.
    LlamaCpp,
    /// vLLM in Ray Serve, whose metrics Ray's agent exports.
    RayVllm,
    /// An engine whose metrics the user describes.
    Custom(Arc<CustomEngine>),
}

impl Engine {
    /// Every engine that is built in, in the order in which they are listed to users.
    pub const ALL: [Self; 8] = [
        Self::Vllm,
        Self::Sglang,
        Self::TrtLlm,
        Self::TritonTrtLlm,
        Self::Triton,
        Self::Tgi,
        Self::LlamaCpp,
        Self::RayVllm,
    ];

    /// The names of [`Self::ALL`].
    pub const NAMES: [&'static str; 8] =
        ["vllm", "sglang", "trtllm-serve", "triton-tensorrt-llm", "triton", "tgi", "llamacpp", "ray-vllm"];

    /// Returns the name used in files, labels and on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Vllm => Self::NAMES[0],
            Self::Sglang => Self::NAMES[1],
            Self::TrtLlm => Self::NAMES[2],
            Self::TritonTrtLlm => Self::NAMES[3],
            Self::Triton => Self::NAMES[4],
            Self::Tgi => Self::NAMES[5],
            Self::LlamaCpp => Self::NAMES[6],
            Self::RayVllm => Self::NAMES[7],
            Self::Custom(custom) => &custom.name,
        }
    }

    /// Returns the path at which the engine serves its metrics page unless it is told otherwise. At `/metrics`,
    /// `trtllm-serve` has statistics of iterations as JSON.
    pub const fn metrics_path(&self) -> &'static str {
        match self {
            Self::TrtLlm => "/prometheus/metrics",
            _ => "/metrics",
        }
    }

    /// Returns the port at which the engine serves its metrics page unless it is told otherwise; `None` for the port
    /// that takes requests.
    pub const fn metrics_port(&self) -> Option<u16> {
        match self {
            Self::TritonTrtLlm | Self::Triton => Some(8_002),
            Self::RayVllm => Some(8_080),
            _ => None,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that does not belong to any built-in [`Engine`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEngine(pub String);

impl fmt::Display for UnknownEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown engine \"{}\"; use one of: {}", self.0, Engine::NAMES.join(", "))
    }
}

impl std::error::Error for UnknownEngine {}

impl FromStr for Engine {
    type Err = UnknownEngine;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|engine| engine.name() == name);
        found.ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_those_of_all() {
        assert_eq!(Engine::NAMES.to_vec(), Engine::ALL.iter().map(Engine::name).collect::<Vec<_>>());
        for engine in Engine::ALL {
            assert_eq!(engine, engine.name().parse().unwrap());
        }
    }
}
