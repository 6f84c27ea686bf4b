//! Which limit was met, and how long to wait, out of a refusal's words.

use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use super::{Dimension, LimitHint, Per, regex};
use crate::headers::parse_duration;

/// Reads which limit was met. The text is in lower case.
pub(super) fn read_limit_hint(text: &str) -> Option<LimitHint> {
    static USED: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"on (tokens|requests) per (min|minute|day) \([a-z]+\): limit ([\d,]+)(?:, used ~?([\d,]+))?, requested ~?([\d,]+)")
    });
    static RATE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"rate limit of ([\d,]+) (?:input |output |prompt )?(tokens|requests) per (min|minute|day)"));
    static IN_FLIGHT: LazyLock<Regex> = LazyLock::new(|| regex(r"([\d,]+) concurrent|concurren[a-z ]*limit[^\d.]{0,20}([\d,]+)"));

    let number = |text: regex::Match<'_>| text.as_str().replace(',', "").parse::<u64>().ok();
    let dimension = |text: &str| if text == "tokens" { Dimension::Tokens } else { Dimension::Requests };
    let per = |text: &str| Some(if text == "day" { Per::Day } else { Per::Minute });
    if let Some(found) = USED.captures(text) {
        return Some(LimitHint {
            dimension: dimension(&found[1]),
            per: per(&found[2]),
            limit: number(found.get(3)?)?,
            used: found.get(4).and_then(number),
            requested: found.get(5).and_then(number),
        });
    }
    if let Some(found) = RATE.captures(text) {
        let limit = number(found.get(1)?)?;
        return Some(LimitHint { dimension: dimension(&found[2]), per: per(&found[3]), limit, used: None, requested: None });
    }
    let found = IN_FLIGHT.captures(text)?;
    let limit = number(found.get(1).or(found.get(2))?)?;
    Some(LimitHint { dimension: Dimension::Concurrency, per: None, limit, used: None, requested: None })
}

/// Reads `try again in 6m0s`, `retry after 40 seconds`, `please wait 5 seconds`. The text is in lower case.
pub(super) fn read_wait(text: &str) -> Option<Duration> {
    static WAIT: LazyLock<Regex> =
        LazyLock::new(|| regex(r"(?:(?:try again|retry) (?:in|after)|please wait(?: for)?(?: at least)?) (\d\S*)(?: ([a-z]+))?"));
    let found = WAIT.captures(text)?;
    let amount = found[1].trim_end_matches(['.', ',', ';', ')']);
    parse_duration(amount).or_else(|| {
        let unit = match found.get(2).map_or("s", |unit| unit.as_str()) {
            unit if unit.starts_with("ms") || unit.starts_with("milli") => 1e-3,
            unit if unit.starts_with('m') => 60.0,
            unit if unit.starts_with('h') => 3_600.0,
            unit if unit.starts_with('d') => 86_400.0,
            _ => 1.0,
        };
        Duration::try_from_secs_f64(amount.parse::<f64>().ok()? * unit).ok()
    })
}
