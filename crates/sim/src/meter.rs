//! One limit per minute: how much of it is left, and how long until there is enough.

use crate::config::{Limits, Window};

/// Why a request was refused, in the numbers that error texts quote.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) limit: Limit,
    /// The limit, per minute.
    pub(crate) allowed: u64,
    /// How much of it is used up.
    pub(crate) used: u64,
    /// What this request asked of it.
    pub(crate) requested: u64,
    /// Seconds until the request would fit.
    pub(crate) wait: f64,
}

/// The limit that a refused request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    InFlight,
    Requests,
    Tokens,
    /// The request alone is larger than the tokens of a minute: it can never be admitted.
    RequestSize,
}

/// How much of one limit is left: what headers tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    /// The limit, per minute.
    pub(crate) allowed: u64,
    pub(crate) remaining: u64,
    /// Seconds until all of it is free again.
    pub(crate) reset: f64,
}

/// One limit per minute, counted by a bucket or in fixed windows.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    /// The limit, per minute.
    pub(crate) allowed: u64,
    window: Window,
    /// What may be spent at once: the bucket's size, or the limit of a window.
    capacity: f64,
    /// Length of a fixed window in seconds.
    length: f64,
    /// What can still be spent; below zero after a request larger than the bucket.
    level: f64,
    /// Bucket: when `level` was true. Fixed: when the window began.
    at: f64,
    /// The latest time seen.
    now: f64,
}

impl Meter {
    pub(crate) fn new(allowed: u64, limits: &Limits, before: Option<&Self>, now: f64) -> Self {
        let per_second = allowed as f64 / 60.0;
        let capacity = match limits.window {
            Window::Bucket => (per_second * limits.burst_seconds).max(1.0),
            Window::Fixed => (per_second * limits.window_seconds).max(1.0),
        };
        let mut meter = Self { allowed, window: limits.window, capacity, length: limits.window_seconds, level: capacity, at: now, now };
        if let Some(before) = before.filter(|before| before.window == limits.window) {
            let mut before = before.clone();
            before.advance(now);
            meter.level = before.level / before.capacity * capacity;
            meter.at = before.at;
        }
        meter
    }

    fn per_second(&self) -> f64 {
        self.allowed as f64 / 60.0
    }

    pub(crate) fn advance(&mut self, now: f64) {
        self.now = now;
        match self.window {
            Window::Bucket => {
                let gained = (now - self.at).max(0.0) * self.per_second();
                self.level = (self.level + gained).min(self.capacity);
                self.at = self.at.max(now);
            }
            Window::Fixed => {
                let windows = ((now - self.at) / self.length).floor();
                if windows >= 1.0 {
                    self.at += windows * self.length;
                    self.level = self.capacity;
                }
            }
        }
    }

    /// Seconds until `weight` fits; zero when it does. What is larger than the whole capacity fits into a full one.
    pub(crate) fn wait(&self, weight: u64) -> f64 {
        // The hair keeps rounding from refusing a request that comes exactly on time.
        let lacking = (weight as f64).min(self.capacity) - self.level - 1e-6;
        if lacking <= 0.0 {
            return 0.0;
        }
        match self.window {
            Window::Bucket => lacking / self.per_second(),
            Window::Fixed => self.window_end(),
        }
    }

    /// Seconds until the next fixed window.
    fn window_end(&self) -> f64 {
        self.at + self.length - self.now
    }

    pub(crate) fn take(&mut self, weight: u64) {
        self.level -= weight as f64;
    }

    pub(crate) fn standing(&self) -> Standing {
        let share = (self.level / self.capacity).clamp(0.0, 1.0);
        let reset = match self.window {
            Window::Bucket => (self.capacity - self.level) / self.per_second(),
            Window::Fixed => self.window_end(),
        };
        Standing { allowed: self.allowed, remaining: (share * self.allowed as f64).floor() as u64, reset }
    }

    pub(crate) fn refusal(&self, limit: Limit, requested: u64) -> Refusal {
        let used = self.allowed - self.standing().remaining;
        Refusal { limit, allowed: self.allowed, used, requested, wait: self.wait(requested) }
    }
}
