//! Canary rows: asked once more alone, compared, paid to the nano-dollar, and never an answer.

use promptmill_sim::SimConfig;
use serde_json::{Value, json};

use crate::security::{pipeline, rows};
use crate::spy::{Manner, Spy};
use crate::support::{Project, Ran};

const PACKED: &str = "De motie verzoekt de regering om de wachttijden in de zorg te verkorten.";
const ALONE: &str = "De motie verzoekt de regering om de wachttijden in de bouw te verkorten.";
const ENGLISH: &str = "The motion requests that the government shortens the waiting lists in the health care sector.";

/// A project of six rows, three a request, and a spy.
fn spied(manner: Manner) -> (Spy, Project) {
    let spy = Spy::new(manner);
    let mut project = Project::new();
    rows(&project, &["one", "two", "three", "four", "five", "six"]);
    let judged = "\n[[stages]]\nuse = \"post-process\"\ncolumn = \"answer\"\nlanguage = \"nl\"\nsteps = [{ use = \"reject-language\" }]\n";
    project.write("pipeline.toml", &pipeline(&spy.url, judged));
    project.environment = vec![("SPY_KEY", "key".to_owned()), ("SPY_HEADER", "header".to_owned())];
    (spy, project)
}

fn run(project: &Project) -> Ran {
    project.run_pipeline(&["--set", "stages.llm.canary=1", "--set", "max_dead_letters=100%"]).expect(0)
}

/// What the record of the only run says.
fn record(project: &Project) -> Value {
    let name = project.files().into_iter().find(|file| file.contains("/runs/")).expect("a record");
    serde_json::from_slice(&std::fs::read(project.path(&name)).expect("a record")).expect("JSON")
}

#[test]
fn what_is_said_alone_is_compared_and_is_no_answer() {
    let (spy, project) = spied(Manner { says: PACKED, alone: Some(ALONE), ..Manner::default() });
    let summary = run(&project).json();
    assert_eq!((&summary["rows"]["answered"], &summary["requests"]["sent"]), (&json!(6), &json!(8)), "{summary}");
    let answers = || project.query("SELECT answer, llm_attempts, count(*) AS n FROM results GROUP BY 1, 2");
    assert_eq!(answers(), [json!({"answer": PACKED, "llm_attempts": 2, "n": 6})]);
    assert_eq!(project.query("SELECT sum(answered) AS n FROM attempts"), [json!({"n": 6})]);
    let paid = project.assert_money_agrees();
    let canaries = &record(&project)["canaries"];
    assert_eq!((&canaries["asked"], &canaries["compared"], &canaries["failed"]), (&json!(6), &json!(6), &json!(0)), "{canaries}");
    assert_eq!((&canaries["lost"], &canaries["warnings"]), (&json!([0, 0]), &json!([])), "{canaries}");
    // Twelve words of thirteen, six times; of three places two are in the first half.
    assert_eq!(canaries["likeness"], json!({"rows": 6, "mean": 0.9231, "interval": [0.9231, 0.9231]}), "{canaries}");
    assert_eq!((&canaries["first_half"]["rows"], &canaries["second_half"]["rows"]), (&json!(4), &json!(2)), "{canaries}");
    assert_eq!(canaries["by_rows"]["4"]["rows"], 6, "{canaries}");
    let cost = canaries["cost_usd"].as_f64().expect("a cost");
    assert_eq!((cost * 1e9).round() as i64, paid * 6 / 8, "six requests of eight that cost the same");

    // Nothing is asked again, of rows or of canaries; nor does the journal take one for the other.
    assert_eq!(run(&project).json()["requests"]["sent"], 0);
    project.run(&["replay", "pipeline.toml"]).expect(0);
    assert_eq!(answers(), [json!({"answer": PACKED, "llm_attempts": 2, "n": 6})]);
    assert_eq!((project.assert_money_agrees(), spy.asked().len()), (paid, 8));
}

#[test]
fn a_row_that_fails_in_its_pack_alone_is_counted_and_stays_what_it_is() {
    let (spy, project) = spied(Manner { says: ENGLISH, alone: Some(PACKED), ..Manner::default() });
    let ran = run(&project);
    let summary = ran.json();
    assert_eq!((&summary["rows"]["dead_letters"], &summary["rejections"]), (&json!(6), &json!({"wrong-language": 6})), "{summary}");
    let canaries = &record(&project)["canaries"];
    assert_eq!((&canaries["lost"], &canaries["likeness"]), (&json!([6, 0]), &Value::Null), "{canaries}");
    assert_eq!((&canaries["accepted_in_packs"]["rows"], &canaries["accepted_alone"]["rows"]), (&json!(0), &json!(6)), "{canaries}");
    assert!(ran.stderr.contains("6 canary rows 6 had an acceptable answer alone") && ran.stderr.contains("hint:"), "{}", ran.stderr);
    project.assert_money_agrees();
    // An answer that is there, and acceptable, and none: it was a canary's.
    assert_eq!(run(&project).json()["requests"]["sent"], 0);
    project.run(&["replay", "pipeline.toml", "--set", "max_dead_letters=100%"]).expect(0);
    assert_eq!(project.query("SELECT count(*) AS n FROM dead_letters"), [json!({"n": 6})]);
    assert_eq!((spy.asked().len(), project.query("SELECT count(*) AS n FROM results")), (8, vec![json!({"n": 0})]));
    project.assert_money_agrees();
    // Who was a canary once is none any more.
    project.run_pipeline(&["--retry-dead-letters", "--set", "stages.llm.canary=1"]).expect(4);
    assert_eq!(spy.asked().iter().skip(8).map(|asked| asked.ids().len()).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn carelessness_towards_the_end_of_packs_is_seen_and_where_there_is_none_none() {
    for careless in [true, false] {
        let mut config = SimConfig::instant();
        if careless {
            (config.careless.behind, config.careless.share) = (Some(10), 0.5);
        }
        let project = Project::simulated(400, config);
        let pipeline = project.simulated_pipeline("canary = 0.5").replace("rows = 10", "rows = 20");
        project.write("pipeline.toml", &pipeline);
        let ran = project.run_pipeline(&[]).expect(0);
        project.assert_settled_once();
        project.assert_money_agrees();
        let canaries = &record(&project)["canaries"];
        let asked = canaries["asked"].as_u64().expect("a count");
        // Half of the rows that pass the filter, within five standard errors.
        assert!((150..=250).contains(&asked), "{canaries}");
        assert_eq!(ran.stderr.contains("second half of packs"), careless, "{canaries}: {}", ran.stderr);
        let p = canaries["p_later"].as_f64().expect("enough rows");
        assert_eq!(p < 0.001, careless, "{canaries}");
        // The page of the run says the same.
        project.run(&["report", "pipeline.toml", "--to", "report.html"]).expect(0);
        let page = std::fs::read_to_string(project.path("report.html")).expect("a page");
        assert!(page.contains("Canary rows") && page.contains("second half") && page.contains("packs of up to 32"), "{page}");
    }
}

#[test]
fn canaries_are_planned_for_and_stay_within_the_budget() {
    let project = Project::simulated(60, SimConfig::instant());
    project.write("pipeline.toml", &project.simulated_pipeline("concurrency = 1\ncanary = 1.0\nattempts = 1"));
    let estimate = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    assert!(estimate.contains("requests  66,"), "{estimate}");
    let summary = project.run_pipeline(&["--budget-usd", "0.02"]).json();
    assert!(project.nano("attempts") <= 20_000_000, "{summary}");
    let completed = project.run_pipeline(&["--budget-usd", "5"]).expect(0).json();
    assert_eq!(completed["rows"]["remaining"], 0, "{completed}");
    project.assert_settled_once();
    project.assert_money_agrees();
}
