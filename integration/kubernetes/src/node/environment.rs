//! The environment and the command of a container.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::node::images::Image;
use crate::node::pod_spec::{ContainerSpec, PodSpec};
use crate::node::sources::{Sources, reference};

/// The `PATH` of most images.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The facts about a running pod that its containers can ask for.
#[derive(Clone, Debug)]
pub(crate) struct PodFacts<'a> {
    pub(crate) pod: &'a PodSpec,
    pub(crate) address: IpAddr,
    pub(crate) host: IpAddr,
}

/// Returns the variables of a container. `service_links` come first, so that a container can replace them.
pub(crate) fn variables(
    facts: &PodFacts<'_>,
    container: &ContainerSpec,
    sources: &Sources,
    service_links: Vec<(String, String)>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables: BTreeMap<String, String> = service_links.into_iter().collect();
    variables.insert("PATH".to_owned(), PATH.to_owned());
    variables.insert("HOSTNAME".to_owned(), facts.pod.name.clone());
    for from in &container.environment_from {
        let (object, reference) = reference(from).context("envFrom names no object")?;
        let prefix = from["prefix"].as_str().unwrap_or_default();
        for (key, value) in sources.required(object, reference)? {
            variables.insert(format!("{prefix}{key}"), String::from_utf8(value)?);
        }
    }
    for variable in &container.environment {
        let name = variable["name"].as_str().context("a variable has no name")?;
        let value = match variable["value"].as_str() {
            Some(text) => Some(expand(text, &variables)),
            None => value_from(facts, container, sources, &variable["valueFrom"])
                .with_context(|| format!("variable {name}"))?,
        };
        if let Some(value) = value {
            variables.insert(name.to_owned(), value);
        }
    }
    Ok(variables)
}

/// Returns the value of a source; `None` if it may be missing, and is.
fn value_from(
    facts: &PodFacts<'_>,
    container: &ContainerSpec,
    sources: &Sources,
    source: &Value,
) -> anyhow::Result<Option<String>> {
    if source.is_null() {
        return Ok(Some(String::new()));
    }
    if let Some(path) = source["fieldRef"]["fieldPath"].as_str() {
        return field(facts, path).map(Some);
    }
    if let Some(resource) = source["resourceFieldRef"]["resource"].as_str() {
        let divisor = source["resourceFieldRef"]["divisor"].as_str().unwrap_or("1");
        return resource_value(container, resource, divisor).map(Some);
    }
    let (object, reference) = reference(source).with_context(|| format!("unsupported source {source}"))?;
    let key = reference["key"].as_str().context("the source has no key")?;
    match sources.required(object, reference)?.remove(key) {
        Some(value) => Ok(Some(String::from_utf8(value)?)),
        None if reference["optional"] == true => Ok(None),
        None => bail!("{:?} {} has no key {key}", object.0, object.1),
    }
}

/// Returns a field of the pod, by its path in the downward API.
pub(crate) fn field(facts: &PodFacts<'_>, path: &str) -> anyhow::Result<String> {
    let pod = facts.pod;
    let keyed = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
    if let Some(label) = keyed("metadata.labels['") {
        return Ok(pod.labels.get(label).cloned().unwrap_or_default());
    }
    if let Some(annotation) = keyed("metadata.annotations['") {
        return Ok(pod.annotations.get(annotation).cloned().unwrap_or_default());
    }
    let all = |entries: &BTreeMap<String, String>| {
        entries.iter().map(|(name, value)| format!("{name}={value:?}\n")).collect::<String>()
    };
    Ok(match path {
        "metadata.name" => pod.name.clone(),
        "metadata.namespace" => pod.namespace.clone(),
        "metadata.uid" => pod.uid.clone(),
        "metadata.labels" => all(&pod.labels),
        "metadata.annotations" => all(&pod.annotations),
        "spec.nodeName" => pod.node.clone(),
        "spec.serviceAccountName" => pod.service_account.clone(),
        "status.hostIP" => facts.host.to_string(),
        "status.podIP" | "status.podIPs" => facts.address.to_string(),
        _ => bail!("unsupported field {path}"),
    })
}

/// Returns a limit or request, divided and rounded up.
fn resource_value(container: &ContainerSpec, resource: &str, divisor: &str) -> anyhow::Result<String> {
    let (kind, name) = resource.split_once('.').context("a resource has two parts")?;
    let found = match kind {
        "limits" => container.limits.get(name),
        "requests" => container.requests.get(name),
        _ => bail!("unsupported resource {resource}"),
    };
    let Some(found) = found else { bail!("container {} has no {resource}", container.name) };
    let divisor = if divisor == "0" { "1" } else { divisor };
    Ok((quantity(found)? / quantity(divisor)?).ceil().to_string())
}

/// Parses a quantity such as `500m` or `2Gi`.
fn quantity(text: &str) -> anyhow::Result<f64> {
    const SUFFIXES: [(&str, f64); 7] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
    ];
    let suffix = SUFFIXES.into_iter().find(|(suffix, _)| text.ends_with(suffix)).unwrap_or(("", 1.0));
    let number: f64 =
        text.strip_suffix(suffix.0).unwrap_or(text).parse().with_context(|| format!("quantity {text}"))?;
    Ok(number * suffix.1)
}

/// Returns the command of a container with its arguments.
pub(crate) fn command(
    container: &ContainerSpec,
    image: &Image,
    variables: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<String>> {
    let own = if container.command.is_empty() { &image.entrypoint } else { &container.command };
    let words = own.iter().chain(&container.arguments).map(|word| expand(word, variables));
    let words: Vec<String> = words.collect();
    anyhow::ensure!(
        !words.is_empty(),
        "container {} has no command, nor has image {}",
        container.name,
        image.name
    );
    Ok(words)
}

/// Replaces `$(NAME)` by the variable's value. `$$(NAME)` becomes `$(NAME)`; an unknown name stays.
pub(crate) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let reference = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match reference.and_then(|(name, after)| Some((variables.get(name)?, after))) {
            Some((value, after)) => {
                expanded.push_str(value);
                rest = after;
            }
            None => expanded.push('$'),
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{expand, quantity};

    #[test]
    fn references_to_variables_are_replaced() {
        let variables: BTreeMap<String, String> = [("POD".to_owned(), "web-1".to_owned())].into();
        for (text, expected) in [
            ("--name=$(POD).svc", "--name=web-1.svc"),
            ("$$(POD)", "$(POD)"),
            ("$(NONE) $(POD", "$(NONE) $(POD"),
            ("a$", "a$"),
            ("$$$(POD)", "$web-1"),
        ] {
            assert_eq!(expand(text, &variables), expected);
        }
    }

    #[test]
    fn quantities_have_suffixes() {
        assert_eq!(quantity("500m").unwrap(), 0.5);
        assert_eq!(quantity("2Gi").unwrap(), 2_147_483_648.0);
        assert_eq!(quantity("3").unwrap(), 3.0);
        assert!(quantity("much").is_err());
    }
}
