//! Typed answers from the pipeline file to Parquet: nested, nullable, checked, and never on another row.

use promptmill_sim::SimConfig;
use serde_json::{Value, json};

use crate::spy::{Manner, Spy};
use crate::support::Project;

const ANSWER: &str = r#"
[stages.answer]
summary = { type = "string", description = "two or three sentences" }
score = { type = "int", nullable = true }
share = "float?"
asks = "bool"
topics = "list<string>"
urgency = { enum = ["low", "high"], nullable = true }
mover = { fields = { name = "string", seats = "int?" }, nullable = true }
signers = { list = { fields = { name = "string", tags = "list<string>" } } }
"#;

/// The simulated pipeline with these fields instead of one text.
fn typed(project: &Project) -> String {
    let text = project.simulated_pipeline("concurrency = 4\ntimeout = \"2s\"\nattempts = 8");
    let columns = "columns = [\"motion_id\", \"title\", \"summary\", \"score\", \"share\", \"asks\", \"topics\", \"urgency\", \"mover\", \"signers\"]";
    text.replace("answer = \"summary\"\n", ANSWER).replace("columns = [\"motion_id\", \"title\", \"summary\"]", columns)
}

#[test]
fn nested_and_nullable_answers_become_columns_of_their_type() {
    let mut config = SimConfig::instant();
    for fault in ["truncated", "malformed-json", "fences", "missing-ids", "duplicate-ids", "extra-ids"] {
        config.faults.set(fault, 0.05).expect("a fault");
    }
    let project = Project::simulated(300, config);
    project.write("pipeline.toml", &typed(&project));
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["remaining"], 0, "{summary}");
    project.assert_settled_once();
    project.assert_money_agrees();
    let foreign = project.query("SELECT motion_id FROM results WHERE strpos(summary, '[[' || motion_id || ']]') = 0");
    assert_eq!(foreign, Vec::<Value>::new());
    let types = project.query(
        "SELECT arrow_typeof(summary) AS summary, arrow_typeof(score) AS score, arrow_typeof(share) AS share, arrow_typeof(asks) AS asks, \
         arrow_typeof(mover['seats']) AS seats, arrow_typeof(signers[1]['tags'][1]) AS tag FROM results LIMIT 1",
    );
    assert_eq!(
        types,
        [json!({"summary": "Utf8", "score": "Int64", "share": "Float64", "asks": "Boolean", "seats": "Int64", "tag": "Utf8"})]
    );
    // The simulator says null to one nullable field in eight: then, and only then, there is none.
    for nullable in ["score", "share", "urgency", "mover"] {
        let nulls = project.number(&format!("SELECT count(*) FROM results WHERE {nullable} IS NULL"));
        assert!((5.0..120.0).contains(&nulls), "{nulls} of {nullable}");
    }
    let holes =
        "asks IS NULL OR topics IS NULL OR signers IS NULL OR signers[1]['name'] IS NULL OR (mover IS NOT NULL AND mover['name'] IS NULL)";
    assert_eq!(project.number(&format!("SELECT count(*) FROM results WHERE {holes}")), 0.0);
    // Nothing is left to ask, and nothing is asked again.
    let again = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(again["requests"]["sent"], 0);
}

#[test]
fn what_is_asked_for_stands_in_the_schema_and_in_the_words() {
    let spy = Spy::new(Manner::default());
    let project = Project::new();
    project.motions(3);
    let answer = ANSWER.replace("[stages.answer]", "[stages.answer]\nmodel_said = \"string?\"");
    project.write(
        "pipeline.toml",
        &format!(
            "[source]\npath = \"motions.parquet\"\nkey = \"motion_id\"\n\n[[stages]]\nuse = \"prompt-pack\"\nitem = \"{{{{ title }}}}\"\n{answer}\n\
             [[stages]]\nuse = \"llm\"\nmodel = \"m\"\n\n[sink]\npath = \"out/results\"\n\n[models.m]\nprovider = \"p\"\nmodel = \"m\"\n\n\
             [providers.p]\nkind = \"openai\"\nbase_url = \"{}\"\n",
            spy.url
        ),
    );
    // The spy gives objects for `mover`'s alternatives no object, so no row fits.
    let summary = project.run_pipeline(&["--set", "stages.llm.attempts=1", "--set", "max_dead_letters=100%"]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 0, "{summary}");
    let asked = spy.asked();
    let schema = &asked[0].body["response_format"]["json_schema"];
    let row = &schema["schema"]["properties"]["r1"];
    assert_eq!((&schema["strict"], &row["additionalProperties"]), (&json!(true), &json!(false)));
    assert_eq!(row["required"].as_array().map(Vec::len), Some(9));
    assert_eq!(row["properties"]["summary"], json!({"type": "string", "description": "two or three sentences"}));
    assert_eq!(row["properties"]["score"], json!({"type": ["integer", "null"]}));
    assert_eq!(row["properties"]["urgency"], json!({"type": ["string", "null"], "enum": ["low", "high", null]}));
    assert_eq!(row["properties"]["mover"]["anyOf"][1], json!({"type": "null"}));
    assert!(asked[0].message().contains("two or three sentences"), "{}", asked[0].message());
    let dead = project.query("SELECT reason, detail, last_text FROM dead_letters");
    assert_eq!(dead.len(), 3);
    for row in dead {
        assert_eq!(row["reason"], "invalid", "{row}");
        assert!(row["detail"].as_str().is_some_and(|detail| detail.contains("`score` is not a whole number")), "{row}");
        assert!(row["last_text"].as_str().is_some_and(|text| text.contains("\"asks\":true")), "{row}");
    }
}

#[test]
fn mistakes_in_the_types_are_shown_where_they_stand() {
    let project = Project::simulated(1, SimConfig::instant());
    for (from, to, said, hint) in [
        ("share = \"float?\"", "share = \"flot?\"", "unknown type `flot?`", "`float`"),
        ("seats = \"int?\"", "seats = \"integer\"", "unknown type `integer`", "`int`"),
        ("nullable = true }\nshare", "nulable = true }\nshare", "unknown key `nulable`", "`nullable`"),
        ("topics = \"list<string>\"", "topics = \"list<string?>\"", "cannot be null", "`list<int>?`"),
        ("asks = \"bool\"", "summary_flags = \"bool\"", "adds a column of that name itself", "`summary_flags_of_answer`"),
    ] {
        let text = typed(&project);
        assert!(text.contains(from), "{from}");
        project.write("pipeline.toml", &text.replacen(from, to, 1).replace("\"asks\", ", ""));
        let ran = project.run(&["check", "pipeline.toml"]).expect(2);
        assert!(ran.stderr.contains(said) && ran.stderr.contains(hint), "{to}: {}", ran.stderr);
        assert!(ran.stderr.contains("1 mistake in"), "{to}: {}", ran.stderr);
    }
}
