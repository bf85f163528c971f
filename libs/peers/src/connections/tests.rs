use std::net::Ipv4Addr;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::*;

/// Starts a server without services. Returns its address.
async fn server() -> PeerAddress {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().into();
    let routes = tonic::service::Routes::default();
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpIncoming::from(listener)));
    address
}

#[tokio::test]
async fn streams_share_a_connection_while_it_works() {
    let (connections, aggregator) = (Connections::new(Security::Local), server().await);
    let first = connections.open(&aggregator).await.unwrap();
    let again = connections.open(&aggregator).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    again.observe(&Status::unavailable("another aggregator owns the pool"));
    assert!(Arc::ptr_eq(&first, &connections.open(&aggregator).await.unwrap()), "the aggregator refused");
    let broken: Box<dyn Error + Send + Sync> = "broken pipe".into();
    again.observe(&Status::from_error(broken));
    let next = connections.open(&aggregator).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &next), "the connection broke");
    assert!(Arc::ptr_eq(&next, &connections.open(&aggregator).await.unwrap()));
}

#[tokio::test]
async fn connection_ends_with_its_last_stream() {
    let (connections, one, other) = (Connections::new(Security::Local), server().await, server().await);
    let connection = connections.open(&one).await.unwrap();
    let weak = Arc::downgrade(&connection);
    drop(connection);
    assert_eq!(0, weak.strong_count());
    let _other = connections.open(&other).await.unwrap();
    assert_eq!(vec![&other], connections.0.slots.lock().unwrap().keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn waiting_streams_share_the_result_of_an_attempt() {
    let slot = Arc::new(Slot::default());
    let (started, mut attempts) = tokio::sync::mpsc::unbounded_channel();
    let (fail, failed) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn({
        let (slot, started) = (Arc::clone(&slot), started.clone());
        async move {
            let connect = || async move {
                started.send(()).unwrap();
                let _ = failed.await;
                Err(ConnectError::Failed("refused".to_owned()))
            };
            slot.open(connect).await.map(drop)
        }
    });
    attempts.recv().await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..8 {
        let (slot, started) = (Arc::clone(&slot), started.clone());
        let never = || async move {
            started.send(()).unwrap();
            Err(ConnectError::Failed("a second attempt".to_owned()))
        };
        waiting.spawn(async move { slot.open(never).await.map(drop) });
    }
    // All of them run until they wait: this test has one thread.
    tokio::task::yield_now().await;
    fail.send(()).unwrap();
    assert_eq!("refused", first.await.unwrap().unwrap_err().to_string());
    while let Some(result) = waiting.join_next().await {
        assert_eq!("refused", result.unwrap().unwrap_err().to_string());
    }
    assert!(attempts.try_recv().is_err(), "they did not try themselves");
    let again = slot.open(|| async { Err(ConnectError::Failed("later".to_owned())) }).await;
    assert_eq!("later", again.map(drop).unwrap_err().to_string());
}
