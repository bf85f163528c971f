use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use signalbox_kube::ReviewError;
use signalbox_metrics_api::{Attributes, RequestHeaderNames, User};
use signalbox_signal::Signal;
use signalbox_tls::ServerTls;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::test_support::{TestSignals, desired};

const ONE: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/\
                   inferencepools.inference.networking.k8s.io/one/signalbox_desired_replicas";
const HPA: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
type Pair = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn client(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        (certificate, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// Writes a certificate for `localhost`.
    fn write(&self, folder: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("tls.crt"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    }
}

/// Lets the autoscaler and the owner of the token `good` read everything. Counts questions.
#[derive(Clone, Default)]
struct TestReviews(Arc<AtomicUsize>);

impl AccessReviews for TestReviews {
    async fn token(&self, token: &str) -> Result<Option<User>, ReviewError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        match token {
            "good" => Ok(Some(User { name: HPA.to_owned(), ..User::default() })),
            slow if slow.starts_with("slow") => std::future::pending().await,
            "broken" => Err(ReviewError::Unavailable("TokenReview", "no answer in time".to_owned())),
            _ => Ok(None),
        }
    }

    async fn access(&self, user: User, _: Attributes) -> Result<bool, ReviewError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(user.name == HPA)
    }
}

struct Server {
    address: SocketAddr,
    own: Authority,
    front_proxies: Authority,
    clients: Authority,
    signals: TestSignals,
    reviews: TestReviews,
    authentication: watch::Sender<Option<AuthenticationConfig>>,
    _folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        let (own, front_proxies, clients) = (Authority::new(), Authority::new(), Authority::new());
        let folder = TempDir::new().unwrap();
        own.write(folder.path());
        let tls = ServerTls::asking_for_certificates("--cert", folder.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (signals, reviews) = (TestSignals::new(&["one", "two"]), TestReviews::default());
        let authentication = watch::Sender::new(None);
        let settings = MetricsApiSettings {
            serves_external: true,
            authentication: authentication.subscribe(),
            reviews: reviews.clone(),
        };
        let api = MetricsApi::new(signals.clone(), settings);
        tokio::spawn(api.serve(tls.incoming(listener), || Ok(()), || Ok(()), std::future::pending()));
        Self { address, own, front_proxies, clients, signals, reviews, authentication, _folder: folder }
    }

    /// Tells the server how clients prove who they are, and waits until it knows.
    async fn authenticate(&self) {
        let list = |name: &str| vec![name.to_owned()];
        let names = RequestHeaderNames {
            allowed: list("front-proxy"),
            username: list("X-Remote-User"),
            group: list("X-Remote-Group"),
            extra_prefixes: list("X-Remote-Extra-"),
            uid: list("X-Remote-Uid"),
        };
        self.authentication.send_replace(Some(AuthenticationConfig {
            front_proxy_ca: self.front_proxies.pem.clone(),
            client_ca: self.clients.pem.clone(),
            names,
        }));
        let mut client = self.connect(None).await;
        while client.get("/readyz", &[]).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    }

    async fn connect(&self, pair: Option<Pair>) -> TestClient {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.own.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots);
        let config = match pair {
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        TestClient(sender)
    }

    async fn front_proxy(&self) -> TestClient {
        self.connect(Some(self.front_proxies.client("front-proxy", ExtendedKeyUsagePurpose::ClientAuth)))
            .await
    }
}

struct TestClient(SendRequest<Empty<Bytes>>);

impl TestClient {
    async fn get(&mut self, path: &str, headers: &[(&'static str, &str)]) -> (u16, Value) {
        let mut request = http::Request::get(path).header("host", "localhost").body(Empty::new()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
        }
        self.0.ready().await.unwrap();
        let response = self.0.send_request(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

const AS_HPA: [(&str, &str); 1] = [("x-remote-user", HPA)];

#[tokio::test]
async fn the_autoscaler_reads_a_value_through_the_front_proxy() {
    let server = Server::start().await;
    server.authenticate().await;
    server.signals.publish("one", desired(4));
    let mut client = server.front_proxy().await;
    for _ in 0..100 {
        let (code, body) = client.get(ONE, &AS_HPA).await;
        assert_eq!((200, "4"), (code, body["items"][0]["value"].as_str().unwrap()), "{body}");
    }
    assert_eq!(1, server.reviews.0.load(Ordering::Relaxed));
    let external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/signalbox_active?labelSelector=inference_pool%3Done";
    let (code, body) = client.get(external, &AS_HPA).await;
    assert_eq!((200, "1"), (code, body["items"][0]["value"].as_str().unwrap()), "{body}");
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let server = Server::start().await;
    let mut client = server.front_proxy().await;
    assert_eq!(503, client.get(ONE, &AS_HPA).await.0, "it is not known yet who is a front proxy");
    server.authenticate().await;
    server.signals.publish("two", desired(1));
    server.signals.wait("two", 31_000);
    let message = |body: &Value| body["message"].as_str().unwrap().to_owned();
    for (path, code, words) in [
        (ONE.to_owned(), 503, "not assessed yet"),
        (ONE.replace("/one/", "/two/"), 503, "31000 ms old"),
        (ONE.replace("/one/", "/three/"), 404, "this server knows: one, two"),
        (ONE.replace("desired_replicas", "replicas"), 404, "signalbox_desired_replicas"),
        (format!("{ONE}?metricLabelSelector=role%3D%3D%3D"), 400, "metricLabelSelector"),
        (format!("{}?metricLabelSelector=role%3Ddecode", ONE.replace("/one/", "/two/")), 503, "31000 ms old"),
    ] {
        let (found, body) = client.get(&path, &AS_HPA).await;
        assert_eq!(code, found, "{path}: {body}");
        assert!(message(&body).contains(words), "{body}");
    }
    server.signals.publish("two", desired(1));
    let decode = format!("{}?metricLabelSelector=role%3Ddecode", ONE.replace("/one/", "/two/"));
    let (code, body) = client.get(&decode, &AS_HPA).await;
    assert!(code == 400 && message(&body).contains("there are: role=both"), "{body}");
}

#[tokio::test]
async fn headers_of_a_front_proxy_count_only_with_its_certificate() {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let server = Server::start().await;
    server.authenticate().await;
    server.signals.publish("one", desired(4));
    let forged = [("x-remote-user", HPA), ("x-remote-group", "system:masters")];
    for pair in [
        None,
        Some(Authority::new().client("front-proxy", ClientAuth)),
        Some(server.front_proxies.client("another", ClientAuth)),
        Some(server.front_proxies.client("front-proxy", ServerAuth)),
        Some(server.clients.client("front-proxy", ClientAuth)),
    ] {
        let (code, body) = server.connect(pair).await.get(ONE, &forged).await;
        assert_eq!(403, code, "{body}");
    }
    let mut client = server.front_proxy().await;
    assert_eq!(200, client.get(ONE, &[forged[1], ("x-remote-user", "admin")]).await.0);
    assert_eq!(403, client.get(ONE, &[("x-remote-user", "somebody")]).await.0);
}

#[tokio::test]
async fn certificates_and_tokens_of_clients_are_accepted() {
    let server = Server::start().await;
    server.authenticate().await;
    server.signals.publish("one", desired(4));
    let pair = server.clients.client(HPA, ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(200, server.connect(Some(pair)).await.get(ONE, &[]).await.0);
    let mut client = server.connect(None).await;
    for (token, code) in [("good", 200), ("bad", 401), ("broken", 503)] {
        let header = format!("Bearer {token}");
        assert_eq!(code, client.get(ONE, &[("authorization", &header)]).await.0, "{token}");
    }
    let before = server.reviews.0.load(Ordering::Relaxed);
    for _ in 0..20 {
        client.get(ONE, &[("authorization", "Bearer good")]).await;
        client.get(ONE, &[("authorization", "Bearer bad")]).await;
    }
    assert_eq!(before, server.reviews.0.load(Ordering::Relaxed), "answers are kept");
}

#[tokio::test]
async fn clients_that_prove_nothing_neither_hold_up_the_autoscaler_nor_fill_the_memory() {
    let server = Server::start().await;
    server.authenticate().await;
    server.signals.publish("one", desired(4));
    let mut client = server.connect(None).await;
    let long = format!("Bearer {}", "a".repeat(17 * 1024));
    assert_eq!(401, client.get(ONE, &[("authorization", &long)]).await.0);
    assert_eq!(400, client.get(&format!("/{}", "a".repeat(3_000)), &[]).await.0);
    assert_eq!(0, server.reviews.0.load(Ordering::Relaxed), "nobody was asked");
    for index in 0..40 {
        let mut client = server.connect(None).await;
        let header = format!("Bearer slow-{index}");
        tokio::spawn(async move { client.get(ONE, &[("authorization", &header)]).await });
    }
    while server.reviews.0.load(Ordering::Relaxed) < 16 {
        tokio::task::yield_now().await;
    }
    assert_eq!(200, server.front_proxy().await.get(ONE, &AS_HPA).await.0);
}

#[tokio::test]
async fn connections_that_prove_nothing_give_way_to_newer_ones() {
    let server = Server::start().await;
    server.authenticate().await;
    server.signals.publish("one", desired(4));
    let mut autoscaler = server.front_proxy().await;
    assert_eq!(200, autoscaler.get(ONE, &AS_HPA).await.0);
    let mut silent = Vec::new();
    for _ in 0..70 {
        silent.push(server.connect(None).await);
    }
    while !silent[0].0.is_closed() {
        tokio::task::yield_now().await;
    }
    assert_eq!(200, silent.last_mut().unwrap().get("/livez", &[]).await.0);
    assert_eq!(200, autoscaler.get(ONE, &AS_HPA).await.0, "the older connection of the front proxy stays");
}

#[tokio::test]
async fn authorities_are_taken_over_while_connections_are_open() {
    let server = Server::start().await;
    server.authenticate().await;
    server.signals.publish("one", Signal { is_active: true, ..desired(4) });
    let mut client = server.front_proxy().await;
    assert_eq!(200, client.get(ONE, &AS_HPA).await.0);
    let config = server.authentication.borrow().clone().unwrap();
    server
        .authentication
        .send_replace(Some(AuthenticationConfig { front_proxy_ca: Authority::new().pem, ..config }));
    while client.get(ONE, &AS_HPA).await.0 != 403 {
        tokio::task::yield_now().await;
    }
}
