use super::*;
use promptmill_core::{Money, Tier, Usage};
use proptest::prelude::*;
use serde_json::json;

const USAGE: Usage =
    Usage { input_tokens: 1_410, cached_input_tokens: 1_152, cache_write_tokens: 0, output_tokens: 96, tier: Tier::Standard };

fn known(cost: Option<Money>) -> Charge {
    Charge::Known { usage: Some(USAGE), cost }
}

fn body(message: &Value, finish_reason: &Value) -> Value {
    json!({
        "id": "chatcmpl-7Qx", "object": "chat.completion", "created": 1_790_000_000, "model": "m", "service_tier": "default",
        "choices": [{"index": 0, "finish_reason": finish_reason, "logprobs": null, "message": message}],
        "usage": {
            "prompt_tokens": 1410, "completion_tokens": 96, "total_tokens": 1506,
            "prompt_tokens_details": {"cached_tokens": 1152, "cache_write_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 32}
        }
    })
}

fn says(content: &str) -> Value {
    json!({"role": "assistant", "content": content, "refusal": null})
}

fn read_json(body: &Value) -> Result<Response, CallError> {
    read(body.to_string(), &[])
}

#[test]
fn a_normal_answer() {
    let raw = body(&says(r#"{"r1":"Eén."}"#), &json!("stop")).to_string();
    let response = read(raw.clone(), &[]).expect("a response");
    assert_eq!((response.raw, response.content.as_str()), (raw, r#"{"r1":"Eén."}"#));
    assert_eq!((response.finish, response.finish_reason.as_deref()), (Finish::Stop, Some("stop")));
    assert_eq!((response.usage, response.cost), (Some(USAGE), None));
}

#[test]
fn the_first_choice_is_the_one_of_the_lowest_number_and_a_list_of_one_is_a_response() {
    for content in [json!("a"), json!([{"type": "text", "text": "a"}])] {
        let choices = json!([
            {"index": 1, "finish_reason": "length", "message": {"content": ""}},
            {"index": 0, "finish_reason": "stop", "message": {"content": content}},
        ]);
        let mut body = body(&says("b"), &json!("stop"));
        body["choices"] = choices;
        for body in [body.clone(), json!([body])] {
            let response = read_json(&body).expect("a response");
            assert_eq!((response.content.as_str(), response.finish, response.usage), ("a", Finish::Stop, Some(USAGE)), "{body}");
        }
    }
    let error = read_json(&json!([{"error": {"code": 429, "message": "slow down"}}])).expect_err("an error");
    assert_eq!(error.class, Class::RateLimited);
}

#[test]
fn what_the_host_behind_a_router_calls_a_refusal_is_one() {
    for content in ["", "I would"] {
        let mut body = body(&says(content), &json!("stop"));
        body["choices"][0]["native_finish_reason"] = json!("refusal");
        let error = read_json(&body).expect_err("a refusal");
        assert_eq!((error.class, error.charge), (Class::Filtered, known(None)), "{content}");
    }
    let mut body = body(&says("a"), &json!("stop"));
    body["choices"][0]["native_finish_reason"] = json!("end_turn");
    assert_eq!(read_json(&body).expect("a response").finish_reason.as_deref(), Some("stop"));
}

#[test]
fn the_short_way_leads_where_the_long_one_does() {
    let ordinary_bodies = [
        body(&says("a"), &json!("stop")),
        body(&json!({"content": "a"}), &json!(null)),
        json!({"choices": [{"message": {"content": "b"}}], "usage": null, "error": null}),
        json!({"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}], "usage": {"cost": "0.5", "num_cached_tokens": 2}}),
        json!({"choices": [{"message": {"content": "a"}}], "usage": {"total_tokens": 9, "completion_tokens": 4.0, "prompt_tokens": "x"}}),
    ];
    for body in ordinary_bodies {
        let short = ordinary(&body.to_string());
        assert!(short.is_some(), "{body}");
        assert_eq!(short, Parts::of(body, true));
    }
    for other in ["[]", "{}", "{\"choices\": []}", "{\"choices\": [{\"message\": {\"content\": [\"a\"]}}]}", "x"] {
        assert_eq!(ordinary(other), None, "{other}");
    }
    let twice = r#"{"choices": [], "choices": [{"message": {"content": "a"}}]}"#;
    assert_eq!((ordinary(twice), read(twice.to_owned(), &[]).expect("a response").content), (None, "a".to_owned()));
}

#[test]
fn every_finish_reason_has_its_meaning() {
    for (word, finish) in [
        (json!("stop"), Finish::Stop),
        (json!("end_turn"), Finish::Stop),
        (json!("stop_sequence"), Finish::Stop),
        (json!("length"), Finish::Truncated),
        (json!("model_length"), Finish::Truncated),
        (json!("max_tokens"), Finish::Truncated),
        (json!("model_context_window_exceeded"), Finish::Truncated),
        (json!("tool_calls"), Finish::Other),
        (json!("function_call"), Finish::Other),
        (json!("STOP"), Finish::Stop),
        (json!("eos"), Finish::Stop),
        (json!("MAX_TOKENS"), Finish::Truncated),
        (json!("Length"), Finish::Truncated),
        (json!("error"), Finish::Broken),
        (json!("abort"), Finish::Broken),
        (json!("insufficient_system_resource"), Finish::Broken),
        (json!("load"), Finish::Other),
        (json!("something_new"), Finish::Other),
        (json!(null), Finish::Other),
        (json!(7), Finish::Other),
    ] {
        assert_eq!(read_json(&body(&says("{}"), &word)).expect("a response").finish, finish, "{word}");
    }
    for word in ["content_filter", "refusal", "SAFETY", "content_filter: PROHIBITED_CONTENT", "sensitive"] {
        let error = read_json(&body(&says("half of it"), &json!(word))).expect_err("filtered");
        assert_eq!((error.class, error.charge), (Class::Filtered, known(None)));
        assert!(error.message.contains(word));
    }
}

#[test]
fn a_refusal_is_filtered_and_paid() {
    let refused = json!({"role": "assistant", "content": null, "refusal": "Dat doe ik niet."});
    let in_parts = json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "Dat doe ik niet."}]});
    for message in [refused, in_parts] {
        let error = read_json(&body(&message, &json!("stop"))).expect_err("filtered");
        assert_eq!((error.class, error.charge, error.message.as_str()), (Class::Filtered, known(None), "Dat doe ik niet."));
    }
    let polite = json!({"role": "assistant", "content": "{}", "refusal": ""});
    read_json(&body(&polite, &json!("stop"))).expect("an empty refusal is none");
}

#[test]
fn silence_counts_only_when_the_limit_cut_it() {
    for content in [json!(null), json!(""), json!("\n"), json!([])] {
        let message = json!({"role": "assistant", "content": content});
        let response = read_json(&body(&message, &json!("length"))).expect("a response");
        assert_eq!((response.content.trim(), response.finish), ("", Finish::Truncated));
        let error = read_json(&body(&message, &json!("stop"))).expect_err("nothing was said");
        assert_eq!((error.class, error.charge), (Class::Malformed, known(None)));
        assert_eq!(error.message, "the model said nothing (finish reason `stop`)");
    }
    let cut = read_json(&body(&says(r#"{"r1":"Eén.","r2":"Tw"#), &json!("length"))).expect("a response");
    assert_eq!((cut.content.as_str(), cut.finish), (r#"{"r1":"Eén.","r2":"Tw"#, Finish::Truncated));
}

#[test]
fn the_texts_among_the_parts_are_joined() {
    let content = json!([
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "{\"r1\":"}, {"text": "\"a"}, "\"}", {"type": "text"}, 7
    ]);
    let response = read_json(&body(&json!({"content": content}), &json!("stop"))).expect("a response");
    assert_eq!(response.content, r#"{"r1":"a"}"#);
}

#[test]
fn an_error_inside_a_200_is_an_error() {
    let top = json!({"id": "gen-1", "error": {"code": 502, "message": "Provider returned error"}});
    let error = read_json(&top).expect_err("an error");
    assert_eq!((error.class, error.charge), (Class::Overloaded, Charge::Unknown));

    let limit = json!({"error": {"code": 429, "message": "Rate limit exceeded. Retry after 3 seconds", "metadata": {"error_type": "rate_limit_exceeded"}}});
    let error = read_json(&limit).expect_err("an error");
    assert_eq!((error.class, error.charge), (Class::RateLimited, Charge::Nothing));
    assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(3)));

    let mut inside = body(&says("half"), &json!("error"));
    inside["choices"][0]["error"] = json!({"code": 429, "message": "upstream"});
    let error = read_json(&inside).expect_err("an error");
    assert_eq!((error.class, error.charge), (Class::RateLimited, known(None)));
    inside["usage"] = json!(null);
    assert_eq!(read_json(&inside).expect_err("an error").charge, Charge::Unknown, "words had come");

    for none in [json!(null), json!(false), json!(""), json!({})] {
        let mut fine = body(&says("{}"), &json!("stop"));
        (fine["error"], fine["choices"][0]["error"]) = (none.clone(), none);
        read_json(&fine).expect("a response");
    }
}

#[test]
fn what_is_no_answer_says_what_it_is() {
    use Class::{Malformed, Overloaded, Unreachable};
    for (raw, class, charge, words) in [
        ("", Overloaded, Charge::Nothing, "the response is empty"),
        ("\n\n \n", Overloaded, Charge::Nothing, "the response is empty"),
        ("<html>hi</html>", Unreachable, Charge::Nothing, "the response is a web page, not JSON"),
        ("data: {}\n\ndata: [DONE]\n", Malformed, Charge::Unknown, "nothing in the stream of events can be read"),
        (r#"{"id":"x","choices":[{"mes"#, Malformed, Charge::Unknown, "the response is not JSON: EOF"),
        ("[]", Malformed, Charge::Unknown, "the response holds no choices"),
        ("null", Malformed, Charge::Unknown, "the response holds no choices"),
        ("{}", Malformed, Charge::Unknown, "the response holds no choices"),
        (r#"{"choices":[]}"#, Malformed, Charge::Unknown, "the response holds no choices"),
        (r#"{"choices":null}"#, Malformed, Charge::Unknown, "the response holds no choices"),
        (r#"{"choices":{}}"#, Malformed, Charge::Unknown, "the response holds no choices"),
        (r#"{"choices":[{}]}"#, Malformed, Charge::Unknown, "the model said nothing (no finish reason)"),
        (r#"{"choices":[{"message":7}]}"#, Malformed, Charge::Unknown, "the model said nothing (no finish reason)"),
    ] {
        let error = read(raw.to_owned(), &[]).expect_err("no answer");
        assert_eq!((error.class, error.charge), (class, charge), "{raw}");
        assert!(error.message.starts_with(words), "{raw}: {}", error.message);
        assert_eq!(error.raw.as_deref(), Some(raw));
    }
    let mut empty = body(&json!(null), &json!("stop"));
    empty["choices"] = json!([]);
    assert_eq!(read_json(&empty).expect_err("malformed").charge, known(None));
}

#[test]
fn what_is_nearly_a_response_is_read() {
    let good = body(&says(r#"{"r1":"Eén."}"#), &json!("stop"));
    let text = good.to_string();
    let in_envelope = json!({"code": 0, "data": good}).to_string();
    let stream = format!("data: {text}\n\ndata: [DONE]\n\n");
    for raw in [
        format!("\u{feff}{text}"),
        format!("\r\n\n  {text}\n\ndata: [DONE]\n\n"),
        format!(": keep-alive\n\n: keep-alive\n\n{text}"),
        text.replace("\"logprobs\":null", "\"logprobs\":NaN"),
        in_envelope,
        stream,
    ] {
        let response = read(raw.clone(), &[]).expect(&raw);
        assert_eq!((response.content.as_str(), response.usage), (r#"{"r1":"Eén."}"#, Some(USAGE)), "{raw}");
        assert_eq!((response.finish, response.raw), (Finish::Stop, raw));
    }
    let raw = text.replace("Eén.", "a\tb \\ud83d");
    assert_eq!(read(raw, &[]).expect("a response").content, "{\"r1\":\"a\tb \u{fffd}\"}");
}

#[test]
fn the_answer_may_stand_beside_an_empty_content() {
    let said = r#"{"r1":"Eén."}"#;
    let tool = json!([{"id": "call_1", "type": "function", "function": {"name": "rows", "arguments": said}}]);
    for message in [
        json!({"content": null, "reasoning_content": said}),
        json!({"content": "", "reasoning": format!("```json\n{said}\n```")}),
        json!({"content": "\n", "reasoning_content": format!("hm\n</think>\n{said}")}),
        json!({"content": null, "tool_calls": tool}),
        json!({"content": null, "tool_calls": [{"function": {"arguments": {"r1": "Eén."}}}]}),
        json!({"content": null, "function_call": {"arguments": said}}),
        json!({"content": {"r1": "Eén."}}),
    ] {
        let content = read_json(&body(&message, &json!("tool_calls"))).expect("a response").content;
        assert!(content.contains(said), "{message}: {content}");
    }
    // A thought that is only a thought is none.
    let error =
        read_json(&body(&json!({"content": null, "reasoning_content": "One sentence, then."}), &json!("stop"))).expect_err("nothing");
    assert_eq!((error.class, error.charge), (Class::Malformed, known(None)));
    assert!(error.message.contains("`reasoning_content`") && error.hint.is_some(), "{}", error.message);
    // What is said aloud comes first.
    let both = json!({"content": "aloud", "reasoning_content": said, "tool_calls": tool});
    assert_eq!(read_json(&body(&both, &json!("stop"))).expect("a response").content, "aloud");
    let ollama = json!({"message": {"role": "assistant", "content": said}, "done_reason": "stop", "done": true});
    assert_eq!(read_json(&ollama).expect("a response").content, said);
}

#[test]
fn an_error_inside_a_200_has_many_forms() {
    use Class::{Auth, Filtered, MoneyGone, Overloaded, RateLimited};
    for (said, class) in [
        (json!({"detail": "upstream failed"}), Overloaded),
        (json!({"detail": {"message": "Too Many Requests"}}), RateLimited),
        (json!({"message": "slow down", "code": 429}), RateLimited),
        (json!({"success": false, "errors": [{"code": 1, "message": "Invalid API key"}], "result": null}), Auth),
        (json!({"choices": null, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}), MoneyGone),
        (json!({"choices": null, "base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}), Filtered),
        (json!({"choices": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), Filtered),
        (json!({"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": true}}}]}), Filtered),
    ] {
        assert_eq!(read_json(&said).expect_err("an error").class, class, "{said}");
    }
    let mut fine = body(&says("{}"), &json!("stop"));
    fine["base_resp"] = json!({"status_code": 0, "status_msg": "success"});
    read_json(&fine).expect("a response");
    // What was used counts, whatever came of it.
    let mut sensitive = json!({"choices": null, "base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}});
    sensitive["usage"] = fine["usage"].clone();
    assert_eq!(read_json(&sensitive).expect_err("filtered").charge, known(None));
    let cut = fine.to_string().replace("\"message\":", "\"message\" ");
    assert_eq!(read(cut, &[]).expect_err("malformed").charge, known(None));
}

#[test]
fn what_a_host_has_thrown_away_is_read_as_a_reply_that_broke_off() {
    let refused =
        json!({"error": {"message": "Failed to generate JSON", "code": "json_validate_failed", "failed_generation": "{\"r1\":\"a\",\"r2"}});
    for response in [read_refused(&refused.to_string()).expect("a response"), read_json(&refused).expect("a response")] {
        assert_eq!((response.content.as_str(), response.finish, response.usage), ("{\"r1\":\"a\",\"r2", Finish::Broken, None));
    }
    let empty = json!({"error": {"message": "Failed to generate JSON", "code": "json_validate_failed", "failed_generation": ""}});
    assert!(read_refused(&empty.to_string()).is_none());
    let error = read_json(&empty).expect_err("nothing was said");
    assert_eq!((error.class, error.charge), (Class::Malformed, Charge::Unknown));
    assert!(read_refused("<html>").is_none() && read_refused("").is_none());
}

#[test]
fn a_generation_is_found_and_read() {
    assert_eq!(generation_id(r#"{"id":"gen-17-aB","choices":[{"mess"#), Some("gen-17-aB"));
    assert_eq!(generation_id(r#"{"id": "chatcmpl-1","choices":[{"message":{"content":"{\"id\":\"gen-2\"}"}}]}"#), None);
    let raw = r#"{"data":{"id":"gen-1","total_cost":0.00013134,"tokens_prompt":1,"tokens_completion":1,"native_tokens_prompt":1410,
        "native_tokens_completion":96,"native_tokens_cached":1152,"cancelled":false}}"#;
    assert_eq!(Bill::of_generation(raw), Some(Bill { usage: Some(USAGE), cost: Some(Money::from_nano(131_340)) }));
    let old = r#"{"data":{"total_cost":0,"tokens_prompt":3,"tokens_completion":2}}"#;
    assert_eq!(Bill::of_generation(old).and_then(|bill| bill.usage).map(|usage| usage.input_tokens), Some(3));
    for unknown in ["", "{}", r#"{"data":{}}"#, r#"{"data":{"total_cost":null}}"#, r#"{"error":{"code":404}}"#] {
        assert_eq!(Bill::of_generation(unknown), None, "{unknown}");
    }
}

proptest! {
    #[test]
    fn no_body_panics(raw in prop_oneof![
        "\\PC{0,60}",
        "[\\[\\]{}\":,0-9a-z ]{0,60}",
        ("(null|7|\"\"|\\[\\]|\\{\\})", "(null|7|\"stop\"|\\{\\})", "(null|-1|1e400|\\{\\}|\\{\"prompt_tokens\":1e18,\"cost\":1e99\\})")
            .prop_map(|(content, finish, usage)| format!(
                r#"{{"choices":[{{"message":{{"content":{content}}},"finish_reason":{finish}}}],"usage":{usage}}}"#
            )),
    ]) {
        let _ = read(raw.clone(), &[]);
        let _ = generation_id(&raw);
    }
}
