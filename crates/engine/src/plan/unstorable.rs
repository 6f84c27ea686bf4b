//! Rows that no folder of the results can hold, known before anything is asked about them.

use std::sync::Arc;

use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast as as_type, ident,
};
use promptmill_core::pipeline::SinkSpec;

use crate::sink::unnameable;
use crate::storage::Folder;

/// Why a row can have no place in the results, as far as columns of the source tell; `None` if they tell nothing. What only
/// answers decide, the sink sees.
pub(super) fn expr(sink: &SinkSpec, source: &Schema, results: &Schema) -> Option<Expr> {
    let of_source: Vec<&String> = sink.partition_by.iter().filter(|name| source.field_with_name(name).is_ok()).collect();
    // Numbers and dates are short.
    let is_text = |name: &&&String| source.field_with_name(name).is_ok_and(|field| !field.data_type().is_primitive());
    of_source.iter().find(is_text)?;
    let most = Folder::open(&sink.path).ok()?.longest_name();
    let names: Vec<String> = of_source.iter().map(|name| (*name).clone()).collect();
    let values = of_source.iter().map(|name| {
        let stored = results.field_with_name(name).map_or(DataType::Utf8, |field| field.data_type().clone());
        as_type(as_type(ident(name.as_str()), stored), DataType::Utf8)
    });
    let values = values.collect();
    let signature = Signature::exact(vec![DataType::Utf8; names.len()], Volatility::Immutable);
    Some(ScalarUDF::from(Unstorable { signature, names, most }).call(values))
}

/// The function that says so of values of partitions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Unstorable {
    signature: Signature,
    names: Vec<String>,
    most: usize,
}

impl ScalarUDFImpl for Unstorable {
    fn name(&self) -> &'static str {
        "unstorable"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = self.names.iter().zip(&args.args);
        let values = values.map(|(name, value)| Ok((name.as_str(), cast(&value.to_array(args.number_rows)?, &DataType::Utf8)?)));
        let details = unnameable(&values.collect::<Result<Vec<_>>>()?, args.number_rows, self.most);
        Ok(ColumnarValue::Array(Arc::new(details.into_iter().collect::<StringArray>())))
    }
}
