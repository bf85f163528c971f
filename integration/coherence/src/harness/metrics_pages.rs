//! Model servers that only have a metrics page, which never changes. One listener serves any number of them:
//! they differ in their loopback address.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const PAGE: &str = "\
vllm:num_requests_running{model_name=\"m\"} 1\n\
vllm:num_requests_waiting{model_name=\"m\"} 0\n\
vllm:kv_cache_usage_perc{model_name=\"m\"} 0.25\n\
vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"4096\"} 1\n";

/// Serves the metrics pages until it is dropped.
#[derive(Debug)]
pub(crate) struct MetricsPages {
    port: u16,
    task: JoinHandle<()>,
}

impl MetricsPages {
    /// Starts to serve.
    ///
    /// # Errors
    /// Fails when no port is free.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A collector that closes the connection ends its task.
                tokio::spawn(async move { drop(serve(stream).await) });
            }
        });
        Ok(Self { port, task })
    }

    /// Returns the address of the server with this number.
    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        let [.., high, low] = (number as u32 + 1).to_be_bytes();
        (Ipv4Addr::new(127, 1, high, low), self.port).into()
    }
}

impl Drop for MetricsPages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers each request of a connection.
async fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{PAGE}", PAGE.len());
    let mut line = String::new();
    loop {
        line.clear();
        match stream.read_line(&mut line).await? {
            0 => return Ok(()),
            // An empty line ends the head of a request; requests for metrics pages have no body.
            2 => stream.write_all(response.as_bytes()).await?,
            _ => {}
        }
    }
}
