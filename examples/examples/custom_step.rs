//! A step of `post-process` of one's own beside the built-in ones: `reject-shouting` turns answers away that are in capitals.
//!
//! `cargo run -p promptmill-examples --example custom_step`

#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::borrow::Cow;
use std::sync::Arc;

use promptmill_core::{About, Rejection, Step, StepConfig, StepContext, StepKind};
use promptmill_engine::{Engine, RunOptions, Summary};
use schemars::JsonSchema;
use serde::Deserialize;

/// Turns an answer away that has too many capitals.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RejectShouting {
    /// The largest share of the letters that may be capitals.
    share: f64,
}

impl StepConfig for RejectShouting {
    const NAME: &'static str = "reject-shouting";
    const EXAMPLE: &'static str = "share = 0.5";
    const SUMMARY: &'static str = "Turns an answer away that has too many capitals.";
    const REASONS: &'static [&'static str] = &["shouting"];

    fn compile(self, _context: &StepContext) -> Result<Box<dyn Step>, String> {
        if (0.0..=1.0).contains(&self.share) { Ok(Box::new(self)) } else { Err("`share` is from 0 to 1".to_owned()) }
    }
}

impl Step for RejectShouting {
    fn apply<'t>(&self, text: &'t str, _about: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let count = |is: fn(char) -> bool| text.chars().filter(|letter| is(*letter)).count() as f64;
        let (letters, capitals) = (count(char::is_alphabetic), count(char::is_uppercase));
        if capitals > self.share * letters {
            return Err(Rejection::new("shouting", format!("{capitals} of {letters} letters are capitals")));
        }
        Ok(Cow::Borrowed(text))
    }
}

const PIPELINE: &str = r#"
source = { path = "${SAMPLE}", key = "motion_id" }
stages = [
  { use = "filter", where = "length(trim(body)) > 0" },
  { use = "prompt-pack", prompt = "Explain.", item = "{{ body }}", answer = "summary" },
  { use = "llm", model = "builtin/extractive" },
  { use = "post-process", column = "summary", steps = [{ use = "normalize-text" }, { use = "reject-shouting", share = 0.005, on_reject = "keep" }] },
]
sink = { path = "${OUT}/results" }
"#;

async fn run() -> Result<(Summary, usize), Box<dyn std::error::Error>> {
    let mut registry = promptmill_stages::registry();
    registry.steps.push(StepKind::of::<RejectShouting>());
    let engine = Engine::new(registry);

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("calm.toml");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/data/motions-sample.parquet");
    let out = folder.path().display().to_string();
    std::fs::write(&file, PIPELINE.replace("${SAMPLE}", sample).replace("${OUT}", &out))?;
    let pipeline = Arc::new(engine.read(&file, &[]).await?);
    let ended = engine.run(Arc::clone(&pipeline), RunOptions { limit: Some(50), ..RunOptions::default() }).wait().await?;
    let session = engine.sql(&pipeline).await?;
    let flagged = session.sql("SELECT * FROM results WHERE array_has(summary_flags, 'rejected:shouting')").await?.count().await?;
    ended.error.map_or(Ok((ended.summary, flagged)), |error| Err(error.into()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (summary, flagged) = run().await?;
    println!("{:?}: {} answered, {flagged} of them flagged by a step of our own", summary.status, summary.rows.answered);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test(flavor = "multi_thread")]
    async fn it_judges() {
        let (summary, flagged) = super::run().await.expect("runs");
        assert_eq!(summary.rows.answered, 50);
        assert!(flagged > 0, "there are answers with a capital in 200 letters");
    }
}
