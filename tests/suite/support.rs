//! A folder with a pipeline in it, the binary, and a simulated provider.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use promptmill_sim::motions::{Options, write_parquet};
use promptmill_sim::{SimConfig, Simulator};
use serde_json::Value;
use tempfile::TempDir;

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the project's folder")
}

/// A folder of its own for one test.
pub(crate) struct Project {
    pub(crate) folder: TempDir,
    /// Runs the runtime that a simulator lives on.
    runtime: Option<tokio::runtime::Runtime>,
    pub(crate) simulator: Option<Simulator>,
    /// What commands find in their environment besides that of the tests.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// What a command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Project {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), runtime: None, simulator: None, environment: Vec::new() }
    }

    /// A project whose pipeline asks a simulated provider about generated motions.
    pub(crate) fn simulated(rows: u64, config: SimConfig) -> Self {
        let mut project = Self::new();
        project.motions(rows);
        project.simulate(config);
        project.write("pipeline.toml", &project.simulated_pipeline(""));
        project
    }

    pub(crate) fn simulate(&mut self, config: SimConfig) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let guard = runtime.enter();
        let simulator = Simulator::start(config).expect("a simulator");
        drop(guard);
        self.simulator = Some(simulator);
        self.runtime = Some(runtime);
    }

    pub(crate) fn simulator(&self) -> &Simulator {
        self.simulator.as_ref().expect("a simulator")
    }

    /// Waits until the simulator has seen so many requests.
    #[track_caller]
    pub(crate) fn wait_for_requests(&self, count: u64) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.simulator().ledger().requests < count {
            assert!(Instant::now() < until, "the run does not get going");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A pipeline over `motions.parquet`, with more lines for the `llm` stage. Nothing is asked twice unless they say
    /// so: what a late request cost that was given up is not known to the cent.
    pub(crate) fn simulated_pipeline(&self, llm: &str) -> String {
        let hedge = if llm.contains("hedge") { "" } else { "hedge = 0.0" };
        format!(
            r#"
name = "motions"

[source]
path = "motions.parquet"
key = "motion_id"

[[stages]]
use = "filter"
where = "body IS NOT NULL AND length(trim(body)) > 0"

[[stages]]
use = "prompt-pack"
prompt = "Schrijf voor elke motie twee tot drie zinnen uitleg."
item = "{{{{ title }}}}\n[[{{{{ motion_id }}}}]]\n{{{{ body }}}}"
rows = 10
answer = "summary"

[[stages]]
use = "llm"
model = "simulated"
max_tokens_per_row = 400
{hedge}
{llm}

[[stages]]
use = "post-process"
column = "summary"
language = "nl"
steps = [
  {{ use = "drop-lines-in-other-scripts", scripts = ["Latin"] }},
  {{ use = "remove-pattern", pattern = '\(\d+-\d+\)' }},
  {{ use = "normalize-text" }},
  {{ use = "reject-words", list = "english-common", more_than = 10 }},
  {{ use = "reject-language" }},
  {{ use = "reject-length", min_chars = 20, max_chars = 3000 }},
]

[[stages]]
use = "cost"

[sink]
path = "out/motions"
partition_by = ["year"]
columns = ["motion_id", "title", "summary"]

[models.simulated]
provider = "simulator"
model = "simulated"
price = {{ input = 0.15, cached_input = 0.015, output = 0.60 }}

[providers.simulator]
kind = "openai"
base_url = "{}"
"#,
            self.simulator().base_url()
        )
    }

    pub(crate) fn motions(&self, rows: u64) {
        let options = Options { seed: 11, rows, ..Options::default() };
        write_parquet(&self.path("motions.parquet"), &options).expect("motions");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    /// Every file of the project, by its path in it.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        let (mut files, mut folders) = (BTreeSet::new(), vec![self.folder.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else {
                    let path = entry.strip_prefix(self.folder.path()).expect("a path in the project");
                    files.insert(path.to_string_lossy().into_owned());
                }
            }
        }
        files
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_promptmill"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        // Whatever the machine has set must not reach the tests.
        for variable in ["OPENROUTER_API_KEY", "MOTIONS", "LOCAL_BASE_URL", "PROMPTMILL_LOG"] {
            command.env_remove(variable);
        }
        for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("AWS_")) {
            command.env_remove(variable);
        }
        // Nor what another run has learned.
        command.env("PROMPTMILL_LANES", self.path("lanes"));
        command.envs(self.environment.iter().cloned());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().expect("the binary runs").into()
    }

    /// Runs the pipeline, with JSON output.
    pub(crate) fn run_pipeline(&self, more: &[&str]) -> Ran {
        let mut arguments = vec!["run", "pipeline.toml", "--output", "json", "--progress", "none"];
        arguments.extend(more);
        self.run(&arguments)
    }

    /// The rows of a query over the pipeline.
    #[track_caller]
    pub(crate) fn query(&self, query: &str) -> Vec<Value> {
        let ran = self.run(&["sql", "pipeline.toml", query, "--output", "json"]).expect(0);
        ran.json().as_array().expect("rows").clone()
    }

    /// One number of a query over the pipeline; decimals come as text or number.
    #[track_caller]
    pub(crate) fn number(&self, query: &str) -> f64 {
        let rows = self.query(query);
        let value = rows.first().and_then(|row| row.as_object()?.values().next().cloned()).unwrap_or_default();
        match &value {
            Value::String(text) => text.parse().expect("a number"),
            Value::Null => 0.0,
            value => value.as_f64().unwrap_or_else(|| panic!("{query}: {value}")),
        }
    }

    /// A sum of money, in nano-dollars.
    #[track_caller]
    pub(crate) fn nano(&self, query: &str) -> i64 {
        self.number(&format!("SELECT CAST(coalesce(sum(cost_usd), 0) * 1000000000 AS BIGINT) FROM {query}")) as i64
    }

    /// How often each key occurs in results and dead letters together.
    pub(crate) fn settled_keys(&self) -> BTreeMap<String, u64> {
        let rows = self.query(
            "SELECT motion_id, count(*) AS n FROM (SELECT motion_id FROM results UNION ALL SELECT motion_id FROM dead_letters) AS both GROUP BY motion_id",
        );
        rows.iter().map(|row| (row["motion_id"].as_str().expect("a key").to_owned(), row["n"].as_u64().expect("a count"))).collect()
    }

    /// The keys of the source that pass the filter.
    pub(crate) fn source_keys(&self) -> Vec<String> {
        let rows = self.query("SELECT motion_id FROM source WHERE body IS NOT NULL AND length(trim(body)) > 0");
        rows.iter().map(|row| row["motion_id"].as_str().expect("a key").to_owned()).collect()
    }

    /// Promise 1: every key that passes the filters is settled exactly once.
    #[track_caller]
    pub(crate) fn assert_settled_once(&self) {
        let settled = self.settled_keys();
        let source = self.source_keys();
        let wrong: Vec<_> = source.iter().filter(|key| settled.get(*key) != Some(&1)).map(|key| (key, settled.get(key))).take(5).collect();
        assert!(wrong.is_empty(), "not settled exactly once: {wrong:?}");
        assert_eq!(settled.len(), source.len(), "keys that the source does not have");
    }

    /// The same with settings.
    #[track_caller]
    pub(crate) fn assert_settled_once_of(&self, settings: &[&str]) {
        let query = "SELECT count(*) AS wrong FROM (SELECT s.motion_id, count(r.motion_id) AS n FROM source s \
                     LEFT JOIN (SELECT motion_id FROM results UNION ALL SELECT motion_id FROM dead_letters) r \
                     ON r.motion_id = s.motion_id GROUP BY s.motion_id) WHERE n <> 1";
        let ran = self.run(&[&["sql", "pipeline.toml", query, "--output", "json"], settings].concat()).expect(0);
        assert_eq!(ran.json(), serde_json::json!([{"wrong": 0}]));
    }

    /// Promise 4: rows and attempts cost the same, to the nano-dollar.
    #[track_caller]
    pub(crate) fn assert_money_agrees(&self) -> i64 {
        let attempts = self.nano("attempts");
        let rows = self.nano("results") + self.nano("dead_letters");
        assert_eq!(rows, attempts, "rows and attempts differ");
        attempts
    }
}
