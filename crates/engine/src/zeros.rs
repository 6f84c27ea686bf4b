//! The two zeros of floating-point numbers are one number in SQL. DataFusion looks up lists of values bit by bit, and finds `0.0`
//! in none that has `-0.0`: here lists with one zero get the other.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Gives lists of values both zeros. It comes after the rules that make lists of comparisons.
#[derive(Debug)]
pub(crate) struct BothZeros;

impl OptimizerRule for BothZeros {
    fn name(&self) -> &'static str {
        "both_zeros"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.map_expressions(|expr| expr.transform_up(|expr| Ok(with_both(expr))))
    }
}

fn with_both(expr: Expr) -> Transformed<Expr> {
    let Expr::InList(InList { expr, mut list, negated }) = expr else { return Transformed::no(expr) };
    let missing: Vec<Expr> = list.iter().filter_map(other_zero).filter(|other| !list.contains(other)).collect();
    let is_changed = !missing.is_empty();
    list.extend(missing);
    Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), is_changed)
}

/// The zero of the other sign.
fn other_zero(value: &Expr) -> Option<Expr> {
    let Expr::Literal(value, _) = value else { return None };
    Some(lit(match value {
        ScalarValue::Float16(Some(zero)) if zero.to_f32() == 0.0 => ScalarValue::Float16(Some(-*zero)),
        ScalarValue::Float32(Some(zero)) if *zero == 0.0 => ScalarValue::Float32(Some(-zero)),
        ScalarValue::Float64(Some(zero)) if *zero == 0.0 => ScalarValue::Float64(Some(-zero)),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Float32Array, Float64Array, RecordBatch, StringArray};

    use crate::plan::{ids_where, session};

    #[tokio::test]
    async fn a_zero_is_found_in_a_list_whatever_its_sign() {
        let session = session(None);
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(StringArray::from(vec!["minus", "plus", "one"]))),
            ("x", Arc::new(Float64Array::from(vec![-0.0, 0.0, 1.0]))),
            ("y", Arc::new(Float32Array::from(vec![-0.0, 0.0, 1.0]))),
        ];
        session.register_batch("rows", RecordBatch::try_from_iter(columns).expect("rows")).expect("a table");
        for (predicate, expected) in [
            ("x IN (0.0)", "minus plus"),
            ("x IN (-0.0, 5)", "minus plus"),
            ("x IN (0, 1, 2, 3, 4)", "minus one plus"),
            ("x = 0 OR x = 2 OR x = 3 OR x = 4 OR x = 5", "minus plus"),
            ("y IN (-0.0, 2, 3, 4, 5)", "minus plus"),
            ("x NOT IN (0.0, 2, 3, 4)", "one"),
            ("x IN (1, 2, 3, 4)", "one"),
        ] {
            assert_eq!(ids_where(&session, predicate).await, expected, "{predicate}");
        }
    }
}
