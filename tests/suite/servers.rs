//! Servers that others wrote: LiteLLM's proxy in front of a backend that fails, the mock `fakellm`, and llama.cpp's own
//! server with a model of random weights. Each keeps books of its own, and the journal has to agree with them.
//!
//! They run on the Python that `PROMPTMILL_TEST_PYTHON` names. Where a package is missing the test says so and is skipped;
//! with `PROMPTMILL_TEST_S3=required`, as in CI, it fails.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::as_tried::Job;
use crate::delta::{has, python};
use crate::spy::{Reply, Spy};
use crate::support::{Project, Ran, root};

/// A server in a process of its own, which ends with the test.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts a server on a free port, and waits until this page answers.
    #[track_caller]
    fn start(project: &Project, page: &str, command: impl Fn(u16) -> Command) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let log = std::fs::File::create(project.path("server.log")).expect("a log");
        let mut command = command(port);
        command.current_dir(project.folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let mut server = Self { process: command.spawn().expect("Python runs"), port };
        let until = Instant::now() + Duration::from_secs(240);
        while server.get(page).is_none() {
            let log = || std::fs::read_to_string(project.path("server.log")).unwrap_or_default();
            assert!(server.process.try_wait().expect("a process").is_none(), "the server has ended: {}", log());
            assert!(Instant::now() < until, "the server does not come up: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    /// The body of a page; `None` while there is none.
    fn get(&self, page: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        write!(stream, "GET {page} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every key in exactly one of the two tables, and rows and attempts of the same cost.
#[track_caller]
fn assert_books(project: &Project, rows: usize) {
    let keys = project.query("SELECT id FROM results UNION ALL SELECT id FROM dead_letters");
    let mut keys: Vec<&str> = keys.iter().map(|row| row["id"].as_str().expect("a key")).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), rows, "{keys:?}");
    assert_eq!(project.number("SELECT count(*) FROM (SELECT id FROM results UNION ALL SELECT id FROM dead_letters)"), rows as f64);
    project.assert_money_agrees();
}

#[test]
fn litellm_in_front_of_a_backend_that_fails() {
    if !has("LiteLLM's proxy", "import litellm.proxy.proxy_server", "'litellm[proxy]'") {
        return;
    }
    // What the backend does wrong, by turns; what it says of the row that it refuses is what Azure says.
    let backend = Spy::scripted(|asked, number| {
        if asked.message().contains("crimson") {
            let body = r#"{"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "code": "content_filter", "type": null, "param": "prompt"}}"#;
            return Reply::new(400, body);
        }
        match number % 7 {
            3 => Reply::error(500, "Internal server error"),
            5 => Reply::error(429, "Rate limit reached for requests").header("retry-after", "0.1"),
            6 => Reply::new(200, "<html>502 Bad Gateway</html>"),
            _ => Reply::says(asked, |text| format!("Answer to {text}")),
        }
    });
    let proxy_folder = Project::new();
    proxy_folder.write(
        "config.yaml",
        &format!(
            "model_list:\n  - model_name: the-model\n    litellm_params: {{ model: openai/backend, api_base: '{}', api_key: none, num_retries: 0 }}\n\
             litellm_settings: {{ num_retries: 0, telemetry: false }}\n\
             router_settings: {{ num_retries: 0, disable_cooldowns: true }}\n",
            backend.url
        ),
    );
    let proxy = Server::start(&proxy_folder, "/health/liveliness", |port| {
        let mut command = Command::new(python());
        command.args(["-c", "from litellm.proxy.proxy_cli import run_server; run_server()", "--config", "config.yaml"]);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.env("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true").env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        command
    });

    let bodies: Vec<String> = (0..24).map(|row| if row == 13 { "crimson".to_owned() } else { format!("amber {row}") }).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let mut job = Job::new(&proxy.base_url());
    (job.rows, job.llm) = ("4".to_owned(), "concurrency = 2\nattempts = 8".to_owned());
    let project = job.project(&bodies);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 23, "{summary}");
    assert_books(&project, 24);
    let dead = project.query("SELECT id, reason, cost_usd FROM dead_letters");
    assert_eq!(dead[0]["id"], "k13", "{dead:?}");
    let wrong = project.number("SELECT count(*) FROM results r JOIN source s ON r.id = s.id WHERE r.summary <> 'Answer to ' || s.body");
    assert_eq!(wrong, 0.0, "an answer belongs to its row");
    // The backend's books: each attempt is one request, and an answer is 100 tokens in and 20 out.
    let asked = backend.asked().len();
    assert_eq!(project.number("SELECT count(*) FROM attempts"), asked as f64);
    let good = project.number("SELECT count(*) FROM attempts WHERE status = 'ok'");
    assert!(project.nano("attempts") >= (good * 140_000.0) as i64);

    // A model that the proxy does not know is no reason to stop where another one is.
    let mut job = Job::new(&proxy.base_url());
    job.llm.push_str("\nfallback = [\"known\"]");
    job.model = "structured = \"text\"\nprice = { input = 1.0, output = 2.0 }\n".to_owned();
    job.more =
        "[models.known]\nprovider = \"p\"\nmodel = \"the-model\"\nstructured = \"text\"\nprice = { input = 1.0, output = 2.0 }".to_owned();
    let project = job.project(&["amber", "beryl"]);
    let toml = job.toml().replacen("model = \"the-model\"", "model = \"no-such-model\"", 1);
    project.write("pipeline.toml", &toml);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 2, "{summary}");
    assert_books(&project, 2);
}

#[test]
fn fakellm_and_its_own_count_of_requests() {
    if !has("fakellm", "import fakellm", "fakellm") {
        return;
    }
    let folder = Project::new();
    folder.write(
        "rules.yaml",
        r#"version: 1
defaults: { fallback: deterministic_echo }
rules:
  - name: broken
    when: { messages_contain: brown }
    respond: { status: 500, error: "the backend is down" }
  - name: filtered
    when: { messages_contain: crimson }
    respond: { status: 400, error: "The response was filtered due to the prompt triggering our content management policy." }
  - name: tools
    when: { messages_contain: teal }
    respond: { tool_calls: [{ name: answer, arguments: { r1: "An answer in a tool call." } }] }
  - name: good
    respond: { content: '{"r1": "An answer."}' }
"#,
    );
    let server = Server::start(&folder, "/_fakellm/stats", |port| {
        let mut command = Command::new(python());
        command.args(["-c", "from fakellm.cli import main; main()", "serve", "--config", "rules.yaml"]);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command
    });
    let mut job = Job::new(&server.base_url());
    job.llm = "concurrency = 2\nattempts = 3".to_owned();
    let project = job.project(&["amber", "brown", "beryl", "crimson", "teal", "jade"]);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 4, "{summary}");
    assert_books(&project, 6);
    let teal = project.query("SELECT summary FROM results WHERE id = 'k4'");
    assert_eq!(teal[0]["summary"], "An answer in a tool call.");
    let stats: Value = serde_json::from_str(&server.get("/_fakellm/stats").expect("statistics")).expect("JSON");
    assert_eq!(project.number("SELECT count(*) FROM attempts"), stats["total_requests"].as_f64().expect("a count"), "{stats}");
    assert_eq!(stats["by_rule"]["broken"], 3, "as many attempts as it may have: {stats}");
}

#[test]
fn llama_cpp_with_a_model_of_random_weights() {
    if !has("llama.cpp's server", "import xllamacpp, gguf, pyarrow", "xllamacpp gguf pyarrow") {
        return;
    }
    let mut command = Command::new(python());
    command.arg(root().join("tests/real-model/run.py")).args(["--tiny", "--only", "in_order", "--rows", "8"]);
    command.args(["--promptmill", env!("CARGO_BIN_EXE_promptmill")]);
    let ran = Ran::from(command.output().expect("Python runs")).expect(0);
    assert!(ran.stdout.contains("1 passed, 0 failed"), "{}", ran.stdout);
}
