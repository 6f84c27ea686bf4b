//! Mistakes in a pipeline file: all of them at once, each with its place, and nothing sent or written.

use crate::support::{Project, root};

fn project(change: impl Fn(String) -> String) -> Project {
    let project = Project::new();
    let text = std::fs::read_to_string(root().join("pipelines/motions.toml")).expect("the pipeline");
    project.write("pipeline.toml", &change(text));
    std::fs::create_dir_all(project.path("pipelines/data")).expect("a folder");
    std::fs::copy(root().join("pipelines/data/motions-sample.parquet"), project.path("pipelines/data/motions-sample.parquet"))
        .expect("the sample");
    project
}

#[test]
fn each_mistake_has_its_line_its_caret_and_a_hint() {
    for (from, to, said, hint) in [
        ("max_tokens_per_row = 200", "max_tokns_per_row = 200", "`max_tokns_per_row`", "`max_tokens_per_row`"),
        ("attempts = 4", "attempts = \"four\"", "`attempts`", ""),
        ("use = \"cost\"", "use = \"costs\"", "`costs`", "`cost`"),
        ("model = \"builtin/extractive\"", "model = \"mistral-smal\"", "`mistral-smal`", "`mistral-small`"),
        ("provider = \"openrouter\"", "provider = \"openruter\"", "`openruter`", "`openrouter`"),
        ("length(trim(body)) > 0\"", "lenght(trim(body)) > 0\"", "lenght", ""),
        ("where = \"body IS NOT NULL", "where = \"bdy IS NOT NULL", "`bdy`", "`body`"),
        ("where = \"body IS NOT NULL AND", "where = \"body IS NOT AND", "SQL", ""),
        ("{{ title }}", "{{ titel }}", "`titel`", "`title`"),
        ("{{ title }}", "{{ title }", "template", ""),
        ("key = \"motion_id\"", "key = \"motie_id\"", "`motie_id`", "`motion_id`"),
        ("column = \"summary\"", "column = \"sumary\"", "`sumary`", "`summary`"),
        ("partition_by = [\"year\"]", "partition_by = [\"jear\"]", "`jear`", "`year`"),
        ("use = \"reject-language\"", "use = \"reject-lang\"", "`reject-lang`", "`reject-language`"),
        ("pattern = '\\(\\d+-\\d+\\)'", "pattern = '('", "`remove-pattern`", ""),
        ("kind = \"openai\"", "kind = \"openia\"", "`openia`", "`openai`"),
        ("timeout = \"120s\"", "timeout = \"120 minutes\"", "timeout", ""),
    ] {
        let project = project(|text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        for command in ["check", "run"] {
            let ran = project.run(&[command, "pipeline.toml"]).expect(2);
            let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("the pipeline");
            let line = text.lines().position(|line| line.contains(to.lines().next().unwrap_or_default())).expect("the line") + 1;
            assert!(ran.stderr.contains(said), "{to}: {}", ran.stderr);
            assert!(ran.stderr.contains(&format!("pipeline.toml:{line}:")), "{to} is in line {line}: {}", ran.stderr);
            assert!(ran.stderr.contains("error:") && ran.stderr.contains('│'), "{}", ran.stderr);
            if !hint.is_empty() {
                let hints: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("hint:")).collect();
                assert!(hints.iter().any(|line| line.contains(hint)), "{to}: {}", ran.stderr);
            }
            assert!(ran.stderr.contains("1 mistake in"), "{to}: one mistake is said once: {}", ran.stderr);
        }
        assert!(!project.path("out").exists(), "nothing is written");
    }
}

#[test]
fn all_mistakes_are_reported_together() {
    let project = project(|text| {
        text.replace("attempts = 4", "attemps = 4")
            .replace("timeout = \"120s\"", "timeout = 120")
            .replace("use = \"cost\"", "use = \"kosten\"")
            .replace("min_chars = 40", "min_char = 40")
            .replace("[sink]", "[sink]\nformaat = \"parquet\"")
            // Mistakes that only the source brings to light are not kept for the next try.
            .replace("key = \"motion_id\"", "key = \"motie_id\"")
            .replace("{{ title }}", "{{ titel }}")
            .replace("body IS NOT NULL", "bodi IS NOT NULL")
    });
    let ran = project.run(&["check", "pipeline.toml"]).expect(2);
    for said in ["`attemps`", "`timeout`", "`kosten`", "`min_char`", "`formaat`", "`motie_id`", "`titel`", "`bodi`", "8 mistakes in"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

#[test]
fn settings_and_variables_take_effect_or_say_why_not() {
    let project = project(|text| text);
    project.run(&["check", "pipeline.toml"]).expect(0);
    let ran = project.run(&["check", "pipeline.toml", "--set", "stages.lm.attempts=2"]).expect(2);
    assert!(ran.stderr.contains("`lm`") && ran.stderr.contains("did you mean `stages.llm`?"), "{}", ran.stderr);
    let ran = project.run(&["check", "pipeline.toml", "--set", "stages.llm.attempts=many"]).expect(2);
    assert!(ran.stderr.contains("--set stages.llm.attempts=many"), "{}", ran.stderr);
    let ran = project.run(&["check", "pipeline.toml", "--set", "source.path=${NOT_SET_ANYWHERE}"]).expect(2);
    assert!(ran.stderr.contains("NOT_SET_ANYWHERE"), "{}", ran.stderr);
    let ran: crate::support::Ran =
        project.command(&["check", "pipeline.toml"]).env("MOTIONS", "nowhere.parquet").output().expect("runs").into();
    let ran = ran.expect(2);
    assert!(ran.stderr.contains("nowhere.parquet") && ran.stderr.contains("does not exist"), "{}", ran.stderr);
}

#[test]
fn a_key_that_is_not_there_and_a_price_that_is_not_known_stop_before_anything_is_sent() {
    let project = project(|text| text.replace("model = \"builtin/extractive\"", "model = \"mistral-small\""));
    let ran = project.run(&["run", "pipeline.toml"]).expect(2);
    assert!(ran.stderr.contains("`OPENROUTER_API_KEY` is not set"), "{}", ran.stderr);
    // Whoever only looks needs no key.
    project.run(&["plan", "pipeline.toml"]).expect(0);
    project.run(&["sql", "pipeline.toml", "SELECT count(*) FROM results"]).expect(0);
    let project = self::project(|text| {
        text.replace("model = \"builtin/extractive\"", "model = \"local\"").replace("price = { input = 0, output = 0 }\n", "")
    });
    let ran = project.run(&["run", "pipeline.toml"]).expect(2);
    assert!(ran.stderr.contains("no known price"), "{}", ran.stderr);
    // A budget on the command line needs the price as well as one in the file.
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("the pipeline");
    project.write("pipeline.toml", &text.replace("budget_usd = 5.00", ""));
    let ran = project.run(&["run", "pipeline.toml", "--budget-usd", "1"]).expect(2);
    assert!(ran.stderr.contains("no known price"), "{}", ran.stderr);
}

#[test]
fn a_file_that_is_not_there_is_wrong_usage() {
    let project = Project::new();
    let ran = project.run(&["run", "nowhere.toml"]).expect(2);
    assert!(ran.stderr.contains("nowhere.toml"), "{}", ran.stderr);
    project.run(&["run"]).expect(2);
    project.run(&["fly"]).expect(2);
}
