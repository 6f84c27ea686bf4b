//! What a pipeline file says is what a provider is sent, and nothing else is kept of the key than its name.

use serde_json::json;

use crate::spy::{Asked, Manner, Spy};
use crate::support::Project;

/// Runs ten rows and returns what was asked.
fn asked() -> Vec<Asked> {
    let spy = Spy::new(Manner::default());
    let project = Project::new();
    project.motions(10);
    project.write(
        "pipeline.toml",
        &format!(
            r#"
[source]
path = "motions.parquet"
key = "motion_id"

[[stages]]
use = "prompt-pack"
system = "Je legt moties uit."
prompt = "Leg uit."
item = "{{{{ title }}}}"
rows = 5

[[stages]]
use = "llm"
model = "m"
concurrency = 1

[sink]
path = "out/results"

[models.m]
provider = "p"
model = "the-model"

[providers.p]
kind = "openai"
base_url = "{}"
api_key_env = "SPY_KEY"
headers = {{ "X-Title" = "promptmill" }}
"#,
            spy.url
        ),
    );
    let output = project
        .command(&["run", "pipeline.toml", "--progress", "none"])
        .env("SPY_KEY", "canary-secret-1234")
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_no_secret(&project);
    spy.asked()
}

/// No file that a run leaves holds the key.
fn assert_no_secret(project: &Project) {
    for file in project.files() {
        let bytes = std::fs::read(project.path(&file)).expect("a file");
        assert!(!bytes.windows(13).any(|window| window == b"canary-secret"), "the key is in {file}");
    }
}

#[test]
fn what_is_configured_is_on_the_wire() {
    let requests = asked();
    assert_eq!(requests.len(), 2);
    let Asked { head, body, .. } = &requests[0];
    assert!(head.contains("authorization: bearer canary-secret-1234"), "{head}");
    assert!(head.contains("x-title: promptmill"), "{head}");
    assert_eq!(body["model"], "the-model");
    assert_eq!(body["messages"][0], json!({"role": "system", "content": "Je legt moties uit."}));
    assert!(body["messages"][1]["content"].as_str().is_some_and(|text| text.starts_with("Leg uit.")), "{body}");
    assert_eq!(body["response_format"]["json_schema"]["schema"]["required"], json!(["r1", "r2", "r3", "r4", "r5"]));
    assert!(body.get("temperature").is_none(), "{body}");
}
