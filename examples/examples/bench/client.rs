//! Clients in processes of their own, and what they took: promptmill's runs, and whatever else says how it went.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use promptmill_core::Pipeline;
use promptmill_engine::{Engine, RunOptions, RunRecord};
use serde::{Deserialize, Serialize};

use crate::Result;

/// What a client took, as it says itself when it ends.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Took {
    /// Processor time in seconds, user and system.
    pub(crate) cpu_seconds: f64,
    /// Its largest resident set, in megabytes.
    pub(crate) peak_mb: f64,
    /// Motions that it got an answer about.
    pub(crate) answered: u64,
    /// Motions that it gave up.
    pub(crate) lost: u64,
}

#[derive(Serialize, Deserialize)]
struct Told {
    record: String,
    took: Took,
}

/// A run in a process of its own: its record, and what it took. It knows nothing of earlier runs.
pub(crate) fn own_run(pipeline: &Path) -> Result<(RunRecord, Took)> {
    let lanes = tempfile::tempdir()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg(pipeline).env("PROMPTMILL_LANES", lanes.path());
    let told: Told = serde_json::from_str(&ended(&mut command)?)?;
    Ok((serde_json::from_slice(&std::fs::read(told.record)?)?, told.took))
}

/// What a process says on its last line, when it has ended well.
pub(crate) fn ended(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8(output.stdout)?;
    let last = said.lines().last().filter(|_| output.status.success());
    Ok(last.ok_or_else(|| format!("{command:?} failed: {said}"))?.to_owned())
}

/// The run itself.
pub(crate) async fn run(path: &Path) -> Result<()> {
    let registry = promptmill_stages::registry();
    let pipeline = Arc::new(Pipeline::read(path, &[], &registry)?);
    let engine = Engine::new(registry).with_limits_of_this_machine();
    let ended = engine.run(Arc::clone(&pipeline), RunOptions::default()).wait().await?;
    if let Some(error) = ended.error {
        return Err(error.into());
    }
    let state = promptmill_engine::state_folder(&pipeline)?;
    let rows = ended.summary.rows;
    let settled = rows.answered + rows.dead_letters;
    let took = Took { answered: rows.answered, lost: (rows.source - rows.filtered_out).saturating_sub(settled), ..so_far() };
    println!("{}", serde_json::to_string(&Told { record: format!("{state}/runs/{}.json", ended.summary.run_id), took })?);
    Ok(())
}

/// What this process took so far; zeros where the system does not tell.
pub(crate) fn so_far() -> Took {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (status, stat) = (read("status"), read("stat"));
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok());
    // Behind the name, which may hold anything, utime and stime are the twelfth and thirteenth, in hundredths of a second.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Took { cpu_seconds: ticks / 100.0, peak_mb: peak.unwrap_or_default() / 1e3, ..Took::default() }
}
