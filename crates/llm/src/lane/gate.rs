//! The lane behind a lock, with a clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::board::Share;
use super::{Lane, Load, Memory, Outcome, Reading, Ticket};
use crate::RateLimits;

/// A lane that many may use at once.
#[derive(Debug)]
pub struct Gate {
    lane: Mutex<Lane>,
    epoch: Instant,
    landed: Notify,
}

/// A request's place in the lane. Dropped without [`Pass::leave`], it counts as failed.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    ticket: Option<Ticket>,
}

impl Gate {
    /// A gate in front of this lane.
    pub fn new(lane: Lane) -> Self {
        Self { lane: Mutex::new(lane), epoch: Instant::now(), landed: Notify::new() }
    }

    /// Lets a request leave, or says when to ask again; see [`Lane::admit`].
    ///
    /// # Errors
    /// When it may not leave now.
    pub fn enter(self: &Arc<Self>, load: Load) -> Result<Pass, Instant> {
        let ticket = self.lane().admit(self.now(), load).map_err(|at| self.epoch + at.min(Duration::from_secs(86_400 * 365)))?;
        Ok(Pass { gate: Arc::clone(self), ticket: Some(ticket) })
    }

    /// Returns when a request has landed, of whoever shares the lane.
    pub async fn landed(&self) {
        self.landed.notified().await;
    }

    /// How many requests may be in flight now, and how many are.
    pub fn level(&self) -> (usize, usize) {
        let lane = self.lane();
        (lane.limit(), lane.in_flight())
    }

    /// What governs the lane now.
    pub fn reading(&self) -> Reading {
        self.lane().reading()
    }

    /// See [`Lane::late`].
    pub fn late(&self, output: u64, share: f64) -> Option<Duration> {
        self.lane().late(output, share)
    }

    /// See [`Lane::is_calm`].
    pub fn is_calm(&self) -> bool {
        let now = self.now();
        self.lane().is_calm(now)
    }

    /// See [`Lane::memory`].
    pub fn memory(&self) -> Memory {
        self.lane().memory()
    }

    /// See [`Lane::take_part`].
    pub fn take_part(&self, part: &Share) {
        let now = self.now();
        self.lane().take_part(now, part);
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub(super) fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Takes note of how the request ended.
    pub fn leave(mut self, outcome: Outcome, limits: &RateLimits) {
        self.land(outcome, limits);
    }

    /// The request turned out to weigh something else.
    pub fn amend(&self, load: Load) {
        if let Some(ticket) = self.ticket {
            self.gate.lane().amend(ticket, load);
        }
    }

    /// How long the request is to wait before it leaves, because a refusal has asked for it since it was let through.
    pub fn held(&self) -> Option<Duration> {
        let now = self.gate.now();
        self.gate.lane().paused(now).map(|until| until.saturating_sub(now))
    }

    /// The request did not leave after all.
    pub fn withdraw(mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.lane().withdraw(ticket);
        }
    }

    fn land(&mut self, outcome: Outcome, limits: &RateLimits) {
        if let Some(ticket) = self.ticket.take() {
            let now = self.gate.now();
            self.gate.lane().landed(now, ticket, outcome, limits);
            self.gate.landed.notify_waiters();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.land(Outcome::Failed { retry_after: None }, &RateLimits::default());
    }
}
