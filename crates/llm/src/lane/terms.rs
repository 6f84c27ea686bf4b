//! What the lane is told, and what it says of itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many requests may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At the start.
    pub start: usize,
    /// At the least.
    pub min: usize,
    /// At the most.
    pub max: usize,
}

/// What the pipeline file says about a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Requests in flight.
    pub bounds: Bounds,
    /// Requests a minute, if stated: never exceeded.
    pub rpm: Option<u32>,
    /// Tokens a minute, if stated: never exceeded.
    pub tpm: Option<u64>,
    /// Whether clients that know nothing of this one use the same key: the pace is then found by rules that
    /// lead to equal shares, at some cost in throughput and refusals.
    pub shared: bool,
    /// Decides when tests happen, so that several lanes do not test at once.
    pub seed: u64,
    /// Parts of the controller that are left out.
    pub without: Without,
}

/// Parts of the controller that can be left out, to see what they are worth. Outside of that all are in force, but for the
/// knee of a model in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// The floor that admitted work has proved.
    pub floor: bool,
    /// The allowance withheld after a refusal.
    pub debt: bool,
    /// The requests that have to be admitted between two tests.
    pub gate: bool,
    /// Testing a cap by exactly one request: it is overrun by 5 % instead.
    pub single_test: bool,
    /// Telling refusals by accident from limits.
    pub accidents: bool,
    /// The level at which a server begins to queue.
    pub knee: bool,
}

/// What a request weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Tokens of prompt and answer together, as far as they can be estimated.
    pub tokens: u64,
    /// Tokens of the answer, as far as they can be estimated: its time goes by them.
    pub output: u64,
}

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// The limit that a refusal names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Named {
    /// Requests a minute; how many, if that is said too.
    Requests(Option<u64>),
    /// Tokens a minute; how many, if that is said too, and how many the server counted for the request.
    Tokens(Option<u64>, Option<u64>),
    /// Requests in flight.
    InFlight,
}

/// How a request ended, as far as the lane is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The server answered, whatever it said; with the tokens of the answer if they are known.
    Answered(Option<u64>),
    /// A limit turned it away.
    Limited {
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
        /// Which limit, if that is said.
        named: Option<Named>,
    },
    /// The server failed, or nothing came back.
    Failed {
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// We no longer wanted to know.
    GivenUp,
}

/// What governs a lane at a moment: one line of its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Requests that may be in flight.
    pub limit: usize,
    /// Requests that are.
    pub in_flight: usize,
    /// Requests a minute that may leave, where a limit is known.
    pub rpm: Option<f64>,
    /// Tokens a minute that may leave, where a limit is known.
    pub tpm: Option<f64>,
    /// Requests a minute that admitted work has proved.
    pub proven: Option<f64>,
    /// The suspected or known cap on requests in flight.
    pub cap: Option<usize>,
    /// Whether the server counts as down.
    pub down: bool,
    /// Refusals so far.
    pub refused: u64,
}

/// What is worth knowing at the next start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Requests in flight.
    pub limit: f64,
    /// Requests and tokens a second, where a limit is known.
    pub pace: [Option<f64>; 2],
    /// The same, as far as admitted work has proved it.
    pub proven: [Option<f64>; 2],
}
