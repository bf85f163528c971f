//! A fake Kubernetes API server that serves Leases: versions, conflicts, label selectors, watches, and failures.

mod handlers;
mod store;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signalbox_integration::TestDir;
use signalbox_kube::{Cluster, ClusterSettings};
use signalbox_lease::{Coordinator, KubernetesSettings};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use store::Store;

/// What the server does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It answers.
    Answers,
    /// It does not answer, and watches report nothing.
    Hangs,
    /// It answers 503 and ends watches.
    Fails,
    /// It answers, but watches report nothing.
    MuteWatches,
    /// It refuses writes with 403.
    ForbidsWrites,
    /// It answers listings with 503.
    FailsLists,
    /// It answers requests about Leases of pools with 503.
    FailsForPools,
    /// It answers each request after three seconds.
    IsSlow,
    /// It ends each watch at once.
    EndsWatches,
}

/// A running server. It stops when it is dropped.
pub(crate) struct FakeApi {
    shared: Arc<Shared>,
    address: SocketAddr,
    dir: TestDir,
    task: JoinHandle<()>,
}

struct Shared {
    store: Mutex<Store>,
    mode: watch::Sender<Mode>,
    /// Grows with each change of the store, and when watches must end.
    changes: watch::Sender<u64>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl FakeApi {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            store: Mutex::default(),
            mode: watch::Sender::new(Mode::Answers),
            changes: watch::Sender::new(0),
        });
        let router = handlers::router(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { shared, address, dir: TestDir::new()?, task })
    }

    /// Returns a coordinator with connections of its own, like another process.
    pub(crate) async fn coordinator(&self) -> Coordinator {
        self.installation("signalbox").await
    }

    pub(crate) async fn installation(&self, installation: &str) -> Coordinator {
        let kubeconfig = self.dir.path().join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n",
            self.address
        );
        std::fs::write(&kubeconfig, text).expect("the directory is writable");
        let cluster = Cluster::connect(&ClusterSettings { kubeconfig: Some(kubeconfig) }).await;
        Coordinator::kubernetes(KubernetesSettings {
            cluster: cluster.expect("the kubeconfig is valid"),
            namespace: "team".to_owned(),
            installation: installation.to_owned(),
        })
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
        self.shared.notify();
    }

    /// Returns a copy of what is stored.
    pub(crate) fn store(&self) -> Store {
        self.shared.store().clone()
    }

    /// Replaces what is stored, like a restore from a backup. Watches end.
    pub(crate) fn restore(&self, mut store: Store) {
        let mut current = self.shared.store();
        store.end_watches(&current);
        *current = store;
        drop(current);
        self.shared.notify();
    }

    /// Deletes an object, like somebody with kubectl.
    pub(crate) fn delete(&self, name: &str) {
        let deleted = self.shared.store().delete(name, &serde_json::Value::Null);
        deleted.expect("the object exists");
        self.shared.notify();
    }

    /// Forgets all changes, so that watches cannot continue from before.
    pub(crate) fn compact(&self) {
        self.shared.store().compact();
        self.shared.notify();
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}
