//! A response's body, taken apart. The order of the checks is that of `reference/providers.md`, section 1:
//! a 200 is no success until its body is one.

use std::sync::LazyLock;

use chrono::Utc;
use regex::Regex;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::usage::Bill;
use crate::classify::{classify_json, one_line};
use crate::{CallError, Charge, Class, Finish, RateLimits, Response};

/// Reads the body of a 200. `secrets` are kept out of messages.
pub(super) fn read(raw: String, secrets: &[String]) -> Result<Response, CallError> {
    let failed = |class, message: &str, charge| CallError {
        class,
        message: one_line(message, secrets),
        hint: None,
        status: None,
        retry_after: None,
        charge,
        raw: Some(raw.clone()),
        limits: RateLimits::NONE,
        limit_hint: None,
    };
    let Parts { bill, finish_reason, said } = match ordinary(&raw) {
        Some(parts) => parts,
        None => {
            let body: Value = match serde_json::from_str(&raw) {
                Ok(body) => body,
                Err(error) => return Err(failed(Class::Malformed, &format!("{}: {error}", not_json(&raw)), Charge::Unknown)),
            };
            let bill = Bill::of(&body);
            if is_error(body.get("error")) || is_error(body.pointer("/choices/0/error")) {
                let refusal = classify_json(200, &HeaderMap::new(), &body, Utc::now(), secrets);
                let charge = if bill.is_known() { bill.charge() } else { charge_inside_200(refusal.class, &body) };
                return Err(CallError { retry_after: refusal.retry_after, ..failed(refusal.class, &refusal.message, charge) });
            }
            match Parts::of(body) {
                Some(parts) => parts,
                None => return Err(failed(Class::Malformed, "the response holds no choices", bill.charge())),
            }
        }
    };
    let finish = read_finish(finish_reason.as_deref());

    if let Some(refusal) = said.refusal {
        return Err(failed(Class::Filtered, &refusal, bill.charge()));
    }
    if finish == Finish::Filtered {
        let reason = finish_reason.unwrap_or_default();
        return Err(failed(Class::Filtered, &format!("the model or a filter would not answer (`{reason}`)"), bill.charge()));
    }
    // A reasoning model that ran out of tokens before it said anything has still been asked and paid.
    if said.content.trim().is_empty() && finish != Finish::Truncated {
        let reason = finish_reason.map_or_else(|| "no finish reason".to_owned(), |reason| format!("finish reason `{reason}`"));
        return Err(failed(Class::Malformed, &format!("the model said nothing ({reason})"), bill.charge()));
    }
    let Bill { usage, cost } = bill;
    Ok(Response { raw, content: said.content, finish, finish_reason, usage, cost, limits: RateLimits::NONE })
}

/// What a response consists of.
#[derive(Debug, PartialEq)]
struct Parts {
    bill: Bill,
    finish_reason: Option<String>,
    said: Said,
}

impl Parts {
    /// The parts of a body that is no error; `None` if there is no choice in it.
    fn of(mut body: Value) -> Option<Self> {
        let bill = Bill::of(&body);
        let choice = body.pointer_mut("/choices/0")?;
        let finish_reason = choice.get("finish_reason").and_then(Value::as_str).map(str::to_owned);
        let said = choice.get_mut("message").map_or_else(Said::default, Said::read);
        Some(Self { bill, finish_reason, said })
    }
}

/// Reads a response as nearly all of them are: no error, a text, tokens. `None` if it is anything else, which is
/// then looked at as a tree of values; making that for every response would be most of reading it.
fn ordinary(raw: &str) -> Option<Parts> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        error: Option<()>,
        choices: Vec<Choice>,
        #[serde(default)]
        usage: Option<Value>,
        #[serde(default)]
        service_tier: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Choice {
        #[serde(default)]
        error: Option<()>,
        #[serde(default)]
        finish_reason: Option<String>,
        message: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        content: String,
        #[serde(default)]
        refusal: Option<()>,
    }
    let Body { error: None, choices, usage, service_tier } = serde_json::from_str(raw).ok()? else { return None };
    let Choice { error: None, finish_reason, message: Message { content, refusal: None } } = choices.into_iter().next()? else {
        return None;
    };
    let bill = Bill::stated(usage.as_ref(), service_tier.as_ref());
    Some(Parts { bill, finish_reason, said: Said { content, refusal: None } })
}

/// The id under which OpenRouter can say later what a response cost. Also of a body that broke off: the id
/// stands at its beginning, and a quotation of one inside the content has its quotes escaped.
pub(super) fn generation_id(raw: &str) -> Option<&str> {
    static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""id"\s*:\s*"(gen-[\w-]+)""#).expect("a pattern that compiles"));
    Some(ID.captures(raw)?.get(1)?.as_str())
}

/// An error counts as one if it says anything: some servers send `"error": null` or an empty one with every answer.
fn is_error(error: Option<&Value>) -> bool {
    match error {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    }
}

/// An error inside a 200 came after the request had been accepted. Nothing was generated if a limit or the
/// request's form is the reason and no word has come; else it may have been.
fn charge_inside_200(class: Class, body: &Value) -> Charge {
    let spoken = body.pointer("/choices/0/message/content").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    match class {
        Class::Overloaded | Class::Timeout | Class::Filtered | Class::Malformed => Charge::Unknown,
        _ if spoken => Charge::Unknown,
        _ => Charge::Nothing,
    }
}

/// The table of section 2. A word that is not in it is never taken for a normal end.
fn read_finish(reason: Option<&str>) -> Finish {
    match reason {
        Some("stop" | "end_turn" | "stop_sequence") => Finish::Stop,
        Some("length" | "model_length" | "max_tokens" | "model_context_window_exceeded") => Finish::Truncated,
        Some("content_filter" | "refusal") => Finish::Filtered,
        _ => Finish::Other,
    }
}

#[derive(Debug, Default, PartialEq)]
struct Said {
    content: String,
    refusal: Option<String>,
}

impl Said {
    /// Takes the words out of a message; content is a text or a list of parts, of which the texts count.
    fn read(message: &mut Value) -> Self {
        let spoken = |text: &Value| text.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let mut said = Self { content: String::new(), refusal: message.get("refusal").and_then(spoken) };
        match message.get_mut("content").map(Value::take) {
            Some(Value::String(text)) => said.content = text,
            Some(Value::Array(parts)) => {
                for part in &parts {
                    match part.get("type").and_then(Value::as_str) {
                        Some("refusal") => said.refusal = said.refusal.or_else(|| part.get("refusal").and_then(spoken)),
                        Some("text" | "output_text") | None => {
                            said.content.push_str(part.get("text").unwrap_or(part).as_str().unwrap_or_default());
                        }
                        Some(_) => {}
                    }
                }
            }
            _ => {}
        }
        said
    }
}

fn not_json(raw: &str) -> &'static str {
    let raw = raw.trim_start();
    if raw.is_empty() {
        "the response is empty"
    } else if raw.starts_with('<') {
        "the response is a web page, not JSON"
    } else if raw.starts_with("data:") || raw.starts_with(": ") {
        "the response is a stream of events, not JSON"
    } else {
        "the response is not JSON"
    }
}

#[cfg(test)]
mod tests {
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
    fn the_short_way_leads_where_the_long_one_does() {
        let ordinary_bodies = [
            body(&says("a"), &json!("stop")),
            body(&json!({"content": "a"}), &json!(null)),
            json!({"choices": [{"message": {"content": ""}}], "usage": null, "error": null}),
            json!({"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}], "usage": {"cost": "0.5", "num_cached_tokens": 2}}),
            json!({"choices": [{"message": {"content": "a"}}], "usage": {"total_tokens": 9, "completion_tokens": 4.0, "prompt_tokens": "x"}}),
        ];
        for body in ordinary_bodies {
            let short = ordinary(&body.to_string());
            assert!(short.is_some(), "{body}");
            assert_eq!(short, Parts::of(body));
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
            (json!("error"), Finish::Other),
            (json!("abort"), Finish::Other),
            (json!("load"), Finish::Other),
            (json!("something_new"), Finish::Other),
            (json!(null), Finish::Other),
            (json!(7), Finish::Other),
        ] {
            assert_eq!(read_json(&body(&says("{}"), &word)).expect("a response").finish, finish, "{word}");
        }
        for word in ["content_filter", "refusal"] {
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
        for content in [json!(null), json!(""), json!("\n"), json!([]), json!({"r1": "x"})] {
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
    fn what_is_no_answer_is_malformed() {
        for (raw, words) in [
            ("", "the response is empty: EOF"),
            ("<html>hi</html>", "the response is a web page, not JSON: "),
            ("data: {}\n\ndata: [DONE]\n", "the response is a stream of events, not JSON: "),
            (r#"{"id":"x","choices":[{"mes"#, "the response is not JSON: EOF"),
            ("[]", "the response holds no choices"),
            ("null", "the response holds no choices"),
            ("{}", "the response holds no choices"),
            (r#"{"choices":[]}"#, "the response holds no choices"),
            (r#"{"choices":{}}"#, "the response holds no choices"),
            (r#"{"choices":[{}]}"#, "the model said nothing (no finish reason)"),
            (r#"{"choices":[{"message":7}]}"#, "the model said nothing (no finish reason)"),
        ] {
            let error = read(raw.to_owned(), &[]).expect_err("malformed");
            assert_eq!((error.class, error.charge), (Class::Malformed, Charge::Unknown), "{raw}");
            assert!(error.message.starts_with(words), "{raw}: {}", error.message);
            assert_eq!(error.raw.as_deref(), Some(raw));
        }
        let mut empty = body(&json!(null), &json!("stop"));
        empty["choices"] = json!([]);
        assert_eq!(read_json(&empty).expect_err("malformed").charge, known(None));
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
            let _ = (generation_id(&raw), Bill::of_generation(&raw));
        }
    }
}
