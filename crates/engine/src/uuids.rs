//! UUIDs in SQL: compared with the text that everybody writes, and cast to it.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::functions::string::expr_fn::lower;
use datafusion::logical_expr::expr::{Between, Cast, InList, TryCast};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, ScalarUDF, lit};
use promptmill_core::meaning;
use uuid::Uuid;

use crate::instants::Instants;
use crate::key::RowKey;

/// An expression in which UUIDs are compared with texts as they are meant, and times with what nanoseconds do not reach.
pub(crate) fn as_meant(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let options = ConfigOptions::default();
    let with_uuids = expr.transform_up(|expr| UuidsAsTexts.rewrite(expr, schema, &options))?.data;
    with_uuids.transform_up(|expr| Instants.rewrite(expr, schema, &options)).map(|rewritten| rewritten.data)
}

/// Gives comparisons of UUIDs with texts the sense that they are meant in. Without it there is no type that both have.
#[derive(Debug)]
pub(crate) struct UuidsAsTexts;

impl FunctionRewrite for UuidsAsTexts {
    fn name(&self) -> &'static str {
        "uuids_as_texts"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let is_uuid = |expr: &Expr| field_of(expr, schema).is_some_and(|field| meaning::is_uuid(&field));
        let is_text = |expr: &Expr| field_of(expr, schema).is_some_and(|field| field.data_type().is_string());
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) && is_uuid(&left) && is_text(&right) => {
                let (left, right) = compared(*left, *right)?;
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) && is_text(&left) && is_uuid(&right) => {
                let (right, left) = compared(*right, *left)?;
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }))
            }
            Expr::InList(InList { expr, list, negated }) if is_uuid(&expr) && list.iter().all(is_text) => {
                let list = list.into_iter().map(spelled).collect::<Result<_>>()?;
                Transformed::yes(Expr::InList(InList { expr: Box::new(text_of(*expr)), list, negated }))
            }
            Expr::Like(mut like) if is_uuid(&like.expr) && is_text(&like.pattern) => {
                like.expr = Box::new(text_of(*like.expr));
                Transformed::yes(Expr::Like(like))
            }
            Expr::Between(Between { expr, negated, low, high }) if is_uuid(&expr) && is_text(&low) && is_text(&high) => {
                let (low, high) = (Box::new(spelled(*low)?), Box::new(spelled(*high)?));
                Transformed::yes(Expr::Between(Between { expr: Box::new(text_of(*expr)), negated, low, high }))
            }
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })
                if is_uuid(&expr) && field.data_type().is_string() =>
            {
                Transformed::yes(Expr::Cast(Cast { expr: Box::new(text_of(*expr)), field }))
            }
            other => Transformed::no(other),
        })
    }
}

pub(crate) fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn field_of(expr: &Expr, schema: &DFSchema) -> Option<Arc<Field>> {
    expr.to_field(schema).ok().map(|(_, field)| field)
}

/// A UUID and what it is compared with: a literal as sixteen bytes, which files can be searched for, anything else as text.
fn compared(id: Expr, text: Expr) -> Result<(Expr, Expr)> {
    match literal(&text)? {
        Some(bytes) => Ok((id, lit(ScalarValue::FixedSizeBinary(16, Some(bytes.as_bytes().to_vec()))))),
        None => Ok((text_of(id), lower(text))),
    }
}

/// A text as UUIDs are spelled.
fn spelled(text: Expr) -> Result<Expr> {
    Ok(literal(&text)?.map_or_else(|| lower(text), |id| lit(id.hyphenated().to_string())))
}

fn text_of(id: Expr) -> Expr {
    ScalarUDF::from(RowKey::new()).call(vec![id])
}

/// The UUID that a literal is. A text that is none is a slip, and would find nothing.
fn literal(text: &Expr) -> Result<Option<Uuid>> {
    let Expr::Literal(value, _) = text else { return Ok(None) };
    let Some(text) = value.try_as_str().flatten() else { return Ok(None) };
    Uuid::try_parse(text).map(Some).map_err(|_| plan_datafusion_err!("`{text}` is no UUID"))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, StringArray};
    use datafusion::arrow::datatypes::{DataType, Int64Type, Schema};

    use crate::plan::session;

    use super::*;

    #[tokio::test]
    async fn uuids_are_compared_with_texts() {
        let id = Field::new("id", DataType::FixedSizeBinary(16), true)
            .with_metadata([(meaning::NAME.to_owned(), meaning::UUID.to_owned())].into());
        let schema = Arc::new(Schema::new(vec![id, Field::new("text", DataType::Utf8, true)]));
        let ids = FixedSizeBinaryArray::try_from_iter([10_u128, 11, 12].map(u128::to_be_bytes).into_iter()).expect("ids");
        let texts = StringArray::from(vec!["00000000-0000-0000-0000-00000000000A", "x", "y"]);
        let batch = RecordBatch::try_new(schema, vec![Arc::new(ids) as ArrayRef, Arc::new(texts)]).expect("rows");
        let session = session(None);
        session.register_batch("t", batch).expect("a table");
        for (predicate, rows) in [
            ("id = '00000000-0000-0000-0000-00000000000b'", 1),
            ("'{00000000-0000-0000-0000-00000000000B}' = id", 1),
            ("id <> '00000000-0000-0000-0000-00000000000b'", 2),
            ("id > '00000000-0000-0000-0000-00000000000a'", 2),
            ("id IN ('00000000-0000-0000-0000-00000000000A', '00000000-0000-0000-0000-00000000000c')", 2),
            ("id BETWEEN '00000000-0000-0000-0000-00000000000a' AND '00000000-0000-0000-0000-00000000000b'", 2),
            ("id = text", 1),
            ("id LIKE '%-00000000000b'", 1),
            ("id NOT LIKE '%-00000000000b'", 2),
            ("CAST(id AS VARCHAR) LIKE '%0b'", 1),
            ("id = id", 3),
        ] {
            let found = session.sql(&format!("SELECT count(*) FROM t WHERE {predicate}")).await.expect(predicate);
            let found = found.collect().await.expect(predicate);
            assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), rows, "{predicate}");
        }
        let wrong = session.sql("SELECT * FROM t WHERE id = 'b'").await;
        let wrong = match wrong {
            Ok(frame) => frame.collect().await.expect_err("no UUID"),
            Err(error) => error,
        };
        assert!(wrong.to_string().contains("`b` is no UUID"), "{wrong}");
    }
}
