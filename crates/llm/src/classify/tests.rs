use super::*;
use proptest::prelude::*;
use reqwest::header::HeaderValue;

fn now() -> DateTime<Utc> {
    "2026-08-21T12:40:00Z".parse().expect("a date")
}

fn told(status: u16, body: &str) -> Refusal {
    classify(status, &HeaderMap::new(), body.as_bytes(), now(), &[])
}

/// Every body of `reference/providers.md`, section 4 and what section 3 says of errors.
#[test]
fn every_known_refusal_has_its_class_and_its_words() {
    use Class::*;
    #[rustfmt::skip]
    let table: &[(u16, &str, Class, &str)] = &[
        (429, r#"{"error":{"message":"Rate limit reached for gpt-4o-mini in organization org-x on tokens per min (TPM): Limit 200000, Used 195869, Requested 4412. Please try again in 84ms. Visit …","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#, RateLimited, "Rate limit reached for gpt-4o-mini"),
        (429, r#"{"error":{"message":"Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 34307. The input or output tokens must be reduced …","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#, TooBigForQuota, "Request too large"),
        (413, r#"{"error":{"message":"Request too large for model `m` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 7030, please reduce","type":"tokens","code":"rate_limit_exceeded"}}"#, TooBigForQuota, "Request too large"),
        (429, r#"{"error":{"message":"Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 29000."}}"#, RateLimited, "Request too large"),
        (429, r#"{"error":{"message":"Request too large for this key."}}"#, TooBigForQuota, "Request too large"),
        (429, r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#, MoneyGone, "You exceeded your current quota"),
        (429, r#"[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}]"#, RateLimited, "You exceeded your current quota"),
        (429, r#"{"object":"error","message":"Rate limit exceeded","type":"rate_limited","param":null,"code":"1300","raw_status_code":429}"#, RateLimited, "Rate limit exceeded"),
        (429, r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}"#, NoCapacity, "Service tier capacity"),
        (429, r#"{"error":{"message":"Resource unavailable, please try again later.","type":null,"code":"resource_unavailable"}}"#, NoCapacity, "Resource unavailable"),
        (498, r#"{"error":{"message":"Flex tier capacity exceeded"}}"#, NoCapacity, "Flex"),
        (422, r#"{"detail":[{"loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","type":"extra_forbidden"}]}"#, BadRequest, "body.max_completion_tokens: Extra inputs are not permitted"),
        (422, r#"{"object":"error","message":{"detail":[{"loc":["body","n",0],"msg":"bad"},{"msg":"worse"}]},"type":"invalid_request_error","code":null}"#, BadRequest, "body.n.0: bad; worse"),
        (400, r#"{"detail":"There was an error parsing the body"}"#, BadRequest, "There was an error parsing the body"),
        (429, r#"{"message":"Requests rate limit exceeded"}"#, RateLimited, "Requests rate limit exceeded"),
        (429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 50,000 input tokens per minute"},"request_id":"req_01"}"#, RateLimited, "This request would exceed"),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_02"}"#, Overloaded, "Overloaded"),
        (429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"You have reached your API usage limits…","details":{"error_code":"enforced_spend_limit_reached"}},"request_id":"req_03"}"#, MoneyGone, "You have reached"),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-09-01."}}"#, MoneyGone, "You have reached"),
        (429, r#"{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded","provider_code":"rate_limited"}}}"#, RateLimited, "Rate limit exceeded"),
        (429, r#"{"error":{"message":"All providers for m are at capacity. Retry after 40 seconds.","error_type":"rate_limit_exceeded","http_status":429,"availability":{"code":"capacity_exhausted","retryable":true,"retry_after":40,"requested_models":["m"],"docs_url":"…"},"metadata":{"previous_errors":[{"provider":"p","code":"capacity_exhausted","status":429}]}}}"#, NoCapacity, "All providers"),
        (503, r#"{"error":{"message":"m is down","error_type":"provider_unavailable","availability":{"code":"temporarily_unavailable","retryable":true,"retry_after":3}}}"#, Overloaded, "m is down"),
        (429, r#"{"error":{"message":"busy","metadata":{"error_type":"provider_overloaded"}}}"#, Overloaded, "busy"),
        (404, r#"{"error":{"message":"No endpoints found","availability":{"code":"no_endpoints","retryable":false}}}"#, ModelMissing, "No endpoints found"),
        (429, r#"{"error":{"message":"ended","availability":{"code":"free_variant_ended","retryable":false}}}"#, ModelMissing, "ended"),
        (503, r#"{"error":{"message":"never","availability":{"code":"something_new","retryable":false}}}"#, ModelMissing, "never"),
        (429, r#"{"error":{"code":429,"message":"over the router's quota","metadata":{"error_type":"rate_limit_exceeded","provider_code":"insufficient_quota"}}}"#, RateLimited, "over the router's quota"),
        (403, r#"{"error":{"code":403,"message":"Key token limit","metadata":{"error_type":"token_limit_exceeded"}}}"#, MoneyGone, "Key token limit"),
        (402, r#"{"error":{"code":402,"message":"Insufficient credits"}}"#, MoneyGone, "Insufficient credits"),
        (402, "", MoneyGone, "HTTP 402 (payment required)"),
        (401, r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}"#, Auth, "Incorrect API key"),
        (401, r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#, Auth, "invalid x-api-key"),
        (401, r#"{"message":"Unauthorized"}"#, Auth, "Unauthorized"),
        (403, r#"{"type":"error","error":{"type":"permission_error","message":"not allowed"}}"#, Forbidden, "not allowed"),
        (403, r#"{"error":{"code":"unsupported_country_region_territory","message":"Country not supported"}}"#, Forbidden, "Country"),
        (403, r#"{"error":{"code":403,"message":"Your input was flagged","metadata":{"reasons":["violence"],"flagged_input":"…","provider_name":"OpenAI"}}}"#, Filtered, "Your input was flagged"),
        (400, r#"{"error":{"code":"content_filter","message":"The response was filtered","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#, Filtered, "The response was filtered"),
        (400, r#"{"error":{"message":"no","error_type":"content_policy_violation"}}"#, Filtered, "no"),
        (404, r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"not_found_error","param":null,"code":null}}"#, ModelMissing, "model \"x\" not found"),
        (404, r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}}"#, ModelMissing, "The model `x`"),
        (400, r#"{"error":{"message":"m/x is not a valid model ID","code":400}}"#, ModelMissing, "m/x"),
        (400, r#"{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}"#, ModelMissing, "Invalid model"),
        (400, r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, you requested 9000 tokens","type":"BadRequestError","param":null,"code":400}}"#, ContextTooLong, "This model's maximum"),
        (400, r#"{"error":{"message":"too many tokens","code":"context_length_exceeded"}}"#, ContextTooLong, "too many tokens"),
        (400, r#"{"error":{"code":400,"type":"exceed_context_size_error","message":"request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it","n_prompt_tokens":13392,"n_ctx":8192}}"#, ContextTooLong, "request (13392 tokens)"),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#, ContextTooLong, "prompt is too long"),
        (400, r#"{"error":{"message":"input length and max_tokens exceed context limit: 188240 + 21333 > 200000"}}"#, ContextTooLong, "input length"),
        (400, r#"{"error":"the prompt is longer than the context length currently available (4096)"}"#, ContextTooLong, "the prompt is longer"),
        (400, r#"{"message":"The decoder prompt (length 9000) is longer than the model's context length"}"#, ContextTooLong, "The decoder prompt"),
        (400, r#"{"error":{"message":"Your input tokens exceed the configured limit"}}"#, ContextTooLong, "Your input"),
        (400, r#"{"error":{"message":"The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."}}"#, ContextTooLong, "The input"),
        (400, r#"{"error":{"message":"Please reduce: current length is 9000 while limit is 8000"}}"#, ContextTooLong, "Please"),
        (422, r#"{"error":{"message":"Maximum input length is 4096 tokens but 5000 were given"}}"#, ContextTooLong, "Maximum"),
        (400, r#"{"error":{"code":400,"message":"Provider returned error","metadata":{"provider_name":"P","raw":"{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens\"}}"}}}"#, ContextTooLong, "Provider returned error: This model's maximum"),
        (400, r#"{"error":{"message":"maximum context length is exceeded by the string","code":"string_above_max_length"}}"#, BodyTooLarge, "maximum"),
        (429, r#"{"error":{"message":"This model's maximum context length is 8192 tokens"}}"#, RateLimited, "This model's"),
        (500, r#"{"error":{"message":"This model's maximum context length is 8192 tokens"}}"#, Overloaded, "This model's"),
        (413, r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#, BodyTooLarge, "Request exceeds"),
        (413, "<html>\n<head><title>413 Request Entity Too Large</title></head><body>nginx</body></html>", BodyTooLarge, "413 Request Entity Too Large"),
        (524, "<!DOCTYPE html>\n<html><head><title>api.example | 524: A timeout occurred</title><style>p{}</style></head></html>", Overloaded, "api.example | 524: A timeout occurred"),
        (502, "<html><style>p { color: red }</style><h1>Bad\n  Gateway</h1><p>cloud</html>", Overloaded, "Bad Gateway cloud"),
        (502, "upstream connect error", Overloaded, "upstream connect error"),
        (500, "", Overloaded, "HTTP 500 (internal server error)"),
        (520, "", Overloaded, "HTTP 520 (no reason given)"),
        (500, r#"{"error":{}}"#, Overloaded, "HTTP 500"),
        (500, "null", Overloaded, "HTTP 500"),
        (500, r#"{"error":{"code":500,"message":"The model produced output that does not match the expected peg-native format","type":"server_error"}}"#, Malformed, "The model produced"),
        (500, r#"{"error":null,"message":null}"#, Overloaded, "HTTP 500"),
        (503, r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, Overloaded, "Loading model"),
        (503, r#"{"error":{"message":"server busy, please try again.  maximum pending requests exceeded","type":"api_error","param":null,"code":null}}"#, Overloaded, "server busy, please try again. maximum"),
        (408, r#"{"error":{"code":408,"message":"Request timed out"}}"#, Timeout, "Request timed out"),
        (504, "<html><head><title>504 Gateway Time-out</title></head></html>", Timeout, "504 Gateway Time-out"),
        (409, r#"{"error":{"message":"conflict"}}"#, Overloaded, "conflict"),
        (400, r#"{"error":"text"}"#, BadRequest, "text"),
        (405, "", BadRequest, "HTTP 405 (method not allowed)"),
        (301, "", Unreachable, "HTTP 301 (moved permanently); redirects are not followed"),
        // A 200 that is none.
        (200, r#"{"error":{"code":502,"message":"Provider returned error"}}"#, Overloaded, "Provider returned error"),
        (200, r#"{"error":{"code":"429","message":"slow down"}}"#, RateLimited, "slow down"),
        (200, r#"{"error":{"code":null,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded"}}}"#, RateLimited, "Rate limit exceeded"),
        (200, r#"{"error":{"code":402,"message":"Insufficient credits"}}"#, MoneyGone, "Insufficient credits"),
        (200, r#"{"error":{"code":408,"message":"slow"}}"#, Timeout, "slow"),
        (200, r#"{"error":"upstream said no"}"#, Overloaded, "upstream said no"),
        (200, r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#, BadRequest, "bad"),
        (200, r#"{"id":"gen-1","choices":[{"index":0,"message":{"content":""},"finish_reason":"error","error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded"}}}]}"#, RateLimited, "Rate limit exceeded"),
        (200, r#"{"choices":[{"error":{"code":403,"message":"flagged","metadata":{"reasons":["x"]}}}]}"#, Filtered, "flagged"),
    ];
    for (status, body, class, words) in table {
        let refusal = told(*status, body);
        assert_eq!(refusal.class, *class, "{status} {body}");
        assert!(refusal.message.starts_with(words), "{status} {body}\n{}", refusal.message);
    }
}

/// Bodies of services that people use, written in the shape of those in public issue trackers.
#[test]
fn every_refusal_of_the_collection_has_its_class() {
    #[derive(serde::Deserialize)]
    struct Collection {
        case: Vec<Case>,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        service: String,
        status: u16,
        #[serde(default)]
        headers: std::collections::BTreeMap<String, String>,
        body: String,
        class: String,
        wait: Option<f64>,
        parameter: Option<String>,
    }
    let Collection { case: cases } = toml::from_str(include_str!("cases.toml")).expect("a collection");
    assert!(cases.len() > 60, "{}", cases.len());
    let mut wrong = Vec::new();
    for Case { service, status, headers, body, class, wait, parameter } in cases {
        let headers = (&headers.into_iter().collect::<std::collections::HashMap<_, _>>()).try_into().expect("headers");
        let refusal = classify(status, &headers, body.as_bytes(), now(), &[]);
        let found = (refusal.class.name(), refusal.retry_after.map(|wait| wait.as_secs_f64()));
        if found.0 != class || wait.is_some_and(|wait| found.1 != Some(wait)) || (parameter.is_some() && refusal.parameter != parameter) {
            wrong.push(format!("{service} {status}: {found:?} {:?}, not {class}\n{body}", refusal.parameter));
        }
        if matches!(refusal.class, Class::Unreachable | Class::PackTooLarge) || parameter.is_some() {
            assert!(refusal.hint.is_some(), "{service}: nothing that can be done\n{body}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words that look like those of another class.
#[test]
fn what_only_sounds_like_it_is_something_else() {
    use Class::*;
    let error = |message: &str| serde_json::json!({"error": {"message": message}}).to_string();
    for (status, message, class) in [
        (400, "the model name is case-sensitive", BadRequest),
        (400, "max_tokens: input should be a valid integer", BadRequest),
        (400, "schema keyword `maximum` is not supported", BadRequest),
        (400, "the thinking budget exceeded its range", BadRequest),
        (429, "the request exceeds the rate; see your balance of requests", RateLimited),
        (429, "quota exhausted for requests per minute", RateLimited),
        (400, &format!("cannot parse: {} insufficient balance", "a row's text ".repeat(60)), BadRequest),
        (404, "the file was not found in the store", ModelMissing),
        (500, "internal error: content not found", Overloaded),
        (403, "your region is not supported", Forbidden),
    ] {
        assert_eq!(told(status, &error(message)).class, class, "{status} {message}");
    }
    assert_eq!(told(403, "").class, Forbidden);
    assert_eq!(told(403, "<html><title>Blocked</title></html>").class, Filtered);
    assert_eq!(told(503, "<html><title>Blocked</title></html>").class, Overloaded);
}

#[test]
fn the_limit_that_was_met_is_read_from_the_words() {
    use Dimension::*;
    let hint = |message: &str| told(429, &serde_json::json!({"error": {"message": message}}).to_string()).limit_hint;
    let limit = |dimension, per, limit, used, requested| Some(LimitHint { dimension, per, limit, used, requested });
    assert_eq!(
        hint("Rate limit reached for m in organization o on tokens per min (TPM): Limit 200000, Used 195869, Requested 4412."),
        limit(Tokens, Some(Per::Minute), 200_000, Some(195_869), Some(4_412))
    );
    assert_eq!(
        hint("Request too large for m on tokens per min (TPM): Limit 30,000, Requested 34,307."),
        limit(Tokens, Some(Per::Minute), 30_000, None, Some(34_307))
    );
    assert_eq!(
        hint("Rate limit reached for m on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s."),
        limit(Requests, Some(Per::Day), 200, Some(200), Some(1))
    );
    assert_eq!(
        hint("This request would exceed your organization's rate limit of 50,000 input tokens per minute"),
        limit(Tokens, Some(Per::Minute), 50_000, None, None)
    );
    assert_eq!(hint("Concurrency limit of 5 exceeded"), limit(Concurrency, None, 5, None, None));
    assert_eq!(hint("at most 12 concurrent requests"), limit(Concurrency, None, 12, None, None));
    assert_eq!(hint("Rate limit exceeded"), None);
    assert_eq!(hint("on tokens per min (TPM): Limit 99999999999999999999999, Requested 1"), None);
}

#[test]
fn the_wait_comes_from_the_header_the_body_or_the_words() {
    let words = |message: &str| told(429, &serde_json::json!({"error": {"message": message}}).to_string()).retry_after;
    for (message, seconds) in [
        ("Please try again in 84ms. Visit …", Some(0.084)),
        ("Please try again in 6m0s.", Some(360.0)),
        ("Please try again in 1h2m3.5s", Some(3_723.5)),
        ("All providers are at capacity. Retry after 40 seconds.", Some(40.0)),
        ("Please retry in 39.07s.", Some(39.07)),
        ("please retry after 2 minutes", Some(120.0)),
        ("try again in 500 milliseconds", Some(0.5)),
        ("Too many requests, please wait 12 seconds before you ask again", Some(12.0)),
        ("Please wait for at least 1.5 minutes.", Some(90.0)),
        ("Please wait a few minutes before you try again.", None),
        ("Retry after 9 days", Some(86_400.0)),
        ("Retry after 1e999 s", None),
        ("Retry after lunch", None),
        ("try again later", None),
    ] {
        assert_eq!(words(message).map(|wait| wait.as_secs_f64()), seconds, "{message}");
    }
    let body = r#"{"error":{"message":"Retry after 40 seconds.","availability":{"retryable":true,"retry_after":12.5}}}"#;
    assert_eq!(told(503, body).retry_after, Some(Duration::from_millis(12_500)));
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("3"));
    let refusal = classify(503, &headers, body.as_bytes(), now(), &[]);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(3)));
}

/// OpenRouter's platform limit: no `Retry-After`, but the end of the window.
#[test]
fn a_used_up_window_is_waited_for() {
    let mut headers = HeaderMap::new();
    headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
    headers.insert("x-ratelimit-reset", HeaderValue::from(now().timestamp_millis().unsigned_abs() + 33_000));
    let wait = |status| classify(status, &headers, br#"{"error":{"message":"no"}}"#, now(), &[]).retry_after;
    assert_eq!(wait(429), Some(Duration::from_secs(33)));
    assert_eq!(wait(400), None);
}

#[test]
fn a_key_that_the_server_echoes_is_cut_out() {
    let secrets = ["sk-or-v1-0123456789".to_owned(), "x".to_owned()];
    let body = r#"{"error":{"message":"Incorrect API key provided: sk-or-v1-0123456789. Not sk-or-v1-0123456789x"}}"#;
    let refusal = classify(401, &HeaderMap::new(), body.as_bytes(), now(), &secrets);
    assert_eq!(refusal.message, "Incorrect API key provided: [key]. Not [key]x");
    // Also where the message is cut in the middle of it.
    for padding in 270..310 {
        let body = format!("{} sk-or-v1-0123456789", "a".repeat(padding));
        let refusal = classify(500, &HeaderMap::new(), body.as_bytes(), now(), &secrets);
        assert!(!refusal.message.contains("sk-"), "{}", refusal.message);
    }
}

#[test]
fn messages_are_one_short_line() {
    let message = told(500, &format!("été\r\n\u{1b}[31m{}", "é".repeat(1_000))).message;
    assert!(message.starts_with("été [31mé") && message.ends_with("é…"), "{message}");
    assert_eq!(message.chars().count(), MESSAGE_CHARS + 1);
}

#[test]
fn only_the_first_64_kib_are_read() {
    let body = format!("{}insufficient_quota", " ".repeat(ERROR_BODY_BYTES));
    assert_eq!(told(429, &body), told(429, ""));
    // Cut JSON is still a text that can be searched.
    let body = format!("{{\"error\":{{\"message\":\"prompt is too long\",\"echo\":\"{}\"}}}}", "a".repeat(ERROR_BODY_BYTES));
    assert_eq!(told(400, &body).class, Class::ContextTooLong);
}

proptest! {
    #[test]
    fn no_body_panics(
        status in 0_u16..1_000,
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}\":,a-z0-9é<>/ ]{0,80}".prop_map(String::into_bytes),
            ("(error|message|detail|choices|code)", "(null|1|-1e99|\"x\"|\\[\\]|\\[\\[1\\]\\]|\\{\\}|\\{\"message\":\\{\"detail\":\\[1,\"a\"\\]\\}\\})")
                .prop_map(|(name, value)| format!("{{\"{name}\":{value}}}").into_bytes()),
            "(try again in |retry after |limit )[0-9.hms ]{0,20}( concurrent)?".prop_map(String::into_bytes),
        ],
    ) {
        let refusal = classify(status, &HeaderMap::new(), &body, now(), &[]);
        prop_assert!(refusal.message.chars().count() <= MESSAGE_CHARS + 80);
        prop_assert!(!refusal.message.chars().any(char::is_control));
        prop_assert!(refusal.retry_after.is_none_or(|wait| wait <= LONGEST_WAIT));
    }
}
