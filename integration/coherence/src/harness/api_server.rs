//! An API server of Kubernetes that only says who its front proxy is.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;
use signalbox_integration::TestDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running API server; it stops when it is dropped.
#[derive(Debug)]
pub(crate) struct ApiServer {
    /// The kubeconfig for it.
    pub(crate) kubeconfig: PathBuf,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Starts to serve. Certificates of the authority `front_proxy_ca` (PEM) are those of the front proxy.
    ///
    /// # Errors
    /// Fails when no port is free, or the kubeconfig cannot be written.
    pub(crate) async fn start(dir: &TestDir, front_proxy_ca: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let kubeconfig = dir.path().join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_of(listener.local_addr()?)).context("the kubeconfig")?;
        let list = json!({
            "kind": "ConfigMapList",
            "apiVersion": "v1",
            "metadata": { "resourceVersion": "1" },
            "items": [{
                "metadata": {
                    "name": "extension-apiserver-authentication",
                    "namespace": "kube-system",
                    "resourceVersion": "1",
                },
                "data": {
                    "requestheader-client-ca-file": front_proxy_ca,
                    "requestheader-username-headers": r#"["X-Remote-User"]"#,
                    "requestheader-group-headers": r#"["X-Remote-Group"]"#,
                },
            }],
        });
        let list = list.to_string();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let list = list.clone();
                tokio::spawn(async move { drop(serve(stream, &list).await) });
            }
        });
        Ok(Self { kubeconfig, task })
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn kubeconfig_of(address: SocketAddr) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "clusters": [{ "name": "bench", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "bench", "user": {} }],
        "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench" } }],
    });
    config.to_string()
}

/// Answers each request of a connection: with the list, or with a watch in which nothing happens.
async fn serve(stream: TcpStream, list: &str) -> std::io::Result<()> {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let mut stream = BufReader::new(stream);
    let (mut line, mut is_watch) = (String::new(), false);
    loop {
        line.clear();
        match stream.read_line(&mut line).await? {
            0 => return Ok(()),
            // An empty line ends the head of a request; those of watches and lists have no body.
            2 if is_watch => {
                stream.write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).await?;
            }
            2 => {
                let answer = format!("{HEAD}content-length: {}\r\n\r\n{list}", list.len());
                stream.write_all(answer.as_bytes()).await?;
            }
            _ if line.starts_with("GET ") => is_watch = line.contains("watch=true"),
            _ => {}
        }
    }
}
