//! The catalogue of faults and their probabilities.
//!
//! Which of them strikes is drawn in `draw`. What a fault does to a response is done where that part of the response is made: to the text in `content`, to the
//! message in `reply`, to the bytes on the wire in `chat` and `body`.

use crate::config::BadSetting;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Something that goes wrong with a request or with one item of its answer. [`FAULTS`] describes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table FAULTS says what each one is, once")]
pub enum Fault {
    ServerError,
    RateLimit,
    Quota,
    Auth,
    ContextTooLong,
    Reset,
    Stall,
    SlowBody,
    HugeBody,
    ErrorIn200,
    MissingUsage,
    NullContent,
    EmptyContent,
    Refusal,
    Truncated,
    InvalidUtf8,
    MalformedJson,
    Fences,
    MissingIds,
    ExtraIds,
    DuplicateIds,
    SwappedIds,
    English,
    OtherScripts,
    MetadataLeak,
    BilledError,
}

/// What a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The whole request; at most one such fault a request.
    Request,
    /// One item of the answer; at most one such fault an item, and several items may be struck.
    Item,
}

/// One line of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct FaultInfo {
    /// The fault.
    pub fault: Fault,
    /// The name by which it is asked for and counted.
    pub name: &'static str,
    /// What a client sees, in one line.
    pub summary: &'static str,
    /// What it strikes.
    pub scope: Scope,
    /// Whether `all` includes it; not those that rightly end a run.
    pub in_all: bool,
    /// Whether the tokens of a request that it strikes are billed: they are where something was generated.
    pub billed: bool,
}

const fn info(fault: Fault, name: &'static str, scope: Scope, billed: bool, summary: &'static str) -> FaultInfo {
    let in_all = !matches!(fault, Fault::Quota | Fault::Auth);
    FaultInfo { fault, name, summary, scope, in_all, billed }
}

/// Every fault, in the order of [`Fault`].
#[rustfmt::skip]
pub const FAULTS: [FaultInfo; Fault::COUNT] = [
    info(Fault::ServerError, "server-error", Scope::Request, false, "500, 502, 503, 521 or 529, some with an HTML body"),
    info(Fault::RateLimit, "rate-limit", Scope::Request, false, "429 that does not say which limit was met"),
    info(Fault::Quota, "quota", Scope::Request, false, "429 `insufficient_quota`: the money is gone"),
    info(Fault::Auth, "auth", Scope::Request, false, "401 `invalid_api_key`"),
    info(Fault::ContextTooLong, "context-too-long", Scope::Request, false, "400 `context_length_exceeded`, only for more than one item, so that splitting cures it"),
    info(Fault::Reset, "reset", Scope::Request, true, "headers and part of the body, then the connection is reset"),
    info(Fault::Stall, "stall", Scope::Request, true, "headers and part of the body, then silence until the client leaves"),
    info(Fault::SlowBody, "slow-body", Scope::Request, true, "the body comes in small pieces over `slow_body_ms`"),
    info(Fault::HugeBody, "huge-body", Scope::Request, true, "a valid body with `huge_body_mb` of padding before the answer"),
    info(Fault::ErrorIn200, "error-in-200", Scope::Request, false, "status 200 with an error object, at the top or in the choice"),
    info(Fault::MissingUsage, "missing-usage", Scope::Request, true, "a good answer without `usage`"),
    info(Fault::NullContent, "null-content", Scope::Request, true, "content is null; the tokens of the lost answer are billed"),
    info(Fault::EmptyContent, "empty-content", Scope::Request, true, "content is the empty text; only the prompt is billed"),
    info(Fault::Refusal, "refusal", Scope::Request, true, "`message.refusal` is set and content is null"),
    info(Fault::Truncated, "truncated", Scope::Request, true, "content is cut in the middle, `finish_reason` is `length`"),
    info(Fault::InvalidUtf8, "invalid-utf8", Scope::Request, true, "a byte that is not UTF-8 within the content"),
    info(Fault::MalformedJson, "malformed-json", Scope::Request, true, "the content's JSON is broken"),
    info(Fault::Fences, "fences", Scope::Request, true, "the content's JSON stands in a Markdown fence with prose around it"),
    info(Fault::MissingIds, "missing-ids", Scope::Request, true, "one to a third of the items are not answered"),
    info(Fault::ExtraIds, "extra-ids", Scope::Request, true, "one or two ids are answered that were not asked"),
    info(Fault::DuplicateIds, "duplicate-ids", Scope::Request, true, "one id is answered twice, with different texts"),
    info(Fault::SwappedIds, "swapped-ids", Scope::Request, true, "two items' answers stand under each other's ids; only for more than one item"),
    info(Fault::English, "english", Scope::Item, true, "the item is answered in English"),
    info(Fault::OtherScripts, "other-scripts", Scope::Item, true, "an Arabic or Cyrillic line stands in the item's answer"),
    info(Fault::MetadataLeak, "metadata-leak", Scope::Item, true, "a fragment such as `(45-102)` stands in the item's answer"),
    info(Fault::BilledError, "billed-error", Scope::Request, true, "500, 429 or 503 whose body states what was billed for the lost answer"),
];

impl Fault {
    /// How many there are.
    pub const COUNT: usize = 26;

    /// Its line of the catalogue.
    pub fn info(self) -> &'static FaultInfo {
        &FAULTS[self as usize]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Whether it can strike a request of `items` items whose answer is JSON or plain text.
    pub(crate) fn applies(self, items: usize, json: bool) -> bool {
        match self {
            Self::ContextTooLong => items > 1,
            Self::SwappedIds => items > 1 && json,
            Self::MalformedJson | Self::Fences | Self::MissingIds | Self::ExtraIds | Self::DuplicateIds => json,
            _ => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = BadSetting;

    fn from_str(name: &str) -> Result<Self, BadSetting> {
        FAULTS.iter().find(|info| info.name == name).map(|info| info.fault).ok_or_else(|| {
            let names: Vec<_> = FAULTS.iter().map(|info| info.name).collect();
            BadSetting::new(format!("unknown fault `{name}`; there are: all, {}", names.join(", ")))
        })
    }
}

/// A probability for each fault, 0 where nothing was said. Written as `all=0.02,reset=0.1` or as a map.
///
/// The rates of one scope may not need to add up: where they come to more than 1, all are scaled down alike.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRates([f64; Fault::COUNT]);

impl FaultRates {
    /// The probability of `fault`.
    pub fn get(&self, fault: Fault) -> f64 {
        self.0[fault as usize]
    }

    /// Sets the probability of the fault called `name`, or of every fault of `all`.
    ///
    /// # Errors
    /// An unknown name, or a probability outside 0 to 1.
    pub fn set(&mut self, name: &str, probability: f64) -> Result<(), BadSetting> {
        if !(0.0..=1.0).contains(&probability) {
            return Err(BadSetting::new(format!("the probability of `{name}` must be between 0 and 1, not {probability}")));
        }
        if name == "all" {
            for info in FAULTS.iter().filter(|info| info.in_all) {
                self.0[info.fault as usize] = probability;
            }
        } else {
            self.0[name.parse::<Fault>()? as usize] = probability;
        }
        Ok(())
    }

    /// Whether no fault can strike.
    pub fn is_none(&self) -> bool {
        self.0.iter().all(|rate| *rate == 0.0)
    }

    /// The fault of `scope` on which `point`, uniform in 0 to 1, falls when the rates are laid end to end.
    pub(crate) fn at(&self, scope: Scope, point: f64) -> Option<Fault> {
        let of_scope = || FAULTS.iter().filter(|info| info.scope == scope);
        let sum: f64 = of_scope().map(|info| self.get(info.fault)).sum();
        let mut left = point * sum.max(1.0);
        for info in of_scope() {
            let rate = self.get(info.fault);
            if left < rate {
                return Some(info.fault);
            }
            left -= rate;
        }
        None
    }
}

impl Default for FaultRates {
    fn default() -> Self {
        Self([0.0; Fault::COUNT])
    }
}

impl FromStr for FaultRates {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        let mut rates = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or_else(|| BadSetting::new(format!("`{part}` names no probability; write it as `{part}=0.02`")))?;
            let value = value.trim();
            let probability =
                value.parse().map_err(|_| BadSetting::new(format!("`{value}` is no probability; write a number from 0 to 1")))?;
            rates.set(name.trim(), probability)?;
        }
        Ok(rates)
    }
}

impl Serialize for FaultRates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for info in FAULTS.iter().filter(|info| self.get(info.fault) > 0.0) {
            map.serialize_entry(info.name, &self.get(info.fault))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for FaultRates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rates;
        impl<'de> Visitor<'de> for Rates {
            type Value = FaultRates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from fault names to probabilities")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FaultRates, A::Error> {
                let mut named = Vec::new();
                while let Some((name, probability)) = map.next_entry::<String, f64>()? {
                    named.push((name, probability));
                }
                // `all` is the ground on which single rates stand, wherever it is written.
                named.sort_by_key(|(name, _)| name != "all");
                let mut rates = FaultRates::default();
                for (name, probability) in named {
                    rates.set(&name, probability).map_err(serde::de::Error::custom)?;
                }
                Ok(rates)
            }
        }
        deserializer.deserialize_map(Rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_are_unique() {
        for (index, info) in FAULTS.iter().enumerate() {
            assert_eq!(info.fault as usize, index, "{}", info.name);
            assert_eq!(info.name.parse::<Fault>().expect("own name"), info.fault);
            assert!(!info.summary.is_empty() && !info.summary.ends_with('.'));
        }
    }

    #[test]
    fn rates_read_names_and_all() {
        let rates: FaultRates = "all=0.02, reset=0.5".parse().expect("valid");
        assert_eq!(rates.get(Fault::Reset), 0.5);
        assert_eq!(rates.get(Fault::English), 0.02);
        assert_eq!(rates.get(Fault::Quota), 0.0);
        assert_eq!(rates.get(Fault::Auth), 0.0);
        let json = serde_json::json!({"reset": 0.5, "all": 0.02});
        assert_eq!(serde_json::from_value::<FaultRates>(json).expect("valid"), rates);
        assert_eq!("".parse::<FaultRates>().expect("nothing"), FaultRates::default());
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, hint) in [("rset=0.1", "reset"), ("reset", "reset=0.02"), ("reset=x", "0 to 1"), ("reset=2", "between 0 and 1")] {
            let message = text.parse::<FaultRates>().expect_err(text).to_string();
            assert!(message.contains(hint), "{message}");
        }
    }
}
