use std::collections::HashMap;
use std::net::SocketAddr;

use signalbox_protos::keda::externalscaler::external_scaler_client::ExternalScalerClient;
use signalbox_signal::{Certainty, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tonic::Code;
use tonic::transport::Channel;

use super::*;
use crate::test_support::{TestSignals, desired};

struct Scaler {
    address: SocketAddr,
    client: ExternalScalerClient<Channel>,
    signals: TestSignals,
    stop: oneshot::Sender<()>,
}

async fn start() -> Scaler {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let signals = TestSignals::new(&["one", "two"]);
    let (stop, stopped) = oneshot::channel();
    let keda = Keda::new(signals.clone(), Security::Local);
    let until_stopped = async {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::spawn(keda.serve(Security::Local.incoming(listener), until_stopped));
    let client = ExternalScalerClient::connect(format!("http://{address}")).await.unwrap();
    Scaler { address, client, signals, stop }
}

fn object(pairs: &[(&str, &str)]) -> ScaledObjectRef {
    let metadata: HashMap<_, _> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ScaledObjectRef { name: "o".to_owned(), namespace: "ns".to_owned(), scaler_metadata: metadata }
}

fn one() -> ScaledObjectRef {
    object(&[("inferencePool", "one")])
}

fn metrics(object: ScaledObjectRef) -> GetMetricsRequest {
    GetMetricsRequest {
        scaled_object_ref: Some(object),
        metric_name: "signalbox_desired_replicas".to_owned(),
    }
}

#[tokio::test]
async fn value_and_activity_are_those_of_the_signal() {
    let Scaler { mut client, signals, .. } = start().await;
    signals.publish("one", desired(7));
    let values = client.get_metrics(metrics(one())).await.unwrap().into_inner().metric_values;
    let expected = MetricValue {
        metric_name: "signalbox_desired_replicas".to_owned(),
        metric_value: 7,
        metric_value_float: 7.0,
    };
    assert_eq!(vec![expected], values);
    assert!(client.is_active(one()).await.unwrap().into_inner().result);
    signals.publish("one", desired(0));
    let values = client.get_metrics(metrics(one())).await.unwrap().into_inner().metric_values;
    assert_eq!((1, 0.0), (values.len(), values[0].metric_value_float));
    assert!(!client.is_active(one()).await.unwrap().into_inner().result);
}

#[tokio::test]
async fn what_is_not_known_is_an_error_and_the_spec_is_still_known() {
    let Scaler { mut client, signals, .. } = start().await;
    let check = async |client: &mut ExternalScalerClient<Channel>, word: &str| {
        let value = client.get_metrics(metrics(one())).await.unwrap_err();
        let activity = client.is_active(one()).await.unwrap_err();
        for status in [value, activity] {
            assert_eq!(Code::Unavailable, status.code(), "{status:?}");
            assert!(status.message().contains("ns/one") && status.message().contains(word), "{status:?}");
        }
        let specs = client.get_metric_spec(one()).await.unwrap().into_inner().metric_specs;
        assert_eq!((1, 1.0), (specs.len(), specs[0].target_size_float));
    };
    check(&mut client, "not assessed yet").await;
    signals.publish("one", Signal { certainty: Certainty::Insufficient, ..desired(3) });
    check(&mut client, "too little is known").await;
    signals.publish("one", desired(3));
    signals.wait("one", 30_001);
    check(&mut client, "30001 ms old").await;
}

#[tokio::test]
async fn a_trigger_that_names_no_pool_is_told_which_there_are() {
    let Scaler { mut client, .. } = start().await;
    let wrong = object(&[("scalerAddress", "a:1")]);
    let refused = [
        client.get_metric_spec(wrong.clone()).await.unwrap_err(),
        client.get_metrics(metrics(wrong.clone())).await.unwrap_err(),
        client.is_active(wrong.clone()).await.unwrap_err(),
        client.stream_is_active(wrong.clone()).await.unwrap_err(),
        client.stream_metric_spec(wrong).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!(Code::InvalidArgument, status.code());
        assert!(status.message().contains("one, two"), "{status:?}");
    }
}

#[tokio::test]
async fn requests_that_begin_to_wait_are_pushed_and_streams_end_with_the_server() {
    let Scaler { mut client, signals, stop, .. } = start().await;
    signals.publish("one", desired(0));
    let mut stream = client.stream_is_active(one()).await.unwrap().into_inner();
    assert!(!stream.message().await.unwrap().unwrap().result);
    // It is not the first pod that is waited for: nothing is said, and only one message follows.
    for signal in [desired(2), Signal { awaits_first_pod: true, ..desired(1) }] {
        signals.publish("one", signal);
        signals.wait_until_read("one").await;
    }
    assert!(stream.message().await.unwrap().unwrap().result);
    let mut specs = client.stream_metric_spec(one()).await.unwrap().into_inner();
    assert_eq!(1, specs.message().await.unwrap().unwrap().metric_specs.len());
    let _ = stop.send(());
    assert!(stream.message().await.unwrap().is_none() && specs.message().await.unwrap().is_none());
}

/// The beginning of a connection, and an empty frame of settings (RFC 9113, sections 3.4 and 6.5).
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The beginning of a frame with the 255 bytes of a header of stream 1 (RFC 9113, section 6.2).
const HEADER: &[u8] = b"\0\0\xff\x01\x05\0\0\0\x01";

#[tokio::test]
async fn clients_that_are_slow_or_silent_are_disconnected() {
    let patience = Patience {
        begin: Duration::from_millis(50),
        ping_after: Duration::from_millis(50),
        answer: Duration::from_millis(50),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let keda = Keda::new(TestSignals::new(&[]), Security::Local);
    tokio::spawn(keda.serve_with(patience, Security::Local.incoming(listener), std::future::pending()));
    let header = [BEGIN, HEADER].concat();
    for (at_once, slowly) in
        [(&[][..], &[][..]), (&[], BEGIN), (BEGIN, &[]), (&header[..], &[0; 255]), (&header[..7], &[])]
    {
        let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        write.write_all(at_once).await.unwrap();
        let sending = async {
            for byte in slowly {
                tokio::time::sleep(patience.answer / 5).await;
                if write.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
            // It sends nothing more, and waits.
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        tokio::select! {
            // The server breaks the connection, with or without a last message.
            _ = read.read_to_end(&mut answer) => {}
            () = sending => {}
        }
    }
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let Scaler { address, signals, .. } = start().await;
    signals.publish("one", desired(7));
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // The oldest gives way.
    let _ = silent[0].read_to_end(&mut Vec::new()).await;
    let mut newest = ExternalScalerClient::connect(format!("http://{address}")).await.unwrap();
    assert!(newest.is_active(one()).await.unwrap().into_inner().result);
}
