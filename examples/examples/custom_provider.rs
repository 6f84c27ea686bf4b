//! A kind of provider of one's own, which a pipeline names with `kind = "shout"`: its models say everything in capitals.
//!
//! `cargo run -p promptmill-examples --example custom_provider`

#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::sync::Arc;

use async_trait::async_trait;
use promptmill_core::{CallError, Finish, Money, Provider, ProviderKind, RateLimits, Request, Response, Usage};
use promptmill_engine::{Engine, RunOptions, Summary};
use serde_json::{Map, Value};

#[derive(Debug)]
struct Shout;

#[async_trait]
impl Provider for Shout {
    /// Asks once; a service would be called here. The answer names every id of the pack.
    async fn complete(&self, request: &Request) -> Result<Response, CallError> {
        let answers: Map<String, Value> = request.items.iter().map(|item| (item.id.clone(), item.text.to_uppercase().into())).collect();
        self.read(&Value::from(answers).to_string())
    }

    /// Reads what was journalled, as `complete` would have.
    fn read(&self, raw: &str) -> Result<Response, CallError> {
        let usage = Usage { output_tokens: raw.len() as u64 / 4, ..Usage::default() };
        Ok(Response {
            raw: raw.to_owned(),
            content: raw.to_owned(),
            finish: Finish::Stop,
            finish_reason: None,
            usage: Some(usage),
            cost: Some(Money::ZERO),
            limits: RateLimits::NONE,
        })
    }
}

const PIPELINE: &str = r#"
source = { path = "${SAMPLE}", key = "motion_id" }
stages = [
  { use = "prompt-pack", prompt = "Say it louder.", item = "{{ title }}", answer = "loud" },
  { use = "llm", model = "loudest" },
]
sink = { path = "${OUT}/results" }
models.loudest = { provider = "mine", model = "any" }
providers.mine = { kind = "shout", base_url = "http://localhost" }
"#;

async fn run() -> Result<Summary, Box<dyn std::error::Error>> {
    let mut registry = promptmill_stages::registry();
    registry.providers.push(ProviderKind::new("shout", |_opening| Ok(Arc::new(Shout))));
    let engine = Engine::new(registry);

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("loud.toml");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/data/motions-sample.parquet");
    let out = folder.path().display().to_string();
    std::fs::write(&file, PIPELINE.replace("${SAMPLE}", sample).replace("${OUT}", &out))?;
    let pipeline = Arc::new(engine.read(&file, &[]).await?);
    engine.check(&pipeline).await?;
    let ended = engine.run(pipeline, RunOptions { limit: Some(50), ..RunOptions::default() }).wait().await?;
    ended.error.map_or(Ok(ended.summary), |error| Err(error.into()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let summary = run().await?;
    println!("{:?}: {} answered by a provider of our own", summary.status, summary.rows.answered);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test(flavor = "multi_thread")]
    async fn it_answers() {
        let rows = super::run().await.expect("runs").rows;
        assert_eq!((rows.answered, rows.dead_letters), (50, 0));
    }
}
