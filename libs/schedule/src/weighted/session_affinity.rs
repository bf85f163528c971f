//! Session affinity: which endpoint a session is bound to.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::decision_inputs::DecisionInputs;

/// How the endpoint of a session is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionAffinity {
    /// The client sends the [`session_token`] that an earlier response had in this header.
    Token {
        /// Header in requests and responses.
        header: String,
    },
    /// The session id is the first of these headers that the request has. The endpoint follows from the id
    /// and the candidates (rendezvous hashing), so all replicas agree on it without shared state.
    Id {
        /// Headers, in order of precedence.
        headers: Vec<String>,
    },
}

impl SessionAffinity {
    /// Returns which of `positions` the request's session is bound to; `None` without a session, or if its
    /// endpoint is not among them.
    pub(super) fn bound_position(&self, inputs: &DecisionInputs<'_>, positions: &[usize]) -> Option<usize> {
        let name = |position: usize| inputs.endpoint(position).spec.name.as_str();
        match self {
            Self::Token { header } => {
                let endpoint = decode(inputs.request.header(header)?)?;
                let is_named = |own: &str| own == endpoint || without_namespace(&endpoint) == own;
                positions.iter().copied().find(|at| is_named(name(*at)))
            }
            Self::Id { headers } => {
                let id = headers.iter().find_map(|header| inputs.request.header(header))?;
                let rank = |at: &usize| xxh3_64_with_seed(id.as_bytes(), inputs.endpoint(*at).key.0);
                positions.iter().copied().max_by_key(rank)
            }
        }
    }
}

/// Returns the token that a client sends back to stay at `endpoint`: the name in base64.
pub fn session_token(endpoint: &str) -> String {
    STANDARD.encode(endpoint)
}

fn decode(token: &str) -> Option<String> {
    let bytes = STANDARD.decode(token).or_else(|_| URL_SAFE.decode(token)).ok()?;
    String::from_utf8(bytes).ok()
}

/// Removes the namespace. The Go EPP writes `NAMESPACE/NAME`, but a pool is within one namespace.
fn without_namespace(endpoint: &str) -> &str {
    endpoint.rsplit_once('/').map_or(endpoint, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_token_round_trips() {
        assert_eq!("cG9kLWE=", session_token("pod-a"));
        assert_eq!(Some("pod-a".to_owned()), decode(&session_token("pod-a")));
        assert_eq!(None, decode("not base64!"));
        assert_eq!("pod-a", without_namespace("default/pod-a"));
    }
}
