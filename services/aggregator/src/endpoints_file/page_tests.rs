//! Where metrics pages are and how they are read: host names, engines and defaults.

use std::sync::Arc;

use signalbox_types::{CustomEngine, Engine, MetricSpec, MetricsTls, PageSettings};

use super::{FileErrors, Parsed, parse};

fn read(text: &str) -> Result<Parsed, FileErrors> {
    parse(text, &PageSettings::default())
}

fn problems(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn host_name_stands_for_all_its_addresses() {
    let text = "apiVersion: signalbox/v1
kind: Endpoints
pool: { name: p }
endpoints:
- { name: fixed, address: 10.0.0.9:8000 }
- { name: vllm, address: \"vllm.default.svc:8000\", labels: { tier: a } }
- { name: trt, address: \"trt:8000\", engine: trtllm-serve }
- { name: tls, address: \"tls:8000\", metricsUrl: \"https://TLS:9/m?x\", metricsInsecureSkipVerify: true, draining: true }
- { name: apart, address: \"apart:8000\", metricsUrl: \"http://exporter:9/m\" }
";
    let Parsed { spec, named, .. } = read(text).unwrap();
    assert_eq!((1, 4), (spec.endpoints.len(), named.len()));
    let at = |index: usize, ip: &str| named[index].at(ip.parse().unwrap());
    let vllm = at(0, "10.0.0.1");
    assert_eq!(("vllm-10.0.0.1", "10.0.0.1:8000"), (&*vllm.name, &*vllm.address.to_string()));
    assert_eq!(("http://10.0.0.1:8000/metrics", "a"), (&*vllm.metrics_url, &*vllm.labels["tier"]));
    assert_eq!("http://[fd00::1]:8000/metrics", at(0, "fd00::1").metrics_url);
    assert_eq!("http://10.0.0.1:8000/prometheus/metrics", at(1, "10.0.0.1").metrics_url);
    let tls = at(2, "fd00::1");
    assert_eq!(("https://[fd00::1]:9/m?x", true), (&*tls.metrics_url, tls.is_draining));
    assert_eq!(MetricsTls::Unverified, tls.metrics_tls);
    assert_eq!("http://exporter:9/m", at(3, "10.0.0.1").metrics_url);
    let twice = text.replace("\"trt:8000\"", "\"vllm.default.svc:8000\"");
    assert!(problems(&twice).contains("is already the address of endpoints[1]"));
}

#[test]
fn engines_are_described_in_the_form_of_the_go_epp() {
    let text = "apiVersion: signalbox/v1
kind: Endpoints
pool: { name: p }
engines:
- name: xllm
  queuedRequestsSpec: 'xllm_requests{state=waiting}'
  runningRequestsSpec: 'xllm_requests{state=\"running\"}'
  kvUsageSpec: kv_cache_utilization
  cacheInfoSpec: xllm_cache
  cacheNumBlocksLabelName: blocks
- { name: vllm, queuedRequestsSpec: nv_inference_pending_request_count, runningRequestsSpec: \"\" }
endpoints:
- { name: a, address: 10.0.0.1:8000, engine: xllm }
- { name: b, address: 10.0.0.2:8000, engine: vllm }
- { name: c, address: 10.0.0.3:8000 }
";
    let endpoints = read(text).unwrap().spec.endpoints;
    let Engine::Custom(xllm) = &endpoints[0].engine else { panic!("{:?}", endpoints[0]) };
    let shown = |spec: &Option<MetricSpec>| spec.as_ref().unwrap().to_string();
    assert_eq!("xllm_requests{state=\"waiting\"}", shown(&xllm.waiting));
    assert_eq!("xllm_requests{state=\"running\"}", shown(&xllm.running));
    assert_eq!(("block_size", "blocks"), (&*xllm.block_label, &*xllm.blocks_label));
    assert!(xllm.adapters.is_none() && xllm.blocks.is_none());
    let Engine::Custom(vllm) = &endpoints[1].engine else { panic!("{:?}", endpoints[1]) };
    assert_eq!(
        ("nv_inference_pending_request_count".to_owned(), None),
        (shown(&vllm.waiting), vllm.running.clone())
    );
    assert_eq!(Engine::Vllm, endpoints[2].engine);
    let broken = text
        .replace("kvUsageSpec: kv_cache_utilization", "kvUsageSpec: sum(kv)\n  custom: 1")
        .replace("name: vllm, queuedRequestsSpec: nv_inference_pending_request_count", "name: xllm")
        .replace("engine: vllm", "engine: ylm");
    let expected = [
        "line 8: engines[0].kvUsageSpec: \"sum(kv)\" does not name a metric; write it like name",
        "line 9: engines[0].custom: unknown field",
        "line 12: engines[1].name: \"xllm\" names two engines; keep one",
        "line 12: engines[1]: names neither queuedRequestsSpec nor runningRequestsSpec",
        "line 15: endpoints[1].engine: unknown engine \"ylm\"",
    ];
    let found = problems(&broken);
    for expected in expected {
        assert!(found.contains(expected), "{expected} in\n{found}");
    }
}

#[test]
fn defaults_apply_to_what_endpoints_do_not_say() {
    let text = "apiVersion: signalbox/v1
kind: Endpoints
pool: { name: p }
engines: [{ name: mine, runningRequestsSpec: r }]
endpoints:
- { name: a, address: 10.0.0.1:8000 }
- { name: b, address: 10.0.0.2:8000, engine: vllm, metricsInsecureSkipVerify: false }
- { name: c, address: \"c:8000\", engine: mine, metricsUrl: \"http://x/\" }
- { name: d, address: \"d:8000\", engine: theirs }
";
    let custom = |name: &str| Arc::new(CustomEngine { name: name.to_owned(), ..CustomEngine::default() });
    let defaults = PageSettings {
        engines: vec![custom("mine"), custom("theirs")],
        default_engine: Engine::Sglang,
        is_https: true,
        port: Some(9),
        tls: MetricsTls::Unverified,
        ..PageSettings::default()
    };
    let Parsed { spec, named, .. } = parse(text, &defaults).unwrap();
    let [a, b] = spec.endpoints.try_into().unwrap();
    assert_eq!((Engine::Sglang, MetricsTls::Unverified), (a.engine, a.metrics_tls));
    assert_eq!("https://10.0.0.1:9/metrics", a.metrics_url);
    assert_eq!((Engine::Vllm, MetricsTls::Verified), (b.engine, b.metrics_tls));
    let Engine::Custom(mine) = &named[0].spec.engine else { panic!("{named:?}") };
    assert!(mine.running.is_some(), "that of the file");
    assert_eq!("theirs", named[1].spec.engine.name());
    assert_eq!("https://10.0.0.4:9/metrics", named[1].at("10.0.0.4".parse().unwrap()).metrics_url);
}
