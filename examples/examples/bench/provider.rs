//! The simulated provider, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use promptmill_sim::{LedgerSnapshot, SimConfig, Simulator, Tick};
use serde_json::Value;

use crate::Result;

/// A provider that ends when it is dropped.
pub(crate) struct Provider {
    child: Child,
    pub(crate) url: String,
}

/// Its ledger, and the same over time.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) ledger: LedgerSnapshot,
    pub(crate) timeline: Vec<Tick>,
}

impl Provider {
    pub(crate) fn start(config: &SimConfig) -> Result<Self> {
        let config = serde_json::to_string(config)?;
        let mut child = Command::new(std::env::current_exe()?).args(["serve", &config]).stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut url)?;
        Ok(Self { child, url: url.trim().to_owned() })
    }

    pub(crate) async fn books(&self) -> Result<Books> {
        let text = reqwest::get(self.url.replace("/v1", "/ledger?timeline=true")).await?.text().await?;
        let mut books: Value = serde_json::from_str(&text)?;
        let timeline = serde_json::from_value(books["timeline"].take())?;
        Ok(Books { ledger: serde_json::from_value(books)?, timeline })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It has nothing to save; that it has gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until the process is ended.
pub(crate) async fn serve(config: &str) -> Result<()> {
    let simulator = Simulator::start(serde_json::from_str(config)?)?;
    println!("{}", simulator.base_url());
    std::future::pending::<()>().await;
    drop(simulator);
    Ok(())
}
