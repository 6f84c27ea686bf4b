//! Stages of somebody else's crate: what they may do where, and what is said of one that does more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, future};
use promptmill_core::{
    BatchStream, Error, ErrorKind, Mistake, Place, Registry, Result, Stage, StageConfig, StageContext, StageKind, columns,
};
use promptmill_engine::{Ended, Engine, RunOptions};
use schemars::JsonSchema;
use serde::Deserialize;

/// Does one of several things to the rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Meddle {
    /// What it does.
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum How {
    /// Adds the length of the answer.
    Measure,
    /// Turns the first row away.
    TurnAway,
    /// Drops the first row.
    Drop,
    /// Hands the first row out twice.
    Double,
    /// Rewrites the answers in upper case.
    Rewrite,
    /// Leaves the column of the answers out.
    Lose,
}

impl StageConfig for Meddle {
    const NAME: &'static str = "meddle";
    const EXAMPLE: &'static str = "how = \"measure\"";
}

impl Stage for Meddle {
    fn schema(&self, input: &SchemaRef, _place: &Place) -> Result<SchemaRef, Vec<Mistake>> {
        let mut fields: Vec<_> = input.fields().iter().cloned().collect();
        match self.how {
            How::Measure => fields.push(Arc::new(Field::new("characters", DataType::Int64, true))),
            How::Lose => fields.retain(|field| field.name() != "summary"),
            _ => {}
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn run(self: Arc<Self>, input: BatchStream, context: StageContext) -> BatchStream {
        let is_first = AtomicBool::new(true);
        let meddled = move |batch: RecordBatch| {
            let schema = self.schema(&batch.schema(), &context.place).map_err(|mistakes| Error::failed(mistakes[0].message.clone()))?;
            self.meddled(&batch, &schema, is_first.swap(false, Relaxed))
        };
        input.and_then(move |batch| future::ready(meddled(batch))).boxed()
    }
}

impl Meddle {
    fn meddled(&self, batch: &RecordBatch, schema: &SchemaRef, is_first: bool) -> Result<RecordBatch> {
        let place = |name: &str| batch.schema().index_of(name);
        let mut arrays = batch.columns().to_vec();
        let with = |arrays: Vec<ArrayRef>| Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?);
        match self.how {
            How::Measure => {
                let texts = batch.column(place("summary")?).as_string::<i32>();
                let lengths: Int64Array = texts.iter().map(|text| text.map(|text| text.chars().count() as i64)).collect();
                arrays.push(Arc::new(lengths));
                with(arrays)
            }
            How::Rewrite => {
                let texts = batch.column(place("summary")?).as_string::<i32>();
                let loud: StringArray = texts.iter().map(|text| text.map(str::to_uppercase)).collect();
                let index = place("summary")?;
                arrays[index] = Arc::new(loud);
                with(arrays)
            }
            How::TurnAway if is_first => {
                let index = place(columns::REASON)?;
                let reasons = batch.column(index).as_string::<i32>();
                let reasons: StringArray =
                    (0..reasons.len()).map(|row| if row == 0 { Some("mine") } else { reasons.iter().nth(row).flatten() }).collect();
                arrays[index] = Arc::new(reasons);
                with(arrays)
            }
            How::Drop if is_first => Ok(batch.slice(1, batch.num_rows() - 1)),
            How::Double if is_first => Ok(concat_batches(schema, [&batch.slice(0, 1), batch])?),
            How::Lose => {
                let lost = place("summary")?;
                arrays.remove(lost);
                with(arrays)
            }
            _ => Ok(batch.clone()),
        }
    }
}

fn registry() -> Registry {
    let mut registry = promptmill_stages::registry();
    registry.stages.push(StageKind::of::<Meddle>());
    registry
}

/// A pipeline over the sample of motions, with these stages between making the question and asking it, and behind that.
fn pipeline(folder: &std::path::Path, between: &str, behind: &str) -> std::path::PathBuf {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/data/motions-sample.parquet");
    let text = format!(
        "source = {{ path = '{sample}', key = 'motion_id' }}\n\
         [[stages]]\nuse = 'filter'\nwhere = 'length(trim(body)) > 0'\n\
         [[stages]]\nuse = 'prompt-pack'\nprompt = 'Explain.'\nitem = '{{{{ body }}}}'\nanswer = 'summary'\n{between}\
         [[stages]]\nuse = 'llm'\nmodel = 'builtin/extractive'\n{behind}\
         [sink]\npath = '{}/out/results'\n",
        folder.display()
    );
    let path = folder.join("mine.toml");
    std::fs::write(&path, text).expect("written");
    path
}

fn meddle(how: &str) -> String {
    format!("[[stages]]\nuse = 'meddle'\nhow = '{how}'\n")
}

/// What a run of 40 rows with these stages comes to, and rows of its results and of its dead letters.
async fn ran(between: &str, behind: &str) -> (Result<Ended>, Vec<u64>) {
    let (folder, engine) = (tempfile::tempdir().expect("a folder"), Engine::new(registry()));
    let path = pipeline(folder.path(), between, behind);
    let pipeline = Arc::new(engine.read(&path, &[]).await.expect("is right"));
    if let Err(error) = engine.check(&pipeline).await {
        return (Err(error), Vec::new());
    }
    let options = RunOptions { limit: Some(40), ..RunOptions::default() };
    let ended = engine.run(Arc::clone(&pipeline), options).wait().await.expect("begins");
    let session = engine.sql(&pipeline).await.expect("opens");
    let mut counts = Vec::new();
    for table in ["results", "dead_letters"] {
        counts.push(session.table(table).await.expect("a table").count().await.expect("counts") as u64);
    }
    (Ok(ended), counts)
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_answer_a_stage_may_add_columns_and_turn_rows_away() {
    let (ended, counts) = ran("", &meddle("measure")).await;
    assert!(ended.expect("runs").error.is_none());
    assert_eq!(counts, [40, 0]);
    let (ended, counts) = ran("", &meddle("turn-away")).await;
    let rows = ended.expect("runs").summary.rows;
    assert_eq!((rows.answered, rows.dead_letters, counts), (39, 1, vec![39, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_drops_adds_or_rewrites_what_has_been_paid_for_is_an_error_that_names_it() {
    for (between, behind, said) in [
        ("", meddle("drop"), "stage `meddle` has dropped row `"),
        ("", meddle("double"), "which it was not given, or has given back before"),
        ("", meddle("rewrite"), "stage `meddle` has changed the answer about row `"),
        (&*meddle("drop"), String::new(), "stage `meddle` has dropped row `"),
        (&meddle("double"), String::new(), "which it was not given, or has given back before"),
    ] {
        let (ended, counts) = ran(between, &behind).await;
        let error = ended.expect("begins").error.expect(said);
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert_eq!(error.kind(), ErrorKind::Stage);
        assert!(counts[0] < 40, "{said}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_loses_is_known_to_check() {
    let (ended, _) = ran("", &meddle("lose")).await;
    let error = ended.expect_err("a mistake").to_string();
    assert!(error.contains("gives no place to column `summary`, which is part of the answer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_front_of_the_question_a_stage_is_free() {
    let (folder, engine) = (tempfile::tempdir().expect("a folder"), Engine::new(registry()));
    let path = pipeline(folder.path(), "", "");
    let text = std::fs::read_to_string(&path).expect("the file");
    std::fs::write(&path, text.replacen("[[stages]]", &format!("{}[[stages]]", meddle("drop")), 1)).expect("written");
    let pipeline = Arc::new(engine.read(&path, &[]).await.expect("is right"));
    let options = RunOptions { limit: Some(40), ..RunOptions::default() };
    let ended = engine.run(pipeline, options).wait().await.expect("begins");
    assert!(ended.error.is_none(), "{:?}", ended.error);
    assert_eq!(ended.summary.rows.answered, 39);
}
