//! Predicates over a file whose times are coarser than those of its table: they are compared as exactly as the table's.
//!
//! DataFusion casts the file's column, and then moves the cast to what it is compared with, which cuts it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, InListExpr, Literal};
use datafusion::physical_expr_adapter::{DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory};

use super::exact::{Around, a_second, unit_of};
use crate::uuids::compares;

/// Brings expressions over a table to a file of it.
#[derive(Debug)]
pub(crate) struct Exactly;

impl PhysicalExprAdapterFactory for Exactly {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let inner = DefaultPhysicalExprAdapterFactory.create(table, Arc::clone(&file))?;
        Ok(Arc::new(ToFile { inner, file }))
    }
}

#[derive(Debug)]
struct ToFile {
    inner: Arc<dyn PhysicalExprAdapter>,
    file: SchemaRef,
}

impl PhysicalExprAdapter for ToFile {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = self.inner.rewrite(expr)?;
        Ok(expr.transform_up(|expr| Ok(compared(&expr, &self.file)?.map_or_else(|| Transformed::no(expr), Transformed::yes)))?.data)
    }
}

fn compared(expr: &Arc<dyn PhysicalExpr>, file: &Schema) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>().filter(|binary| compares(*binary.op())) {
        let op = *binary.op();
        let swapped = op.swap().map(|op| (binary.right(), op, binary.left()));
        for (side, op, literal) in [Some((binary.left(), op, binary.right())), swapped].into_iter().flatten() {
            if let (Some(column), Some(value)) = (coarser(side, file)?, literal.downcast_ref::<Literal>()) {
                return of_value(&column, op, value.value(), file);
            }
        }
    }
    let Some(list) = expr.downcast_ref::<InListExpr>() else { return Ok(None) };
    let Some(column) = coarser(list.expr(), file)? else { return Ok(None) };
    let (op, join) = if list.negated() { (Operator::NotEq, Operator::And) } else { (Operator::Eq, Operator::Or) };
    let mut all: Option<Arc<dyn PhysicalExpr>> = None;
    for value in list.list() {
        let Some(value) = value.downcast_ref::<Literal>() else { return Ok(None) };
        let Some(one) = of_value(&column, op, value.value(), file)? else { return Ok(None) };
        all = Some(match all {
            Some(all) => Arc::new(BinaryExpr::new(all, join, one)),
            None => one,
        });
    }
    Ok(all)
}

/// What is cast to a finer unit.
fn coarser(expr: &Arc<dyn PhysicalExpr>, file: &Schema) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let Some(cast) = expr.downcast_ref::<CastExpr>() else { return Ok(None) };
    Ok(match (cast.expr().data_type(file)?, cast.cast_type()) {
        (DataType::Timestamp(from, zone), DataType::Timestamp(to, other)) if zone.is_some() == other.is_some() => {
            (a_second(from) < a_second(*to)).then(|| Arc::clone(cast.expr()))
        }
        _ => None,
    })
}

/// A comparison with a value in a finer unit.
fn of_value(column: &Arc<dyn PhysicalExpr>, op: Operator, value: &ScalarValue, file: &Schema) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let to = column.data_type(file)?;
    let (Some(unit), Some(_), false) = (unit_of(&to), unit_of(&value.data_type()), value.is_null()) else { return Ok(None) };
    let Around { before, behind } = Around::value(value, unit)?;
    let literal = |value: &ScalarValue| value.cast_to(&to).map(|value| Arc::new(Literal::new(value)) as Arc<dyn PhysicalExpr>);
    let around = Around { before: literal(&before)?, behind: literal(&behind)? };
    let of = |op, side| Arc::new(BinaryExpr::new(Arc::clone(column), op, side)) as Arc<dyn PhysicalExpr>;
    let join = |op| move |one, other| Arc::new(BinaryExpr::new(one, op, other)) as Arc<dyn PhysicalExpr>;
    Ok(Some(around.compared(op, of, join(Operator::And), join(Operator::Or))))
}
