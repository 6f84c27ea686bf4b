//! Times in SQL that nanoseconds do not reach, and times that are finer than what they are compared with.
//!
//! DataFusion reckons with times in nanoseconds, which begin in 1677 and end in 2262, and fails at the `9999-12-31` that stands for
//! an open end; and what is finer than a column it cuts to the column's unit. Here a time in SQL has microseconds unless it says
//! more, and a comparison is exact ([`exact`]), in files too whose times are coarser than the table's ([`files`]).

mod calendar;
mod exact;
pub(crate) mod files;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, Cast, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, ScalarUDF, cast, lit};
use datafusion::sql::sqlparser::ast;

use self::exact::{Around, a_second, around, cut, in_unit, unit_of};
use crate::uuids::compares;

/// Functions of times that reach as far as the times do.
pub(crate) fn functions() -> [ScalarUDF; 2] {
    calendar::functions()
}

/// What the names of types stand for.
#[derive(Debug)]
pub(crate) struct Micros;

impl TypePlanner for Micros {
    fn plan_type_field(&self, named: &ast::DataType) -> Result<Option<FieldRef>> {
        let is_time = matches!(named, ast::DataType::Timestamp(None, _) | ast::DataType::Datetime(None));
        Ok(is_time.then(|| Arc::new(Field::new("", micros(None), true))))
    }
}

/// Gives comparisons of times the unit that holds both sides.
#[derive(Debug)]
pub(crate) struct Instants;

impl FunctionRewrite for Instants {
    fn name(&self) -> &'static str {
        "instants"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let rewritten = match &expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => compared(left, *op, right, schema),
            Expr::BinaryExpr(BinaryExpr { left, op: op @ Operator::Minus, right }) => since(left, *op, right, schema),
            Expr::Between(Between { expr, negated, low, high }) => between(expr, *negated, low, high, schema),
            Expr::InList(InList { expr, list, negated }) => in_list(expr, list, *negated, schema),
            Expr::ScalarFunction(ScalarFunction { func, args }) => function(func.name(), args, schema),
            Expr::Cast(Cast { expr, field }) => as_time(expr, field.data_type(), schema),
            _ => None,
        };
        Ok(rewritten.map_or_else(|| Transformed::no(expr), Transformed::yes))
    }
}

/// A comparison in which a time is finer than the other side, or farther than its unit reaches.
fn compared(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    of_sides(left, op, right, schema).or_else(|| of_sides(right, op.swap()?, left, schema))
}

/// The same, if the left side is the one to be compared with what lies around the right one.
fn of_sides(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let (bare, of_left) = (bare(left, schema), left.get_type(schema).ok()?);
    let of_right = right.get_type(schema).ok()?;
    let is_day = |data_type: &DataType| matches!(data_type, DataType::Date32 | DataType::Date64);
    if is_day(&of_left) && matches!(of_right, DataType::Timestamp(..)) {
        let moment = cast(left.clone(), micros(None));
        let exact = of_sides(&moment, op, right, schema).or_else(|| of_sides(right, op.swap()?, &moment, schema));
        return Some(exact.unwrap_or_else(|| Expr::BinaryExpr(BinaryExpr::new(Box::new(moment), op, Box::new(right.clone())))));
    }
    let of_bare = bare.get_type(schema).ok()?;
    let unit = unit_of(&of_bare).filter(|_| written(bare).is_none())?;
    let compared = |left: Expr, right: Expr| Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))));
    if let Some((text, named)) = written(right) {
        let is_moment = matches!(of_bare, DataType::Timestamp(..));
        if is_moment && is_far(text, unit) {
            let is_named_day = named.is_some_and(is_day);
            let zone = zone_of(named.filter(|_| !is_named_day).unwrap_or(&of_bare));
            let right = if is_named_day { right.clone() } else { lit(text) };
            return compared(cast(bare.clone(), micros(zone_of(&of_bare))), cast(right, micros(if is_named_day { None } else { zone })));
        }
        return match named {
            Some(day) if is_day(day) => is_moment.then(|| compared(bare.clone(), cast(right.clone(), DataType::Timestamp(unit, None))))?,
            named => {
                let to = in_unit(named.filter(|named| unit_of(named).is_some()).unwrap_or(&of_bare), unit);
                let (_, is_finer) = cut(text, unit);
                // A text alone would become nanoseconds.
                if !is_finer && bare == left && named == Some(&to) {
                    return None;
                }
                let Around { before, behind } = around(text, &to)?;
                if before == behind {
                    return compared(bare.clone(), lit(before));
                }
                Some(Around { before: lit(before), behind: lit(behind) }.with(bare, op))
            }
        };
    }
    let is_moment = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..));
    let finer = unit_of(&of_right).filter(|finer| a_second(*finer) > a_second(unit) && is_moment(&of_bare) == is_moment(&of_right))?;
    // What has no column is brought to the unit of the column, where it is no finer.
    let is_constant = bare.column_refs().is_empty() && !right.column_refs().is_empty();
    (!is_constant || finer == unit).then(|| Around::of(right, unit).with(bare, op))
}

fn between(expr: &Expr, negated: bool, low: &Expr, high: &Expr, schema: &DFSchema) -> Option<Expr> {
    let (from, to) = (compared(expr, Operator::GtEq, low, schema), compared(expr, Operator::LtEq, high, schema));
    if from.is_none() && to.is_none() {
        return None;
    }
    let from = from.unwrap_or_else(|| expr.clone().gt_eq(low.clone()));
    let both = from.and(to.unwrap_or_else(|| expr.clone().lt_eq(high.clone())));
    Some(if negated { !both } else { both })
}

fn in_list(expr: &Expr, list: &[Expr], negated: bool, schema: &DFSchema) -> Option<Expr> {
    let found: Vec<Option<Expr>> = list.iter().map(|value| compared(expr, Operator::Eq, value, schema)).collect();
    if found.iter().all(Option::is_none) {
        return None;
    }
    let each = found.into_iter().zip(list).map(|(exact, value)| exact.unwrap_or_else(|| expr.clone().eq(value.clone())));
    let any = each.reduce(Expr::or)?;
    Some(if negated { !any } else { any })
}

/// A time less a day, or a day less a time.
fn since(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let minus = |left: Expr, right: Expr| Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))));
    match (left.get_type(schema).ok()?, right.get_type(schema).ok()?) {
        (DataType::Timestamp(unit, _), DataType::Date32 | DataType::Date64) => {
            minus(left.clone(), cast(right.clone(), DataType::Timestamp(unit, None)))
        }
        (DataType::Date32 | DataType::Date64, DataType::Timestamp(unit, _)) => {
            minus(cast(left.clone(), DataType::Timestamp(unit, None)), right.clone())
        }
        _ => None,
    }
}

/// Functions that would make nanoseconds of a time.
fn function(name: &str, args: &[Expr], schema: &DFSchema) -> Option<Expr> {
    match (name, args) {
        ("now", []) => {
            let now =
                Expr::ScalarFunction(ScalarFunction::new_udf(datafusion::functions::datetime::now(&ConfigOptions::default()), vec![]));
            let zone = zone_of(&now.get_type(schema).ok()?);
            Some(cast(now, micros(zone)))
        }
        ("to_timestamp", [time]) => match time.get_type(schema).ok()? {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let is_finer =
                    written(time).is_some_and(|(text, _)| cut(text, TimeUnit::Microsecond).1 && !is_far(text, TimeUnit::Nanosecond));
                (!is_finer).then(|| cast(time.clone(), micros(None)))
            }
            DataType::Timestamp(unit, zone) if unit != TimeUnit::Nanosecond => Some(cast(time.clone(), micros(zone))),
            DataType::Date32 | DataType::Date64 => Some(cast(time.clone(), micros(None))),
            _ => None,
        },
        ("to_timestamp_micros" | "to_timestamp_millis" | "to_timestamp_seconds" | "to_unixtime", [time]) => {
            let is_text = time.get_type(schema).ok()?.is_string();
            let unit = match name {
                "to_timestamp_micros" => TimeUnit::Microsecond,
                "to_timestamp_millis" => TimeUnit::Millisecond,
                _ => TimeUnit::Second,
            };
            let time = is_text.then(|| cast(time.clone(), DataType::Timestamp(unit, None)))?;
            Some(if name == "to_unixtime" { cast(time, DataType::Int64) } else { time })
        }
        // What a year is compared with becomes a day, which may be out of reach.
        ("date_part", [part @ Expr::Literal(name, _), time]) => {
            let is_finer = name.try_as_str().flatten().is_none_or(|part| part.to_lowercase().contains("nano"));
            let DataType::Timestamp(TimeUnit::Nanosecond, zone) = time.get_type(schema).ok().filter(|_| !is_finer)? else { return None };
            Some(datafusion::functions::datetime::date_part().call(vec![part.clone(), cast(time.clone(), micros(zone))]))
        }
        _ => None,
    }
}

/// A time in nanoseconds that is made of what has none.
fn as_time(expr: &Expr, to: &DataType, schema: &DFSchema) -> Option<Expr> {
    match (written(expr), to) {
        // A time that says more than microseconds keeps it.
        (Some((text, None)), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            let is_finer = cut(text, TimeUnit::Microsecond).1 && !is_far(text, TimeUnit::Nanosecond);
            is_finer.then(|| cast(expr.clone(), DataType::Timestamp(TimeUnit::Nanosecond, zone.clone())))
        }
        (Some((text, None)), DataType::Timestamp(TimeUnit::Nanosecond, zone)) if is_far(text, TimeUnit::Nanosecond) => {
            Some(cast(expr.clone(), micros(zone.clone())))
        }
        // As `AT TIME ZONE` does.
        (None, DataType::Timestamp(TimeUnit::Nanosecond, zone @ Some(_))) => match expr.get_type(schema).ok()? {
            DataType::Timestamp(unit, _) if unit != TimeUnit::Nanosecond => {
                Some(cast(expr.clone(), DataType::Timestamp(unit, zone.clone())))
            }
            _ => None,
        },
        _ => None,
    }
}

type Zone = Option<Arc<str>>;

fn micros(zone: Zone) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone)
}

fn zone_of(data_type: &DataType) -> Zone {
    match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    }
}

/// A time without a cast to a finer unit, which changes nothing of when it is.
fn bare<'e>(expr: &'e Expr, schema: &DFSchema) -> &'e Expr {
    let Expr::Cast(Cast { expr: inner, field }) = expr else { return expr };
    let (Ok(from), to) = (inner.get_type(schema), field.data_type()) else { return expr };
    match (&from, to) {
        (DataType::Timestamp(from, zone), DataType::Timestamp(to, other))
            if a_second(*from) < a_second(*to) && zone.is_some() == other.is_some() =>
        {
            bare(inner, schema)
        }
        _ => expr,
    }
}

/// The text of a literal, and the type of a time that it is cast to.
fn written(expr: &Expr) -> Option<(&str, Option<&DataType>)> {
    match expr {
        Expr::Literal(value, _) => Some((value.try_as_str().flatten()?, None)),
        Expr::Cast(Cast { expr, field }) if field.data_type().is_temporal() => Some((written(expr)?.0, Some(field.data_type()))),
        _ => None,
    }
}

/// Whether a text is a time that a unit does not reach.
fn is_far(text: &str, unit: TimeUnit) -> bool {
    let is = |unit| ScalarValue::from(text).cast_to(&DataType::Timestamp(unit, None)).is_ok();
    unit == TimeUnit::Nanosecond && is(TimeUnit::Microsecond) && !is(TimeUnit::Nanosecond)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        ArrayRef, Date32Array, RecordBatch, StringArray, Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray,
    };
    use datafusion::arrow::util::display::array_value_to_string;

    use crate::plan::{ids_where, session};

    #[tokio::test]
    async fn times_are_compared_with_what_nanoseconds_do_not_reach() {
        let session = session(None);
        let far = 253_402_214_400_000_000;
        let near = 1_704_067_200_000_000;
        let columns: [(&str, ArrayRef); 5] = [
            ("id", Arc::new(StringArray::from(vec!["far", "near"]))),
            ("us", Arc::new(TimestampMicrosecondArray::from(vec![far, near]))),
            ("utc", Arc::new(TimestampMicrosecondArray::from(vec![far, near]).with_timezone("UTC"))),
            ("ns", Arc::new(TimestampNanosecondArray::from(vec![near * 1_000 + 1, near * 1_000]))),
            ("day", Arc::new(Date32Array::from(vec![2_932_896, 19_723]))),
        ];
        session.register_batch("rows", RecordBatch::try_from_iter(columns).expect("rows")).expect("a table");
        for (predicate, expected) in [
            ("us < '9999-12-31'", "near"),
            ("us = '9999-12-31'", "far"),
            ("us = timestamp '9999-12-31'", "far"),
            ("us in ('2024-01-01', '9999-12-31')", "far near"),
            ("us between '2000-01-01' and '2030-01-01'", "near"),
            ("us between '2000-01-01' and '9999-12-31'", "far near"),
            ("us > date '2300-01-01'", "far"),
            ("us <= day", "far near"),
            ("us < now()", "near"),
            ("utc < now()", "near"),
            ("day < now()", "near"),
            ("day + interval '1 day' > now()", "far"),
            ("utc < '9999-12-31T00:00:00Z'", "near"),
            ("ns < '9999-12-31'", "far near"),
            ("ns > timestamp '9999-12-31'", ""),
            ("ns > '2024-01-01T00:00:00.000000000'", "far"),
            ("ns = '2024-01-01'", "near"),
            ("extract(year from ns) < 9999", "far near"),
            ("extract(year from ns) between 1000 and 3000", "far near"),
            ("extract(year from us) = 9999", "far"),
            ("date_part('nanosecond', ns) = 1", "far"),
            ("date_trunc('year', us) = '9999-01-01'", "far"),
            ("date_trunc('week', utc) < now()", "near"),
            ("date_trunc('month', day) > '2300-01-01'", "far"),
            ("date_bin(interval '15 minutes', us) < now()", "near"),
            ("date_bin(interval '1 month', us) > '3000-01-01'", "far"),
            ("cast('9999-12-31' as timestamp) > now()", "far near"),
            ("to_timestamp('9999-12-31') = us", "far"),
            ("to_timestamp(cast(day as varchar)) = us", "far near"),
            ("cast(cast(day as varchar) as timestamp) < now()", "near"),
            ("day::timestamp < now()", "near"),
            ("coalesce(us, now()) < now()", "near"),
            ("greatest(us, now()) > now()", "far"),
            ("us - day = interval '0 days'", "far near"),
            ("utc at time zone 'Europe/Amsterdam' < now()", "near"),
        ] {
            assert_eq!(ids_where(&session, predicate).await, expected, "{predicate}");
        }
        let found = session.sql("SELECT timestamp '9999-12-31'").await.expect("a query").collect().await.expect("a row");
        assert_eq!(array_value_to_string(found[0].column(0), 0).expect("a text"), "9999-12-31T00:00:00");
    }

    /// Rows a millisecond apart, on both sides of 1970, in every unit.
    #[tokio::test]
    async fn what_is_finer_than_a_column_is_not_cut_to_its_unit() {
        let session = session(None);
        let moments = [-2i64, -1, 0, 1_704_067_200_998, 1_704_067_200_999];
        let nanos = |more: i64| TimestampNanosecondArray::from_iter_values(moments.map(|moment| moment * 1_000_000 + more));
        let columns: [(&str, ArrayRef); 7] = [
            ("id", Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e"]))),
            ("ms", Arc::new(TimestampMillisecondArray::from(moments.to_vec()))),
            ("utc", Arc::new(TimestampMillisecondArray::from(moments.to_vec()).with_timezone("UTC"))),
            ("us", Arc::new(TimestampMicrosecondArray::from_iter_values(moments.map(|moment| moment * 1_000)))),
            ("ns", Arc::new(nanos(0))),
            ("later", Arc::new(nanos(1))),
            ("tm", Arc::new(Time32MillisecondArray::from(vec![0, 1, 43_200_000, 43_200_001, 86_399_999]))),
        ];
        session.register_batch("rows", RecordBatch::try_from_iter(columns).expect("rows")).expect("a table");
        for (predicate, expected) in [
            ("ms >= timestamp '2024-01-01 00:00:00.9985'", "e"),
            ("ms >= '2024-01-01 00:00:00.9985'", "e"),
            ("ms > '2024-01-01 00:00:00.9985'", "e"),
            ("ms <= '2024-01-01 00:00:00.9985'", "a b c d"),
            ("ms < '2024-01-01 00:00:00.9985'", "a b c d"),
            ("'2024-01-01 00:00:00.9985' > ms", "a b c d"),
            ("ms = '2024-01-01 00:00:00.9985'", ""),
            ("ms <> '2024-01-01 00:00:00.9985'", "a b c d e"),
            ("not (ms = '2024-01-01 00:00:00.9985')", "a b c d e"),
            ("ms = '2024-01-01 00:00:00.998000'", "d"),
            ("ms = timestamp '2024-01-01 00:00:00.998000'", "d"),
            ("ms is distinct from '2024-01-01 00:00:00.9985'", "a b c d e"),
            ("ms in ('2024-01-01 00:00:00.9985', '2024-01-01 00:00:00.999')", "e"),
            ("ms not in ('2024-01-01 00:00:00.9985', '2024-01-01 00:00:00.999')", "a b c d"),
            ("ms between '1969-12-31 23:59:59.9985' and '2024-01-01 00:00:00.9985'", "b c d"),
            ("ms not between '1969-12-31 23:59:59.9985' and '2024-01-01 00:00:00.9985'", "a e"),
            ("ms < '1969-12-31 23:59:59.9995'", "a b"),
            ("ms > '1969-12-31 23:59:59.9985'", "b c d e"),
            ("utc < '1969-12-31T23:59:59.9985Z'", "a"),
            ("utc < timestamp '1969-12-31 23:59:59.9985'", "a"),
            ("utc < '1970-01-01T01:59:59.9985+02:00'", "a"),
            ("us < '1969-12-31 23:59:59.9980001'", "a"),
            ("us = timestamp '1969-12-31 23:59:59.9980001'", ""),
            ("ns < timestamp '1969-12-31 23:59:59.998000001'", "a"),
            ("ns = '1969-12-31 23:59:59.998'", "a"),
            ("later = timestamp '1969-12-31 23:59:59.998000001'", "a"),
            ("cast(ms as timestamp(9)) > '2024-01-01 00:00:00.9985'", "e"),
            ("cast(ms as timestamp(9)) = timestamp '2024-01-01 00:00:00.9985'", ""),
            ("cast(ms as timestamp) < '2024-01-01 00:00:00.9985'", "a b c d"),
            ("ms < to_timestamp('2024-01-01 00:00:00.9985')", "a b c d"),
            ("ms >= timestamp '2024-01-01 00:00:00' + interval '998500 microseconds'", "e"),
            ("ms < later", "a b c d e"),
            ("ms = later", ""),
            ("ms = ns", "a b c d e"),
            ("later > us", "a b c d e"),
            ("later <= us", ""),
            ("tm > time '12:00:00'", "d e"),
            ("tm > '12:00:00.0005'", "d e"),
            ("tm <= time '12:00:00.0005'", "a b c"),
            ("tm = '12:00:00.0005'", ""),
            ("tm in ('12:00:00.0005', '12:00:00.001')", "d"),
            ("tm between time '00:00:00.0005' and time '12:00'", "b c"),
        ] {
            assert_eq!(ids_where(&session, predicate).await, expected, "{predicate}");
        }
    }
}
