//! A bucket on an S3 server of its own, with faults that a test can ask for: `tests/s3/server.py`.
//!
//! The server is moto's, on the Python that `PROMPTMILL_TEST_PYTHON` names, or else `python3`. Where that has no moto, the
//! tests that need a bucket say so and are skipped; with `PROMPTMILL_TEST_S3=required`, as in CI, they fail.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde_json::{Value, json};

use crate::support::{Project, root};

/// A server with one empty bucket, `lake`; gone when this is dropped.
pub(crate) struct Bucket {
    server: Child,
    endpoint: String,
    store: Arc<AmazonS3>,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Bucket {
    /// Starts a server, if there is one on this machine.
    pub(crate) fn start() -> Option<Self> {
        let python = std::env::var("PROMPTMILL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let has_moto =
            Command::new(&python).args(["-c", "import moto.server"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !has_moto {
            assert!(std::env::var("PROMPTMILL_TEST_S3").is_err(), "`{python}` has no moto: pip install 'moto[server,s3]'");
            eprintln!("skipped: `{python}` has no moto; pip install 'moto[server,s3]' or set PROMPTMILL_TEST_PYTHON");
            return None;
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut server = Command::new(&python)
            .arg(root().join("tests/s3/server.py"))
            .arg("0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a server");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let port = line.trim().rsplit(' ').next().expect("a port").to_owned();
        let endpoint = format!("http://127.0.0.1:{port}");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let store = AmazonS3Builder::new()
            .with_endpoint(&endpoint)
            .with_allow_http(true)
            .with_access_key_id("testing")
            .with_secret_access_key("testing")
            .with_bucket_name("lake")
            .build()
            .expect("a store");
        let bucket = Self { server, endpoint, store: Arc::new(store), runtime };
        bucket.request("PUT", "/lake", "");
        Some(bucket)
    }

    /// What a command needs to find the bucket.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Sends the project's commands here, and its source: `motions.parquet` becomes `s3://lake/in/motions.parquet`, and the
    /// sink `s3://lake/out/motions`.
    pub(crate) fn take(&self, project: &mut Project) {
        project.environment = self.environment();
        self.put("in/motions.parquet", std::fs::read(project.path("motions.parquet")).expect("motions"));
        let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
        let text = text.replace("\"motions.parquet\"", "\"s3://lake/in\"").replace("\"out/motions\"", "\"s3://lake/out/motions\"");
        project.write("pipeline.toml", &text);
    }

    /// Asks for faults; `{}` for none.
    pub(crate) fn faults(&self, faults: &Value) {
        self.request("PUT", "/_faults", &faults.to_string());
    }

    /// No faults any more.
    pub(crate) fn heal(&self) {
        self.faults(&json!({}));
    }

    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.runtime.block_on(self.store.put(&Path::parse(name).expect("a key"), PutPayload::from(bytes))).expect("written");
    }

    /// The names of all objects.
    pub(crate) fn list(&self) -> Vec<String> {
        use futures::TryStreamExt;
        let listed = self.runtime.block_on(self.store.list(None).try_collect::<Vec<_>>()).expect("listed");
        listed.into_iter().map(|meta| meta.location.to_string()).collect()
    }

    /// Every object's bytes.
    pub(crate) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let get = |name: &String| self.runtime.block_on(async { self.store.get(&Path::from(name.as_str())).await?.bytes().await });
        self.list().into_iter().map(|name| (name.clone(), get(&name).expect("read").to_vec())).collect()
    }

    /// How many requests of this method have come.
    pub(crate) fn requests(&self, method: &str) -> u64 {
        self.counts()[method].as_u64().unwrap_or_default()
    }

    /// How many requests have come since faults were asked for last, and which one a fault has struck.
    pub(crate) fn struck(&self) -> (u64, String) {
        let counts = self.counts();
        (counts["since"].as_u64().unwrap_or_default(), counts["struck"].as_str().unwrap_or_default().to_owned())
    }

    fn counts(&self) -> Value {
        serde_json::from_str(&self.request("GET", "/_requests", "")).expect("JSON")
    }

    /// Nothing but these objects.
    pub(crate) fn restore(&self, objects: &[(String, Vec<u8>)]) {
        for name in self.list() {
            self.runtime.block_on(self.store.delete(&Path::from(name))).expect("removed");
        }
        for (name, bytes) in objects {
            self.put(name, bytes.clone());
        }
    }

    /// A plain request, without a signature.
    fn request(&self, method: &str, path: &str, body: &str) -> String {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let method = method.parse().expect("a method");
        let sent = client.request(method, format!("{}{path}", self.endpoint)).body(body.to_owned()).send();
        let response = self.runtime.block_on(sent).expect("sent");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        self.runtime.block_on(response.text()).expect("a text")
    }
}
