//! A number that adapts between bounds, or a fixed one: how `rows` and `concurrency` are written.

use promptmill_core::{Bounds, Setting};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

/// A number between `min` and `max` that starts at `start`. Written as a table with any of the three, or as a
/// plain number that stays as it is. The parameters are the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Adaptive<const START: usize, const MIN: usize, const MAX: usize> {
    /// The value at the start.
    pub(crate) start: usize,
    /// The least value.
    pub(crate) min: usize,
    /// The greatest value.
    pub(crate) max: usize,
}

impl<const START: usize, const MIN: usize, const MAX: usize> Default for Adaptive<START, MIN, MAX> {
    fn default() -> Self {
        Self { start: START, min: MIN, max: MAX }
    }
}

impl<const START: usize, const MIN: usize, const MAX: usize> Adaptive<START, MIN, MAX> {
    /// The bounds that it sets.
    pub(crate) fn bounds(self) -> Bounds {
        Bounds { start: self.start, min: self.min, max: self.max }
    }

    /// The settings that let the number, which was `written` in this way, be at most so much.
    pub(crate) fn at_most(name: &str, written: Option<&Value>, most: usize) -> Vec<Setting> {
        let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect();
        let Some(table) = written.and_then(Value::as_object) else { return vec![(path(&[name]), most.into())] };
        // A start or a least value above the new bound would contradict it.
        let too_high = |field: &&str| table.get(*field).and_then(Value::as_u64).is_some_and(|value| value > most as u64);
        let fields = ["max"].into_iter().chain(["start", "min"].into_iter().filter(too_high));
        fields.map(|field| (path(&[name, field]), most.into())).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    start: Option<usize>,
    min: Option<usize>,
    max: Option<usize>,
}

impl<'de, const START: usize, const MIN: usize, const MAX: usize> Deserialize<'de> for Adaptive<START, MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Some(fixed) = value.as_u64() {
            let fixed = usize::try_from(fixed).ok().filter(|fixed| (1..=4096).contains(fixed));
            let fixed = fixed.ok_or_else(|| de::Error::custom("expected a number from 1 to 4096"))?;
            return Ok(Self { start: fixed, min: fixed, max: fixed });
        }
        let table: Table = serde_json::from_value(value).map_err(de::Error::custom)?;
        let max = table.max.unwrap_or_else(|| MAX.max(table.min.unwrap_or(0)).max(table.start.unwrap_or(0)));
        let min = table.min.unwrap_or_else(|| MIN.min(max).min(table.start.unwrap_or(MIN)));
        let start = table.start.unwrap_or_else(|| START.clamp(min.min(max), max));
        if min == 0 || min > max || start < min || start > max || max > 4096 {
            let message = format!("expected 1 <= min <= start <= max <= 4096, found min = {min}, start = {start}, max = {max}");
            return Err(de::Error::custom(message));
        }
        Ok(Self { start, min, max })
    }
}

impl<const START: usize, const MIN: usize, const MAX: usize> JsonSchema for Adaptive<START, MIN, MAX> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Adaptive{START}In{MIN}To{MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let bound = |description: &str, default: usize| serde_json::json!({"type": "integer", "minimum": 1, "maximum": 4096, "default": default, "description": description});
        json_schema!({
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 4096, "description": "A fixed number."},
                {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "start": bound("The value at the start.", START),
                        "min": bound("The least value.", MIN),
                        "max": bound("The greatest value.", MAX),
                    },
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<(usize, usize, usize), String> {
        serde_json::from_str::<Adaptive<15, 1, 40>>(json)
            .map(|setting| (setting.start, setting.min, setting.max))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_is_fixed_and_a_table_has_defaults() {
        assert_eq!(read("20"), Ok((20, 20, 20)));
        assert_eq!(read("{}"), Ok((15, 1, 40)));
        assert_eq!(read(r#"{"max": 64}"#), Ok((15, 1, 64)));
        assert_eq!(read(r#"{"max": 10}"#), Ok((10, 1, 10)));
        assert_eq!(read(r#"{"start": 60}"#), Ok((60, 1, 60)));
        assert_eq!(read(r#"{"min": 50}"#), Ok((50, 50, 50)));
        for wrong in ["0", "5000", r#"{"min": 5, "max": 2}"#, r#"{"start": 50, "max": 40}"#, r#"{"min": 0}"#, "\"20\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
