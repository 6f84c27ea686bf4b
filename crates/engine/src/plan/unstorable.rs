//! Rows that no folder of the results can hold, known before anything is asked about them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast as as_type, ident,
};
use promptmill_core::pipeline::SinkSpec;

use crate::sink::{partition_texts, unnameable};
use crate::storage::Folder;

/// Why a row can have no place in the results, as far as columns of the source tell; `None` if they tell nothing. What only
/// answers decide, the sink sees.
pub(super) fn expr(sink: &SinkSpec, source: &Schema, results: &Schema) -> Option<Expr> {
    let of_source: Vec<&String> = sink.partition_by.iter().filter(|name| source.field_with_name(name).is_ok()).collect();
    // Numbers are short, and all of them have a text.
    let may_fail = |name: &&&String| source.field_with_name(name).is_ok_and(|field| !field.data_type().is_numeric());
    of_source.iter().find(may_fail)?;
    let most = Folder::open(&sink.path).ok()?.longest_name();
    let names: Vec<String> = of_source.iter().map(|name| (*name).clone()).collect();
    let values = of_source.iter().map(|name| {
        let stored = results.field_with_name(name).map_or(DataType::Utf8, |field| field.data_type().clone());
        as_type(ident(name.as_str()), stored)
    });
    let values = values.collect();
    let signature = Signature::any(names.len(), Volatility::Immutable);
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
        let values = args.args.iter().map(|value| value.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let texts = values.iter().map(|value| Ok(partition_texts(value)?)).collect::<Result<Vec<_>>>()?;
        let named: Vec<_> = self.names.iter().map(String::as_str).zip(texts.iter().cloned()).collect();
        let mut details = unnameable(&named, args.number_rows, self.most);
        for ((name, value), text) in self.names.iter().zip(&values).zip(&texts) {
            let textless = details.iter_mut().enumerate().filter(|(row, _)| value.is_valid(*row) && text.is_null(*row));
            for (_, detail) in textless {
                detail.get_or_insert_with(|| format!("`{name}` has a value that has no text, as a day that no calendar has"));
            }
        }
        Ok(ColumnarValue::Array(Arc::new(details.into_iter().collect::<StringArray>())))
    }
}
