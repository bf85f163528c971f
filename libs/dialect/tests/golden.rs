//! Pages of real model servers, and the samples that they give.
#![allow(clippy::unwrap_used)] // this file contains only tests

use signalbox_dialect::metrics::{PageError, parse};
use signalbox_types::{Adapters, Capacity, Counters, Engine, Gauges, Incarnation, Sample};

const STARTED: Incarnation = Incarnation(1_758_816_042_120);

fn expect(engine: &Engine, page: &str, gauges: (u32, u32, u32), kv_tokens: u64) -> Sample {
    let (waiting, running, kv_used_ppm) = gauges;
    let sample = parse(engine, page.as_bytes()).unwrap();
    assert_eq!(sample.gauges, Gauges { waiting, running: Some(running), kv_used_ppm: Some(kv_used_ppm) });
    assert_eq!(sample.capacity, Some(Capacity { kv_tokens }));
    sample
}

#[test]
fn vllm_page_is_parsed() {
    let sample = expect(&Engine::Vllm, include_str!("pages/vllm.txt"), (2, 3, 418_750), 27_846 * 16);
    assert_eq!((sample.adapters, sample.incarnation), (None, STARTED));
}

#[test]
fn ranks_of_a_data_parallel_vllm_are_one_endpoint() {
    let page = include_str!("pages/vllm-ranks.txt");
    expect(&Engine::Vllm, page, (3, 9, 375_000), (27_846 + 27_840) * 16);
}

#[test]
fn older_vllm_with_adapters_and_carriage_returns_is_parsed() {
    let page = include_str!("pages/vllm-older-lora.txt");
    let sample = expect(&Engine::Vllm, page, (31, 256, 1_000_000), 2_048 * 16);
    let adapters = Adapters {
        slots: 4,
        running: vec!["chat".into(), "sql".into()],
        waiting: vec!["legal".into()],
        loaded: None,
    };
    assert_eq!((sample.adapters, sample.incarnation), (Some(adapters.into()), STARTED));
}

#[test]
fn sglang_reports_capacity_in_labels_or_gauges() {
    for page in [include_str!("pages/sglang.txt"), include_str!("pages/sglang-gauges.txt")] {
        let sample = expect(&Engine::Sglang, page, (4, 12, 280_000), 436_800);
        assert_eq!((sample.adapters, sample.incarnation), (None, Incarnation(0)));
    }
}

#[test]
fn tensorrt_llm_is_parsed_from_its_own_server_and_from_triton() {
    let page = include_str!("pages/tensorrt-llm.txt");
    assert_eq!(STARTED, expect(&Engine::TrtLlm, page, (2, 7, 250_000), 32_000).incarnation);
    let page = include_str!("pages/triton-tensorrt-llm.txt");
    expect(&Engine::TritonTrtLlm, page, (5, 3, 500_000), 64_000);
}

#[test]
fn values_that_an_engine_does_not_report_are_unknown() {
    for (engine, page, waiting, running) in [
        (Engine::Triton, include_str!("pages/triton.txt"), 7, None),
        (Engine::Tgi, include_str!("pages/tgi.txt"), 11, Some(24)),
    ] {
        let sample = parse(&engine, page.as_bytes()).unwrap();
        assert_eq!(Gauges { waiting, running, kv_used_ppm: None }, sample.gauges, "{engine}");
        assert_eq!((None, None), (sample.capacity, sample.counters), "{engine}");
    }
}

#[test]
fn contract_9_row_18_and_8_series_of_several_engines_are_one_endpoint() {
    let page = "vllm:num_requests_waiting{engine=\"0\"} 1\nvllm:num_requests_waiting{engine=\"1\"} 2\n\
        vllm:num_requests_running{engine=\"0\"} 3\nvllm:num_requests_running{engine=\"1\"} 4\n\
        vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n";
    let gauges = parse(&Engine::Vllm, page.as_bytes()).unwrap().gauges;
    assert_eq!(Gauges { waiting: 3, running: Some(7), kv_used_ppm: Some(500_000) }, gauges);
}

fn counters(engine: &Engine, page: &str) -> Option<Counters> {
    parse(engine, page.as_bytes()).unwrap().counters
}

#[test]
fn counters_have_either_name_and_are_summed_over_ranks() {
    let one_rank = Counters {
        inter_token_us_sum: 18_234_542,
        inter_token_count: 24,
        generation_tokens: 1_234_500,
        prompt_tokens: 82_144,
    };
    assert_eq!(counters(&Engine::Vllm, include_str!("pages/vllm.txt")), Some(one_rank));
    assert_eq!(counters(&Engine::Vllm, include_str!("pages/vllm-older-lora.txt")), Some(one_rank));
    let three_ranks = Counters {
        inter_token_us_sum: 54_703_626,
        inter_token_count: 72,
        generation_tokens: 6,
        prompt_tokens: 60,
    };
    assert_eq!(counters(&Engine::Vllm, include_str!("pages/vllm-ranks.txt")), Some(three_ranks));
    let sglang = Counters {
        inter_token_us_sum: 91_250_000,
        inter_token_count: 7_400,
        generation_tokens: 7_557,
        prompt_tokens: 128_201,
    };
    assert_eq!(counters(&Engine::Sglang, include_str!("pages/sglang.txt")), Some(sglang));
}

#[test]
fn incomplete_counters_are_unknown() {
    let lines = [
        "vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n",
        "vllm:inter_token_latency_seconds_sum 0.5\n",
        "vllm:inter_token_latency_seconds_count 10\n",
        "vllm:generation_tokens_total 11\n",
        "vllm:prompt_tokens_total 12\n",
        // The older name, which is ignored when the newer one is present.
        "vllm:time_per_output_token_seconds_sum 99\nvllm:time_per_output_token_seconds_count 1\n",
    ];
    let expected = Counters {
        inter_token_us_sum: 500_000,
        inter_token_count: 10,
        generation_tokens: 11,
        prompt_tokens: 12,
    };
    assert_eq!(counters(&Engine::Vllm, &lines.concat()), Some(expected));
    for missing in 1..5 {
        let page: String = (0..5).filter(|index| *index != missing).map(|index| lines[index]).collect();
        assert_eq!(counters(&Engine::Vllm, &page), None, "{page}");
    }
    let page = lines.concat().replace("_total 11", "_total NaN");
    assert_eq!(counters(&Engine::Vllm, &page), None);
    assert_eq!(counters(&Engine::Sglang, include_str!("pages/sglang-gauges.txt")), None);
}

#[test]
fn newer_name_of_kv_cache_use_takes_precedence() {
    let page = "vllm:gpu_cache_usage_perc 0.9\nvllm:kv_cache_usage_perc 0.1\n\
                vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n";
    assert_eq!(parse(&Engine::Vllm, page.as_bytes()).unwrap().gauges.kv_used_ppm, Some(100_000));
}

#[test]
fn non_finite_values_are_ignored_and_others_are_clamped() {
    let page = "vllm:num_requests_waiting -3\nvllm:num_requests_running 9e99 1758816042000\n\
                vllm:kv_cache_usage_perc +Inf\nprocess_start_time_seconds NaN\n";
    let expected = Gauges { waiting: 0, running: Some(u32::MAX), kv_used_ppm: None };
    assert_eq!(parse(&Engine::Vllm, page.as_bytes()), Ok(Sample { gauges: expected, ..Sample::default() }));
}

#[test]
fn missing_families_are_named() {
    let missing = |page: &str| parse(&Engine::Vllm, page.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        missing(include_str!("pages/sglang.txt")),
        "the metrics page has no value for vllm:num_requests_waiting and vllm:num_requests_running, \
         which engine \"vllm\" requires; the page is one of SGLang; set the engine to sglang"
    );
    assert_eq!(
        missing("vllm:num_requests_waiting 1\nvllm:num_requests_running NaN\n"),
        "the metrics page has no value for vllm:num_requests_running, which engine \"vllm\" requires"
    );
}

#[test]
fn other_pages_are_rejected() {
    for page in
        [&b""[..], b"<html><body><h1>404</h1></body></html>", b"\x1f\x8b\x08\x00\xff\n\xfe\x00", b"{}"]
    {
        assert!(matches!(parse(&Engine::Vllm, page), Err(PageError::NotMetrics(_))));
    }
}

#[test]
fn malformed_line_of_a_known_family_is_named() {
    let page = b"# comment\nvllm:num_requests_waiting{engine=\"0\" 3\n";
    let expected = PageError::Malformed { family: "vllm:num_requests_waiting".to_owned(), number: 2 };
    assert_eq!(parse(&Engine::Vllm, page), Err(expected));
}
