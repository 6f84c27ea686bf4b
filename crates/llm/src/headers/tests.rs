use super::waits::{LONGEST_RESET, LONGEST_RETRY_AFTER};
use super::*;
use proptest::prelude::*;
use reqwest::header::{HeaderName, HeaderValue};

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        map.append(name, HeaderValue::from_str(value).expect("a header value"));
    }
    map
}

fn now() -> DateTime<Utc> {
    "2026-08-21T12:40:00Z".parse().expect("a date")
}

fn limits(lines: &[(&str, &str)]) -> RateLimits {
    read_rate_limits(&headers(lines), now())
}

fn window(limit: u64, remaining: u64, reset: Option<f64>) -> Window {
    Window { limit: Some(limit), remaining: Some(remaining), reset: reset.map(Duration::from_secs_f64) }
}

#[test]
fn openai() {
    let read = limits(&[
        ("X-RateLimit-Limit-Requests", "5000"),
        ("x-ratelimit-remaining-requests", "4999"),
        ("x-ratelimit-reset-requests", "12ms"),
        ("x-ratelimit-limit-tokens", "4000000"),
        ("x-ratelimit-remaining-tokens", "3999000"),
        ("x-ratelimit-reset-tokens", "6m0s"),
        ("x-ratelimit-limit-tokens_usage_based", "7"),
    ]);
    assert_eq!(read.requests, window(5_000, 4_999, Some(0.012)));
    assert_eq!(read.tokens, window(4_000_000, 3_999_000, Some(360.0)));
    assert_eq!((read.input_tokens, read.output_tokens), (Window::NONE, Window::NONE));
}

#[test]
fn azure_says_minus_one_or_zero_for_unknown() {
    for unknown in ["-1", "0"] {
        let read = limits(&[
            ("x-ratelimit-limit-requests", unknown),
            ("x-ratelimit-remaining-requests", unknown),
            ("x-ratelimit-limit-tokens", "120000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "42"),
        ]);
        assert_eq!(read.requests, Window::NONE, "{unknown}");
        assert_eq!(read.tokens, window(120_000, 0, Some(42.0)));
        assert_eq!(read.exhausted(), Some(Duration::from_secs(42)));
    }
}

/// A well-known library swaps the two; here every number differs from every other.
#[test]
fn anthropic_input_and_output_are_not_swapped() {
    let read = limits(&[
        ("anthropic-ratelimit-requests-limit", "1000"),
        ("anthropic-ratelimit-requests-remaining", "999"),
        ("anthropic-ratelimit-requests-reset", "2026-08-21T12:41:00Z"),
        ("anthropic-ratelimit-input-tokens-limit", "80000"),
        ("anthropic-ratelimit-input-tokens-remaining", "79000"),
        ("anthropic-ratelimit-input-tokens-reset", "2026-08-21T12:40:01Z"),
        ("anthropic-ratelimit-output-tokens-limit", "16000"),
        ("anthropic-ratelimit-output-tokens-remaining", "15000"),
        ("anthropic-ratelimit-output-tokens-reset", "2026-08-21T12:40:02Z"),
        ("anthropic-ratelimit-tokens-limit", "96000"),
        ("anthropic-ratelimit-tokens-remaining", "94000"),
        ("anthropic-ratelimit-tokens-reset", "2026-08-21T12:39:00Z"),
    ]);
    assert_eq!(read.requests, window(1_000, 999, Some(60.0)));
    assert_eq!(read.input_tokens, window(80_000, 79_000, Some(1.0)));
    assert_eq!(read.output_tokens, window(16_000, 15_000, Some(2.0)));
    assert_eq!(read.tokens, window(96_000, 94_000, Some(0.0)));
}

#[test]
fn mistral_has_a_window_in_the_name_and_no_reset() {
    let read = limits(&[
        ("x-ratelimit-limit-req-minute", "720"),
        ("x-ratelimit-remaining-req-minute", "717"),
        ("x-ratelimit-limit-tokens-minute", "5000000"),
        ("x-ratelimit-remaining-tokens-minute", "4999911"),
        ("x-ratelimit-limit-tokens-month", "9000000000"),
        ("x-ratelimit-remaining-tokens-month", "8000000000"),
        ("x-ratelimit-tokens-query-cost", "52"),
    ]);
    assert_eq!(read.requests, window(720, 717, None));
    assert_eq!(read.tokens, window(5_000_000, 4_999_911, None));
}

#[test]
fn a_longer_window_binds_once_it_is_used_up() {
    let cerebras = |left_today: &str| {
        limits(&[
            ("x-ratelimit-limit-requests-minute", "30"),
            ("x-ratelimit-remaining-requests-minute", "29"),
            ("x-ratelimit-reset-requests-minute", "2.5"),
            ("x-ratelimit-limit-requests-day", "14400"),
            ("x-ratelimit-remaining-requests-day", left_today),
            ("x-ratelimit-reset-requests-day", "33011.38"),
        ])
    };
    assert_eq!(cerebras("9000").requests, window(30, 29, Some(2.5)));
    assert_eq!(cerebras("0").requests, window(30, 0, Some(33_011.38)));
    let day_alone = limits(&[("x-ratelimit-limit-requests-day", "14400"), ("x-ratelimit-remaining-requests-day", "7")]);
    assert_eq!(day_alone.requests, Window { remaining: Some(7), ..Window::NONE }, "a day's limit is no pace");
    assert_eq!(limits(&[("x-ratelimit-limit-req-second", "5")]).requests.limit, Some(300));
}

#[test]
fn openrouter_names_the_end_of_the_window_in_milliseconds() {
    let at = (now().timestamp_millis() + 45_000).to_string();
    let read = limits(&[("X-RateLimit-Limit", "20"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", &at)]);
    assert_eq!(read.requests, Window { limit: None, remaining: Some(0), reset: Some(Duration::from_secs(45)) });
}

#[test]
fn resets_in_every_form() {
    for (text, seconds) in [
        ("12ms", Some(0.012)),
        ("1s", Some(1.0)),
        ("1.5s", Some(1.5)),
        ("6m0s", Some(360.0)),
        ("1h30m", Some(5_400.0)),
        ("1h2m3.5s", Some(3_723.5)),
        ("7.66s", Some(7.66)),
        ("250µs", Some(0.000_25)),
        (" 30 ", Some(30.0)),
        ("0", Some(0.0)),
        ("1787316060", Some(60.0)),
        ("1787316060000", Some(60.0)),
        ("1787316060000000", Some(60.0)),
        ("1787316060000000000", Some(60.0)),
        ("1787315000", Some(0.0)),
        ("2026-08-21T12:41:00Z", Some(60.0)),
        ("2026-08-21T14:41:00+02:00", Some(60.0)),
        ("Fri, 21 Aug 2026 12:41:00 GMT", Some(60.0)),
        ("Friday, 21-Aug-26 12:41:00 GMT", Some(60.0)),
        ("Fri Aug 21 12:41:00 2026", Some(60.0)),
        ("1999-01-01T00:00:00Z", Some(0.0)),
        ("1e300", Some(31.0 * 86_400.0)),
        ("-1", None),
        ("-5s", None),
        ("", None),
        ("soon", None),
        ("5 apples", None),
        ("1..2s", None),
        ("s", None),
        ("NaN", None),
        ("inf", None),
    ] {
        assert_eq!(parse_reset(text, now()).map(|reset| reset.as_secs_f64()), seconds, "`{text}`");
    }
}

#[test]
fn retry_after_in_every_form() {
    let date = ("date", "Fri, 21 Aug 2026 12:00:00 GMT");
    for (lines, seconds) in [
        (vec![("retry-after", "7")], Some(7.0)),
        (vec![("Retry-After", "0.25")], Some(0.25)),
        (vec![("retry-after-ms", "84.5"), ("retry-after", "1")], Some(0.0845)),
        (vec![("retry-after-ms", "soon"), ("retry-after", "2")], Some(2.0)),
        (vec![date, ("retry-after", "Fri, 21 Aug 2026 12:00:30 GMT")], Some(30.0)),
        (vec![date, ("retry-after", "Fri, 21 Aug 2026 11:00:00 GMT")], Some(0.0)),
        (vec![("retry-after", "Fri, 21 Aug 2026 12:40:30 GMT")], Some(30.0)),
        (vec![("retry-after", "-3")], None),
        (vec![("retry-after", "1e3")], None),
        (vec![("retry-after", "0x3")], None),
        (vec![("retry-after", "8, 8")], Some(8.0)),
        (vec![("retry-after", "8"), ("retry-after", "9")], Some(9.0)),
        (vec![("retry-after", "1m30s")], Some(90.0)),
        (vec![("retry-after-ms", ""), ("retry-after", "8")], Some(8.0)),
        (vec![("retry-after", "1787316004")], Some(4.0)),
        (vec![date, ("retry-after", "1787313604")], Some(4.0)),
        (vec![("retry-after", "864000")], Some(86_400.0)),
        (vec![date, ("retry-after", "Mon, 31 Aug 2026 12:00:00 GMT")], Some(86_400.0)),
        (vec![("retry-after", "NaN")], None),
        (vec![("retry-after", "inf")], None),
        (vec![("retry-after", "later")], None),
        (vec![("retry-after", "")], None),
        (vec![], None),
    ] {
        let read = read_retry_after(&headers(&lines), now()).map(|wait| wait.as_secs_f64());
        assert_eq!(read, seconds, "{lines:?}");
    }
}

/// The server's clock is not ours, and only the difference to its own counts.
#[test]
fn moments_are_counted_by_the_clock_that_wrote_them() {
    use chrono::TimeDelta;
    let http = |at: DateTime<Utc>| at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for hours in [-24, -1, 0, 1, 24] {
        let server = now() + TimeDelta::hours(hours);
        let until = server + TimeDelta::seconds(4);
        let date = http(server);
        let after = |text: &str| read_retry_after(&headers(&[("date", &date), ("retry-after", text)]), now());
        assert_eq!(after(&http(until)), Some(Duration::from_secs(4)), "{hours} h");
        assert_eq!(after(&until.timestamp().to_string()), Some(Duration::from_secs(4)), "{hours} h");
        let (seconds, millis) = (until.timestamp(), until.timestamp_millis());
        let epochs = [seconds, millis, 1_000 * millis, 1_000_000 * millis].map(|epoch| epoch.to_string());
        for reset in epochs.into_iter().chain([until.to_rfc3339(), http(until), "4".to_owned(), "4s".to_owned()]) {
            let read = limits(&[("date", &date), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset)]);
            assert_eq!(read.exhausted(), Some(Duration::from_secs(4)), "{hours} h, `{reset}`");
        }
    }
}

#[test]
fn the_quota_of_the_drafts_is_waited_for_where_it_is_used_up() {
    for (lines, seconds) in [
        (vec![("ratelimit", r#""default";r=0;t=8"#), ("ratelimit-policy", r#""default";q=10;w=60"#)], Some(8)),
        (vec![("ratelimit", r#""burst";r=5;t=60, "day";r=0;t=8"#)], Some(8)),
        (vec![("ratelimit", r#""default";r=5;t=8"#)], None),
        (vec![("ratelimit", "limit=10, remaining=0, reset=8")], Some(8)),
        (vec![("ratelimit", "limit=10, remaining=5, reset=8")], None),
        (vec![("ratelimit-limit", "10"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "8")], Some(8)),
        (vec![("ratelimit-reset", "8")], Some(8)),
        (vec![("ratelimit-remaining", "3"), ("ratelimit-reset", "8")], None),
        (vec![("ratelimit", "soon")], None),
        (vec![], None),
    ] {
        assert_eq!(waits::read_quota_reset(&headers(&lines), now()), seconds.map(Duration::from_secs), "{lines:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_passed_over() {
    let mut map = headers(&[("x-ratelimit-limit-requests", "10")]);
    map.insert("x-ratelimit-remaining-requests", HeaderValue::from_bytes(b"\xff\xfe").expect("opaque bytes"));
    map.insert("retry-after", HeaderValue::from_bytes(b"\xff").expect("opaque bytes"));
    assert_eq!(read_rate_limits(&map, now()).requests, Window { limit: Some(10), ..Window::NONE });
    assert_eq!(read_retry_after(&map, now()), None);
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_exceeds_its_bounds(
        part in "(limit|remaining|reset|x|)",
        counter in "(requests|req|tokens|input-tokens|)",
        span in "(-second|-minute|-hour|-day|-month|-week|)",
        value in "([-+0-9a-zA-Zµ:., ]{0,24}|[0-9]{1,40}|-?[0-9.]{1,9}(ms|s|m|h|d)([0-9]{1,9}(s|ns))?)",
        date in "([A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT|[ -~]{0,30})",
        clock in -8_000_000_000_000_i64..8_000_000_000_000,
    ) {
        let now = DateTime::from_timestamp_millis(clock).expect("in range");
        let mut map = HeaderMap::new();
        for name in [format!("x-ratelimit-{part}-{counter}{span}"), format!("anthropic-ratelimit-{counter}-{part}")] {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
                map.insert(name, value);
            }
        }
        for (name, value) in [("date", &date), ("retry-after", &value), ("retry-after-ms", &date)] {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                map.insert(name, value);
            }
        }
        let read = read_rate_limits(&map, now);
        for window in [read.requests, read.tokens, read.input_tokens, read.output_tokens] {
            prop_assert!(window.limit != Some(0));
            prop_assert!(window.reset.is_none_or(|reset| reset <= LONGEST_RESET));
        }
        prop_assert!(read_retry_after(&map, now).is_none_or(|wait| wait <= LONGEST_RETRY_AFTER));
    }

    #[test]
    fn durations_are_read_back(hours in 0_u64..100, minutes in 0_u64..60, millis in 0_u64..60_000) {
        let text = format!("{hours}h{minutes}m{}.{:03}s", millis / 1_000, millis % 1_000);
        let read = parse_duration(&text).expect("a duration").as_secs_f64();
        let meant = (hours * 3_600 + minutes * 60) as f64 + millis as f64 / 1e3;
        prop_assert!((read - meant).abs() < 1e-6, "{text}: {read}");
    }
}
