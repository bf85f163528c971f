//! What is known of a pool before anything is measured.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::EndpointKey;
use crate::models::Models;

/// Names a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolId {
    /// The pool's namespace.
    pub namespace: String,
    /// The pool's name within it.
    pub name: String,
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which model server an endpoint runs; decides how its metrics page is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// vLLM, and everything that exports its names.
    #[default]
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server.
    TrtLlm,
    /// Triton with TensorRT-LLM in it.
    TritonTrtLlm,
    /// Triton with anything else in it.
    Triton,
    /// Text Generation Inference.
    Tgi,
}

impl Engine {
    /// Every engine, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Vllm, Self::Sglang, Self::TrtLlm, Self::TritonTrtLlm, Self::Triton, Self::Tgi];

    /// The name in files, labels and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TrtLlm => "trtllm-serve",
            Self::TritonTrtLlm => "triton-tensorrt-llm",
            Self::Triton => "triton",
            Self::Tgi => "tgi",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no [`Engine`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEngine(pub String);

impl fmt::Display for UnknownEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = Engine::ALL.iter().map(|engine| engine.name()).collect();
        write!(f, "unknown engine \"{}\", known are: {}", self.0, known.join(", "))
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

/// One endpoint of a pool: a model server behind one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Unique within the pool.
    pub name: String,
    /// Where requests go.
    pub address: SocketAddr,
    /// Where its metrics page is.
    pub metrics_url: String,
    /// How its metrics page is read.
    pub engine: Engine,
    /// Free labels, as on the pod.
    pub labels: BTreeMap<String, String>,
}

impl EndpointSpec {
    /// The endpoint's key.
    pub fn key(&self) -> EndpointKey {
        EndpointKey::of(&self.name)
    }
}

/// A pool, its endpoints and what it says of models, as Kubernetes or the endpoints file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// The pool's name.
    pub id: PoolId,
    /// Its endpoints.
    pub endpoints: Vec<EndpointSpec>,
    /// What it says of models.
    pub models: Arc<Models>,
}
