//! Limits that providers announce in response headers, in their several dialects.
//!
//! Everything here is a pure function of the headers and the time. What is not understood is left out: a
//! limit that is read wrongly is worse than one that is not known.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// One limit: how much is allowed a minute, how much is left, and when it is full again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// The most in a minute. Left out where the provider counts over an hour or longer: such a limit says
    /// nothing about the pace until it is used up.
    pub limit: Option<u64>,
    /// What is left, of the minute or of the longer window that is used up.
    pub remaining: Option<u64>,
    /// Until it is full again: not until the next request may leave, which is sooner.
    pub reset: Option<Duration>,
}

/// The limits of one response.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateLimits {
    /// Requests.
    pub requests: Window,
    /// Tokens, input and output together.
    pub tokens: Window,
    /// Tokens of prompts alone, where they have a limit of their own (Anthropic).
    pub input_tokens: Window,
    /// Tokens of answers alone, where they have a limit of their own (Anthropic).
    pub output_tokens: Window,
}

impl Window {
    /// Nothing announced.
    pub const NONE: Self = Self { limit: None, remaining: None, reset: None };
}

impl RateLimits {
    /// Nothing announced.
    pub const NONE: Self = Self { requests: Window::NONE, tokens: Window::NONE, input_tokens: Window::NONE, output_tokens: Window::NONE };

    /// How long until the limits that are used up are full again; `None` if none is, or it is not said.
    pub fn exhausted(&self) -> Option<Duration> {
        [self.requests, self.tokens, self.input_tokens, self.output_tokens]
            .into_iter()
            .filter(|window| window.remaining == Some(0))
            .filter_map(|window| window.reset)
            .max()
    }
}

/// Longer than any window, so that a strange number cannot stop a run for ever.
const LONGEST_RESET: Duration = Duration::from_secs(31 * 24 * 3_600);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Reads the limits out of a response's headers: those of OpenAI, Azure, Anthropic, Mistral, Groq, Cerebras
/// and OpenRouter. `now` is our clock; the response's own `Date` is preferred where a header names a moment.
pub fn read_rate_limits(headers: &HeaderMap, now: DateTime<Utc>) -> RateLimits {
    let mut drafts = [[Draft::default(); SPANS]; COUNTERS];
    let mut clock = None;
    for (name, value) in headers {
        let Some((part, counter, span)) = parse_name(name.as_str()) else { continue };
        let Ok(value) = value.to_str() else { continue };
        let draft = &mut drafts[counter as usize][span as usize];
        match part {
            Part::Limit => draft.limit = parse_count(value),
            Part::Remaining => draft.remaining = parse_count(value),
            Part::Reset => draft.reset = parse_reset(value, *clock.get_or_insert_with(|| server_time(headers, now))),
        }
    }
    let [requests, tokens, input_tokens, output_tokens] = drafts.map(|spans| binding(&spans));
    RateLimits { requests, tokens, input_tokens, output_tokens }
}

/// How long the provider asks to wait: `retry-after-ms` before `retry-after`, at most a day. A moment is
/// counted from the response's own `Date` (from `now` without one), whatever our clock says.
pub fn read_retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
        Duration::try_from_secs_f64((number * unit).clamp(0.0, LONGEST_RETRY_AFTER.as_secs_f64())).ok()
    };
    let in_milliseconds = text("retry-after-ms").and_then(|text| seconds(text, 1e-3));
    in_milliseconds.or_else(|| {
        let text = text(RETRY_AFTER.as_str())?;
        seconds(text, 1.0).or_else(|| {
            let until = parse_http_date(text)? - server_time(headers, now);
            Some(until.to_std().unwrap_or_default().min(LONGEST_RETRY_AFTER))
        })
    })
}

/// Which number of a limit a header holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Limit,
    Remaining,
    Reset,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Counter {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
}
const COUNTERS: usize = 4;

/// Over how long it is counted, shortest first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Span {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    /// A header without a word for it and without the habit of a minute (OpenRouter).
    Unsaid,
}
const SPANS: usize = 6;

#[derive(Clone, Copy, Debug, Default)]
struct Draft {
    /// Zero and less stand for "unknown" at Azure, so the sign is kept until all parts are read.
    limit: Option<i64>,
    remaining: Option<i64>,
    reset: Option<Duration>,
}

/// Takes a header's name apart; names arrive in lower case.
fn parse_name(name: &str) -> Option<(Part, Counter, Span)> {
    if let Some(rest) = name.strip_prefix("anthropic-ratelimit-") {
        let (counter, part) = rest.rsplit_once('-')?;
        let counter = match counter {
            "requests" => Counter::Requests,
            "tokens" => Counter::Tokens,
            "input-tokens" => Counter::InputTokens,
            "output-tokens" => Counter::OutputTokens,
            _ => return None,
        };
        return Some((parse_part(part)?, counter, Span::Minute));
    }
    let mut words = name.strip_prefix("x-ratelimit-")?.split('-');
    let part = parse_part(words.next()?)?;
    let counter = match words.next() {
        None => return Some((part, Counter::Requests, Span::Unsaid)),
        Some("requests" | "req") => Counter::Requests,
        Some("tokens") => Counter::Tokens,
        Some(_) => return None,
    };
    let span = match words.next() {
        None | Some("minute") => Span::Minute,
        Some("second") => Span::Second,
        Some("hour") => Span::Hour,
        Some("day") => Span::Day,
        Some("month") => Span::Month,
        Some(_) => return None,
    };
    words.next().is_none().then_some((part, counter, span))
}

fn parse_part(word: &str) -> Option<Part> {
    match word {
        "limit" => Some(Part::Limit),
        "remaining" => Some(Part::Remaining),
        "reset" => Some(Part::Reset),
        _ => None,
    }
}

fn parse_count(value: &str) -> Option<i64> {
    let value = value.trim();
    let whole = || value.parse::<f64>().ok().filter(|number| number.abs() < 9e18).map(|number| number as i64);
    value.parse().ok().or_else(whole)
}

/// The window to go by: a longer one if it is used up, else the shortest that says anything.
fn binding(spans: &[Draft; SPANS]) -> Window {
    let longer = [Span::Month, Span::Day, Span::Hour, Span::Unsaid].map(|span| (span, spans[span as usize].remaining()));
    let used_up = longer.iter().find(|(_, remaining)| *remaining == Some(0)).map(|(span, _)| *span);
    let shortest = || {
        [Span::Minute, Span::Second, Span::Unsaid, Span::Hour, Span::Day, Span::Month].into_iter().find(|span| {
            let draft = &spans[*span as usize];
            draft.limit().is_some() || draft.remaining().is_some()
        })
    };
    let Some(span) = used_up.or_else(shortest) else { return Window::NONE };
    let draft = &spans[span as usize];
    // The pace stays that of the minute while a longer window is what holds requests up.
    let minute = || spans[Span::Minute as usize].limit();
    let limit = minute().or_else(|| spans[Span::Second as usize].limit()?.checked_mul(60));
    Window { limit, remaining: draft.remaining(), reset: draft.reset }
}

impl Draft {
    fn limit(&self) -> Option<u64> {
        self.limit.filter(|limit| *limit > 0).map(i64::unsigned_abs)
    }

    /// Nothing left of a limit that is announced as unknown is unknown too.
    fn remaining(&self) -> Option<u64> {
        let unknown = self.limit.is_some_and(|limit| limit <= 0);
        self.remaining.filter(|remaining| *remaining > 0 || (*remaining == 0 && !unknown)).map(i64::unsigned_abs)
    }
}

/// Reads the time until a limit is full: a duration (`12ms`, `6m0s`, `1h2m3.5s`), seconds, an epoch in seconds
/// or milliseconds, or a date. `None` for what is negative or none of these.
pub(crate) fn parse_reset(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    let reset = if let Ok(number) = value.parse::<f64>() {
        if !number.is_finite() || number < 0.0 {
            return None;
        }
        let epoch = now.timestamp_millis() as f64 / 1e3;
        let seconds = match number {
            _ if number < 1e9 => number,
            _ if number < 1e10 => number - epoch,
            _ => number / 1e3 - epoch,
        };
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST_RESET)
    } else if let Some(duration) = parse_duration(value) {
        duration
    } else {
        let date = DateTime::parse_from_rfc3339(value).map(|date| date.to_utc()).ok();
        (date.or_else(|| parse_http_date(value))? - now).to_std().unwrap_or_default()
    };
    Some(reset.min(LONGEST_RESET))
}

/// Reads a duration in Go's form: numbers with units, largest first, nothing between them.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0.0_f64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number = rest[..digits].parse::<f64>().ok()?;
        let unit_and_rest = &rest[digits..];
        let unit_length = unit_and_rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit_and_rest.len());
        let (unit, after) = unit_and_rest.split_at(unit_length);
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = after;
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

/// Reads a date as HTTP writes them: the form in use and the two that RFC 9110 still accepts.
fn parse_http_date(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.to_utc());
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|date| date.and_utc())
}

/// The server's clock when it sent the response.
fn server_time(headers: &HeaderMap, now: DateTime<Utc>) -> DateTime<Utc> {
    headers.get(DATE).and_then(|date| parse_http_date(date.to_str().ok()?)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
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
            (vec![("retry-after", "-3")], Some(0.0)),
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
}
