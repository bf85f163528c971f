//! What to watch.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use signalbox_actors::BackoffPolicy;
use signalbox_types::PageSettings;

use crate::catalog::{PoolSelection, Scope};

/// Which pools to watch.
#[derive(Clone, Debug)]
pub struct PoolWatchSettings {
    /// Namespaces to watch; empty: those of the named pools, or else all.
    pub namespaces: Vec<String>,
    /// Which pools of these namespaces to serve.
    pub selection: PoolSelection,
    /// Ports that the Service opens; a pool on another one is left out. `None`: any.
    pub service_ports: Option<RangeInclusive<u16>>,
    /// How metrics pages are found and read unless a pod says otherwise.
    pub pages: PageSettings,
}

/// How often the API server is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Longest time until the API server is asked again which custom resources it has.
    pub(super) ask: Duration,
    /// Longest time until it is asked after a watch failed.
    pub(super) ask_after_failure: Duration,
    /// Delays until it is asked again after it did not answer.
    pub(super) ask_while_away: BackoffPolicy,
    /// For how long it must lack a resource before the objects of the resource go.
    pub(super) gone_after: Duration,
    /// Delays after failures of a watch.
    pub(super) retry: BackoffPolicy,
    /// Longest delay of a failed watch when the API server answers again.
    pub(super) retry_after_outage: Duration,
    /// For how long a refusal is tried again like any failure: an API server that starts refuses everything for a
    /// moment.
    pub(super) refusal_grace: Duration,
    /// Shortest delay when somebody must act before the next attempt can succeed.
    pub(super) retry_refused: Duration,
}

impl Pace {
    pub(super) const DEFAULT: Self = Self {
        ask: Duration::from_secs(8),
        ask_after_failure: Duration::from_secs(1),
        ask_while_away: BackoffPolicy { base: Duration::from_millis(500), cap: Duration::from_secs(2) },
        gone_after: Duration::from_secs(30),
        retry: BackoffPolicy { base: Duration::from_millis(500), cap: Duration::from_secs(5) },
        retry_after_outage: Duration::from_secs(1),
        refusal_grace: Duration::from_secs(3),
        retry_refused: Duration::from_secs(10),
    };
}

impl PoolWatchSettings {
    /// Returns the namespaces that are watched, each once.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let named = match &self.selection {
            PoolSelection::Named(pools) => pools.as_slice(),
            PoolSelection::ServedBy { .. } => &[],
        };
        let namespaces: BTreeSet<&str> = match self.namespaces.is_empty() {
            true => named.iter().map(|pool| pool.namespace.as_str()).collect(),
            false => self.namespaces.iter().map(String::as_str).collect(),
        };
        if namespaces.is_empty() {
            return vec![Scope::All];
        }
        namespaces.into_iter().map(|namespace| Scope::Namespace(namespace.into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::PoolId;

    use super::*;

    #[test]
    fn only_what_is_needed_is_watched() {
        let scopes = |namespaces: &[&str], selection| {
            let namespaces = namespaces.iter().map(|namespace| (*namespace).to_owned()).collect();
            let scopes = PoolWatchSettings {
                namespaces,
                selection,
                service_ports: None,
                pages: PageSettings::default(),
            }
            .scopes();
            scopes.iter().map(|scope| scope.namespace().unwrap_or("*").to_owned()).collect::<Vec<_>>()
        };
        let served = || PoolSelection::ServedBy { namespace: "a".to_owned(), name: "epp".to_owned() };
        let named = || {
            let pool = |name: &str| PoolId { namespace: "a".to_owned(), name: name.to_owned() };
            PoolSelection::Named(vec![pool("one"), pool("two")])
        };
        assert_eq!(vec!["*"], scopes(&[], served()));
        assert_eq!(vec!["b", "c"], scopes(&["c", "b", "c"], served()));
        assert_eq!(vec!["a"], scopes(&[], named()));
        assert_eq!(vec!["b"], scopes(&["b"], named()));
    }
}
