//! Everything that an announced limit can mean, as one table of scenarios.
//!
//! Every limit is 1,200 requests a minute (or the tokens of so many), counted over windows of many lengths in three ways;
//! what the headers say of it is right in one of several senses, or wrong in one of many. Longer windows have fewer
//! requests, so that an hour and a day pass in a run.

use crate::scenario::Scenario;

/// How the server counts.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Bucket,
    Fixed,
    Sliding,
}

/// A limit, and what the headers say of it.
#[derive(Clone, Copy, Debug)]
struct Member {
    counts: &'static str,
    shape: Shape,
    seconds: u32,
    /// Whether the limit is enforced: where it is not, as many requests as it allows fit into the server at once.
    refuses: bool,
    /// `limit`, `remaining` and `reset`.
    says: [&'static str; 3],
    /// Seconds that an answer takes.
    latency: f64,
}

const REQUESTS: &str = "requests";
const COUNTED: [&str; 4] = [REQUESTS, "tokens", "input", "output"];
const WINDOWS: [u32; 6] = [1, 6, 10, 60, 3_600, 86_400];
const SHAPES: [Shape; 3] = [Shape::Bucket, Shape::Fixed, Shape::Sliding];

/// Senses in which the headers are right.
const RIGHT: [[&str; 3]; 8] = [
    ["minute", "left", "full"],
    ["minute", "left", "end"],
    ["minute", "left", "missing"],
    ["minute", "behind", "full"],
    ["window", "left", "full"],
    ["window", "left", "end"],
    ["window", "left", "missing"],
    ["window", "behind", "end"],
];

/// What they may say besides.
const WRONG: [[&str; 3]; 18] = [
    ["minute", "stale", "full"],
    ["minute", "missing", "missing"],
    ["minute", "zero", "full"],
    ["minute", "zero", "month"],
    ["minute", "full", "zero"],
    ["minute", "huge", "month"],
    ["minute", "random", "end"],
    ["window", "zero", "month"],
    ["window", "missing", "full"],
    ["missing", "left", "full"],
    ["missing", "zero", "month"],
    ["one", "left", "full"],
    ["one", "zero", "month"],
    ["huge", "left", "full"],
    ["huge", "huge", "zero"],
    ["random", "random", "full"],
    ["fifth", "another", "end"],
    ["fivefold", "another", "end"],
];

/// The limits for which the wrong ones are tried.
const SOME: [(Shape, u32); 5] = [(Shape::Bucket, 1), (Shape::Bucket, 60), (Shape::Fixed, 10), (Shape::Fixed, 60), (Shape::Sliding, 6)];

/// All of it.
pub(crate) fn all() -> Vec<Scenario> {
    let mut members = Vec::new();
    for counts in COUNTED {
        let member = Member { counts, shape: Shape::Bucket, seconds: 1, refuses: true, says: RIGHT[0], latency: 1.0 };
        for (shape, seconds) in SHAPES.into_iter().flat_map(|shape| WINDOWS.map(|seconds| (shape, seconds))) {
            members.extend(RIGHT.map(|says| Member { shape, seconds, says, ..member }));
        }
        for (shape, seconds) in SOME {
            members.extend(WRONG.map(|says| Member { shape, seconds, says, ..member }));
            members.extend(RIGHT.map(|says| Member { shape, seconds, says, refuses: false, ..member }));
            members.extend(WRONG.map(|says| Member { shape, seconds, says, refuses: false, ..member }));
        }
        // Answers that take five seconds: what the headers say is old when it arrives.
        for (shape, seconds) in SHAPES.into_iter().flat_map(|shape| [1, 6, 60].map(|seconds| (shape, seconds))) {
            members.extend([RIGHT[0], RIGHT[6]].map(|says| Member { shape, seconds, says, latency: 5.0, ..member }));
        }
    }
    members.iter().map(Member::scenario).collect()
}

impl Member {
    fn scenario(&self) -> Scenario {
        let Self { counts, shape, seconds, refuses, says: [limit, remaining, reset], latency } = *self;
        let a_minute = match seconds {
            0..=60 => 1_200.0,
            3_600 => 60.0,
            _ => 3.0,
        };
        // A request is 1,000 tokens in the mean, 300 of them the answer's.
        let enforced = match counts {
            "tokens" => format!("tpm = {:?}", 1e3 * a_minute),
            "input" => format!("itpm = {:?}", 700.0 * a_minute),
            "output" => format!("otpm = {:?}", 300.0 * a_minute),
            _ => format!("rpm = {a_minute:?}"),
        };
        let counted = match shape {
            Shape::Bucket => format!("burst = {seconds}"),
            Shape::Fixed => format!("window = {seconds}"),
            Shape::Sliding => format!("sliding = {seconds}"),
        };
        let (places, lenient) = if refuses { (0.0, "") } else { ((latency * a_minute / 60.0).ceil(), "lenient = true") };
        let (run, warmup) = match seconds {
            // It takes two windows, and some, to learn of one that nobody tells.
            0..=60 => {
                let warmup = 60 + 2 * seconds + if latency > 1.0 { 90 } else { 0 };
                (warmup + 240, warmup)
            }
            _ => (2 * seconds, 0),
        };
        let most = if refuses { 4_096.0 } else { 2.0 * places };
        let early = latency > 1.0;
        let spread = if counts == REQUESTS { "[1000, 1000]" } else { "[900, 1100]" };
        let text = format!(
            "about = ''\nseconds = {run}\nwarmup = {warmup}\n\
             [service]\n{enforced}\n{counted}\n{lenient}\nslots = {places}\nbase = {latency:?}\n\
             says = {{ limit = '{limit}', remaining = '{remaining}', reset = '{reset}', early = {early} }}\n\
             [client]\ntokens = {spread}\nmax = {most}\n\
             [expect]\nthroughput = 0.97\nrefused = 0.01\n"
        );
        let shape = format!("{shape:?}").to_lowercase();
        let ending = format!("{}{}", if refuses { "" } else { " lenient" }, if early { " slow" } else { "" });
        Scenario::parse(format!("{counts} {shape} {seconds} says {limit} {remaining} {reset}{ending}"), &text)
    }
}
