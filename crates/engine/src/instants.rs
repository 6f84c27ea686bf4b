//! Times in SQL that nanoseconds do not reach: DataFusion compares times with texts and dates in nanoseconds, which begin in 1677
//! and end in 2262, and fails at the `9999-12-31` that stands for an open end. Here such comparisons are in microseconds.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, Cast, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, cast};

use crate::uuids::compares;

/// Digits of a second that microseconds have.
const DIGITS: usize = 6;

/// Gives comparisons of times the unit that holds both sides.
#[derive(Debug)]
pub(crate) struct Instants;

impl FunctionRewrite for Instants {
    fn name(&self) -> &'static str {
        "instants"
    }

    fn rewrite(&self, mut expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let is_changed = match &mut expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => in_micros(vec![&mut **left, &mut **right], schema),
            Expr::Between(Between { expr, low, high, .. }) => in_micros(vec![&mut **expr, &mut **low, &mut **high], schema),
            Expr::InList(InList { expr, list, .. }) => in_micros(std::iter::once(&mut **expr).chain(list).collect(), schema),
            // What a year is compared with becomes a day, which may be out of reach.
            Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "date_part" => match args.as_mut_slice() {
                [Expr::Literal(part, _), time] => {
                    let is_finer = part.try_as_str().flatten().is_none_or(|part| part.to_lowercase().contains("nano"));
                    let zone = zone_of(time, schema).filter(|(unit, _)| *unit == TimeUnit::Nanosecond && !is_finer);
                    zone.map(|(_, zone)| cast_in_place(time, zone)).is_some()
                }
                _ => false,
            },
            Expr::Cast(Cast { expr, field }) => match field.data_type() {
                DataType::Timestamp(TimeUnit::Nanosecond, zone) if text(expr).is_some_and(is_far) => {
                    *field = Arc::new(field.as_ref().clone().with_data_type(micros(zone.clone())));
                    true
                }
                _ => false,
            },
            _ => false,
        };
        Ok(Transformed::new_transformed(expr, is_changed))
    }
}

/// Brings what is compared to microseconds, if nanoseconds may not hold it and nothing finer is among it.
fn in_micros(sides: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let times: Vec<Option<(TimeUnit, Zone)>> = sides.iter().map(|side| zone_of(side, schema)).collect();
    let Some((_, zone)) = times.iter().flatten().next().cloned() else { return false };
    let literals: Vec<Option<String>> = sides.iter().map(|side| written(side).map(str::to_owned)).collect();
    let has_far = literals.iter().flatten().any(|text| is_far(text));
    // Only a column says how fine it is: a literal is in nanoseconds for want of anything else, and so is the time of now.
    let of_columns = sides.iter().zip(&times).zip(&literals).filter(|((side, _), literal)| literal.is_none() && !is_now(side));
    let are_coarse = of_columns.clone().next().is_some()
        && of_columns.clone().all(|((_, time), _)| time.as_ref().is_none_or(|(unit, _)| *unit != TimeUnit::Nanosecond));
    if !(are_coarse || has_far) || literals.iter().flatten().any(|text| is_finer(text)) {
        return false;
    }
    let mut is_changed = false;
    for (side, time) in sides.into_iter().zip(times) {
        let to = match (side.get_type(schema), time) {
            (_, Some((TimeUnit::Nanosecond, own))) => own,
            (Ok(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View), _) => zone.clone(),
            (Ok(DataType::Date32 | DataType::Date64), _) => None,
            _ => continue,
        };
        cast_in_place(side, to);
        is_changed = true;
    }
    is_changed
}

type Zone = Option<Arc<str>>;

fn micros(zone: Zone) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone)
}

fn cast_in_place(expr: &mut Expr, zone: Zone) {
    let inner = match std::mem::take(expr) {
        Expr::Cast(Cast { expr: inner, .. }) if text(&inner).is_some() => *inner,
        other => other,
    };
    *expr = cast(inner, micros(zone));
}

/// Unit and zone of a time.
fn zone_of(expr: &Expr, schema: &DFSchema) -> Option<(TimeUnit, Zone)> {
    match expr.get_type(schema).ok()? {
        DataType::Timestamp(unit, zone) => Some((unit, zone)),
        _ => None,
    }
}

fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function) if function.func.name() == "now")
}

/// The text of a literal.
fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// The text of a literal, also of one that is cast to a time.
fn written(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Cast(Cast { expr, field }) if field.data_type().is_temporal() => text(expr),
        other => text(other),
    }
}

/// Whether a text is a time that nanoseconds do not reach.
fn is_far(text: &str) -> bool {
    let is = |unit| ScalarValue::from(text).cast_to(&DataType::Timestamp(unit, None)).is_ok();
    is(TimeUnit::Microsecond) && !is(TimeUnit::Nanosecond)
}

/// Whether a text is a time with more digits than microseconds have.
fn is_finer(text: &str) -> bool {
    text.rsplit_once('.').is_some_and(|(_, behind)| behind.bytes().take_while(u8::is_ascii_digit).count() > DIGITS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Date32Array, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray};
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
        ] {
            assert_eq!(ids_where(&session, predicate).await, expected, "{predicate}");
        }
        let found = session.sql("SELECT timestamp '9999-12-31'").await.expect("a query").collect().await.expect("a row");
        assert_eq!(array_value_to_string(found[0].column(0), 0).expect("a text"), "9999-12-31T00:00:00");
    }
}
