//! Pages as model servers write them, and what is read from them.
#![allow(clippy::unwrap_used)] // it is all tests

use signalbox_dialect::metrics::{PageError, read};
use signalbox_types::{Adapters, Capacity, Engine, Gauges, Incarnation, Sample};

const STARTED: Incarnation = Incarnation(1_758_816_042_120);

fn expect(engine: Engine, page: &str, gauges: (u32, u32, u32), kv_tokens: u64) -> Sample {
    let (waiting, running, kv_used_ppm) = gauges;
    let sample = read(engine, page.as_bytes()).unwrap();
    assert_eq!(sample.gauges, Gauges { waiting, running, kv_used_ppm: Some(kv_used_ppm) });
    assert_eq!(sample.capacity, Some(Capacity { kv_tokens }));
    sample
}

#[test]
fn vllm() {
    let sample = expect(Engine::Vllm, include_str!("pages/vllm.txt"), (2, 3, 418_750), 27_846 * 16);
    assert_eq!((sample.adapters, sample.incarnation), (None, STARTED));
}

#[test]
fn the_ranks_of_a_data_parallel_vllm_are_one_endpoint() {
    let page = include_str!("pages/vllm-ranks.txt");
    expect(Engine::Vllm, page, (3, 9, 375_000), (27_846 + 27_840) * 16);
}

#[test]
fn an_older_vllm_with_adapters_and_carriage_returns() {
    let page = include_str!("pages/vllm-older-lora.txt");
    let sample = expect(Engine::Vllm, page, (31, 256, 1_000_000), 2_048 * 16);
    let adapters =
        Adapters { slots: 4, running: vec!["chat".into(), "sql".into()], waiting: vec!["legal".into()] };
    assert_eq!((sample.adapters, sample.incarnation), (Some(adapters), STARTED));
}

#[test]
fn sglang_tells_its_capacity_by_labels_or_by_gauges() {
    for page in [include_str!("pages/sglang.txt"), include_str!("pages/sglang-gauges.txt")] {
        let sample = expect(Engine::Sglang, page, (4, 12, 280_000), 436_800);
        assert_eq!((sample.adapters, sample.incarnation), (None, Incarnation(0)));
    }
}

#[test]
fn the_newer_name_of_kv_use_goes_before_the_older() {
    let page = "vllm:gpu_cache_usage_perc 0.9\nvllm:kv_cache_usage_perc 0.1\n\
                vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n";
    assert_eq!(read(Engine::Vllm, page.as_bytes()).unwrap().gauges.kv_used_ppm, Some(100_000));
}

#[test]
fn values_that_are_not_finite_are_not_told_and_odd_ones_are_bounded() {
    let page = "vllm:num_requests_waiting -3\nvllm:num_requests_running 9e99 1758816042000\n\
                vllm:kv_cache_usage_perc +Inf\nprocess_start_time_seconds NaN\n";
    let expected = Gauges { waiting: 0, running: u32::MAX, kv_used_ppm: None };
    assert_eq!(read(Engine::Vllm, page.as_bytes()), Ok(Sample { gauges: expected, ..Sample::default() }));
}

#[test]
fn what_is_missing_is_named() {
    let missing = |page: &str| read(Engine::Vllm, page.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        missing(include_str!("pages/sglang.txt")),
        "the page of engine \"vllm\" has no value of vllm:num_requests_waiting and vllm:num_requests_running"
    );
    assert_eq!(
        missing("vllm:num_requests_waiting 1\nvllm:num_requests_running NaN\n"),
        "the page of engine \"vllm\" has no value of vllm:num_requests_running"
    );
}

#[test]
fn what_is_no_metrics_page_is_refused() {
    for page in
        [&b""[..], b"<html><body><h1>404</h1></body></html>", b"\x1f\x8b\x08\x00\xff\n\xfe\x00", b"{}"]
    {
        assert_eq!(read(Engine::Vllm, page), Err(PageError::NotMetrics));
    }
}

#[test]
fn a_line_that_matters_and_cannot_be_read_is_named() {
    let page = b"# comment\nvllm:num_requests_waiting{engine=\"0\" 3\n";
    let expected = PageError::Malformed { family: "vllm:num_requests_waiting", number: 2 };
    assert_eq!(read(Engine::Vllm, page), Err(expected));
}
