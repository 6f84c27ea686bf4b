//! `promptmill sql`: queries over what a pipeline reads and writes.

mod rows;
mod spelled;
mod table;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use promptmill_core::{Error, Pipeline, Result};
use promptmill_engine::Engine;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::plain::Escaping;
use crate::{PipelineArgs, output, render};
use rows::{Form, RowFormat, Rows};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  promptmill sql pipelines/motions.toml \"SELECT year, count(*) FROM results GROUP BY year\"\n  promptmill sql pipelines/motions.toml \"SELECT reason, count(*) FROM dead_letters GROUP BY 1\" --output csv\n  promptmill sql pipelines/motions.toml \"SELECT * FROM attempts\" --output parquet --to attempts.parquet\n  promptmill sql pipelines/motions.toml        (an interactive prompt)"
)]
pub(crate) struct Sql {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The query; without one, an interactive prompt
    query: Option<String>,
    /// How rows are printed
    #[arg(long, default_value = "table")]
    output: RowFormat,
    /// At a terminal: the table with all its rows and values, however wide that is
    #[arg(long)]
    full: bool,
    /// The file that the rows go to, whole or not at all; left out: standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// What queries are over, looked up anew for each: a run may have committed since the last one.
struct Tables<'p> {
    pipeline: &'p Pipeline,
    engine: &'p Engine,
}

impl Tables<'_> {
    /// Writes the rows of a query.
    async fn answer(&self, query: &str, form: Form, to: impl std::io::Write + Send) -> Result<()> {
        let rows = self.engine.reading(self.pipeline, async |session| Rows::of(session, query).await).await?;
        rows.write(form, to).await
    }

    /// Writes them to standard output; on a terminal as text that cannot steer it, and a table as wide as that.
    async fn print(&self, query: &str, Mode { format, full }: Mode) -> Result<()> {
        let output = std::io::stdout();
        if !output.is_terminal() {
            return self.answer(query, Form::Whole(format), output).await;
        }
        let width = terminal_size::terminal_size_of(&output).map_or(USUAL_WIDTH, |(width, _)| usize::from(width.0));
        let form = if format == RowFormat::Table && !full { Form::Fitted(width) } else { Form::Whole(format) };
        self.answer(query, form, Escaping::new(output)).await
    }
}

/// Columns of a terminal that does not say how many it has.
const USUAL_WIDTH: usize = 80;

/// How the prompt shows rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    format: RowFormat,
    /// Whether a table shows everything.
    full: bool,
}

impl Mode {
    /// The mode that a line of the prompt asks for.
    fn of(line: &str) -> Result<Self> {
        let modes = [
            ("table", RowFormat::Table, false),
            ("full", RowFormat::Table, true),
            ("line", RowFormat::Line, true),
            ("json", RowFormat::Json, true),
            ("csv", RowFormat::Csv, true),
        ];
        let wanted = line.strip_prefix(".mode").map(str::trim);
        let found = modes.iter().find(|(name, _, _)| Some(*name) == wanted);
        let known = "there are .mode table, .mode full, .mode line, .mode json and .mode csv";
        found
            .map(|(_, format, full)| Self { format: *format, full: *full })
            .ok_or_else(|| Error::failed(format!("`{line}` is not known")).hint(known))
    }
}

impl Sql {
    pub(crate) async fn execute(&self, engine: &Engine) -> Result<ExitCode> {
        let pipeline = self.pipeline.read(engine).await?;
        let tables = Tables { pipeline: &pipeline, engine };
        if let Some(query) = &self.query {
            self.write(&tables, query).await?;
        } else if std::io::stdin().is_terminal() {
            if self.output == RowFormat::Parquet || self.to.is_some() {
                return Err(Error::failed("the prompt prints rows, it does not write them to files")
                    .hint("add the query: promptmill sql PIPELINE \"SELECT …\""));
            }
            self.prompt(&tables).await?;
        } else {
            let query =
                std::io::read_to_string(std::io::stdin()).map_err(|error| Error::failed("the query cannot be read").because(error))?;
            self.write(&tables, &query).await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the rows of a query to where they are wanted.
    async fn write(&self, tables: &Tables<'_>, query: &str) -> Result<()> {
        let Some(path) = &self.to else {
            if self.output == RowFormat::Parquet && std::io::stdout().is_terminal() {
                return Err(Error::failed("Parquet is not for a terminal").hint("add `--to FILE`, or `> FILE`"));
            }
            return tables.print(query, Mode { format: self.output, full: self.full }).await;
        };
        // A name of its own until it is whole, so that a query that fails leaves what was there.
        let mut part = path.clone().into_os_string();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let failed = |error: std::io::Error| Error::failed(format!("`{}` cannot be written", path.display())).because(error);
        let file = std::fs::File::create(&part).map_err(failed)?;
        let written = tables.answer(query, Form::Whole(self.output), &file).await;
        let written = written.and_then(|()| file.sync_all().and_then(|()| std::fs::rename(&part, path)).map_err(failed));
        if written.is_err() {
            // What cannot be removed either is told by its name.
            let _ = std::fs::remove_file(&part);
        }
        written
    }

    /// Reads queries, each up to a semicolon, until the input ends.
    async fn prompt(&self, tables: &Tables<'_>) -> Result<()> {
        let failed = |error| Error::failed("the prompt cannot be shown").because(error);
        let mut editor = DefaultEditor::new().map_err(failed)?;
        output::error(
            "tables: source, results, dead_letters, attempts, runs, unassigned_costs; end a query with `;`, `.mode line` shows values in full, leave with Ctrl-D",
        );
        let mut mode = Mode { format: self.output, full: self.full };
        let mut query = String::new();
        loop {
            match editor.readline(if query.is_empty() { "promptmill> " } else { "        ... " }) {
                Ok(line) if query.is_empty() && ["quit", "exit", "\\q"].contains(&line.trim()) => return Ok(()),
                Ok(line) if query.is_empty() && line.trim_start().starts_with('.') => match Mode::of(line.trim()) {
                    Ok(wanted) => mode = wanted,
                    Err(error) => output::error(&render::error(&error, true)),
                },
                Ok(line) => {
                    query.push_str(&line);
                    query.push('\n');
                    let Some(whole) = query.trim_end().strip_suffix(';').map(str::to_owned) else { continue };
                    query.clear();
                    // A history that cannot be kept is no reason to stop.
                    let _ = editor.add_history_entry(format!("{whole};"));
                    if let Err(error) = tables.print(&whole, mode).await {
                        output::error(&render::error(&error, true));
                    }
                }
                Err(ReadlineError::Interrupted) => query.clear(),
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}
