//! The rights of the aggregators: each is needed, and without one they say which, and go on with what they may see.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use signalbox_integration::{TestDir, eventually};
use signalbox_kubernetes_tests::{NAMESPACE, RELEASE, Scene, is_ready, sandboxed};

use crate::pods;

/// A pool on a port that the Service does not open: the aggregators write an Event about it.
const CLOSED_PORT: &str = "
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: closed }
spec:
  selector: { matchLabels: { app: models } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: signalbox-epp, port: { number: 80 } }
";

/// A change of every kind of object that is watched. A watch that starts again without a list tells nothing before that.
const CHANGES: &str = "
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: other }
spec:
  selector: { matchLabels: { app: others } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: other-epp, port: { number: 9002 } }
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferencePool
metadata: { name: other }
spec: { selector: { app: others }, targetPortNumber: 8000, extensionRef: { name: other-epp } }
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: urgent }
spec: { priority: 7, poolRef: { name: models } }
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: alias }
spec: { poolRef: { name: models }, rules: [{ targets: [{ modelRewrite: other }] }] }
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: { name: early }
spec: { modelName: early, criticality: Critical, poolRef: { name: models } }
";

/// An aggregator as the chart runs it, alone in an installation of its own, that lacks one verb of one rule.
struct Aggregator {
    name: String,
    verb: String,
    resource: String,
    /// Its rights.
    rules: Vec<Value>,
    /// All rights that the chart gives.
    all_rules: Vec<Value>,
}

#[test]
fn each_right_is_needed_and_named_where_it_is_missing() -> anyhow::Result<()> {
    sandboxed("rbac::each_right_is_needed_and_named_where_it_is_missing", async |dir| {
        let scene = Scene::start(dir).await?;
        // With the older group, there is a CRD for every rule.
        scene.cluster.install_own_crds("x-k8s").await?;
        scene.deploy_models("models", 2, &[]).await?;
        scene.install(&Scene::values()).await?;
        scene.first_request().await?;
        scene.cluster.kubectl().apply_in(NAMESPACE, CLOSED_PORT).await?;
        let event = async || {
            let events = scene.kubectl(&["get", "events", "--output=name"]).await?;
            ensure!(
                scene.kubectl(&["describe", "inferencepool", "closed"]).await?.contains("PortNotOpen"),
                "{events}"
            );
            Ok(())
        };
        eventually("the aggregators of the chart write an Event", event).await?;

        let aggregators = Aggregator::all(&scene).await?;
        for aggregator in &aggregators {
            aggregator.start(&scene).await?;
        }
        for aggregator in aggregators.iter().filter(|aggregator| !aggregator.acts_at_the_end()) {
            aggregator.names_what_it_lacks(dir).await?;
        }
        for aggregator in &aggregators {
            aggregator.goes_on(&scene).await?;
        }
        let (ending, others): (Vec<_>, Vec<_>) =
            aggregators.iter().partition(|aggregator| aggregator.acts_at_the_end());
        for aggregator in ending {
            scene.kubectl(&["delete", "pod", &aggregator.name]).await?;
            aggregator.names_what_it_lacks(dir).await?;
        }
        for aggregator in &others {
            aggregator.set_rules(&scene, &aggregator.all_rules).await?;
        }
        scene.cluster.kubectl().apply_in(NAMESPACE, CHANGES).await?;
        for aggregator in others {
            aggregator.recovers(&scene, dir).await?;
        }
        Ok(())
    })
}

impl Aggregator {
    /// Returns one for each verb of each rule of the chart.
    async fn all(scene: &Scene) -> anyhow::Result<Vec<Self>> {
        let roles = format!(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles?labelSelector=app.kubernetes.io/component=aggregator"
        );
        let roles = scene.cluster.api.list(&roles).await?;
        let all_rules: Vec<Value> =
            roles.iter().flat_map(|role| role["rules"].as_array().into_iter().flatten()).cloned().collect();
        let mut aggregators = Vec::new();
        for (index, rule) in all_rules.iter().enumerate() {
            let verbs = rule["verbs"].as_array().context("a rule has no verbs")?;
            for verb in verbs {
                let mut rules = all_rules.clone();
                rules[index]["verbs"] = verbs.iter().filter(|other| *other != verb).cloned().collect();
                let verb = verb.as_str().context("a verb is no text")?.to_owned();
                let resource = rule["resources"][0].as_str().context("a rule has no resource")?.to_owned();
                let name = format!("without-{verb}-{resource}");
                aggregators.push(Self { name, verb, resource, rules, all_rules: all_rules.clone() });
            }
        }
        println!("{} rights", aggregators.len());
        ensure!(aggregators.len() > all_rules.len(), "the chart gives hardly any rights");
        Ok(aggregators)
    }

    /// Starts it as a pod without owner, which no Service of the chart selects.
    async fn start(&self, scene: &Scene) -> anyhow::Result<()> {
        let name = &self.name;
        self.set_rules(scene, &self.rules).await?;
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}-aggregator");
        let deployment = scene.cluster.api.get(&path).await?.context("there are no aggregators")?;
        let mut spec = deployment["spec"]["template"]["spec"].clone();
        spec["serviceAccountName"] = json!(name);
        let arguments = spec["containers"][0]["args"].as_array_mut().context("no arguments")?;
        let installation = format!("--installation={RELEASE}");
        let own = arguments.iter_mut().find(|argument| **argument == installation);
        *own.context("the chart does not name the installation")? = json!(format!("--installation={name}"));
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name } });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name }],
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "test": name } }, "spec": spec,
        });
        self.apply(scene, &[account, binding, pod]).await
    }

    async fn set_rules(&self, scene: &Scene, rules: &[Value]) -> anyhow::Result<()> {
        // The API server refuses a rule without verbs.
        let rules: Vec<&Value> = rules.iter().filter(|rule| rule["verbs"] != json!([])).collect();
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": self.name },
            "rules": rules,
        });
        self.apply(scene, &[role]).await
    }

    async fn apply(&self, scene: &Scene, objects: &[Value]) -> anyhow::Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        scene.cluster.kubectl().apply_in(NAMESPACE, &list.to_string()).await?;
        Ok(())
    }

    /// Whether it needs what it lacks only when it ends: to remove its own Lease.
    fn acts_at_the_end(&self) -> bool {
        (self.verb.as_str(), self.resource.as_str()) == ("delete", "leases")
    }

    /// Waits until its log names the verb and the resource.
    async fn names_what_it_lacks(&self, dir: &TestDir) -> anyhow::Result<()> {
        let (verb, resource) = (&self.verb, &self.resource);
        // In JSON, quotes have a backslash.
        let refusal = format!(r#"cannot {verb} resource \"{resource}\""#);
        dir.wait_for_log(&format!("{}.aggregator", self.name), &[&refusal]).await?;
        println!("{}: named", self.name);
        Ok(())
    }

    /// Checks that it runs as it started, and is ready unless it cannot know the pools, or is no member.
    async fn goes_on(&self, scene: &Scene) -> anyhow::Result<()> {
        let pod = self.pod(scene).await?;
        ensure!(pods::restarts(&pod) == 0, "{} ended: {}", self.name, pod["status"]);
        scene.metrics(&pod).await?;
        let is_blind = self.verb == "list" && ["pods", "inferencepools"].contains(&self.resource.as_str());
        let is_secondary = !["pods", "inferencepools", "leases"].contains(&self.resource.as_str());
        if is_blind {
            ensure!(!is_ready(&pod), "{} is ready and knows nothing", self.name);
        } else if is_secondary {
            self.serves(scene).await?;
        }
        Ok(())
    }

    /// Waits until it serves its pools.
    async fn serves(&self, scene: &Scene) -> anyhow::Result<()> {
        eventually(&format!("{} owns the pool", self.name), async || {
            let pod = self.pod(scene).await?;
            ensure!(is_ready(&pod), "{}", pod["status"]);
            let owned = scene.metrics(&pod).await?.sum("signalbox_aggregator_owner");
            ensure!(owned == Some(1.0), "it owns {owned:?} pools");
            Ok(())
        })
        .await
    }

    /// Waits until it works, with all rights.
    async fn recovers(&self, scene: &Scene, dir: &TestDir) -> anyhow::Result<()> {
        self.serves(scene).await?;
        if ["list", "watch"].contains(&self.verb.as_str()) && self.resource != "leases" {
            dir.wait_for_log(&format!("{}.aggregator", self.name), &["watching again", &self.resource])
                .await?;
        }
        let pod = self.pod(scene).await?;
        ensure!(pods::restarts(&pod) == 0, "{} ended: {}", self.name, pod["status"]);
        println!("{}: recovered", self.name);
        Ok(())
    }

    async fn pod(&self, scene: &Scene) -> anyhow::Result<Value> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{}", self.name);
        scene.cluster.api.get(&path).await?.with_context(|| format!("{} is gone", self.name))
    }
}
