//! `promptmill sql`: queries over what a pipeline reads and writes.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;
use arrow::json::writer::LineDelimited;
use arrow::util::pretty::pretty_format_batches;
use clap::{Args, ValueEnum};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use promptmill_core::{Error, Registry, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::{PipelineArgs, output, render};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  promptmill sql pipelines/motions.toml \"SELECT year, count(*) FROM results GROUP BY year\"\n  promptmill sql pipelines/motions.toml \"SELECT reason, count(*) FROM dead_letters GROUP BY 1\" --output csv\n  promptmill sql pipelines/motions.toml        (an interactive prompt)"
)]
pub(crate) struct Sql {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The query; without one, an interactive prompt
    query: Option<String>,
    /// How rows are printed
    #[arg(long, default_value = "table")]
    output: RowFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RowFormat {
    /// A table for people
    Table,
    /// A JSON array of objects
    Json,
    /// CSV with a header
    Csv,
}

impl Sql {
    pub(crate) async fn execute(&self, registry: &Registry) -> Result<ExitCode> {
        let pipeline = self.pipeline.read(registry).await?;
        let session = promptmill_engine::sql::open(&pipeline, registry).await?;
        if let Some(query) = &self.query {
            output::bytes(&answer(&session, query, self.output).await?)?;
        } else if std::io::stdin().is_terminal() {
            self.prompt(&session).await?;
        } else {
            let query =
                std::io::read_to_string(std::io::stdin()).map_err(|error| Error::failed("the query cannot be read").because(error))?;
            output::bytes(&answer(&session, &query, self.output).await?)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Reads queries, each up to a semicolon, until the input ends.
    async fn prompt(&self, session: &SessionContext) -> Result<()> {
        let failed = |error| Error::failed("the prompt cannot be shown").because(error);
        let mut editor = DefaultEditor::new().map_err(failed)?;
        output::error("tables: source, results, dead_letters, attempts, runs; end a query with `;`, leave with Ctrl-D");
        let mut query = String::new();
        loop {
            match editor.readline(if query.is_empty() { "promptmill> " } else { "        ... " }) {
                Ok(line) if query.is_empty() && ["quit", "exit", "\\q"].contains(&line.trim()) => return Ok(()),
                Ok(line) => {
                    query.push_str(&line);
                    query.push('\n');
                    let Some(whole) = query.trim_end().strip_suffix(';').map(str::to_owned) else { continue };
                    query.clear();
                    // A history that cannot be kept is no reason to stop.
                    let _ = editor.add_history_entry(format!("{whole};"));
                    match answer(session, &whole, self.output).await {
                        Ok(rows) => output::bytes(&rows)?,
                        Err(error) => output::error(&render::error(&error, true)),
                    }
                }
                Err(ReadlineError::Interrupted) => query.clear(),
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// The rows of a query, as they are printed. Only queries: nothing here changes what is stored.
async fn answer(session: &SessionContext, query: &str, format: RowFormat) -> Result<Vec<u8>> {
    let failed = |error: datafusion::error::DataFusionError| {
        Error::failed("the query failed").hint("tables: source, results, dead_letters, attempts, runs").because(error.strip_backtrace())
    };
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
    let frame = session.sql_with_options(query.trim().trim_end_matches(';'), read_only).await.map_err(failed)?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let mut batches = frame.collect().await.map_err(failed)?;
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    let unprintable = |error| Error::failed("the rows cannot be printed").because(error);
    match format {
        RowFormat::Table => Ok(format!("{}\n", pretty_format_batches(&batches).map_err(unprintable)?).into_bytes()),
        RowFormat::Json => {
            let mut writer = arrow::json::ArrayWriter::new(Vec::new());
            writer.write_batches(&batches.iter().collect::<Vec<_>>()).and_then(|()| writer.finish()).map_err(unprintable)?;
            let mut text = writer.into_inner();
            if text.is_empty() {
                text.extend_from_slice(b"[]");
            }
            text.push(b'\n');
            Ok(text)
        }
        RowFormat::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(Vec::new());
            batches.iter().try_for_each(|batch| writer.write(&flat(batch)?)).map_err(unprintable)?;
            Ok(writer.into_inner())
        }
    }
}

/// The same rows with lists and structs as JSON: CSV has none.
fn flat(batch: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
    let column = |(field, array): (&FieldRef, &ArrayRef)| {
        if !array.data_type().is_nested() {
            return Ok((field.name().clone(), Arc::clone(array)));
        }
        let alone = RecordBatch::try_from_iter_with_nullable([("v", Arc::clone(array), true)])?;
        let mut writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
        writer.write(&alone)?;
        writer.finish()?;
        let lines = String::from_utf8_lossy(&writer.into_inner()).into_owned();
        let values = lines.lines().map(|line| line.strip_prefix("{\"v\":")?.strip_suffix('}').filter(|value| *value != "null"));
        Ok((field.name().clone(), Arc::new(values.collect::<StringArray>()) as ArrayRef))
    };
    let columns =
        batch.schema_ref().fields().iter().zip(batch.columns()).map(column).collect::<std::result::Result<Vec<_>, ArrowError>>()?;
    // Without columns the number of rows would be lost, and there is nothing to flatten.
    if columns.is_empty() { Ok(batch.clone()) } else { RecordBatch::try_from_iter(columns) }
}
