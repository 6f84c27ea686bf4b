//! Times compared with times that have more digits, exactly.
//!
//! Between two moments of milliseconds lie moments of nanoseconds. DataFusion cuts the finer side of a comparison to the unit of
//! the other one, and finds rows that are earlier than what is asked for. Here the coarser side is compared with the two moments
//! of its unit that lie around the finer one: neither is cut, and neither is brought to a unit that does not reach so far.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Int64Array};
use datafusion::arrow::compute::cast as as_type;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, binary_expr,
};

/// Parts of a second.
pub(super) fn a_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Digits behind the second.
pub(super) fn digits(unit: TimeUnit) -> usize {
    a_second(unit).ilog10() as usize
}

/// The unit of moments and of times of a day.
pub(super) fn unit_of(data_type: &DataType) -> Option<TimeUnit> {
    match data_type {
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => Some(*unit),
        _ => None,
    }
}

/// The same type in another unit.
pub(super) fn in_unit(data_type: &DataType, unit: TimeUnit) -> DataType {
    match (data_type, unit) {
        (DataType::Timestamp(_, zone), unit) => DataType::Timestamp(unit, zone.clone()),
        (_, TimeUnit::Second | TimeUnit::Millisecond) => DataType::Time32(unit),
        _ => DataType::Time64(unit),
    }
}

/// The moments around a finer one: the last that is not later, and the first that is not earlier. Both are the same where it
/// is one of its own.
#[derive(Clone, Debug)]
pub(super) struct Around<E> {
    pub(super) before: E,
    pub(super) behind: E,
}

impl<E: Clone> Around<E> {
    /// A comparison with what is finer, as comparisons with what is around it: `of` makes one, and `both` and `either` join two.
    pub(super) fn compared(self, op: Operator, of: impl Fn(Operator, E) -> E, both: impl Fn(E, E) -> E, either: impl Fn(E, E) -> E) -> E {
        let Self { before, behind } = self;
        match op {
            Operator::Lt | Operator::GtEq => of(op, behind),
            Operator::LtEq | Operator::Gt => of(op, before),
            Operator::NotEq | Operator::IsDistinctFrom => either(of(op, before), of(op, behind)),
            _ => both(of(op, before), of(op, behind)),
        }
    }
}

impl Around<Expr> {
    /// What is around the value of an expression, in a coarser unit.
    pub(super) fn of(finer: &Expr, unit: TimeUnit) -> Self {
        let whole = |is_up| ScalarUDF::from(Whole { signature: Signature::any(1, Volatility::Immutable), unit, is_up });
        Self { before: whole(false).call(vec![finer.clone()]), behind: whole(true).call(vec![finer.clone()]) }
    }

    /// A comparison of the coarser side with what is finer.
    pub(super) fn with(self, coarser: &Expr, op: Operator) -> Expr {
        self.compared(op, |op, side| binary_expr(coarser.clone(), op, side), Expr::and, Expr::or)
    }
}

impl Around<ScalarValue> {
    /// What is around a moment, in a coarser unit of the same type.
    pub(super) fn value(finer: &ScalarValue, unit: TimeUnit) -> Result<Self> {
        let whole = |is_up| ScalarValue::try_from_array(&whole(&finer.to_array()?, unit, is_up)?, 0);
        Ok(Self { before: whole(false)?, behind: whole(true)? })
    }
}

/// Times in a coarser unit, each the nearest on one side.
fn whole(times: &ArrayRef, unit: TimeUnit, is_up: bool) -> Result<ArrayRef> {
    let from = unit_of(times.data_type()).unwrap_or(unit);
    let parts = a_second(from) / a_second(unit);
    let number = |data_type: &DataType| if matches!(data_type, DataType::Time32(_)) { DataType::Int32 } else { DataType::Int64 };
    let times_as_numbers = as_type(&as_type(times, &number(times.data_type()))?, &DataType::Int64)?;
    let numbers = datafusion::common::cast::as_int64_array(&times_as_numbers)?;
    let up = |value: i64| i64::from(is_up && value.rem_euclid(parts) > 0);
    let whole: Int64Array = numbers.iter().map(|value| value.map(|value| value.div_euclid(parts) + up(value))).collect();
    let to = in_unit(times.data_type(), unit);
    Ok(as_type(&as_type(&whole, &number(&to))?, &to)?)
}

/// The function that finds what is around a time.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Whole {
    signature: Signature,
    unit: TimeUnit,
    is_up: bool,
}

impl ScalarUDFImpl for Whole {
    fn name(&self) -> &'static str {
        if self.is_up { "not_earlier" } else { "not_later" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(in_unit(&types[0], self.unit))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &args.args[0] {
            ColumnarValue::Scalar(value) => {
                let whole = whole(&value.to_array()?, self.unit, self.is_up)?;
                ScalarValue::try_from_array(&whole, 0).map(ColumnarValue::Scalar)
            }
            ColumnarValue::Array(times) => whole(times, self.unit, self.is_up).map(ColumnarValue::Array),
        }
    }
}

/// The text of a time without the digits that a unit has not, and whether there were any.
pub(super) fn cut(text: &str, unit: TimeUnit) -> (String, bool) {
    let Some((before, behind)) = text.rsplit_once('.') else { return (text.to_owned(), false) };
    let count = behind.bytes().take_while(u8::is_ascii_digit).count();
    let kept = count.min(digits(unit));
    let is_finer = behind[kept..count].bytes().any(|digit| digit != b'0');
    let point = if kept > 0 { "." } else { "" };
    (format!("{before}{point}{}{}", &behind[..kept], &behind[count..]), is_finer)
}

/// What is around the time of a text, as values of a type; `None` if it is no such time.
pub(super) fn around(text: &str, to: &DataType) -> Option<Around<ScalarValue>> {
    let unit = unit_of(to)?;
    let (cut, is_finer) = cut(text, unit);
    let before = ScalarValue::from(cut.as_str()).cast_to(to).ok()?;
    if !is_finer {
        return Some(Around { behind: before.clone(), before });
    }
    let next = |array: ArrayRef| -> Result<ScalarValue> {
        let number = if matches!(to, DataType::Time32(_)) { DataType::Int32 } else { DataType::Int64 };
        let value = as_type(&as_type(&array, &number)?, &DataType::Int64)?;
        let value = datafusion::common::cast::as_int64_array(&value)?.value(0) + 1;
        let next: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        ScalarValue::try_from_array(&as_type(&as_type(&next, &number)?, to)?, 0)
    };
    let behind = before.to_array().and_then(next).ok()?;
    Some(Around { before, behind })
}
