//! `date_trunc` and `date_bin` for all years. DataFusion's own reckon in nanoseconds, which begin in 1677 and end in 2262: the one
//! fails at the `9999-12-31` of an open end, the other makes a null of it.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, Int64Array, types::IntervalMonthDayNano};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::cast::as_int64_array;
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::functions::datetime::{date_bin, date_trunc};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::exact::a_second;

/// Both functions.
pub(super) fn functions() -> [ScalarUDF; 2] {
    [date_trunc(), date_bin()].map(|inner| {
        let is_bin = inner.name() == "date_bin";
        ScalarUDF::from(Calendar { inner, is_bin, signature: Signature::user_defined(Volatility::Immutable) })
    })
}

/// One of both functions, which leaves to DataFusion's own what that can do.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Calendar {
    inner: Arc<ScalarUDF>,
    is_bin: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Calendar {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let [step, time, origin @ ..] = types else { return plan_err!("`{name}` takes what to cut to, and a time") };
        if origin.len() > usize::from(self.is_bin) {
            return plan_err!("`{name}` takes fewer arguments");
        }
        let step = if self.is_bin { DataType::Interval(IntervalUnit::MonthDayNano) } else { step.clone() };
        let time = match time {
            DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => time.clone(),
            other if other.is_string() || other.is_null() || matches!(other, DataType::Date32 | DataType::Date64) => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            other => return plan_err!("`{name}` takes a time, which {other} is none of"),
        };
        let of_origin = match &time {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
            other => other.clone(),
        };
        Ok([step, time].into_iter().chain(origin.iter().map(|_| of_origin.clone())).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[1].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<datafusion::arrow::datatypes::FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(input)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Timestamp(unit, zone) = args.args[1].data_type() else { return self.inner.invoke_with_args(args) };
        let nanos = a_second(TimeUnit::Nanosecond) / a_second(unit);
        let is_scalar = matches!(args.args[1], ColumnarValue::Scalar(_));
        let times = args.args[1].to_array(args.number_rows)?;
        let numbers = cast(&times, &DataType::Int64)?;
        let numbers = as_int64_array(&numbers)?;
        // A year on both sides: what a time is cut to lies before it.
        let year = 366 * 86_400 * a_second(TimeUnit::Nanosecond);
        let is_near = |value: i64| value.checked_mul(nanos).is_some_and(|nanos| nanos.checked_sub(year).is_some());
        if unit == TimeUnit::Nanosecond || numbers.iter().flatten().all(is_near) {
            return self.inner.invoke_with_args(args);
        }
        let of = |value| match self.is_bin {
            true => binned(&args.args, value, nanos),
            false => truncated(&args.args[0], value, unit, zone.as_deref()),
        };
        let found = numbers.iter().map(|value| value.map(of).transpose()).collect::<Result<Int64Array>>()?;
        let found = cast(&(Arc::new(found) as ArrayRef), times.data_type())?;
        if is_scalar { ScalarValue::try_from_array(&found, 0).map(ColumnarValue::Scalar) } else { Ok(ColumnarValue::Array(found)) }
    }
}

/// The moment at which the year, the month, … of another begins, as they are in its zone.
fn truncated(part: &ColumnarValue, value: i64, unit: TimeUnit, zone: Option<&str>) -> Result<i64> {
    let out_of_reach = || exec_datafusion_err!("the time {value} ({unit}) lies in no year that a calendar here has");
    let second = a_second(unit);
    let nanos = value.rem_euclid(second) * (a_second(TimeUnit::Nanosecond) / second);
    let moment = DateTime::from_timestamp(value.div_euclid(second), nanos as u32).ok_or_else(out_of_reach)?;
    let zone: Option<Tz> = zone.map(str::parse).transpose()?;
    let local = zone.map_or(moment.naive_utc(), |zone| moment.with_timezone(&zone).naive_local());
    let part = match part {
        ColumnarValue::Scalar(part) => part.try_as_str().flatten().unwrap_or_default().to_lowercase(),
        ColumnarValue::Array(_) => String::new(),
    };
    let begin = beginning(&part, local).ok_or_else(|| exec_datafusion_err!("`date_trunc` knows no `{part}`"))?;
    let begin = match zone {
        None => begin.and_utc().timestamp(),
        // An hour that a change of the clock skips begins when the clock is changed.
        Some(zone) => zone.from_local_datetime(&begin).earliest().map_or_else(|| begin.and_utc().timestamp(), |begin| begin.timestamp()),
    };
    let whole = begin.checked_mul(second).ok_or_else(out_of_reach)?;
    Ok(match part.as_str() {
        "millisecond" => whole + value.rem_euclid(second) / (second / 1_000).max(1) * (second / 1_000).max(1),
        "microsecond" => value,
        _ => whole,
    })
}

/// When a part of the calendar began, to the second.
fn beginning(part: &str, local: NaiveDateTime) -> Option<NaiveDateTime> {
    let (day, time) = (local.date(), local.time());
    let first = |month| Some(NaiveDate::from_ymd_opt(day.year(), month, 1)?.and_time(NaiveTime::MIN));
    match part {
        "year" => first(1),
        "quarter" => first(1 + day.month0() / 3 * 3),
        "month" => first(day.month()),
        "week" => Some(day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into()))?.and_time(NaiveTime::MIN)),
        "day" => Some(day.and_time(NaiveTime::MIN)),
        "hour" => day.and_hms_opt(time.hour(), 0, 0),
        "minute" => day.and_hms_opt(time.hour(), time.minute(), 0),
        "second" | "millisecond" | "microsecond" => day.and_hms_opt(time.hour(), time.minute(), time.second()),
        _ => None,
    }
}

/// The moment at which the bin of another begins; bins are so long, and one of them begins at the origin.
fn binned(args: &[ColumnarValue], value: i64, nanos: i64) -> Result<i64> {
    let ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds }))) = &args[0]
    else {
        return Err(exec_datafusion_err!("`date_bin` takes one interval for all rows"));
    };
    let origin = match args.get(2) {
        None => 0,
        Some(ColumnarValue::Scalar(ScalarValue::TimestampNanosecond(Some(origin), _))) => *origin,
        Some(_) => return Err(exec_datafusion_err!("`date_bin` takes one origin for all rows")),
    };
    let second = a_second(TimeUnit::Nanosecond) / nanos;
    let out_of_reach = || exec_datafusion_err!("no bin of `date_bin` reaches the time {value} (1/{second} s)");
    let stride = i128::from(*days) * 86_400_000_000_000 + i128::from(*nanoseconds);
    match (*months, stride) {
        (0, 1..) => {
            let (time, origin) = (i128::from(value) * i128::from(nanos), i128::from(origin));
            let begin = origin + (time - origin).div_euclid(stride) * stride;
            i64::try_from(begin.div_euclid(nanos.into())).map_err(|_| out_of_reach())
        }
        (1.., 0) if origin == 0 => {
            let day = DateTime::from_timestamp(value.div_euclid(second), 0).ok_or_else(out_of_reach)?.date_naive();
            let since = (day.year() - 1970) * 12 + day.month0() as i32;
            let begin = since.div_euclid(*months) * months;
            let begin = NaiveDate::from_ymd_opt(1970 + begin.div_euclid(12), begin.rem_euclid(12) as u32 + 1, 1);
            let begin = begin.ok_or_else(out_of_reach)?.and_time(NaiveTime::MIN).and_utc().timestamp();
            begin.checked_mul(second).ok_or_else(out_of_reach)
        }
        (1.., 0) => Err(exec_datafusion_err!(
            "`date_bin` by months with an origin of its own reaches from 1677 to 2262: `date_trunc('month', …)` has no such bounds"
        )),
        _ => Err(exec_datafusion_err!("`date_bin` takes an interval of months, or of days and shorter, that is longer than nothing")),
    }
}
