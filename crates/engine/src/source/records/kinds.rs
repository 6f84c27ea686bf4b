//! What the texts of a CSV column can all be, without losing anything that stands there.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// Whole numbers up to here are fractions without loss.
const EXACT: u64 = 1 << 53;
/// Digits that a fraction of 64 bits keeps, whatever they are.
const DIGITS: usize = 15;

/// What the values of a column can be so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether there is any value.
    any: bool,
    int: bool,
    float: bool,
    /// Whether one is a number, and not only the word for none.
    number: bool,
    flag: bool,
    day: bool,
    /// A date and a time, without a zone and with one.
    moment: bool,
    zoned: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self { any: false, int: true, float: true, number: false, flag: true, day: true, moment: true, zoned: true }
    }
}

impl Seen {
    /// Takes note of a value.
    pub(super) fn see(&mut self, text: &str) {
        self.any = true;
        if self.int || self.float {
            let int = whole(text);
            self.int &= int.is_some();
            self.float &= match int {
                Some(int) => int.unsigned_abs() <= EXACT,
                None => is_fraction(text) || is_no_number(text),
            };
            self.number |= !is_no_number(text);
        }
        self.flag = self.flag && (text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"));
        self.day = self.day && is_day(text);
        self.moment = self.moment && is_moment(text, false);
        self.zoned = self.zoned && is_moment(text, true);
    }

    /// The same for the values of another file.
    pub(super) fn join(&mut self, other: Self) {
        *self = Self {
            any: self.any || other.any,
            int: self.int && other.int,
            float: self.float && other.float,
            number: self.number || other.number,
            flag: self.flag && other.flag,
            day: self.day && other.day,
            moment: self.moment && other.moment,
            zoned: self.zoned && other.zoned,
        };
    }

    /// Whether they can be nothing but texts, whatever comes.
    pub(super) fn is_text(self) -> bool {
        !(self.int || self.float || self.flag || self.day || self.moment || self.zoned)
    }

    /// Their type.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self { any: false, .. } => DataType::Utf8,
            Self { flag: true, .. } => DataType::Boolean,
            Self { int: true, .. } => DataType::Int64,
            Self { float: true, number: true, .. } => DataType::Float64,
            Self { day: true, .. } => DataType::Date32,
            Self { moment: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self { zoned: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => DataType::Utf8,
        }
    }
}

/// A type as it is stated in a pipeline file.
pub(super) fn stated(name: &str) -> Option<DataType> {
    let name = name.trim().to_lowercase();
    if let Some(inside) = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
        let (precision, scale) = inside.split_once(',').unwrap_or((inside, "0"));
        let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        let is_one = (1..=38).contains(&precision) && (0..=precision.cast_signed()).contains(&scale);
        return is_one.then_some(DataType::Decimal128(precision, scale));
    }
    Some(match name.as_str() {
        "string" => DataType::Utf8,
        "int" => DataType::Int64,
        "float" => DataType::Float64,
        "bool" => DataType::Boolean,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => return None,
    })
}

/// Whether a text is a value of a type, and the same one.
pub(super) fn fits(text: &str, data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 => true,
        DataType::Int64 => text.parse::<i64>().is_ok(),
        DataType::Float64 => text.parse::<f64>().is_ok(),
        DataType::Boolean => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        DataType::Date32 => is_day(text),
        DataType::Timestamp(_, zone) => is_moment(text, zone.is_some()) || (zone.is_none() && is_day(text)),
        DataType::Decimal128(precision, scale) => is_decimal(text, *precision, *scale),
        _ => false,
    }
}

/// A whole number as numbers are written: without zeros in front, which names have.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if is_plain && text != "-0" { text.parse().ok() } else { None }
}

/// A fraction whose digits a number of 64 bits keeps.
pub(super) fn is_fraction(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (before, behind) = mantissa.split_once('.').map_or((mantissa, None), |(before, behind)| (before, Some(behind)));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !before.is_empty() || behind.is_some_and(|behind| !behind.is_empty());
    let is_name = before.len() > 1 && before.starts_with('0');
    let exponent_is_one = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && are_digits(digits)
    });
    if !has_digits || is_name || !are_digits(before) || !behind.is_none_or(are_digits) || !exponent_is_one {
        return false;
    }
    if behind.is_none() && exponent.is_none() {
        // A whole number that is too long for one.
        return false;
    }
    let digits: String = before.chars().chain(behind.unwrap_or_default().chars()).collect();
    let digits = digits.trim_start_matches('0').trim_end_matches('0');
    let Ok(number) = text.parse::<f64>() else { return false };
    if !number.is_finite() || (number == 0.0 && !digits.is_empty()) {
        return false;
    }
    let kept = || format!("{number:e}").trim_start_matches('-').split('e').next().unwrap_or_default().replace('.', "");
    digits.len() <= DIGITS || kept().trim_end_matches('0') == digits
}

fn is_no_number(text: &str) -> bool {
    ["nan", "inf", "-inf"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn is_day(text: &str) -> bool {
    text.len() == 10 && text.as_bytes()[4] == b'-' && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// Whether a text is `2024-01-31 12:30:00`, with up to six digits of a second, and, in a zone, `Z` or `+01:00`.
fn is_moment(text: &str, has_zone: bool) -> bool {
    if !text.is_ascii() || text.len() < 19 || !matches!(text.as_bytes()[10], b' ' | b'T') || !is_day(&text[..10]) {
        return false;
    }
    let fraction = text[19..].strip_prefix('.').map_or("", |rest| &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()]);
    let has_dot = text.as_bytes().get(19) == Some(&b'.');
    if fraction.len() > 6 || has_dot == fraction.is_empty() {
        return false;
    }
    let clock = text[..19 + usize::from(has_dot) + fraction.len()].replace(' ', "T");
    let zone = &text[clock.len()..];
    // Chrono takes a second too many for a leap second, and writes it back as another one.
    if clock.as_bytes()[17..19] == *b"60" || NaiveDateTime::parse_from_str(&clock, "%Y-%m-%dT%H:%M:%S%.f").is_err() {
        return false;
    }
    match (has_zone, zone) {
        (false, zone) => zone.is_empty(),
        (true, "") => false,
        (true, "Z") => true,
        (true, zone) => zone.len() == 6 && DateTime::parse_from_rfc3339(&format!("{clock}{zone}")).is_ok(),
    }
}

fn is_decimal(text: &str, precision: u8, scale: i8) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = before.bytes().chain(behind.bytes()).all(|byte| byte.is_ascii_digit()) && !(before.is_empty() && behind.is_empty());
    let room = usize::from(precision.saturating_sub(scale.unsigned_abs()));
    are_digits && behind.trim_end_matches('0').len() <= usize::from(scale.unsigned_abs()) && before.trim_start_matches('0').len() <= room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> DataType {
        let mut seen = Seen::default();
        texts.iter().for_each(|text| seen.see(text));
        let mut parts = Seen::default();
        for text in texts {
            let mut one = Seen::default();
            one.see(text);
            parts.join(one);
        }
        assert_eq!(seen, parts, "{texts:?}: file by file as in one");
        seen.data_type()
    }

    #[test]
    fn a_column_is_what_all_its_values_are_and_loses_nothing_by_it() {
        use DataType::{Boolean, Date32, Float64, Int64, Utf8};
        let moment = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        for (texts, data_type) in [
            (&["1", "-20", "0"][..], Int64),
            (&["1", "2.5", "1e3", ".5", "-0.25"], Float64),
            (&["nan", "1.5"], Float64),
            (&["Nan", "nan"], Utf8),
            (&["007", "008"], Utf8),
            (&["00.7"], Utf8),
            (&["+31612345678"], Utf8),
            (&["-0"], Utf8),
            (&["12345678901234567890"], Utf8),
            (&["9007199254740993"], Int64),
            (&["9007199254740993", "1.5"], Utf8),
            (&["0.1234567890123456"], Float64),
            (&["0.12345678901234567891"], Utf8),
            (&["1e999", "1.0"], Utf8),
            (&["true", "FALSE"], Boolean),
            (&["true", "1"], Utf8),
            (&["2024-02-29"], Date32),
            (&["2023-02-29"], Utf8),
            (&["2024-02-29", "2024-02-29 10:00:00"], Utf8),
            (&["2024-02-29 10:00:00", "2024-02-29T10:00:00.123456"], moment(None)),
            (&["2024-02-29 10:00:00.1234567"], Utf8),
            (&["2024-02-29 10:00:60"], Utf8),
            (&["2024-02-29 10:00:00."], Utf8),
            (&["2024-02-29T10:00:00Z", "2024-02-29 10:00:00.5+02:00"], moment(Some("UTC"))),
            (&["2024-02-29T10:00:00Z", "2024-02-29T10:00:00"], Utf8),
            (&["12:30:00"], Utf8),
            (&[" 1"], Utf8),
            (&[], Utf8),
        ] {
            assert_eq!(of(texts), data_type, "{texts:?}");
        }
    }

    #[test]
    fn a_value_fits_a_stated_type_or_does_not() {
        let decimal = stated("decimal(5, 2)").expect("a type");
        for (text, data_type, is_one) in [
            ("123.45", &decimal, true),
            ("123.450", &decimal, true),
            ("123.456", &decimal, false),
            ("1234", &decimal, false),
            ("-.5", &decimal, true),
            (".", &decimal, false),
            ("007", &DataType::Int64, true),
            ("1.5", &DataType::Int64, false),
            ("yes", &DataType::Boolean, false),
            ("2024-1-1", &DataType::Date32, false),
        ] {
            assert_eq!(fits(text, data_type), is_one, "{text} {data_type}");
        }
        assert_eq!((stated("decimal(39, 2)"), stated("decimal(2,3)"), stated("number")), (None, None, None));
    }
}
