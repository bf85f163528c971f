//! To which endpoint a session is bound.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::decision_inputs::DecisionInputs;

/// By what a session's endpoint is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionAffinity {
    /// The client sends back what an earlier response told it in this header: [`session_token`].
    Token {
        /// The header, in requests and in responses.
        header: String,
    },
    /// The session's id: the first of these headers that the request has. The endpoint follows from the id and from who is a
    /// candidate (rendezvous hashing), so all replicas know it without being told.
    Id {
        /// The headers.
        headers: Vec<String>,
    },
}

impl SessionAffinity {
    /// Which of `positions` the request's session is bound to, if it has one and its endpoint is among them.
    pub(super) fn bound(&self, inputs: &DecisionInputs<'_>, positions: &[usize]) -> Option<usize> {
        let name = |position: usize| inputs.member(position).spec.name.as_str();
        match self {
            Self::Token { header } => {
                let endpoint = decoded(inputs.request.header(header)?)?;
                let is_named = |own: &str| own == endpoint || without_namespace(&endpoint) == own;
                positions.iter().copied().find(|at| is_named(name(*at)))
            }
            Self::Id { headers } => {
                let id = headers.iter().find_map(|header| inputs.request.header(header))?;
                let draw = |at: &usize| xxh3_64_with_seed(id.as_bytes(), inputs.member(*at).key.0);
                positions.iter().copied().max_by_key(draw)
            }
        }
    }
}

/// What a client is told to send back to stay with `endpoint`: its name in base64.
pub fn session_token(endpoint: &str) -> String {
    STANDARD.encode(endpoint)
}

fn decoded(token: &str) -> Option<String> {
    let bytes = STANDARD.decode(token).or_else(|_| URL_SAFE.decode(token)).ok()?;
    String::from_utf8(bytes).ok()
}

/// The Go EPP writes `NAMESPACE/NAME`; a pool is within one namespace.
fn without_namespace(endpoint: &str) -> &str {
    endpoint.rsplit_once('/').map_or(endpoint, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back() {
        assert_eq!("cG9kLWE=", session_token("pod-a"));
        assert_eq!(Some("pod-a".to_owned()), decoded(&session_token("pod-a")));
        assert_eq!(None, decoded("not base64!"));
        assert_eq!("pod-a", without_namespace("default/pod-a"));
    }
}
