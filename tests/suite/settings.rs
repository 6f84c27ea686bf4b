//! A setting that is accepted takes effect, down to the byte on the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::support::Project;

/// A server that answers every question by the book and hands out what it was asked.
fn spy() -> (String, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || serve(stream, &sender));
        }
    });
    (url, receiver)
}

fn serve(stream: std::net::TcpStream, sender: &mpsc::Sender<(String, Value)>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut writer = stream;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let text = body["messages"].as_array().expect("messages").last().expect("a message")["content"].as_str().expect("text").to_owned();
        let answers: serde_json::Map<String, Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|item| {
                (item["id"].as_str().expect("an id").to_owned(), json!("De motie verzoekt de regering om de wachttijden te verkorten."))
            })
            .collect();
        let content = Value::Object(answers).to_string();
        let response = json!({
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        })
        .to_string();
        let _ = sender.send((head, body));
        let _ = write!(writer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{response}", response.len());
    }
}

/// Runs ten rows with these settings and returns what was asked.
fn asked(settings: &[&str]) -> Vec<(String, Value)> {
    let (url, requests) = spy();
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
base_url = "{url}"
api_key_env = "SPY_KEY"
headers = {{ "X-Title" = "promptmill" }}
"#
        ),
    );
    let mut arguments = vec!["run", "pipeline.toml", "--progress", "none"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    let output = project.command(&arguments).env("SPY_KEY", "canary-secret-1234").output().expect("runs");
    assert!(output.status.success(), "{settings:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_no_secret(&project);
    let mut all = Vec::new();
    while let Ok(request) = requests.try_recv() {
        all.push(request);
    }
    all
}

/// No file that a run leaves holds the key.
fn assert_no_secret(project: &Project) {
    let mut folders = vec![project.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let bytes = std::fs::read(entry.path()).expect("a file");
                let found = bytes.windows(13).any(|window| window == b"canary-secret");
                assert!(!found, "the key is in {}", entry.path().display());
            }
        }
    }
}

#[test]
fn what_is_configured_is_on_the_wire() {
    let requests = asked(&[]);
    assert_eq!(requests.len(), 2);
    let (head, body) = &requests[0];
    let head = head.to_lowercase();
    assert!(head.contains("authorization: bearer canary-secret-1234"), "{head}");
    assert!(head.contains("x-title: promptmill"), "{head}");
    assert_eq!(body["model"], "the-model");
    assert_eq!(body["messages"][0], json!({"role": "system", "content": "Je legt moties uit."}));
    assert!(body["messages"][1]["content"].as_str().is_some_and(|text| text.starts_with("Leg uit.")), "{body}");
    assert_eq!(body["response_format"]["json_schema"]["schema"]["required"], json!(["r1", "r2", "r3", "r4", "r5"]));
    assert!(body.get("temperature").is_none(), "{body}");
}

#[test]
fn every_setting_changes_the_wire() {
    let first = |settings: &[&str]| asked(settings).remove(0).1;
    assert_eq!(first(&["stages.llm.temperature=0.7"])["temperature"], 0.7);
    let usual = first(&[])["max_tokens"].as_u64().expect("a number");
    assert!(first(&["stages.llm.max_tokens_per_row=50"])["max_tokens"].as_u64().is_some_and(|tokens| tokens < usual / 2));
    assert_eq!(first(&["models.m.structured=json_object"])["response_format"], json!({"type": "json_object"}));
    assert!(first(&["models.m.structured=text"]).get("response_format").is_none());
    assert_eq!(first(&["models.m.extra_body={ seed = 5 }"])["seed"], 5);
    assert_eq!(first(&["models.m.model=other"])["model"], "other");
    assert_eq!(asked(&["stages.prompt-pack.rows=2"]).len(), 5);
    assert_eq!(asked(&["stages.prompt-pack.rows=10"]).len(), 1);
    let message = |settings: &[&str]| first(settings)["messages"][1]["content"].as_str().expect("text").to_owned();
    assert!(message(&["stages.prompt-pack.prompt=Er zijn {{ count }} moties."]).starts_with("Er zijn 5 moties."));
    assert!(message(&["stages.prompt-pack.item=datum {{ date }}"]).contains("\"text\":\"datum 20"));
    assert!(message(&["stages.prompt-pack.answer=uitleg"]).contains("the uitleg of the item"));
    assert_eq!(first(&["stages.prompt-pack.system=Anders."])["messages"][0]["content"], "Anders.");
    let typed = first(&[
        "models.m.structured=json_schema",
        "stages.llm.attempts=1",
        "stages.prompt-pack.answer={ summary = \"string\", score = \"int\" }",
    ]);
    assert_eq!(typed["response_format"]["json_schema"]["schema"]["properties"]["r1"]["properties"]["score"]["type"], "integer");
}
