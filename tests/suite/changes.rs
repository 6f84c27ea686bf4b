//! Only what changed is asked, `plan` says so beforehand, and readers see whole results at every moment.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use promptmill_sim::SimConfig;
use promptmill_sim::motions::{Options, write_parquet};
use serde_json::Value;

use crate::support::Project;

const ROWS: u64 = 120;

fn project() -> Project {
    Project::simulated(ROWS, SimConfig::instant())
}

/// Writes the source again, as what `change` makes of each row: its text, or nothing.
pub(crate) fn edit(project: &Project, change: impl Fn(usize, &str) -> Option<String>) {
    let path = project.path("motions.parquet");
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("motions")).expect("Parquet");
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().expect("a reader").collect::<Result<_, _>>().expect("rows");
    let all = concat_batches(&schema, &batches).expect("one batch");
    let bodies = all.column_by_name("body").expect("bodies").as_string::<i32>();
    let changed: Vec<Option<String>> = (0..all.num_rows()).map(|row| change(row, bodies.value(row))).collect();
    let stays: BooleanArray = changed.iter().map(|body| Some(body.is_some())).collect();
    let mut columns = all.columns().to_vec();
    columns[schema.index_of("body").expect("bodies")] = Arc::new(changed.into_iter().collect::<StringArray>()) as ArrayRef;
    let edited = filter_record_batch(&RecordBatch::try_new(Arc::clone(&schema), columns).expect("a batch"), &stays).expect("filtered");
    let mut writer = ArrowWriter::try_new(File::create(&path).expect("a file"), schema, None).expect("a writer");
    writer.write(&edited).expect("written");
    writer.close().expect("closed");
}

/// Of the project's rows, as many as here, 5 change and 7 go; 30 come in a second file. Returns the setting that reads both.
pub(crate) fn come_change_and_go(project: &Project) -> [&'static str; 2] {
    write_parquet(&project.path("more.parquet"), &Options { seed: 11, from: ROWS, rows: 30, ..Options::default() }).expect("motions");
    edit(project, |row, body| match row {
        0..5 => Some(format!("{body} Gewijzigd.")),
        20..27 => None,
        _ => Some(body.to_owned()),
    });
    ["--set", "source.path=*.parquet"]
}

fn answered(project: &Project, more: &[&str]) -> u64 {
    let summary = project.run_pipeline(more).expect(0).json();
    assert_eq!(summary["rows"]["remaining"], 0, "{summary}");
    summary["rows"]["answered"].as_u64().expect("a count")
}

/// The summary of every key.
fn summaries(project: &Project) -> Vec<Value> {
    project.query("SELECT motion_id, summary FROM results ORDER BY motion_id")
}

#[test]
fn rows_that_come_change_and_go_are_the_only_ones_to_be_worked_on() {
    let project = project();
    assert_eq!(answered(&project, &[]), ROWS);
    let before = summaries(&project);
    let both = come_change_and_go(&project);
    let plan = project.run(&[&["plan", "pipeline.toml"], &both[..]].concat()).expect(0).stdout;
    assert!(plan.contains("35 to ask (30 new, 5 changed)") && plan.contains("changed   5 rows: their items have changed"), "{plan}");
    assert!(plan.contains("gone      7 settled rows"), "{plan}");
    let asked = project.simulator().ledger().items.paid;
    assert_eq!(answered(&project, &both), 35);
    assert_eq!(project.simulator().ledger().items.paid - asked, 35, "exactly what is new or changed");
    assert_eq!(project.number("SELECT count(*) FROM results"), (ROWS + 30) as f64, "what has gone stays until it is pruned");
    project.assert_money_agrees();
    let kept: Vec<&Value> = before.iter().skip(40).collect();
    let now = summaries(&project);
    assert!(kept.iter().all(|row| now.contains(row)), "what has not changed keeps its answer");
    assert_eq!(answered(&project, &[&both[..], &["--prune"]].concat()), 0);
    assert_eq!(project.number("SELECT count(*) FROM results"), (ROWS + 30 - 7) as f64);
    assert_eq!(project.number("SELECT count(DISTINCT motion_id) FROM results"), (ROWS + 30 - 7) as f64);
    // What comes back is answered from the journal, for nothing.
    project.motions(ROWS);
    let back = project.run_pipeline(&both).expect(0).json();
    assert_eq!((back["rows"]["from_journal"].as_u64(), back["requests"]["sent"].as_u64()), (Some(12), Some(0)), "{back}");
    project.assert_settled_once_of(&both);
    project.assert_money_agrees();
}

#[test]
fn each_change_of_the_pipeline_does_the_least_work() {
    let project = project();
    assert_eq!(answered(&project, &[]), ROWS);
    let everything = [
        "stages.prompt-pack.prompt=Leg uit.",
        "stages.prompt-pack.system=Je bent kort.",
        "stages.prompt-pack.item={{ title }} [[{{ motion_id }}]]",
        "stages.llm.temperature=0.9",
        "stages.llm.fallback=[\"builtin/extractive\"]",
        "models.simulated.model=simulated-2",
    ];
    for setting in everything {
        let plan = project.run(&["plan", "pipeline.toml", "--set", setting]).expect(0).stdout;
        assert!(plan.contains("120 to ask (0 new, 120 changed)"), "{setting}: {plan}");
        let why = if setting.contains(".item=") { "their items have changed" } else { "for every row" };
        assert!(plan.contains(why), "{setting}: {plan}");
    }
    let nothing = [
        "stages.llm.timeout=9s",
        "stages.llm.concurrency=2",
        "stages.llm.attempts=2",
        "stages.prompt-pack.rows=7",
        "stages.post-process.on_reject=keep",
        "stages.cost.budget_usd=1",
        "sink.target_file_mb=1",
        "providers.simulator.rpm=100000",
    ];
    for setting in nothing {
        assert_eq!(answered(&project, &["--set", setting]), 0, "{setting}");
    }
    let sent = project.simulator().ledger().requests;
    assert_eq!(answered(&project, &["--set", everything[0]]), ROWS);
    assert!(project.simulator().ledger().requests > sent);
    // The old question again has its answers in the journal.
    let sent = project.simulator().ledger().requests;
    let back = project.run_pipeline(&[]).expect(0).json();
    assert_eq!((back["rows"]["from_journal"].as_u64(), back["rows"]["answered"].as_u64()), (Some(ROWS), Some(ROWS)));
    assert_eq!(project.simulator().ledger().requests, sent);
    project.assert_settled_once();
    project.assert_money_agrees();
}

#[test]
fn until_a_run_ends_changed_rows_keep_their_old_answers() {
    let mut config = SimConfig::default();
    config.latency.base_ms = 60.0;
    let project = Project::simulated(ROWS, config);
    let text = project.simulated_pipeline("concurrency = 2").replace("[sink]", "[sink]\ncommit_every = \"100ms\"");
    project.write("pipeline.toml", &text);
    answered(&project, &[]);
    let mut command = project.command(&["run", "pipeline.toml", "--progress", "none", "--set", "stages.prompt-pack.prompt=Kort."]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("starts");
    let mut looks = 0;
    while child.try_wait().expect("waits").is_none() {
        let counts = project.query("SELECT count(*) AS n, count(DISTINCT motion_id) AS d FROM results");
        assert_eq!(counts, [serde_json::json!({"n": ROWS, "d": ROWS})]);
        looks += 1;
    }
    assert!(looks > 2, "{looks} looks");
    project.assert_settled_once();
    project.assert_money_agrees();
}

#[test]
fn fresh_answers_everything_anew_and_the_old_results_stay_until_then() {
    let project = project();
    answered(&project, &[]);
    let paid = |project: &Project| project.simulator().ledger().items.paid;
    // A part of a generation is no generation.
    let part = project.run_pipeline(&["--fresh", "--limit", "50"]).expect(0);
    assert!(part.stderr.contains("the old results stay"), "{}", part.stderr);
    assert_eq!(paid(&project), ROWS + 50);
    assert_eq!(project.number("SELECT count(*) FROM results"), ROWS as f64);
    let plan = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    assert!(plan.contains("a generation that `--fresh` has begun is completed"), "{plan}");
    // It is carried on with, and nothing is paid twice in it.
    let rest = project.run_pipeline(&[]).expect(0).json();
    assert_eq!((rest["rows"]["from_journal"].as_u64(), rest["rows"]["answered"].as_u64()), (Some(50), Some(ROWS)));
    assert_eq!(paid(&project), 2 * ROWS);
    project.assert_settled_once();
    project.assert_money_agrees();
    assert_eq!(answered(&project, &[]), 0, "and then it is what there is");
    let files = project.files();
    let data: Vec<&String> = files.iter().filter(|name| name.starts_with("out/motions/")).collect();
    assert!(data.iter().all(|name| name.rsplit('/').next().is_some_and(|name| name.starts_with("0002"))), "{data:?}");
    assert_eq!(answered(&project, &["--fresh"]), ROWS);
    assert_eq!(paid(&project), 3 * ROWS);
    project.assert_settled_once();
}

#[test]
fn replay_applies_changed_rules_to_what_was_said_and_sends_nothing() {
    let project = project();
    answered(&project, &[]);
    let (requests, before) = (project.simulator().ledger().requests, summaries(&project));
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    let changed = text.replace("steps = [", "steps = [\n  { use = \"replace-words\", words = { \"motie\" = \"zaak\" } },");
    project.write("pipeline.toml", &changed);
    assert_eq!(answered(&project, &[]), 0, "a rule is no part of the question");
    let replayed = project.run(&["replay", "pipeline.toml", "--output", "json"]).expect(0).json();
    assert_eq!((replayed["rows"]["from_journal"].as_u64(), replayed["requests"]["sent"].as_u64()), (Some(ROWS), Some(0)));
    assert_eq!(project.simulator().ledger().requests, requests);
    let after = summaries(&project);
    assert_eq!(after.len(), before.len());
    assert!(after != before && !serde_json::to_string(&after).expect("JSON").contains("motie "), "the rule is in force");
    project.assert_settled_once();
    project.assert_money_agrees();
    // What the rules turn away now is a dead letter, and can be asked about again.
    let strict = text.replace("min_chars = 20", "min_chars = 2999");
    project.write("pipeline.toml", &strict);
    project.run(&["replay", "pipeline.toml"]).expect(4);
    assert_eq!(project.number("SELECT count(*) FROM dead_letters WHERE reason = 'too-short'"), ROWS as f64);
    project.assert_settled_once();
    project.assert_money_agrees();
    project.write("pipeline.toml", &text);
    let again = project.run_pipeline(&["--retry-dead-letters"]).expect(0).json();
    assert_eq!((again["rows"]["from_journal"].as_u64(), again["requests"]["sent"].as_u64()), (Some(ROWS), Some(0)), "{again}");
    assert_eq!(summaries(&project), before);
}

#[test]
fn identical_items_are_asked_once_and_share_the_answer() {
    let project = project();
    // Ten different texts for a hundred and twenty rows, and no mark of the row in what is asked.
    edit(&project, |row, _| Some(format!("Verzoekt de regering om punt {} van de lijst uit te voeren. [[k{}]]", row % 10, row % 10)));
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    project.write(
        "pipeline.toml",
        &text.replace("{{ title }}\\n[[{{ motion_id }}]]\\n{{ body }}", "{{ body }}").replace("rows = 10", "rows = 3"),
    );
    let plan = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    assert!(plan.contains("shared    110 rows"), "{plan}");
    assert_eq!(project.run_pipeline(&["--limit", "60"]).expect(0).json()["rows"]["answered"], 60);
    assert_eq!(project.simulator().ledger().items.paid, 10);
    // Later runs share what earlier ones were told.
    assert_eq!(answered(&project, &[]), 60);
    assert_eq!(project.simulator().ledger().items.paid, 10);
    project.assert_settled_once();
    project.assert_money_agrees();
    assert_eq!(project.number("SELECT count(DISTINCT summary) FROM results"), 10.0);
    assert_eq!(project.number("SELECT count(*) FROM results WHERE llm_attempts = 0 AND cost_usd = 0"), 110.0);
}
