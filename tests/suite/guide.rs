//! What the guide says can be pasted into a pipeline can be.

use crate::support::{Project, root};

/// The blocks of a page that are in this language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_provider_of_the_guide_is_accepted() {
    let page = std::fs::read_to_string(root().join("docs/guide/real-models.md")).expect("the page");
    let mut project = Project::new();
    project.motions(5);
    project.environment =
        ["MISTRAL_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"].map(|variable| (variable, "a-key-of-nobody".to_owned())).to_vec();
    let pipeline = r#"name = "motions"
source = { path = "motions.parquet", key = "motion_id" }
sink = { path = "out/motions" }

[[stages]]
use = "prompt-pack"
prompt = "Leg uit."
item = "{{ body }}"
answer = "summary"

[[stages]]
use = "llm"
model = "NAME"
concurrency = { start = 4, max = 4 }

[[stages]]
use = "cost"
budget_usd = 1.0
"#;
    let snippets = blocks(&page, "toml");
    assert_eq!(snippets.len(), page.matches("\n### ").count(), "one for each server");
    for snippet in snippets {
        let name = snippet.strip_prefix("[models.").and_then(|rest| rest.split(']').next()).expect("a model first");
        project.write("pipeline.toml", &format!("{}\n{snippet}", pipeline.replace("NAME", name)));
        // A plan looks further than `check`: at the price, which the budget needs.
        for command in ["check", "plan"] {
            project.run(&[command, "pipeline.toml"]).expect(0);
        }
    }
}
