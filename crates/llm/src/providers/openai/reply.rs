//! A response's body, taken apart. The order of the checks is that of `reference/providers.md`, section 1:
//! a 200 is no success until its body is one.

use std::sync::LazyLock;

use chrono::Utc;
use promptmill_core::{Money, Usage};
use regex::Regex;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use crate::classify::{classify_json, one_line};
use crate::{CallError, Charge, Class, Finish, RateLimits, Response};

/// What is known of the cost of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bill {
    pub(super) usage: Option<Usage>,
    pub(super) cost: Option<Money>,
}

impl Bill {
    pub(super) fn charge(self) -> Charge {
        if self.is_known() { Charge::Known { usage: self.usage, cost: self.cost } } else { Charge::Unknown }
    }

    pub(super) fn is_known(self) -> bool {
        self.usage.is_some() || self.cost.is_some()
    }
}

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
            let bill = read_bill(&body);
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
        let bill = read_bill(&body);
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
        usage: Option<Tokens>,
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
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Tokens {
        prompt_tokens: Option<Value>,
        completion_tokens: Option<Value>,
        total_tokens: Option<Value>,
        prompt_tokens_details: Option<Details>,
        num_cached_tokens: Option<Value>,
        cost: Option<Value>,
        /// With a key of one's own the bill has two parts.
        is_byok: Option<bool>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Details {
        cached_tokens: Option<Value>,
    }
    let Body { error: None, choices, usage } = serde_json::from_str(raw).ok()? else { return None };
    let Choice { error: None, finish_reason, message: Message { content, refusal: None } } = choices.into_iter().next()? else {
        return None;
    };
    let Tokens { prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details, num_cached_tokens, cost, is_byok } =
        usage.unwrap_or_default();
    if is_byok == Some(true) {
        return None;
    }
    let count = |count: Option<Value>| count.as_ref().and_then(tokens);
    let cached = count(prompt_tokens_details.and_then(|details| details.cached_tokens)).or_else(|| count(num_cached_tokens));
    let usage = counted(count(prompt_tokens), cached, count(completion_tokens), count(total_tokens));
    let bill = Bill { usage, cost: cost.as_ref().and_then(money) };
    Some(Parts { bill, finish_reason, said: Said { content, refusal: None } })
}

/// The id under which OpenRouter can say later what a response cost. Also of a body that broke off: the id
/// stands at its beginning, and a quotation of one inside the content has its quotes escaped.
pub(super) fn generation_id(raw: &str) -> Option<&str> {
    static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""id"\s*:\s*"(gen-[\w-]+)""#).expect("a pattern that compiles"));
    Some(ID.captures(raw)?.get(1)?.as_str())
}

/// Reads what OpenRouter says of a generation; `None` while it does not know.
pub(super) fn read_generation(raw: &str) -> Option<Bill> {
    let body: Value = serde_json::from_str(raw).ok()?;
    let data = body.get("data")?;
    let count = |native: &str, own: &str| data.get(native).and_then(tokens).or_else(|| data.get(own).and_then(tokens));
    let cost = Some(data.get("total_cost").and_then(money)?);
    let input = count("native_tokens_prompt", "tokens_prompt");
    let output = count("native_tokens_completion", "tokens_completion");
    let cached = data.get("native_tokens_cached").and_then(tokens);
    Some(Bill { usage: input.zip(output).and_then(|(input, output)| usage(input, cached, output)), cost })
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

fn read_bill(body: &Value) -> Bill {
    let Some(reported) = body.get("usage") else { return Bill::default() };
    let count = |path: &str| reported.pointer(path).and_then(tokens);
    let cached = count("/prompt_tokens_details/cached_tokens").or_else(|| count("/num_cached_tokens"));
    let usage = counted(count("/prompt_tokens"), cached, count("/completion_tokens"), count("/total_tokens"));
    Bill { usage, cost: reported.get("cost").and_then(money).map(|cost| cost.saturating_add(upstream(reported))) }
}

/// Usage from what was counted; the total stands in for one that was not.
fn counted(input: Option<u64>, cached: Option<u64>, output: Option<u64>, total: Option<u64>) -> Option<Usage> {
    let input = input.or_else(|| total?.checked_sub(output?));
    let output = output.or_else(|| total?.checked_sub(input?));
    usage(input?, cached, output?)
}

/// With a key of one's own at OpenRouter, `cost` is its fee alone; the model's host sends the rest of the bill.
fn upstream(reported: &Value) -> Money {
    let own_key = reported.get("is_byok").and_then(Value::as_bool) == Some(true);
    let elsewhere = reported.pointer("/cost_details/upstream_inference_cost").and_then(money);
    elsewhere.filter(|_| own_key).unwrap_or_default()
}

/// Usage, made consistent. All zeros is what servers send that do not count: no prompt is empty.
fn usage(input: u64, cached: Option<u64>, output: u64) -> Option<Usage> {
    let usage = Usage { input_tokens: input, cached_input_tokens: cached.unwrap_or(0).min(input), output_tokens: output };
    (input > 0 || output > 0).then_some(usage)
}

fn tokens(count: &Value) -> Option<u64> {
    let float = || count.as_f64().filter(|count| (0.0..1e15).contains(count)).map(|count| count as u64);
    count.as_u64().or_else(float)
}

/// Reads an amount of dollars, a number or a text. A number passes through an `f64` and back to its shortest
/// decimal form. That is the number that was sent if it had at most 15 digits, and up to four million dollars
/// also if it was whole nano-dollars; what differs further back is the noise of the provider's own floats.
fn money(amount: &Value) -> Option<Money> {
    let amount: Money = match amount {
        Value::String(text) => text.parse().ok()?,
        Value::Number(number) => number.to_string().parse().ok()?,
        _ => return None,
    };
    (amount >= Money::ZERO).then_some(amount)
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
    use proptest::prelude::*;
    use serde_json::json;

    const USAGE: Usage = Usage { input_tokens: 1_410, cached_input_tokens: 1_152, output_tokens: 96 };

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
    fn usage_is_made_consistent_or_left_out() {
        let usage = |usage: Value| {
            let mut body = body(&says("{}"), &json!("stop"));
            body["usage"] = usage;
            read_json(&body).expect("a response").usage
        };
        let counted = |input_tokens, cached_input_tokens, output_tokens| Some(Usage { input_tokens, cached_input_tokens, output_tokens });
        assert_eq!(usage(json!(null)), None);
        assert_eq!(usage(json!({})), None);
        assert_eq!(usage(json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})), None);
        assert_eq!(usage(json!({"prompt_tokens": -1, "completion_tokens": 5})), None);
        assert_eq!(usage(json!({"prompt_tokens": 10})), None);
        assert_eq!(usage(json!({"prompt_tokens": 10, "total_tokens": 15})), counted(10, 0, 5));
        assert_eq!(usage(json!({"prompt_tokens": 10.0, "completion_tokens": 5.0})), counted(10, 0, 5));
        assert_eq!(usage(json!({"prompt_tokens": 10, "completion_tokens": 0})), counted(10, 0, 0));
        let cached = json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 99}});
        assert_eq!(usage(cached), counted(10, 10, 5));
        assert_eq!(usage(json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": null})), counted(10, 0, 5));
        assert_eq!(usage(json!({"prompt_tokens": 10, "completion_tokens": 5, "num_cached_tokens": 4})), counted(10, 4, 5));
    }

    #[test]
    fn with_a_key_of_ones_own_the_hosts_bill_is_part_of_the_cost() {
        let cost = |own_key: bool, elsewhere: Value| {
            let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.000_005, "is_byok": own_key,
                "cost_details": {"upstream_inference_cost": elsewhere}});
            let mut body = body(&says("x"), &json!("stop"));
            body["usage"] = usage;
            read_json(&body).expect("a response").cost.map(Money::nano)
        };
        assert_eq!(cost(true, json!(0.0001)), Some(105_000));
        assert_eq!(cost(true, json!(null)), Some(5_000));
        assert_eq!(cost(false, json!(0.0001)), Some(5_000), "what it cost the gateway is in its own price");
    }

    #[test]
    fn the_cost_is_read_to_the_nano_dollar() {
        let cost = |cost: &str| {
            let raw = format!(
                r#"{{"choices":[{{"message":{{"content":"x"}}}}],"usage":{{"prompt_tokens":1,"completion_tokens":1,"cost":{cost}}}}}"#
            );
            read(raw, &[]).expect("a response").cost.map(Money::nano)
        };
        assert_eq!(cost("0.00013134"), Some(131_340));
        assert_eq!(cost("1.3134e-4"), Some(131_340));
        assert_eq!(cost("\"0.00013134\""), Some(131_340));
        assert_eq!(cost("0"), Some(0));
        assert_eq!(cost("0.0"), Some(0));
        assert_eq!(cost("2"), Some(2_000_000_000));
        assert_eq!(cost("0.0000000001"), Some(1), "a bill is never understated");
        assert_eq!(cost("123456.123456789"), Some(123_456_123_456_789));
        for nothing in ["null", "-1", "-0.5", "\"x\"", "[]", "1e300"] {
            assert_eq!(cost(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_generation_is_found_and_read() {
        assert_eq!(generation_id(r#"{"id":"gen-17-aB","choices":[{"mess"#), Some("gen-17-aB"));
        assert_eq!(generation_id(r#"{"id": "chatcmpl-1","choices":[{"message":{"content":"{\"id\":\"gen-2\"}"}}]}"#), None);
        let raw = r#"{"data":{"id":"gen-1","total_cost":0.00013134,"tokens_prompt":1,"tokens_completion":1,"native_tokens_prompt":1410,
            "native_tokens_completion":96,"native_tokens_cached":1152,"cancelled":false}}"#;
        assert_eq!(read_generation(raw), Some(Bill { usage: Some(USAGE), cost: Some(Money::from_nano(131_340)) }));
        let old = r#"{"data":{"total_cost":0,"tokens_prompt":3,"tokens_completion":2}}"#;
        assert_eq!(read_generation(old).and_then(|bill| bill.usage).map(|usage| usage.input_tokens), Some(3));
        for unknown in ["", "{}", r#"{"data":{}}"#, r#"{"data":{"total_cost":null}}"#, r#"{"error":{"code":404}}"#] {
            assert_eq!(read_generation(unknown), None, "{unknown}");
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
            let _ = (generation_id(&raw), read_generation(&raw));
        }

        /// Through `f64` and back.
        #[test]
        fn costs_are_exact(nano in 0_i64..4_000_000_000_000_000) {
            let text = Money::from_nano(nano).to_string();
            let value: Value = serde_json::from_str(&text).expect("a number");
            prop_assert_eq!(money(&value), Some(Money::from_nano(nano)), "{}", text);
        }
    }
}
