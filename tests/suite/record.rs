//! The run record sets what was configured beside what was in force and what was observed: a value that does
//! not reach the requests is seen there.

use std::time::Duration;

use promptmill_sim::SimConfig;
use serde_json::{Value, json};

use crate::spy::{Manner, Spy};
use crate::support::Project;

/// Runs the pipeline and returns the summary and the run record.
fn recorded(project: &Project, settings: &[&str]) -> (Value, Value) {
    let mut arguments = vec![];
    settings.iter().for_each(|set| arguments.extend(["--set", set]));
    let summary = project.run_pipeline(&arguments).expect(0).json();
    let name = format!("/runs/{}.json", summary["run_id"].as_str().expect("an id"));
    let files = project.files();
    let file = files.iter().find(|file| file.ends_with(&name)).expect("a run record");
    let record = std::fs::read(project.path(file)).expect("a file");
    (summary, serde_json::from_slice(&record).expect("JSON"))
}

fn spied(manner: Manner) -> (Spy, Project) {
    let (spy, project) = (Spy::new(manner), Project::new());
    project.motions(48);
    project.write(
        "pipeline.toml",
        &format!(
            r#"
[source]
path = "motions.parquet"
key = "motion_id"

[[stages]]
use = "prompt-pack"
prompt = "Leg uit."
item = "{{{{ motion_id }}}}"
rows = 4

[[stages]]
use = "llm"
model = "m"
fallback = ["never-asked"]
concurrency = 6

[sink]
path = "out/results"

[models.m]
provider = "p"
model = "gpt-4o-mini"

[models.never-asked]
provider = "p"
model = "another"

[providers.p]
kind = "openai"
base_url = "{}"
"#,
            spy.url
        ),
    );
    (spy, project)
}

#[test]
fn requests_in_flight_and_rows_per_request_are_counted_on_the_wire() {
    let (spy, project) = spied(Manner { wait: Duration::from_millis(150), ..Manner::default() });
    let (summary, record) = recorded(&project, &[]);
    let model = &record["models"]["m"];
    let fixed = |value: u64| json!({"start": value, "min": value, "max": value});
    assert_eq!(model["concurrency"]["configured"], fixed(6));
    assert_eq!(model["concurrency"]["in_force"], 6);
    assert_eq!(model["concurrency"]["observed"]["peak"], 6);
    assert_eq!(summary["throughput"]["concurrency_peak"], 6);
    assert_eq!(spy.asked().iter().map(|asked| asked.in_flight).max(), Some(6), "the server saw what the record says");
    assert!(model["concurrency"]["observed"]["mean"].as_f64().is_some_and(|mean| mean > 3.0), "{model}");
    assert_eq!(model["rows_per_request"]["configured"], fixed(4));
    assert_eq!(model["rows_per_request"]["observed"], json!({"min": 4, "mean": 4.0, "max": 4}));
    assert_eq!((&model["requests"], &model["attempts"]["observed"]["max"]), (&json!(12), &json!(1)));
    // The latency is the server's, and the time limit that the request carried stands beside it.
    assert!(model["timeout_ms"]["observed"]["mean"].as_f64().is_some_and(|mean| mean >= 150.0), "{model}");
    assert_eq!((&model["timeout_ms"]["configured"], &model["timeout_ms"]["in_force"]), (&json!(120_000), &json!(120_000)));
    // A model that nobody asked has settings, and nothing observed.
    let unasked = &record["models"]["never-asked"];
    assert_eq!((&unasked["requests"], &unasked["concurrency"]["configured"]), (&json!(0), &fixed(6)));
    assert_eq!((&unasked["concurrency"]["in_force"], &unasked["concurrency"]["observed"]), (&Value::Null, &Value::Null));
}

#[test]
fn workers_that_have_nothing_to_do_are_seen() {
    // Six may be in flight, and all the rows fit into one request: somebody who waits for a speed-up sees why.
    let (spy, project) = spied(Manner::default());
    let (_, record) = recorded(&project, &["stages.prompt-pack.rows=48"]);
    let concurrency = &record["models"]["m"]["concurrency"];
    assert_eq!(spy.asked().len(), 1);
    assert_eq!((&concurrency["configured"]["max"], &concurrency["in_force"]), (&json!(6), &json!(6)));
    assert_eq!(concurrency["observed"], json!({"mean": 1.0, "peak": 1}));
}

#[test]
fn what_the_request_carries_is_in_force_whatever_the_stage_says() {
    let (spy, project) = spied(Manner::default());
    let settings = ["stages.llm.temperature=0.2", "stages.llm.max_tokens_per_row=50"];
    let (_, record) = recorded(&project, &settings);
    let model = &record["models"]["m"];
    assert_eq!(model["temperature"], json!({"configured": 0.2, "in_force": 0.2}));
    assert_eq!((&model["max_tokens_per_row"]["configured"], &model["max_tokens_per_row"]["in_force"]), (&json!(50), &json!(50)));
    // `extra_body` has the last word on the wire, so it has it here.
    let louder = ["models.m.extra_body={ temperature = 0.9, max_tokens = 40 }", "sink.path=other/results"];
    let (_, record) = recorded(&project, &[&settings[..], &louder].concat());
    let model = &record["models"]["m"];
    assert_eq!(spy.asked().last().map(|asked| asked.body["temperature"].clone()), Some(json!(0.9)));
    assert_eq!(model["temperature"], json!({"configured": 0.2, "in_force": 0.9}));
    assert_eq!((&model["max_tokens_per_row"]["configured"], &model["max_tokens_per_row"]["in_force"]), (&json!(50), &json!(10)));
}

#[test]
fn prices_have_a_source_and_the_budget_its_origin() {
    let (_, project) = spied(Manner::default());
    let (_, record) = recorded(&project, &[]);
    let price = &record["models"]["m"]["price"];
    assert_eq!((&price["configured"], &price["in_force"]), (&Value::Null, &json!({"input": 0.15, "cached_input": 0.075, "output": 0.6})));
    assert!(price["source"].as_str().is_some_and(|source| source.starts_with("OpenAI (") && source.contains("20")), "{price}");
    assert_eq!(price["observed"], json!({"stated_by_provider": 0, "counted_from_tokens": 12}));
    assert_eq!(record["models"]["never-asked"]["price"]["source"], Value::Null);
    assert_eq!((&record["budget"]["in_force_usd"], &record["budget"]["spent_before_usd"]), (&Value::Null, &json!(0.0)));

    let stated = Manner { usage: json!({"cost": 0.001}).as_object().expect("an object").clone(), ..Manner::default() };
    let (_, project) = spied(stated);
    let own = ["models.m.price={ input = 1, output = 2 }", "stages.llm.fallback=[]"];
    let (_, record) = recorded(&project, &own);
    let price = &record["models"]["m"]["price"];
    assert_eq!(price["in_force"], json!({"input": 1.0, "cached_input": 1.0, "output": 2.0}));
    assert_eq!(price["source"], "the pipeline file");
    assert_eq!(price["observed"], json!({"stated_by_provider": 12, "counted_from_tokens": 0}));
    // The second run knows what the first has spent, and which budget has the say.
    let mut arguments = vec!["--budget-usd", "2.5"];
    own.iter().for_each(|set| arguments.extend(["--set", set]));
    let summary = project.run_pipeline(&arguments).expect(0).json();
    let record = std::fs::read(project.path(&format!("out/_promptmill/pipeline/runs/{}.json", summary["run_id"].as_str().expect("an id"))));
    let budget = &serde_json::from_slice::<Value>(&record.expect("a record")).expect("JSON")["budget"];
    let expected = json!({"configured_usd": null, "flag_usd": 2.5, "in_force_usd": 2.5, "spent_before_usd": 0.012, "spent_usd": 0.012});
    assert_eq!(budget, &expected);
}

#[test]
fn announced_limits_and_the_cached_share_are_those_of_the_server() {
    let mut config = SimConfig::instant();
    config.cached_prefix = true;
    config.limits.headers = true;
    config.limits.rpm = Some(60_000);
    config.limits.tpm = Some(90_000_000);
    let project = Project::simulated(200, config);
    let (summary, record) = recorded(&project, &["providers.simulator.rpm=50000", "stages.prompt-pack.system=Je legt moties uit."]);
    let (model, books) = (&record["models"]["simulated"], project.simulator().ledger());
    let pace = &model["requests_per_minute"];
    assert_eq!((&pace["configured"], &pace["announced"]), (&json!(50_000), &json!(60_000)));
    assert!(pace["observed"].as_f64().is_some_and(|observed| observed > 0.0 && observed <= 60_000.0), "{pace}");
    let pace = &model["tokens_per_minute"];
    assert_eq!((&pace["configured"], &pace["announced"]), (&Value::Null, &json!(90_000_000)));
    // The prompt begins alike in every request, so the provider finds its beginning in the cache.
    assert!(books.cached_tokens > 0);
    assert_eq!(summary["tokens"]["cached_input"], books.cached_tokens);
    assert_eq!((&model["tokens"]["input"], &model["tokens"]["cached_input"]), (&json!(books.prompt_tokens), &json!(books.cached_tokens)));
    let share = model["tokens"]["cached_share"].as_f64().expect("a share");
    assert!((share - books.cached_tokens as f64 / books.prompt_tokens as f64).abs() < 0.001, "{share}");
    assert!(model["tokens"]["bytes_per_input_token"].as_f64().is_some_and(|bytes| (2.0..8.0).contains(&bytes)), "{model}");
    // And it was paid at the price of cached tokens.
    assert_eq!(project.assert_money_agrees(), books.billed_nano_usd as i64);
}

#[test]
fn what_every_request_has_in_common_stands_in_front() {
    let (spy, project) = spied(Manner::default());
    recorded(&project, &["stages.prompt-pack.system=Je legt moties uit."]);
    let asked = spy.asked();
    let in_front = |message: &str| message[..message.find("{\"id\":").expect("items")].to_owned();
    let common = in_front(asked[0].message());
    assert!(common.starts_with("Leg uit."), "{common}");
    for asked in &asked {
        assert_eq!(asked.body["messages"][0], json!({"role": "system", "content": "Je legt moties uit."}));
        assert_eq!(in_front(asked.message()), common);
        let items = &asked.message()[common.len()..];
        assert!(items.lines().all(|line| line.starts_with("{\"id\":")), "nothing stands behind the items: {items}");
    }
    assert_eq!(asked.len(), 12);
}

#[test]
fn what_each_step_did_is_counted_and_kept_on_the_row() {
    let (_spy, project) = spied(Manner { says: "De filthy  lucht moet **schoner**.", ..Manner::default() });
    let pipeline = std::fs::read_to_string(project.path("pipeline.toml")).expect("the pipeline");
    let steps = r#"[[stages]]
use = "post-process"
column = "answer"
steps = [
  { use = "replace-words", words = { filthy = "vuile" } },
  { use = "normalize-text" },
  { use = "reject-markdown", on_reject = "keep" },
  { use = "reject-length", min_chars = 10 },
]

[sink]"#;
    project.write("pipeline.toml", &pipeline.replace("[sink]", steps));
    let (_, record) = recorded(&project, &[]);
    let did = |repaired: u64, flagged: u64| json!({"repaired": repaired, "flagged": flagged, "rejected": 0});
    assert_eq!(record["steps"], json!({"normalize-text": did(48, 0), "reject-markdown": did(0, 48), "replace-words": did(48, 0)}));
    let flags = project.query("SELECT DISTINCT array_to_string(answer_flags, ' ') AS flags FROM results");
    assert_eq!(flags, [json!({"flags": "replace-words normalize-text rejected:markdown"})]);
}
