//! Pages that say less, or say it more often, than those of a busy server with one rank.
#![allow(clippy::unwrap_used)] // this file contains only tests

use std::sync::Arc;

use signalbox_dialect::metrics::{PageError, parse};
use signalbox_types::{Adapters, Capacity, Engine, Gauges, LoadedAdapters, Sample, Work};

const IDLE: Gauges = Gauges { waiting: 0, running: Some(0), kv_used_ppm: None };

fn sample(engine: &Engine, page: &str) -> Sample {
    parse(engine, page.as_bytes()).unwrap()
}

fn names(text: &str) -> Vec<Arc<str>> {
    text.split_whitespace().map(Arc::from).collect()
}

#[test]
fn ranks_of_a_tensor_parallel_sglang_report_one_load() {
    let gauges = sample(&Engine::Sglang, include_str!("pages/sglang-tensor-ranks.txt")).gauges;
    assert_eq!(Gauges { waiting: 3, running: Some(5), kv_used_ppm: Some(250_000) }, gauges);
}

#[test]
fn adapters_in_both_lists_count_once() {
    let page = include_str!("pages/vllm-adapters-in-both-lists.txt");
    let adapters = sample(&Engine::Vllm, page).adapters.unwrap();
    assert_eq!((3, 2), (adapters.slots, adapters.active_count()));
}

#[test]
fn capacity_that_each_rank_repeats_counts_once() {
    let page: String = (0..4)
        .map(|rank| {
            format!(
                "vllm:num_requests_waiting{{engine=\"{rank}\"}} 1\n\
                 vllm:num_requests_running{{engine=\"{rank}\"}} 2\n\
                 vllm:cache_config_info{{engine=\"{rank}\",block_size=\"16\",num_gpu_blocks=\"4000\"}} 1\n"
            )
        })
        .collect();
    let sample = sample(&Engine::Vllm, &page);
    assert_eq!(Some(Capacity { kv_tokens: 64_000 }), sample.capacity);
    assert_eq!((4, Some(8)), (sample.gauges.waiting, sample.gauges.running));
}

#[test]
fn own_page_without_load_gauges_means_idle() {
    for (engine, page) in [
        (Engine::Tgi, ""),
        (Engine::Tgi, "# TYPE tgi_queue_size gauge\n"),
        (Engine::Tgi, "tgi_batch_current_max_tokens 20000\n"),
        (Engine::TrtLlm, ""),
        (Engine::TrtLlm, "# HELP trtllm_request_success_total Requests.\nprocess_cpu_seconds_total 2\n"),
        (Engine::Sglang, "sglang:prompt_tokens_total 0\n"),
        (
            Engine::TritonTrtLlm,
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\",model=\"m\"} 10\n",
        ),
    ] {
        assert_eq!(IDLE, sample(&engine, page).gauges, "{engine}: {page}");
    }
}

#[test]
fn page_of_another_program_is_not_an_idle_server() {
    for engine in Engine::ALL {
        for page in ["up 1\n", "python_info 1\nprocess_start_time_seconds 1.7e9\n", "kube:x 1\n"] {
            let error = parse(&engine, page.as_bytes()).unwrap_err();
            assert!(matches!(error, PageError::Missing { .. }), "{engine}: {page}");
        }
        for page in ["<html><body>Welcome</body></html>", "{\"status\": \"ok\"}", "not found"] {
            assert!(
                matches!(parse(&engine, page.as_bytes()), Err(PageError::NotMetrics(_))),
                "{engine}: {page}"
            );
        }
    }
}

#[test]
fn load_gauge_that_is_not_a_number_is_not_idle() {
    for (engine, page) in [
        (Engine::Tgi, "tgi_queue_size NaN\n"),
        (Engine::TrtLlm, "trtllm_num_requests_waiting 1\n"),
        (Engine::Vllm, "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"9\"} 1\n"),
        (Engine::Triton, "nv_inference_count{model=\"m\"} 9\n"),
    ] {
        assert!(parse(&engine, page.as_bytes()).is_err(), "{engine}: {page}");
    }
}

/// TGI reports its batch only after the first prefill, so a page without it does not tell whether one runs.
#[test]
fn queue_without_a_batch_leaves_running_unknown() {
    let gauges = sample(&Engine::Tgi, "tgi_queue_size 3\n").gauges;
    assert_eq!(Gauges { waiting: 3, running: None, ..IDLE }, gauges);
    let gauges = sample(&Engine::Tgi, "tgi_queue_size 3\ntgi_batch_current_size 0\n").gauges;
    assert_eq!(Gauges { waiting: 3, ..IDLE }, gauges);
    assert_eq!(IDLE, sample(&Engine::Tgi, "tgi_request_count 0\n").gauges);
}

#[test]
fn work_is_read_from_the_counters_of_each_engine() {
    for (engine, page, work) in [
        (
            Engine::Vllm,
            "vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n\
             vllm:request_success_total{finished_reason=\"stop\"} 4\n\
             vllm:request_success_total{finished_reason=\"length\"} 1\n\
             vllm:prompt_tokens_total 70\nvllm:generation_tokens_total 9\n",
            (5, 70, 9),
        ),
        (
            Engine::Sglang,
            "sglang:num_requests_total 5\nsglang:prompt_tokens_total 70\nsglang:generation_tokens_total 9\n",
            (5, 70, 9),
        ),
        (
            Engine::Tgi,
            "tgi_request_count 5\ntgi_request_input_length_sum 70\ntgi_request_generated_tokens_sum 9\n",
            (5, 70, 9),
        ),
        (
            Engine::TrtLlm,
            "trtllm_request_success_total 5\ntrtllm_prompt_tokens_total 70\n\
             trtllm_generation_tokens_total 9\n",
            (5, 70, 9),
        ),
        (
            Engine::Triton,
            "nv_inference_pending_request_count{model=\"a\"} 0\nnv_inference_count{model=\"a\"} 3\n\
             nv_inference_count{model=\"b\"} 2\n",
            (5, 0, 0),
        ),
    ] {
        let (requests, prompt_tokens, output_tokens) = work;
        assert_eq!(Work { requests, prompt_tokens, output_tokens }, sample(&engine, page).work, "{engine}");
    }
}

#[test]
fn engine_sleeps_when_it_is_not_awake_or_without_weights() {
    let load = "vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n";
    let state = |name: &str, value: u8| {
        format!("vllm:engine_sleep_state{{engine=\"0\",sleep_state=\"{name}\"}} {value}\n")
    };
    let page = |awake, offloaded, discarded| {
        let states = [state("awake", awake), state("weights_offloaded", offloaded)];
        [load, &states.concat(), &state("discard_all", discarded)].concat()
    };
    let asleep = |page: String| sample(&Engine::Vllm, &page).is_asleep;
    assert!(!asleep(load.to_owned()) && !asleep(page(1, 0, 0)));
    assert!(asleep(page(0, 1, 0)) && asleep(page(0, 0, 1)) && asleep([load, &state("awake", 0)].concat()));
}

#[test]
fn loaded_adapters_are_read_from_their_own_family() {
    let load = "vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n";
    let active = "vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=\"\",\
                  waiting_lora_adapters=\"\"} 1.7e9\n";
    let loaded = |name: &str, level: &str, value: u8| {
        format!(
            "vllm:lora_adapter_loaded{{adapter_name=\"{name}\",engine=\"0\",level=\"{level}\",\
             pinned=\"false\",rank=\"0\"}} {value}\n"
        )
    };
    let adapters = |lines: &[&str]| {
        sample(&Engine::Vllm, &[&[load], lines].concat().concat()).adapters.map(Arc::unwrap_or_clone)
    };
    let lines = [loaded("b", "gpu", 1), loaded("b", "cpu", 1), loaded("a", "cpu", 1), loaded("c", "gpu", 0)];
    let lines = lines.concat();
    let expected = LoadedAdapters { device: names("b"), host: names("a") };
    let expected = Adapters { slots: 2, loaded: Some(expected), ..Adapters::default() };
    assert_eq!(Some(expected.clone()), adapters(&[active, &lines]));
    // Without the older family, a gauge reports the slots.
    assert_eq!(Some(expected.clone()), adapters(&["vllm:max_gpu_lora_adapters 2\n", &lines]));
    let none = adapters(&[active, "vllm:num_gpu_loaded_lora_adapters 0\n"]).unwrap();
    assert_eq!(Some(LoadedAdapters::default()), none.loaded);
    assert_eq!(None, adapters(&[active]).unwrap().loaded);
}

#[test]
fn made_up_adapters_are_limited() {
    let many: Vec<String> = (0..20_000).map(|number| format!("adapter-{number:05}")).collect();
    let page = format!(
        "vllm:num_requests_running 1\nvllm:num_requests_waiting 0\n\
         vllm:lora_requests_info{{max_lora=\"4294967295\",running_lora_adapters=\"{}\",\
         waiting_lora_adapters=\"{}\"}} 1\n",
        many.join(","),
        "x".repeat(100_000),
    );
    let adapters = sample(&Engine::Vllm, &page).adapters.unwrap();
    assert!(adapters.is_valid());
    let expected = (Adapters::MAX_SLOTS, Adapters::MAX_NAMES, 0);
    assert_eq!(expected, (adapters.slots, adapters.running.len(), adapters.waiting.len()));
}
