//! The methods that promptmill is measured beside: the story's, and an ordinary client in Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::Result;
use crate::client::{Took, ended, so_far};
use crate::pipelines::PROMPT;

/// Room for the JSON around the answers, beside each motion's own.
const ENVELOPE_TOKENS: usize = 64;

/// The method of the story: so many requests at once, and the next ones when all have come back.
#[derive(Debug, Args)]
pub(crate) struct Chunks {
    url: String,
    /// The texts, each a JSON string on a line of its own.
    items: PathBuf,
    #[arg(long)]
    workers: usize,
    #[arg(long)]
    pack: usize,
    #[arg(long)]
    tokens_per_row: usize,
    /// How long it is measured.
    #[arg(long)]
    seconds: u64,
}

impl Chunks {
    pub(crate) async fn run(&self) -> Result<()> {
        // It reads everything first, as its original did.
        let text = std::fs::read_to_string(&self.items)?;
        let texts: Vec<String> = text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
        let limit = Duration::from_secs(self.seconds);
        let done = chunk_by_chunk(&self.url, &texts, self.workers, self.pack, self.tokens_per_row, limit).await?;
        println!("{}", serde_json::to_string(&Took { answered: done.answered, lost: done.lost, ..so_far() })?);
        Ok(())
    }

    /// The same in a process of its own.
    pub(crate) fn own_process(url: &str, items: &Path, workers: usize, pack: usize, tokens_per_row: usize, seconds: u64) -> Result<Took> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["chunks", url]).arg(items);
        for (name, value) in
            [("--workers", workers), ("--pack", pack), ("--tokens-per-row", tokens_per_row), ("--seconds", seconds as usize)]
        {
            command.args([name, &value.to_string()]);
        }
        Ok(serde_json::from_str(&ended(&mut command)?)?)
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) answered: u64,
    /// Motions of requests that failed: nobody asks again.
    pub(crate) lost: u64,
    pub(crate) seconds: f64,
}

pub(crate) async fn chunk_by_chunk(
    url: &str,
    texts: &[String],
    workers: usize,
    pack: usize,
    tokens_per_row: usize,
    limit: Duration,
) -> Result<Done> {
    let client = reqwest::Client::new();
    let (started, mut done) = (Instant::now(), Done::default());
    for chunk in texts.chunks(workers * pack) {
        let requests = chunk.chunks(pack).map(|texts| ask(&client, url, texts, tokens_per_row));
        for (answered, texts) in join_all(requests).await.into_iter().zip(chunk.chunks(pack)) {
            let answered = answered.unwrap_or(0);
            done.answered += answered;
            done.lost += (texts.len() as u64).saturating_sub(answered);
        }
        if started.elapsed() > limit {
            break;
        }
    }
    done.seconds = started.elapsed().as_secs_f64();
    Ok(done)
}

async fn ask(client: &reqwest::Client, url: &str, texts: &[String], tokens_per_row: usize) -> Result<u64> {
    let items: Vec<String> =
        texts.iter().enumerate().map(|(n, text)| json!({"id": format!("r{}", n + 1), "text": text}).to_string()).collect();
    let body = json!({
        "model": "simulated",
        "messages": [{"role": "user", "content": format!("{PROMPT}\n\n{}", items.join("\n"))}],
        "max_tokens": tokens_per_row * texts.len() + ENVELOPE_TOKENS,
    });
    let post = client.post(format!("{url}/chat/completions")).header("content-type", "application/json");
    let text = post.body(body.to_string()).send().await?.error_for_status()?.text().await?;
    let answer: Value = serde_json::from_str(&text)?;
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap_or_default();
    Ok(serde_json::from_str::<Value>(content)?.as_object().map_or(0, serde_json::Map::len) as u64)
}

/// An ordinary client: asyncio and aiohttp, a fixed number of requests in flight, exponential backoff with jitter.
#[derive(Debug, Clone)]
pub(crate) struct Asyncio {
    python: PathBuf,
    script: PathBuf,
}

impl Asyncio {
    /// Finds it, or says why it cannot be measured.
    pub(crate) fn find(python: &Path) -> std::result::Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/asyncio_client.py");
        let check = Command::new(python).args(["-c", "import aiohttp"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match check {
            Ok(status) if status.success() => Ok(Self { python: python.to_owned(), script }),
            Ok(_) => Err(format!("`{}` has no aiohttp: `pip install aiohttp`, or name another with --python", python.display())),
            Err(error) => Err(format!("`{}` cannot be run: {error}", python.display())),
        }
    }

    pub(crate) fn run(&self, url: &str, items: &Path, in_flight: usize, pack: usize, tokens_per_row: usize) -> Result<Took> {
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg(url).arg(items).args(["--prompt", PROMPT]);
        for (name, value) in [("--in-flight", in_flight), ("--pack", pack), ("--tokens-per-row", tokens_per_row)] {
            command.args([name, &value.to_string()]);
        }
        Ok(serde_json::from_str(&ended(&mut command)?)?)
    }
}
