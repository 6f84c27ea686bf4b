//! Changes of settings at run time: how a patch is merged, and which settings it may touch.
//!
//! Leaves to `server` when a patch is applied and to `limits` what a changed limit does to what is in flight.

use crate::config::{BadSetting, SimConfig};
use crate::faults::FaultRates;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The settings that may change while the service runs. The rest (address, seed, key, schedule) is fixed at the start.
pub const PATCHABLE: [&str; 12] = [
    "latency",
    "limits",
    "outage",
    "faults",
    "slow_body_ms",
    "huge_body_mb",
    "answer_tokens",
    "context_tokens",
    "price",
    "billing",
    "report_cost",
    "cached_prefix",
];

/// A change to play at a given time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduledPatch {
    /// When, in seconds after the moment that `schedule_from` names.
    pub at_seconds: f64,
    /// What changes: a JSON merge patch (RFC 7396) of the settings, such as `{"limits": {"max_in_flight": 16}}`.
    pub patch: Value,
}

/// `config` with `patch` merged in. `null` takes a setting back to its default, so that
/// `{"limits": {"rpm": null}}` lifts a limit; in `faults`, `all` sets every rate before the named ones.
///
/// # Errors
/// A patch that is no object, touches a setting outside [`PATCHABLE`], or leads to settings that cannot be.
pub(crate) fn patched(config: &SimConfig, patch: &Value) -> Result<SimConfig, BadSetting> {
    let Value::Object(changes) = patch else {
        return Err(BadSetting::new("a patch must be a JSON object"));
    };
    if let Some(name) = changes.keys().find(|name| !PATCHABLE.contains(&name.as_str())) {
        return Err(BadSetting::new(format!("`{name}` cannot change at run time; these can: {}", PATCHABLE.join(", "))));
    }
    let mut whole = serde_json::to_value(config).map_err(|error| BadSetting::new(error.to_string()))?;
    merge(&mut whole, patch);
    if let (Some(Value::Object(changed)), Value::Object(settings)) = (changes.get("faults"), &mut whole) {
        settings.insert("faults".into(), rates(&config.faults, changed)?);
    }
    let next: SimConfig = serde_json::from_value(whole).map_err(|error| BadSetting::new(error.to_string()))?;
    next.check()?;
    Ok(next)
}

/// The patchable part of `config`, as a patch that would restore it.
pub(crate) fn settings(config: &SimConfig) -> Value {
    let mut shown = Map::new();
    if let Ok(Value::Object(whole)) = serde_json::to_value(config) {
        shown.extend(whole.into_iter().filter(|(name, _)| PATCHABLE.contains(&name.as_str())));
    }
    Value::Object(shown)
}

fn rates(current: &FaultRates, changes: &Map<String, Value>) -> Result<Value, BadSetting> {
    let mut rates = current.clone();
    let all_first = changes.iter().filter(|(name, _)| *name == "all");
    for (name, value) in all_first.chain(changes.iter().filter(|(name, _)| *name != "all")) {
        let probability = match value {
            Value::Null => 0.0,
            value => value.as_f64().ok_or_else(|| BadSetting::new(format!("the probability of `{name}` must be a number, not {value}")))?,
        };
        rates.set(name, probability)?;
    }
    serde_json::to_value(rates).map_err(|error| BadSetting::new(error.to_string()))
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(settings) = target {
        for (name, change) in changes {
            if change.is_null() {
                settings.shift_remove(name);
            } else {
                merge(settings.entry(name.as_str()).or_insert(Value::Null), change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Outage;
    use crate::faults::Fault;
    use serde_json::json;

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let mut config = SimConfig { seed: 7, ..SimConfig::instant() };
        config.limits.rpm = Some(100);
        let next = patched(&config, &json!({"limits": {"max_in_flight": 16}, "outage": "503"})).expect("valid");
        assert_eq!(next.limits.max_in_flight, Some(16));
        assert_eq!(next.outage, Outage::Unavailable);
        assert_eq!((next.seed, next.limits.rpm, next.latency.instant), (7, Some(100), true));
        let back = patched(&next, &json!({"limits": {"max_in_flight": null, "rpm": null}, "outage": "none"})).expect("valid");
        assert_eq!((back.limits.max_in_flight, back.limits.rpm), (None, None));
    }

    #[test]
    fn all_faults_can_be_set_and_cleared() {
        let config = SimConfig { faults: "reset=0.5".parse().expect("valid"), ..SimConfig::default() };
        let next = patched(&config, &json!({"faults": {"english": 0.1, "all": 0.02}})).expect("valid");
        assert_eq!((next.faults.get(Fault::Reset), next.faults.get(Fault::English)), (0.02, 0.1));
        let next = patched(&next, &json!({"faults": {"reset": null}})).expect("valid");
        assert_eq!((next.faults.get(Fault::Reset), next.faults.get(Fault::Stall)), (0.0, 0.02));
        assert!(patched(&next, &json!({"faults": {"all": 0}})).expect("valid").faults.is_none());
        assert!(patched(&next, &json!({"faults": null})).expect("valid").faults.is_none());
    }

    #[test]
    fn bad_patches_are_refused() {
        let config = SimConfig::default();
        for patch in [
            json!([]),
            json!({"seed": 1}),
            json!({"api_key": "x"}),
            json!({"limits": {"max_in_flihgt": 1}}),
            json!({"limits": {"rpm": 0}}),
            json!({"faults": {"reset": 2}}),
            json!({"faults": {"reset": "often"}}),
            json!({"latency": {"base_ms": -1}}),
        ] {
            assert!(patched(&config, &patch).is_err(), "{patch}");
        }
    }

    #[test]
    fn settings_restore_themselves_and_hide_the_key() {
        let config = SimConfig { api_key: Some("geheim".into()), ..SimConfig::instant() };
        let shown = settings(&config);
        assert!(shown.get("api_key").is_none());
        assert_eq!(patched(&config, &shown).expect("valid"), config);
    }
}
