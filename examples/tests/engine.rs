//! promptmill inside of a program: runs that go while something else is done, stop when they are asked to, and fail in kinds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use promptmill_core::{ErrorKind, Pipeline};
use promptmill_engine::{Engine, RunOptions, Status};
use promptmill_sim::{Latency, SimConfig, Simulator};

/// A pipeline over the sample of motions that asks the server at this URL.
fn pipeline_file(folder: &Path, url: &str) -> PathBuf {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/data/motions-sample.parquet");
    let text = format!(
        "source = {{ path = '{sample}', key = 'motion_id' }}\n\
         stages = [\n  {{ use = 'filter', where = 'length(trim(body)) > 0' }},\n  {{ use = 'prompt-pack', prompt = 'Explain.', item = '{{{{ title }}}}', rows = 1 }},\n  \
         {{ use = 'llm', model = 'm', concurrency = 2, hedge = 0.0 }},\n]\n\
         sink = {{ path = '{}/out/results' }}\n\
         models.m = {{ provider = 'p', model = 'm', price = {{ input = 1, output = 1 }} }}\n\
         providers.p = {{ kind = 'openai', base_url = '{url}' }}\n",
        folder.display()
    );
    let path = folder.join("mine.toml");
    std::fs::write(&path, text).expect("written");
    path
}

async fn read(engine: &Engine, folder: &Path, url: &str) -> Arc<Pipeline> {
    Arc::new(engine.read(&pipeline_file(folder, url), &[]).await.expect("is right"))
}

/// A server that takes its time.
fn slow() -> Simulator {
    let latency = Latency { base_ms: 40.0, per_output_token_ms: 0.0, noise: 0.0, ..Latency::default() };
    Simulator::start(SimConfig { latency, ..SimConfig::instant() }).expect("starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_watched_stopped_and_carried_on_and_no_other_runs_beside_it() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), slow());
    let engine = Engine::new(promptmill_stages::registry());
    let pipeline = read(&engine, folder.path(), &server.base_url()).await;

    let run = engine.run(Arc::clone(&pipeline), RunOptions::default());
    while run.progress().answered < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let beside = engine.run(Arc::clone(&pipeline), RunOptions::default()).wait().await.expect_err("one runs already");
    assert_eq!((beside.kind(), beside.kind().exit_code()), (ErrorKind::Locked, 1), "{beside}");

    run.stop();
    let stopped = run.wait().await.expect("began");
    assert!(stopped.error.is_none(), "{:?}", stopped.error);
    let rows = stopped.summary.rows;
    assert_eq!(stopped.summary.status, Status::Interrupted);
    assert!(rows.answered >= 3 && rows.remaining > 0, "{rows:?}");

    // What is dropped stops by itself, and lets the next one in.
    let dropped = engine.run(Arc::clone(&pipeline), RunOptions { limit: Some(rows.answered + 200), ..RunOptions::default() });
    let stop = dropped.stopper();
    drop(dropped);
    assert!(stop.is_requested());
    let limit = Some(rows.answered + 20);
    let carried_on = loop {
        match engine.run(Arc::clone(&pipeline), RunOptions { limit, ..RunOptions::default() }).wait().await {
            Ok(ended) => break ended,
            Err(error) if error.kind() == ErrorKind::Locked => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(carried_on.summary.status, Status::Completed, "{:?}", carried_on.error);
    let session = engine.sql(&pipeline).await.expect("opens");
    let answered = session.table("results").await.expect("a table").count().await.expect("counts") as u64;
    assert!(answered >= rows.answered + 20, "{answered} rows");
    assert_eq!(server.ledger().requests, answered, "each row was asked once");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_kinds() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::new(promptmill_stages::registry());
    let nobody = read(&engine, folder.path(), "http://127.0.0.1:9/v1").await;
    let ended = engine.run(Arc::clone(&nobody), RunOptions::default()).wait().await.expect("began");
    assert_eq!(ended.error.map(|error| error.kind()), Some(ErrorKind::ProviderUnreachable));

    let wrong = engine.read(&pipeline_file(folder.path(), "nowhere"), &[]).await.expect_err("no URL");
    assert_eq!((wrong.kind(), wrong.kind().exit_code()), (ErrorKind::Invalid, 2));
    let shown = format!("{wrong:?}");
    assert!(shown.len() < 400 && shown.contains("Invalid"), "short: {shown}");

    let state = promptmill_engine::state_folder(&nobody).expect("a folder");
    let commits = state.folder("commits");
    let names = commits.list().await.expect("lists");
    let last = names.iter().rfind(|name| name.ends_with(".json"));
    commits.put(last.map_or("00000001.json", String::as_str), r#"{"v":99}"#).await.expect("written");
    let later = engine.sql(&nobody).await.map(drop).expect_err("of a later version");
    assert_eq!(later.kind(), ErrorKind::State, "{later}");
}
