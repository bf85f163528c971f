//! Whole files: valid ones, invalid ones, and arbitrary text.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use signalbox_types::{EndpointSpec, Engine, MetricsTls, PageSettings, PoolId, PoolSpec, url_host};

use super::FileErrors;

const VALID: &str = "\
apiVersion: signalbox/v1
kind: Endpoints
pool: { name: llama3, namespace: prod }
endpoints:
- { name: pod-a, address: 127.0.0.1:8001, engine: sglang, labels: { role: both } }
- name: pod-b
  address: '[::1]:8002'
  metricsUrl: http://metrics.example:9000/m
";

fn parse(text: &str) -> Result<PoolSpec, FileErrors> {
    super::parse(text, &PageSettings::default()).map(|parsed| parsed.spec)
}

/// Returns the problems of `text`, one per line.
fn problems(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn valid_file_is_read() {
    let spec = parse(VALID).unwrap();
    assert_eq!(spec.id, PoolId { namespace: "prod".to_owned(), name: "llama3".to_owned() });
    let [a, b] = spec.endpoints.as_slice() else { panic!("two endpoints") };
    assert_eq!((a.name.as_str(), a.engine.clone()), ("pod-a", Engine::Sglang));
    assert_eq!(a.metrics_url, "http://127.0.0.1:8001/metrics");
    assert_eq!(a.labels, BTreeMap::from([("role".to_owned(), "both".to_owned())]));
    assert_eq!((b.address.to_string().as_str(), b.engine.clone()), ("[::1]:8002", Engine::Vllm));
    assert_eq!(b.metrics_url, "http://metrics.example:9000/m");
    assert!(b.labels.is_empty());
    assert_eq!(parse(&VALID.replace('\n', "\r\n")).unwrap(), spec);
    assert_eq!(parse(&format!("\u{feff}# pools\n---\n{VALID}...\n")).unwrap(), spec);
}

#[test]
fn endpoints_can_be_empty_and_the_namespace_missing() {
    let spec = parse("apiVersion: signalbox/v1\nkind: Endpoints\npool: {name: p}\nendpoints: []").unwrap();
    assert_eq!(spec.id.to_string(), "default/p");
    assert!(spec.endpoints.is_empty());
}

#[test]
fn pool_can_have_a_port_of_its_own() {
    let port = |pool: &str| {
        let text = format!("apiVersion: signalbox/v1\nkind: Endpoints\npool: {pool}\nendpoints: []");
        super::parse(&text, &PageSettings::default())
            .map(|parsed| parsed.port)
            .map_err(|error| error.to_string())
    };
    assert_eq!(Ok(None), port("{ name: p }"));
    assert_eq!(Ok(Some(9003)), port("{ name: p, port: 9003 }"));
    for (wrong, reason) in [("0", "65535"), ("65536", "65535"), ("x", "expected a number")] {
        let refused = port(&format!("{{ name: p, port: {wrong} }}")).unwrap_err();
        assert!(refused.contains("pool.port") && refused.contains(reason), "{refused}");
    }
}

#[test]
fn endpoints_can_drain_and_their_pages_be_unverified() {
    let text = |fields: &str| {
        VALID.replace("engine: sglang", &format!("engine: sglang, metricsUrl: 'https://h/m', {fields}"))
    };
    let first = |fields: &str| {
        super::parse(&text(fields), &PageSettings::default()).unwrap().spec.endpoints.swap_remove(0)
    };
    let endpoint = first("draining: true, metricsInsecureSkipVerify: true");
    assert_eq!((true, MetricsTls::Unverified), (endpoint.is_draining, endpoint.metrics_tls));
    let endpoint = first("draining: false");
    assert_eq!((false, MetricsTls::Verified), (endpoint.is_draining, endpoint.metrics_tls));
    assert_eq!(
        "line 5: endpoints[0].draining: expected true or false, found text",
        problems(&text("draining: 'yes'"))
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "\
apiVersion: signalbox/v2
kind: Endpoint
pool: { nmae: llama3, namespace: '' }
replicas: 3
endpoints:
- name: pod-a
  address: 127.0.0.1
  engine: vlm
- { name: pod-b, address: 127.0.0.1:8001, metricsURL: 'http://h/m' }
- { name: pod-a, address: 127.0.0.1:8001, metricsUrl: 'ftp://h/m' }
- name: 17
  address: pod c:8000
  address: 127.0.0.1:8003
  labels: { weight: 5, canary: true, app.kubernetes.io/name: , zone: [a] }
- just text
- address: [127.0.0.1]
  name: [pod]
";
    let expected = r#"line 1: apiVersion: "signalbox/v2" is not supported; write apiVersion: signalbox/v1
line 2: kind: "Endpoint" is not supported; write kind: Endpoints
line 3: pool.nmae: unknown field; did you mean "name"?
line 3: pool.name: missing; write name: NAME
line 3: pool.namespace: must not be empty; write a name
line 4: replicas: unknown field; known fields: apiVersion, kind, pool, engines, endpoints
line 7: endpoints[0].address: "127.0.0.1" has no port; write IP:PORT, e.g. 127.0.0.1:8000
line 8: endpoints[0].engine: unknown engine "vlm"; use one of: vllm, sglang, trtllm-serve, triton-tensorrt-llm, triton, tgi, llamacpp, ray-vllm; did you mean "vllm"?
line 9: endpoints[1].metricsURL: unknown field; did you mean "metricsUrl"?
line 10: endpoints[2].metricsUrl: "ftp://h/m" is not an http:// or https:// URL; write http://HOST:PORT/PATH
line 10: endpoints[2].name: "pod-a" is already the name of endpoints[0] on line 6; use another
line 10: endpoints[2].address: "127.0.0.1:8001" is already the address of endpoints[1] on line 9; use another
line 11: endpoints[3].name: 17 is a number, expected text; write "17"
line 12: endpoints[3].address: "pod c:8000" has an invalid host name; write IP:PORT or HOST:PORT, e.g. 127.0.0.1:8000
line 13: endpoints[3].address: given twice, first on line 12; keep one
line 14: endpoints[3].labels.weight: 5 is a number, expected text; write "5"
line 14: endpoints[3].labels.canary: true is a boolean, expected text; write "true"
line 14: endpoints[3].labels["app.kubernetes.io/name"]: expected text, found nothing
line 14: endpoints[3].labels.zone: expected text, found a list
line 15: endpoints[4]: expected a mapping with name, address, engine, metricsUrl, metricsInsecureSkipVerify, labels, draining, found text
line 16: endpoints[5].address: expected IP:PORT or HOST:PORT, e.g. 127.0.0.1:8000, found a list
line 17: endpoints[5].name: expected text, found a list"#;
    assert_eq!(problems(text), expected);
}

#[test]
fn missing_fields_are_reported() {
    let expected = "\
line 2: apiVersion: missing; write apiVersion: signalbox/v1
line 2: kind: missing; write kind: Endpoints
line 2: pool: expected a mapping with name, namespace, port, found nothing
line 2: endpoints: missing; write endpoints: [] or a list of endpoints";
    assert_eq!(problems("# nothing much\npool:\n"), expected);
    let text = VALID.replace("  address: '[::1]:8002'\n", "  labels:\n");
    let expected = "\
line 6: endpoints[1].address: missing; write address: IP:PORT or HOST:PORT, e.g. 127.0.0.1:8000
line 7: endpoints[1].labels: expected a mapping or {}, found nothing";
    assert_eq!(problems(&text), expected);
}

#[test]
fn empty_documents_are_skipped_and_a_second_pool_is_rejected() {
    let nothing = "expected a mapping with apiVersion, kind, pool, engines, endpoints, found nothing";
    assert_eq!(problems(""), format!("line 1: {nothing}"));
    assert_eq!(problems("# only a comment\n"), format!("line 1: {nothing}"));
    assert_eq!(problems("---\n---\n"), format!("line 1: {nothing}"));
    assert_eq!(
        problems(&format!("{VALID}---\n{VALID}")),
        "line 11: kind: \"Endpoints\" is not a supported kind; only the first document can describe a pool; use one file per pool"
    );
    assert_eq!(parse(&format!("---\n# nothing\n---\n{VALID}---\n")).unwrap(), parse(VALID).unwrap());
    assert_eq!(
        problems("- a\n"),
        "line 1: expected a mapping with apiVersion, kind, pool, engines, endpoints, found a list"
    );
}

#[test]
fn invalid_yaml_is_reported_with_its_position() {
    assert!(problems("a: b: c").starts_with("line 1: invalid YAML at column 5: "));
    assert!(problems("kind: Endpoints\npool: [").contains(": invalid YAML at column "));
    assert!(problems("kind: \"Endpoints").contains("line 1: invalid YAML at column 7: "));
}

#[test]
fn unsupported_yaml_is_rejected() {
    assert!(problems("? [a]\n: b\n").contains("line 1: a key must be text"));
    let tagged = VALID.replace("pod-b", "!!str 12").replace("llama3", "&pool llama3");
    assert_eq!(parse(&tagged).unwrap().endpoints[1].name, "12");
    let tagged = VALID.replace("pod-b", "!!int 12").replace("{ name: llama3", "!pool { name: llama3");
    let expected = "\
line 3: pool: the tag \"!pool\" is not supported; remove it
line 6: endpoints[1].name: the tag \"!!int\" is not supported; remove it";
    assert_eq!(problems(&tagged), expected);
    assert!(problems(&"- ".repeat(100_000)).contains("nested deeper than 32 levels"));
    assert!(problems(&"[".repeat(100_000)).contains("invalid YAML"));
}

fn assert_problems_are_within_the_text(text: &str, errors: &FileErrors) {
    let lines = text.lines().count() + 1;
    assert!(!errors.problems().is_empty());
    assert!(errors.problems().iter().all(|problem| (1..=lines).contains(&problem.line)), "{errors}");
    assert!(errors.problems().iter().all(|problem| !problem.to_string().contains('\n')), "{errors}");
}

/// Fragments that together form damaged files.
fn fragment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "apiVersion",
        "kind",
        "pool",
        "name",
        "endpoints",
        "address",
        "labels",
        "draining",
        "metricsInsecureSkipVerify",
        "signalbox/v1",
        "Endpoints",
        "\n---\napiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\n",
        "\n---\napiVersion: llm-d.ai/v1alpha2\nkind: InferenceModelRewrite\n",
        "metadata: { name: a }\n",
        "spec: { poolRef: { name: a } }\n",
        "spec:\n  rules:\n  - ",
        "a",
        "127.0.0.1:1",
        ": ",
        "\n",
        "\n- ",
        "\n  ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "'",
        "\"",
        "*a",
        "&a ",
        "!!str ",
        "!x ",
        "---\n",
        "...\n",
        "# ",
        "? ",
        "| ",
        "~",
        "1",
        "\t",
        "\r\n",
        "<<",
        "%YAML 1.2\n",
        "\u{feff}",
        "é",
        "\0",
    ])
}

fn spec() -> impl Strategy<Value = PoolSpec> {
    let text = "[!-~é漢]([ -~é漢]{0,12}[!-~é漢])?";
    let engine = prop::sample::select(Engine::ALL.to_vec());
    let url = prop::option::of("[a-z]{1,9}(:[1-9][0-9]{0,3})?/[a-z]*");
    let endpoint = (any::<u32>(), any::<bool>(), engine, url, any::<[bool; 2]>());
    let labels = prop::collection::btree_map(text, "[ -~\n\té漢]{0,12}", 0..3);
    let endpoints = prop::collection::btree_map(text, (endpoint, labels), 0..6);
    (text, text, endpoints).prop_map(|(name, namespace, endpoints)| {
        let endpoints = endpoints.into_iter().enumerate().map(|(at, (name, (endpoint, labels)))| {
            let (host, v6, engine, url, flags) = endpoint;
            let port = 1000 + at as u16;
            let ip = if v6 {
                (u128::from(host) + 1).to_be_bytes().into()
            } else {
                (host | 1).to_be_bytes().into()
            };
            let address = std::net::SocketAddr::new(ip, port);
            let metrics_url = format!("http://{}", url.unwrap_or_else(|| format!("{address}/metrics")));
            let [is_draining, is_unverified] = flags;
            let metrics_tls = if is_unverified { MetricsTls::Unverified } else { MetricsTls::Verified };
            EndpointSpec { name, address, metrics_url, engine, labels, is_draining, metrics_tls }
        });
        PoolSpec { id: PoolId { namespace, name }, endpoints: endpoints.collect(), models: Arc::default() }
    })
}

/// Returns `spec` as a file.
fn to_file(spec: &PoolSpec) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let mut text = format!(
        "apiVersion: signalbox/v1\nkind: Endpoints\npool: {{ name: {}, namespace: {} }}\nendpoints:{}\n",
        quoted(&spec.id.name),
        quoted(&spec.id.namespace),
        if spec.endpoints.is_empty() { " []" } else { "" }
    );
    for endpoint in &spec.endpoints {
        let EndpointSpec { name, address, metrics_url, engine, labels, is_draining, metrics_tls } = endpoint;
        text += &format!(
            "- name: {}\n  address: {}\n  engine: {engine}\n",
            quoted(name),
            quoted(&address.to_string())
        );
        let host = url_host(address.ip());
        if *metrics_url != PageSettings::default().metrics_url(engine, &host, address.port()) {
            text += &format!("  metricsUrl: {metrics_url}\n");
        }
        if *is_draining {
            text += "  draining: true\n";
        }
        if *metrics_tls == MetricsTls::Unverified {
            text += "  metricsInsecureSkipVerify: true\n";
        }
        if !labels.is_empty() {
            text += "  labels:\n";
        }
        for (key, value) in labels {
            text += &format!("    {}: {}\n", quoted(key), quoted(value));
        }
    }
    text
}

proptest! {
    #[test]
    fn arbitrary_text_is_read_or_rejected(text in any::<String>()) {
        if let Err(errors) = parse(&text) {
            assert_problems_are_within_the_text(&text, &errors);
        }
    }

    #[test]
    fn yaml_like_text_is_read_or_rejected(parts in prop::collection::vec(fragment(), 0..60)) {
        let text = parts.concat();
        if let Err(errors) = parse(&text) {
            assert_problems_are_within_the_text(&text, &errors);
        }
    }

    #[test]
    fn damaged_file_is_read_or_rejected(at in 0..VALID.len(), cut in 0..40_usize, with in fragment()) {
        let text = format!("{}{with}{}", &VALID[..at], &VALID[(at + cut).min(VALID.len())..]);
        if let Err(errors) = parse(&text) {
            assert_problems_are_within_the_text(&text, &errors);
        }
    }

    #[test]
    fn written_file_is_read_back(spec in spec()) {
        let text = to_file(&spec);
        prop_assert_eq!(parse(&text).map_err(|errors| errors.to_string()), Ok(spec), "{}", text);
    }
}
