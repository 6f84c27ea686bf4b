//! What all connections of a service share: the settings in force, the gate, the books and what was seen before.

use crate::books::LedgerSnapshot;
use crate::config::{BadSetting, SimConfig};
use crate::control;
use crate::ledger::{Ledger, lock};
use crate::limits::Limiter;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;
use tokio::sync::Notify;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: RwLock<Arc<SimConfig>>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) ledger: Ledger,
    started: Instant,
    /// How often each pack was asked, by its hash.
    asked: Mutex<HashMap<u64, u32>>,
    /// Prompt prefixes that were seen.
    prefixes: Mutex<HashSet<u64>>,
    requested: AtomicBool,
    pub(crate) first_request: Notify,
}

impl Shared {
    pub(crate) fn new(config: SimConfig) -> Self {
        Self {
            limiter: Limiter::new(&config.limits),
            config: RwLock::new(Arc::new(config)),
            ledger: Ledger::new(),
            started: Instant::now(),
            asked: Mutex::default(),
            prefixes: Mutex::default(),
            requested: AtomicBool::new(false),
            first_request: Notify::new(),
        }
    }

    pub(crate) fn config(&self) -> Arc<SimConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Books one more asking of a pack and tells how often it was asked before.
    pub(crate) fn asked(&self, pack: u64) -> u32 {
        let mut asked = lock(&self.asked);
        let count = asked.entry(pack).or_insert(0);
        *count += 1;
        *count - 1
    }

    /// Tokens of the longest of `prefixes` (shorter first) that was seen before; from now on all of them were.
    pub(crate) fn cached(&self, prefixes: &[(u64, u64)]) -> u64 {
        let mut seen = lock(&self.prefixes);
        let mut cached = 0;
        for (hash, tokens) in prefixes {
            if !seen.insert(*hash) {
                cached = *tokens;
            }
        }
        cached
    }

    pub(crate) fn first_request(&self) {
        if !self.requested.load(Relaxed) && !self.requested.swap(true, Relaxed) {
            self.first_request.notify_one();
        }
    }

    pub(crate) fn apply(&self, patch: &Value) -> Result<(), BadSetting> {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let next = control::patched(&config, patch)?;
        if next.limits != config.limits {
            self.limiter.set(&next.limits, self.seconds());
        }
        *config = Arc::new(next);
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> LedgerSnapshot {
        self.ledger.snapshot(self.limiter.gauges())
    }

    pub(crate) fn reset(&self) {
        self.limiter.reset_peaks();
        self.ledger.reset();
    }
}
