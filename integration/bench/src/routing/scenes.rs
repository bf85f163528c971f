//! The scenes: workloads with the pods that serve them.

use signalbox_modelsim::profiles::{self, Profile};

/// One row of the benchmark's matrix: a workload, its arrivals, and the pods that serve it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) workload: WorkloadKind,
    pub(crate) arrivals: Arrivals,
    /// Names of modelsim's profiles, each with its number of pods.
    pub(crate) profiles: &'static [(&'static str, usize)],
    /// Number of requests of a workload: enough for a 90th percentile, and for several turns of each session. A part
    /// of the trace has as many.
    pub(crate) requests: u32,
    /// The same in a quick run.
    pub(crate) quick_requests: u32,
    /// Numbers of replicas.
    pub(crate) replicas: &'static [usize],
}

/// What the requests of a scene are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkloadKind {
    /// Mooncake's conversation trace; generated conversations without it.
    ConversationTrace,
    /// Generated conversations.
    Conversation,
    /// Groups of prompts that share a long prefix.
    SharedPrefix,
    /// Agents with tools.
    Agents,
    /// Lengths as in Azure's traces, without shared prefixes.
    Lengths,
    /// The same lengths; some prompts begin with one of a few system prompts.
    LengthsWithSharing,
}

/// When the requests of a scene arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// As the trace recorded them.
    Recorded,
    /// A Poisson process; of several turns, the first.
    Poisson,
    /// The same, in phases that are alternately busy and quiet.
    Bursty,
    /// The same, with one burst.
    OneBurst,
}

/// Numbers of replicas in most scenes, and in those with many.
const FEW: &[usize] = &[1, 4];
const MANY: &[usize] = &[1, 4, 16];

/// All scenes.
pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "conversation-trace",
        workload: WorkloadKind::ConversationTrace,
        arrivals: Arrivals::Recorded,
        profiles: &[("h100-8b", 8)],
        requests: 1_200,
        quick_requests: 400,
        replicas: FEW,
    },
    Scene {
        name: "conversation",
        workload: WorkloadKind::Conversation,
        arrivals: Arrivals::Bursty,
        profiles: &[("l40s-8b", 16)],
        requests: 1_200,
        quick_requests: 400,
        replicas: MANY,
    },
    Scene {
        name: "shared-prefix",
        workload: WorkloadKind::SharedPrefix,
        arrivals: Arrivals::Poisson,
        profiles: &[("h100-8b", 8)],
        requests: 1_200,
        quick_requests: 400,
        replicas: FEW,
    },
    Scene {
        name: "agents",
        workload: WorkloadKind::Agents,
        arrivals: Arrivals::Poisson,
        profiles: &[("h100-70b-tp4", 16)],
        requests: 2_000,
        quick_requests: 600,
        replicas: FEW,
    },
    Scene {
        name: "agents-64",
        workload: WorkloadKind::Agents,
        arrivals: Arrivals::Bursty,
        profiles: &[("h100-8b", 64)],
        requests: 4_800,
        quick_requests: 1_600,
        replicas: MANY,
    },
    Scene {
        name: "lengths",
        workload: WorkloadKind::Lengths,
        arrivals: Arrivals::Poisson,
        profiles: &[("mi300x", 8)],
        requests: 4_000,
        quick_requests: 1_200,
        replicas: FEW,
    },
    Scene {
        name: "burst",
        workload: WorkloadKind::SharedPrefix,
        arrivals: Arrivals::OneBurst,
        profiles: &[("h100-8b", 8)],
        requests: 1_200,
        quick_requests: 400,
        replicas: FEW,
    },
    Scene {
        name: "mixed",
        workload: WorkloadKind::LengthsWithSharing,
        arrivals: Arrivals::Poisson,
        profiles: &[("h100-8b", 4), ("l40s-8b", 4)],
        requests: 4_000,
        quick_requests: 1_200,
        replicas: FEW,
    },
];

impl Scene {
    /// Returns the scene with this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        SCENES.iter().find(|scene| scene.name == name)
    }

    /// Returns the profile of each pod.
    pub(crate) fn pod_profiles(&self) -> Vec<&'static Profile> {
        let of = |(name, count): &(&str, usize)| {
            let profile = profiles::find(name).expect("scenes name profiles of modelsim");
            std::iter::repeat_n(profile, *count)
        };
        self.profiles.iter().flat_map(of).collect()
    }

    /// Returns the number of pods of each profile as text.
    pub(crate) fn describe_pods(&self) -> String {
        let pods: Vec<_> = self.profiles.iter().map(|(name, count)| format!("{count} {name}")).collect();
        pods.join(" + ")
    }

    /// Returns whether cached prefixes can help.
    pub(crate) fn shares_prefixes(&self) -> bool {
        self.workload != WorkloadKind::Lengths
    }

    /// Returns whether the pods are not all alike.
    pub(crate) fn is_mixed(&self) -> bool {
        self.profiles.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::SCENES;

    #[test]
    fn scenes_have_distinct_names_and_profiles_with_one_tokenizer() {
        for (at, scene) in SCENES.iter().enumerate() {
            assert!(SCENES[..at].iter().all(|earlier| earlier.name != scene.name), "{}", scene.name);
            let profiles = scene.pod_profiles();
            let [first, ..] = &profiles[..] else { panic!("{} has no pods", scene.name) };
            let is_alike = |profile: &&&signalbox_modelsim::profiles::Profile| {
                profile.tokenizer == first.tokenizer
                    && profile.model.block_size_tokens == first.model.block_size_tokens
            };
            // A prompt is encoded once for all pods.
            assert!(profiles.iter().all(|profile| is_alike(&profile)), "{}", scene.name);
        }
    }
}
