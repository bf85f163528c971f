//! The groups of pods for which replicas are asked for separately.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What the pods of a group do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// They prefill and decode.
    #[default]
    Both,
    /// They only prefill.
    Prefill,
    /// They only decode.
    Decode,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Both, Self::Prefill, Self::Decode];

    /// Returns the value of the label `role` of a series.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }

    /// Returns the role of a pod by its label `llm-d.ai/role`; a role that is not known serves whole requests.
    pub fn of_pod(label: Option<&str>) -> Self {
        match label {
            Some("prefill") => Self::Prefill,
            Some("decode") => Self::Decode,
            _ => Self::Both,
        }
    }

    /// Returns whether its pods prefill.
    pub const fn prefills(self) -> bool {
        !matches!(self, Self::Decode)
    }

    /// Returns whether its pods decode.
    pub const fn decodes(self) -> bool {
        !matches!(self, Self::Prefill)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| format!("unknown role \"{name}\"; use one of: both, prefill, decode"))
    }
}

/// The pods of one role that one Deployment runs. Each group is scaled by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// What its pods do.
    pub role: Role,
    /// The Deployment, as a label of its pods names it; empty if they have no such label.
    pub deployment: Arc<str>,
}

impl Group {
    /// Returns the group of pods that do `role` and name no Deployment.
    pub fn of_role(role: Role) -> Self {
        Self { role, deployment: "".into() }
    }
}
