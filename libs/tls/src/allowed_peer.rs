//! Which names the certificates of other processes may have, by role.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What a process is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRole {
    /// An aggregator. Only aggregators are servers.
    Aggregator,
    /// A collector.
    Collector,
    /// An EPP replica.
    Epp,
    /// KEDA, which reads how many model servers a pool needs.
    Autoscaler,
}

/// A name that the certificate of another process may have: `NAME` in every role, or `ROLE=NAME` in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedPeer {
    role: Option<PeerRole>,
    name: String,
}

/// A value of `--tls-peer` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AllowedPeerError {
    /// The role does not exist.
    #[error(
        "\"{0}\" is not a role; use aggregator=NAME, collector=NAME, epp=NAME, autoscaler=NAME, or NAME alone for every role"
    )]
    Role(String),
    /// The name is empty.
    #[error("the name is empty; give a DNS name or a URI of the peer's certificate")]
    EmptyName,
}

impl PeerRole {
    /// Every role.
    pub(crate) const ALL: [Self; 4] = [Self::Aggregator, Self::Collector, Self::Epp, Self::Autoscaler];
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aggregator => "aggregator",
            Self::Collector => "collector",
            Self::Epp => "epp",
            Self::Autoscaler => "autoscaler",
        })
    }
}

impl FromStr for PeerRole {
    type Err = AllowedPeerError;

    fn from_str(name: &str) -> Result<Self, AllowedPeerError> {
        let found = Self::ALL.into_iter().find(|role| role.to_string() == name);
        found.ok_or_else(|| AllowedPeerError::Role(name.to_owned()))
    }
}

impl FromStr for AllowedPeer {
    type Err = AllowedPeerError;

    fn from_str(text: &str) -> Result<Self, AllowedPeerError> {
        let (role, name) = match text.split_once('=') {
            // A URI may contain an equals sign; a DNS name contains none.
            Some((role, name)) if !role.contains([':', '/']) => (Some(role.parse()?), name),
            _ => (None, text),
        };
        if name.is_empty() {
            return Err(AllowedPeerError::EmptyName);
        }
        Ok(Self { role, name: name.to_owned() })
    }
}

impl AllowedPeer {
    /// Returns the name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the name is allowed in one of these roles.
    pub(crate) fn allows(&self, roles: &[PeerRole]) -> bool {
        self.role.is_none_or(|role| roles.contains(&role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_for_one_role_or_for_every_role() {
        let allowed = |text: &str| text.parse::<AllowedPeer>().unwrap();
        let uri = allowed("spiffe://cluster/epp?a=b");
        assert_eq!(("spiffe://cluster/epp?a=b", None), (uri.name(), uri.role));
        let of_role = allowed("epp=spiffe://cluster/epp?a=b");
        assert_eq!(("spiffe://cluster/epp?a=b", Some(PeerRole::Epp)), (of_role.name(), of_role.role));
        assert!(
            of_role.allows(&[PeerRole::Collector, PeerRole::Epp]) && !of_role.allows(&[PeerRole::Collector])
        );
        assert!(uri.allows(&[PeerRole::Collector]));
    }

    #[test]
    fn unknown_role_and_empty_name_are_errors() {
        let refused = |text: &str| text.parse::<AllowedPeer>().unwrap_err().to_string();
        assert!(refused("picker=name").contains("\"picker\" is not a role; use aggregator=NAME"));
        assert!(refused("epp=").contains("the name is empty") && refused("").contains("the name is empty"));
    }
}
