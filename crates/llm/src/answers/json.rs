//! A value as a model wrote it: numbers and words as they stood, and whether its end was seen.

use std::fmt;

/// A value, as far as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// Something without quotes that JSON does not know, such as `NaN`.
    Word(String),
    Text(String),
    List(Vec<Json>, Whole),
    Object(Vec<(String, Json)>, Whole),
}

/// Whether the end of a list or object has been seen. Everything inside one that is whole is whole.
pub(super) type Whole = bool;

impl Json {
    /// Whether its end has been seen.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self, Self::List(_, false) | Self::Object(_, false))
    }

    /// Whether a wrong guess about where it ends is possible.
    pub(super) fn is_doubtful(&self) -> bool {
        !matches!(self, Self::List(..) | Self::Object(..))
    }
}

/// What was said, on one line; a text without its quotes.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            other => other.nested(f),
        }
    }
}

impl Json {
    fn nested(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(word) | Self::Word(word) => f.write_str(word),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(items, _) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index > 0 { "," } else { "" })?;
                    item.nested(f)?;
                }
                f.write_str("]")
            }
            Self::Object(pairs, _) => {
                f.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{}:", if index > 0 { "," } else { "" }, quoted(key))?;
                    value.nested(f)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// What a word without quotes stands for.
pub(super) fn known(word: String) -> Json {
    match word.as_str() {
        "null" | "None" => Json::Null,
        "true" | "True" => Json::Bool(true),
        "false" | "False" => Json::Bool(false),
        _ if is_number(&word) => Json::Number(word),
        _ => Json::Word(word),
    }
}

/// Whether this is a number as JSON writes them.
pub(super) fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let word = word.strip_prefix('-').unwrap_or(word);
    let (base, exponent) = word.split_once(['e', 'E']).map_or((word, None), |(base, exponent)| (base, Some(exponent)));
    let (whole, fraction) = base.split_once('.').map_or((base, None), |(whole, fraction)| (whole, Some(fraction)));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_json() {
        for word in ["0", "-1", "12.50", "1e3", "1E-3", "-0.0", "123456789012345678901234567890"] {
            assert!(is_number(word), "{word}");
        }
        for word in ["", "-", "01", "1.", ".5", "1e", "+1", "0x1", "1_000", "NaN", "1.2.3", "--1"] {
            assert!(!is_number(word), "{word}");
        }
    }
}
