//! Command-line flags that say which pools to serve.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args};
use signalbox_kube::{PoolSelection, PoolWatchSettings};
use signalbox_types::{PageSettings, PoolId};

/// Which pools to serve: those of endpoints files, or InferencePools of a Kubernetes cluster.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("pools").required(true).args(["endpoints", "service", "kubernetes_pool"]))]
pub struct PoolFlags {
    /// Endpoints file of a pool; reloaded when it changes; may be repeated, one file per pool
    #[arg(long, value_name = "FILE")]
    pub endpoints: Vec<PathBuf>,
    /// Kubernetes: serve every InferencePool whose endpointPickerRef names this Service
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub service: Option<ServiceName>,
    /// Kubernetes: serve this InferencePool, whatever its endpointPickerRef names; may be repeated
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub kubernetes_pool: Vec<PoolId>,
    /// Kubernetes: read only the objects in this namespace; may be repeated [default: all namespaces]
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "endpoints")]
    pub watch_namespace: Vec<String>,
    /// Kubernetes: the ports that the replicas' Service opens; an InferencePool with another port is left out
    /// [default: all ports]
    #[arg(long, value_name = "FIRST-LAST", conflicts_with = "endpoints", value_parser = port_range)]
    pub service_ports: Option<RangeInclusive<u16>>,
    /// EndpointPickerConfig file, the one of the replicas, for what it says of metrics pages: the parameters of
    /// core-metrics-extractor and metrics-data-source
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,
}

/// A Service, written as `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name within the namespace.
    pub name: String,
}

impl FromStr for ServiceName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let PoolId { namespace, name } = text.parse()?;
        Ok(Self { namespace, name })
    }
}

impl PoolFlags {
    /// Returns whether pools are read from Kubernetes.
    pub(crate) fn is_kubernetes(&self) -> bool {
        self.service.is_some() || !self.kubernetes_pool.is_empty()
    }

    /// Returns what to read from Kubernetes, if pools are read from there, with these defaults for metrics pages.
    pub(crate) fn kubernetes(&self, pages: &PageSettings) -> Option<PoolWatchSettings> {
        let selection = match &self.service {
            Some(ServiceName { namespace, name }) => {
                PoolSelection::ServedBy { namespace: namespace.clone(), name: name.clone() }
            }
            None if self.kubernetes_pool.is_empty() => return None,
            None => PoolSelection::Named(self.kubernetes_pool.clone()),
        };
        Some(PoolWatchSettings {
            namespaces: self.watch_namespace.clone(),
            selection,
            service_ports: self.service_ports.clone(),
            pages: pages.clone(),
        })
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err("write FIRST-LAST, for example 9002-9017, or one port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        pools: PoolFlags,
    }

    fn parse(flags: &str) -> Result<PoolFlags, String> {
        let flags = ["test"].into_iter().chain(flags.split_whitespace());
        Flags::try_parse_from(flags).map(|flags| flags.pools).map_err(|error| error.to_string())
    }

    #[test]
    fn pools_come_from_files_or_from_kubernetes() {
        assert!(parse("--endpoints a --endpoints b").unwrap().kubernetes(&PageSettings::default()).is_none());
        let served =
            parse("--service ns/epp --service-ports 9002-9017 --watch-namespace a --watch-namespace b");
        let served = served.unwrap().kubernetes(&PageSettings::default()).unwrap();
        assert!(matches!(served.selection, PoolSelection::ServedBy { name, .. } if name == "epp"));
        assert_eq!(
            (Some(9002..=9017), vec!["a", "b"]),
            (served.service_ports, served.namespaces.iter().map(String::as_str).collect())
        );
        let named = parse("--kubernetes-pool ns/a --kubernetes-pool ns/b")
            .unwrap()
            .kubernetes(&PageSettings::default())
            .unwrap();
        assert!(matches!(named.selection, PoolSelection::Named(pools) if pools.len() == 2));
        assert_eq!(Some(7..=7), parse("--service ns/epp --service-ports 7").unwrap().service_ports);
    }

    #[test]
    fn wrong_combinations_and_values_are_refused() {
        for (flags, reason) in [
            ("", "<--endpoints <FILE>|--service <NAMESPACE/NAME>|--kubernetes-pool <NAMESPACE/NAME>>"),
            ("--endpoints a --service ns/epp", "cannot be used with"),
            ("--service ns/epp --kubernetes-pool ns/a", "cannot be used with"),
            ("--endpoints a --watch-namespace ns", "cannot be used with"),
            ("--endpoints a --service-ports 1-2", "cannot be used with"),
            ("--service epp", "NAMESPACE/NAME"),
            ("--kubernetes-pool a/b/c", "NAMESPACE/NAME"),
            ("--service ns/epp --service-ports 9-8", "write FIRST-LAST"),
            ("--service ns/epp --service-ports 0-8", "write FIRST-LAST"),
            ("--service ns/epp --service-ports 9002-70000", "write FIRST-LAST"),
        ] {
            let refused = parse(flags).unwrap_err();
            assert!(refused.contains(reason), "{flags}: {refused}");
        }
    }
}
