//! Tests of the classification of events.

use super::*;

fn content(json: &str) -> EventContent {
    parse_event(json.as_bytes()).content
}

#[test]
fn output_of_every_api_is_recognised() {
    for json in [
        r#"{"choices":[{"index":0,"text":"a"}]}"#,
        r#"{"choices":[{"index":0,"text":" "}]}"#,
        r#"{"choices":[{"text":"","token_ids":[7]}]}"#,
        r#"{"choices":[{"delta":{}},{"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":"a"}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"text","text":"a"}]}}]}"#,
        r#"{"choices":[{"delta":{"content":null,"reasoning":"a"}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"a"}}]}"#,
        r#"{"choices":[{"delta":{"thinking":"a"}}]}"#,
        r#"{"choices":[{"delta":{"refusal":"no"}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"custom":{"input":"x"}}]}}]}"#,
        r#"{"choices":[{"delta":{"function_call":{"arguments":"{"}}}]}"#,
        r#"{"choices":[{"delta":{"audio":{"id":"a","data":"AAAA"}}}]}"#,
        r#"{"choices":[{"delta":{"audio":{"transcript":"a"}}}]}"#,
        r#"{"request_id":"r","choices":[{"index":0,"token_ids":[1,2],"finish_reason":null}]}"#,
        r#"{"type":"response.output_text.delta","delta":"a"}"#,
        r#"{"delta":"a","sequence_number":3,"type":"response.reasoning_text.delta"}"#,
        r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#,
        r#"{"type":"response.audio.delta","delta":"AAAA"}"#,
        r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"f","arguments":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"a"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}"#,
        r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
        r#"{"text":"a","output_ids":[],"meta_info":{"finish_reason":null}}"#,
        r#"{"text":"","output_ids":[5],"meta_info":{}}"#,
        r#"{"index":1,"token":{"id":5,"text":"","special":true},"generated_text":null}"#,
    ] {
        assert_eq!(content(json), EventContent::Output, "{json}");
    }
}

#[test]
fn events_before_the_first_output_are_no_output() {
    for json in [
        "[DONE]",
        "",
        "{}",
        "[]",
        r#"{"choices":[]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":5}}"#,
        r#"{"choices":[{"text":""}]}"#,
        r#"{"choices":[{"delta":{"role":"assistant"}}]}"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":"","reasoning_content":null,"tool_calls":[ ]},"logprobs":null}],"prompt_token_ids":[1]}"#,
        r#"{"choices":[{"delta":{"audio":{"id":"a","expires_at":1}}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call","type":"function","function":{"arguments":""}}]}}]}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"response.created","response":{"output":[],"instructions":"a","text":{"format":{}}}}"#,
        r#"{"type":"response.in_progress","response":{"output":[]}}"#,
        r#"{"type":"response.queued","response":{}}"#,
        r#"{"type":"response.output_item.added","item":{"type":"message","role":"assistant","content":[]}}"#,
        r#"{"type":"response.content_part.added","part":{"type":"output_text","text":""}}"#,
        r#"{"type":"response.output_text.delta","delta":""}"#,
        r#"{"type":"message_start","message":{"content":[],"usage":{"input_tokens":5}}}"#,
        r#"{"type":"content_block_start","content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"x"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#,
        r#"{"text":"","output_ids":[],"meta_info":{"prompt_tokens":5}}"#,
        r#"{"token":null}"#,
    ] {
        assert_eq!(content(json), EventContent::Other, "{json}");
    }
}

#[test]
fn error_events_tell_their_status() {
    for (json, status) in [
        (r#"{"error":{"message":"m","type":"BadRequestError","code":400}}"#, Some(400)),
        (r#"{"error":{"message":"m","code":"rate_limit_exceeded"}}"#, Some(429)),
        (r#"{"error":{"message":"m"}}"#, None),
        (r#"{"object":"error","message":"m","code":503}"#, Some(503)),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, Some(529)),
        (r#"{"type":"error","code":"server_error","message":"m"}"#, Some(500)),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"}}}"#,
            Some(500),
        ),
        (r#"{"response":{"error":null},"type":"response.failed"}"#, None),
        (r#"{"error":"Request failed during generation","error_type":"generation"}"#, Some(424)),
    ] {
        assert_eq!(content(json), EventContent::Error(ResponseError { status }), "{json}");
    }
    let no_error = r#"{"error":null,"choices":[{"text":"a"}],"code":500}"#;
    assert_eq!(content(no_error), EventContent::Output);
}

#[test]
fn usage_in_events_is_found() {
    let inner = r#"{"input_tokens":5,"output_tokens":7,"input_tokens_details":{"cached_tokens":3}}"#;
    let found = |event: &str| {
        let usage = parse_event(event.as_bytes()).usage.total();
        [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens]
    };
    for event in [
        format!(r#"{{"choices":[],"usage":{inner}}}"#),
        format!(r#"{{"type":"response.completed","response":{{"usage":{inner}}}}}"#),
        format!(r#"{{"type":"response.incomplete","response":{{"usage":{inner}}}}}"#),
        format!(r#"{{"response":{{"usage":{inner},"error":{{}}}},"type":"response.failed"}}"#),
        format!(r#"{{"type":"message_start","message":{{"usage":{inner}}}}}"#),
        format!(r#"{{"type":"message_delta","usage":{inner}}}"#),
        r#"{"meta_info":{"prompt_tokens":5,"completion_tokens":7,"cached_tokens":3,"finish_reason":{"type":"stop"}}}"#
            .to_owned(),
    ] {
        assert_eq!(found(&event), [Some(5), Some(7), Some(3)], "{event}");
    }
    for event in [
        format!(r#"{{"type":"response.created","response":{{"usage":{inner}}}}}"#),
        format!(r#"{{"delta":{{"usage":{inner}}},"usage":null}}"#),
        r#"{"meta_info":{"prompt_tokens":5,"finish_reason":null}}"#.to_owned(),
        "[DONE]".to_owned(),
    ] {
        assert_eq!(found(&event), [None; 3], "{event}");
    }
}
