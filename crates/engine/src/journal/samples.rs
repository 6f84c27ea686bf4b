//! Attempts to test with.

use promptmill_core::{Attempt, Begun, CostSource, Fingerprint, Money, Usage};

/// What is asked about the row with this key.
pub(super) fn question(key: &str) -> Fingerprint {
    Fingerprint::of([b"question".as_slice(), key.as_bytes()])
}

/// An attempt about to be sent that can cost 1,000 nano-dollars.
pub(super) fn begun(id: &str, keys: &[&str]) -> Begun {
    Begun {
        attempt_id: id.to_owned(),
        run_id: "run-1".to_owned(),
        model: "mistral-small".to_owned(),
        provider: "openrouter".to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        questions: keys.iter().map(|key| question(key)).collect(),
        started_at: 1_784_000_000_000_001,
        reserved: Money::from_nano(1_000),
    }
}

/// The same, ended well at a cost of 700 nano-dollars.
pub(super) fn attempt(id: &str, keys: &[&str]) -> Attempt {
    Attempt {
        begun: begun(id, keys),
        latency_ms: 812.5,
        status: "ok".to_owned(),
        error: None,
        finish_reason: Some("stop".to_owned()),
        usage: Some(Usage { input_tokens: 1_410, cached_input_tokens: 1_152, output_tokens: 96, ..Usage::default() }),
        cost: Some(Money::from_nano(700)),
        cost_source: Some(CostSource::Provider),
        answered: 2,
        raw_response: Some(format!("{{\"r1\": \"de motie verzoekt …\", \"id\": \"{id}\"}}")),
    }
}
