//! A simulated model provider: a chat-completions server with latency, limits, faults and a ledger.
//!
//! It answers packed prompts in Dutch, deterministically, and keeps the books of what it billed, so that a client can
//! be tested against every way in which a real provider fails and its accounts be compared to the nano-dollar. Used by
//! tests, benches and `promptmill simulate`; it knows nothing of promptmill's own types. [`motions`] generates the
//! rows to ask about.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use promptmill_sim::{SimConfig, Simulator};
//!
//! let mut config = SimConfig::instant();
//! config.limits.max_in_flight = Some(64);
//! config.faults.set("all", 0.02).map_err(std::io::Error::other)?;
//! let provider = Simulator::start(config)?;
//! assert!(provider.base_url().ends_with("/v1"));
//! assert_eq!(provider.ledger().requests, 0);
//! provider.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod body;
mod books;
mod chat;
mod config;
mod content;
mod control;
mod dialect;
mod draw;
mod faults;
mod generation;
mod hash;
mod ledger;
mod limits;
mod message;
mod meter;
pub mod motions;
mod outcome;
mod phrases;
mod price;
mod prompt;
mod reply;
mod server;
mod shared;
#[cfg(test)]
mod tests;
mod timeline;
mod value;
mod wire;

pub use answer::explanation;
pub use books::{ItemCount, ItemTotals, LedgerSnapshot};
pub use config::{
    Above, BadSetting, Billing, Careless, CostForm, Dialect, Latency, Limits, Outage, Price, RetryAfter, ScheduleFrom, SimConfig, Thinking,
    UsageNames, WhenFull, Window,
};
pub use control::{PATCHABLE, ScheduledPatch};
pub use faults::{FAULTS, Fault, FaultInfo, FaultRates, Scope};
pub use server::Simulator;
pub use timeline::{TICK_MS, Tick};
