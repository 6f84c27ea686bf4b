//! As tried by users: what people report of chat-completions servers, files and stores, against the real binary.
//!
//! Each file is about one kind of trouble, each test about one member of it. [`Job`] is what most of them need: some
//! rows, a server with a script, and a pipeline in which a test changes a line or two.

mod columns;
mod credentials;
mod files;
mod footers;
mod formats;
mod keys;
mod lakes;
mod locks;
mod meanings;
mod memory;
mod money;
mod refusals;
mod replies;
mod rows;
mod security;
mod store;
mod templates;
mod terminal;
mod times;
mod values;
mod waits;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use crate::spy::{Reply, Spy};
use crate::support::Project;

/// A small pipeline, part by part as it stands in the file.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Lines before the first table.
    pub(crate) top: String,
    pub(crate) base_url: String,
    pub(crate) source: String,
    pub(crate) item: String,
    /// Of `prompt-pack`: rows for each request.
    pub(crate) rows: String,
    pub(crate) answer: String,
    /// More lines of the stage `llm`.
    pub(crate) llm: String,
    /// More stages behind it.
    pub(crate) stages: String,
    pub(crate) budget_usd: Option<f64>,
    /// More lines of the sink.
    pub(crate) sink: String,
    /// More lines of the model.
    pub(crate) model: String,
    /// More models and other tables.
    pub(crate) more: String,
}

impl Job {
    /// Rows with `id` and `body`, one a request and one request at a time, answered in plain JSON by one model.
    pub(crate) fn new(base_url: &str) -> Self {
        Self {
            top: String::new(),
            base_url: base_url.to_owned(),
            source: "path = \"rows.parquet\"\nkey = \"id\"".to_owned(),
            item: "{{ body }}".to_owned(),
            rows: "1".to_owned(),
            answer: "\"summary\"".to_owned(),
            llm: "concurrency = 1".to_owned(),
            stages: String::new(),
            budget_usd: None,
            sink: String::new(),
            model: "structured = \"text\"\nprice = { input = 1.0, output = 2.0 }".to_owned(),
            more: String::new(),
        }
    }

    /// The pipeline file.
    pub(crate) fn toml(&self) -> String {
        let Self { top, base_url, source, item, rows, answer, llm, stages, budget_usd, sink, model, more } = self;
        let cost = budget_usd.map_or(String::new(), |budget| format!("[[stages]]\nuse = \"cost\"\nbudget_usd = {budget}\n"));
        format!(
            r#"name = "job"
{top}

[source]
{source}

[[stages]]
use = "prompt-pack"
prompt = "Explain."
item = """{item}"""
rows = {rows}
answer = {answer}

[[stages]]
use = "llm"
model = "m"
max_tokens_per_row = 50
hedge = 0.0
{llm}

{stages}
{cost}
[sink]
path = "out/results"
{sink}

[models.m]
provider = "p"
model = "the-model"
{model}

{more}

[providers.p]
kind = "openai"
base_url = "{base_url}"
"#
        )
    }

    /// A folder with this pipeline and rows `k0`, `k1`, … of these bodies.
    pub(crate) fn project(&self, bodies: &[&str]) -> Project {
        let project = Project::new();
        write_rows(&project, "rows.parquet", bodies);
        project.write("pipeline.toml", &self.toml());
        project
    }
}

/// Rows `k0`, `k1`, … of these bodies.
pub(crate) fn write_rows(project: &Project, name: &str, bodies: &[&str]) {
    let ids: StringArray = (0..bodies.len()).map(|row| Some(format!("k{row}"))).collect();
    let bodies: StringArray = bodies.iter().map(|body| Some(*body)).collect();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("body", Arc::new(bodies))];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let file = std::fs::File::create(project.path(name)).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
}

#[test]
fn the_scripted_server_answers_every_row() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")));
    let project = Job::new(&spy.url).project(&["amber", "beryl"]);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 2);
    let rows = project.query("SELECT id, summary FROM results ORDER BY id");
    assert_eq!(rows[1]["summary"], "Answer to beryl");
    assert_eq!(spy.asked().len(), 2);
}
