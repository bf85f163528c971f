//! The coordinator in Kubernetes, on a real API server and with the rights of its Role alone.

#[path = "../../../tests/lease/conformance.rs"]
mod conformance;
#[path = "../../../tests/lease/wait.rs"]
mod wait;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use signalbox_integration::{TestDir, eventually};
use signalbox_kube::{Cluster, ClusterSettings};
use signalbox_kubernetes_tests::{ControlPlane, Kubectl, sandboxed};
use signalbox_lease::{ClaimError, ClaimRequest, Coordinator, KubernetesSettings, Member, Role, Session};

use conformance::TESTS;
use wait::{aggregator, pool, wait_granted, wait_members, wait_owner};

const TTL: Duration = Duration::from_secs(2);

/// The shortest one that `--lease-ttl` takes, for members that must not expire however busy the machine is: an API server
/// that starts keeps it busy for seconds.
const SHORTEST_TTL: Duration = Duration::from_secs(6);

/// What the coordinator needs.
const VERBS: [&str; 6] = ["get", "list", "watch", "create", "update", "delete"];

/// A control plane, and the rights of an aggregator in its namespace `team`.
struct Scene {
    control_plane: ControlPlane,
    kubeconfig: std::path::PathBuf,
}

impl Scene {
    async fn new(dir: &TestDir) -> anyhow::Result<Self> {
        let control_plane = ControlPlane::start(dir, "127.0.0.1".parse()?).await?;
        let kubectl = control_plane.kubectl();
        kubectl.run(&["create", "namespace", "team"]).await?;
        kubectl.run(&["create", "serviceaccount", "aggregator", "--namespace", "team"]).await?;
        grant(kubectl, &VERBS).await?;
        let binding = ["--role", "leases", "--serviceaccount", "team:aggregator", "--namespace", "team"];
        kubectl.run(&[&["create", "rolebinding", "leases"], &binding[..]].concat()).await?;
        let kubeconfig = control_plane.kubeconfig_of("team", "aggregator").await?;
        Ok(Self { control_plane, kubeconfig })
    }

    fn kubectl(&self) -> &Kubectl {
        self.control_plane.kubectl()
    }

    /// Returns the coordinators of two processes.
    async fn coordinators(&self, installation: &str) -> anyhow::Result<[Coordinator; 2]> {
        Ok([
            coordinator(&self.kubeconfig, installation).await?,
            coordinator(&self.kubeconfig, installation).await?,
        ])
    }

    async fn leases(&self) -> anyhow::Result<Vec<String>> {
        let list = self.kubectl().get(&["leases", "--namespace", "team"]).await?;
        let name = |lease: &Value| lease["metadata"]["name"].as_str().map(str::to_owned);
        Ok(list["items"].as_array().into_iter().flatten().filter_map(name).collect())
    }
}

async fn coordinator(kubeconfig: &Path, installation: &str) -> anyhow::Result<Coordinator> {
    let cluster = Cluster::connect(&ClusterSettings { kubeconfig: Some(kubeconfig.to_owned()) }).await?;
    let (namespace, installation) = ("team".to_owned(), installation.to_owned());
    Ok(Coordinator::kubernetes(KubernetesSettings { cluster, namespace, installation }))
}

/// Gives the aggregators these rights, and no others.
async fn grant(kubectl: &Kubectl, verbs: &[&str]) -> anyhow::Result<()> {
    let rule = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": verbs});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "leases", "namespace": "team"}, "rules": [rule],
    });
    kubectl.apply(&role.to_string()).await?;
    Ok(())
}

/// Returns the Lease that the chart installs.
fn installation_lease() -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "signalbox", "namespace": "team", "labels": {"signalbox.dev/installation": "signalbox"},
        },
    })
}

#[test]
fn kubernetes_coordinator_conforms() -> anyhow::Result<()> {
    sandboxed("kubernetes_coordinator_conforms", async |dir| {
        let scene = Scene::new(dir).await?;
        for (number, (name, test)) in TESTS.into_iter().enumerate() {
            println!("{name}");
            test(scene.coordinators(&format!("test-{number}")).await?).await;
        }
        Ok(())
    })
}

/// Claims until no claim has succeeded for twice the TTL of a Lease.
async fn wait_past_the_lease(session: &Session) -> anyhow::Result<()> {
    let mut granted_at = Instant::now();
    while granted_at.elapsed() < SHORTEST_TTL * 2 {
        match session.claim(&pool(), ClaimRequest::default()).await {
            Ok(_) => granted_at = Instant::now(),
            Err(error) => ensure!(matches!(error, ClaimError::Unavailable(_)), "{error}"),
        }
    }
    Ok(())
}

/// Waits until member `a` or `b` is not listed.
async fn wait_removal(coordinator: Coordinator) {
    let is_listed = |members: &[Member], name: &str| members.iter().any(|member| member.name == name);
    let mut members = coordinator.members(Role::Aggregator);
    let removed = members.wait_for(|members| !is_listed(members, "a") || !is_listed(members, "b"));
    drop(removed.await);
}

#[test]
fn api_server_that_is_away_removes_nobody() -> anyhow::Result<()> {
    sandboxed("api_server_that_is_away_removes_nobody", async |dir| {
        let mut scene = Scene::new(dir).await?;
        let [one, other] = scene.coordinators("signalbox").await?;
        let (session, standby) =
            (one.join(aggregator("a"), SHORTEST_TTL), other.join(aggregator("b"), SHORTEST_TTL));
        wait_members(&other, &["a", "b"]).await;
        wait_granted(&session, 0).await;
        wait_owner(&other, Some("a")).await;
        let removals = [one.clone(), other.clone()].map(|seen_by| tokio::spawn(wait_removal(seen_by)));
        for is_killed in [true, false] {
            if is_killed {
                scene.control_plane.stop_api_server()?;
                wait_past_the_lease(&session).await?;
                scene.control_plane.start_api_server(dir).await?;
            } else {
                scene.control_plane.pause_api_server()?;
                wait_past_the_lease(&session).await?;
                scene.control_plane.resume_api_server()?;
            }
            wait_granted(&session, 0).await;
            // A member that joins is seen, so the watches work again.
            let third = one.join(aggregator("c"), SHORTEST_TTL);
            for coordinator in [&one, &other] {
                wait_members(coordinator, &["a", "b", "c"]).await;
            }
            third.leave().await;
            wait_members(&other, &["a", "b"]).await;
            wait_owner(&other, Some("a")).await;
        }
        ensure!(removals.iter().all(|removal| !removal.is_finished()), "a live member was removed");
        standby.leave().await;
        drop(session);
        wait_members(&other, &[]).await;
        Ok(())
    })
}

#[test]
fn epochs_increase_over_an_older_history() -> anyhow::Result<()> {
    sandboxed("epochs_increase_over_an_older_history", async |dir| {
        let mut scene = Scene::new(dir).await?;
        let [one, other] = scene.coordinators("signalbox").await?;
        let session = one.join(aggregator("a"), TTL);
        let first = wait_granted(&session, 0).await;
        let checkpoint = scene.control_plane.checkpoint()?;
        let second = wait_granted(&session, first.epoch + 1_000).await;
        let standby = other.join(aggregator("b"), TTL);
        wait_members(&one, &["a", "b"]).await;
        let known = one.members(Role::Aggregator);
        scene.control_plane.rewind(dir, &checkpoint).await?;
        let third = wait_granted(&session, second.epoch).await;
        ensure!(third.epoch > second.epoch && third.previous == Some(first.epoch), "{third:?}");
        for coordinator in [&one, &other] {
            wait_members(coordinator, &["a", "b"]).await;
            // The rewound owner may be seen first.
            let owned = async || {
                let epoch = wait_owner(coordinator, Some("a")).await;
                ensure!(epoch == Some(third.epoch), "{epoch:?}, {third:?}");
                Ok(())
            };
            eventually("the new epoch is seen", owned).await?;
        }
        ensure!(!known.has_changed()?, "{known:?}");
        standby.leave().await;
        wait_members(&one, &["a"]).await;
        Ok(())
    })
}

#[test]
fn leases_go_with_the_lease_that_the_chart_installs() -> anyhow::Result<()> {
    sandboxed("leases_go_with_the_lease_that_the_chart_installs", async |dir| {
        let scene = Scene::new(dir).await?;
        scene.kubectl().apply(&installation_lease().to_string()).await?;
        let [one, other] = scene.coordinators("signalbox").await?;
        wait_owner(&one, None).await;
        let (session, crashed) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
        wait_members(&one, &["a", "b"]).await;
        wait_granted(&session, 0).await;
        drop(crashed);
        wait_members(&one, &["a"]).await;
        ensure!(scene.leases().await?.len() == 4, "{:?}", scene.leases().await?);
        // Like an uninstallation: the aggregator is still running when the chart's Lease is deleted.
        scene.kubectl().run(&["delete", "lease", "signalbox", "--namespace", "team"]).await?;
        wait_granted(&session, 0).await;
        session.leave().await;
        let gone = async || {
            let leases = scene.leases().await?;
            ensure!(leases.is_empty(), "{leases:?} are left");
            Ok(())
        };
        eventually("the Leases are deleted", gone).await?;
        Ok(())
    })
}

#[test]
fn leases_that_are_older_than_the_chart_s_go_with_it_too() -> anyhow::Result<()> {
    sandboxed("leases_that_are_older_than_the_chart_s_go_with_it_too", async |dir| {
        let scene = Scene::new(dir).await?;
        let [one, _] = scene.coordinators("signalbox").await?;
        // helm installs the Lease last.
        let session = one.join(aggregator("a"), TTL);
        wait_granted(&session, 0).await;
        scene.kubectl().apply(&installation_lease().to_string()).await?;
        let adopted = async || {
            let list = scene.kubectl().get(&["leases", "--namespace", "team"]).await?;
            let owners = list["items"].as_array().into_iter().flatten();
            let owners = owners.filter(|lease| lease["metadata"]["name"] != "signalbox");
            let owners: Vec<_> =
                owners.map(|lease| &lease["metadata"]["ownerReferences"][0]["name"]).collect();
            ensure!(owners == ["signalbox", "signalbox"], "{owners:?}");
            Ok(())
        };
        eventually("the Leases depend on the chart's", adopted).await?;
        wait_owner(&one, Some("a")).await;
        drop(session);
        scene.kubectl().run(&["delete", "lease", "signalbox", "--namespace", "team"]).await?;
        let gone = async || {
            let leases = scene.leases().await?;
            ensure!(leases.is_empty(), "{leases:?} are left");
            Ok(())
        };
        eventually("the Leases are deleted", gone).await
    })
}

#[test]
fn every_verb_of_the_role_is_needed_and_named_when_it_is_missing() -> anyhow::Result<()> {
    sandboxed("every_verb_of_the_role_is_needed_and_named_when_it_is_missing", async |dir| {
        let scene = Scene::new(dir).await?;
        let cluster =
            Cluster::connect(&ClusterSettings { kubeconfig: Some(scene.kubeconfig.clone()) }).await?;
        let label = ("signalbox.dev/installation", "signalbox");
        let leases = signalbox_kube::Leases::new(&cluster, "team", label);
        for missing in VERBS {
            let left: Vec<&str> = VERBS.into_iter().filter(|verb| *verb != missing).collect();
            grant(scene.kubectl(), &left).await?;
            let named = format!("the Role needs the verb {missing} on leases");
            let refused = async || {
                let lease = signalbox_kube::Lease { name: "x".to_owned(), ..Default::default() };
                let error = match missing {
                    "get" => leases.get("x").await.err(),
                    "list" => leases.list().await.err(),
                    "watch" => leases.watch("").await.err(),
                    "create" => leases.create(&lease).await.err(),
                    "update" => leases.replace(&lease).await.err(),
                    _ => leases.delete(&lease).await.err(),
                };
                let text = error.map(|error| error.to_string()).unwrap_or_default();
                ensure!(text.contains(&named), "{missing}: {text}");
                Ok(())
            };
            eventually("the missing verb is named", refused).await?;
        }
        Ok(())
    })
}
