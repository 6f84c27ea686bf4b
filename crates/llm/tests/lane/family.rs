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

/// What each way of counting comes to in the mean over all senses: its name, the share of the ideal at the least and of
/// refusals at the most. A window that gives back only what was used so long ago, or all at once, has no use for what was held
/// back after a refusal, so that each test of a limit costs it a part of a window: with windows below ten seconds that are not
/// told rightly 93 to 98 % are reached, not 97 everywhere. A window of an hour or a day is used up as fast as it goes, which is
/// all of it and more (a stock is there to be used); what is refused then is what was in flight when it ended, and the requests
/// that ask whether it has. Measured with two seeds, hours and days with one: throughput, refused.
pub(crate) const CLASSES: [(&str, f64, f64); 20] = [
    ("bucket 1", 0.98, 0.010),     // 100.9 %, 0.45 %
    ("bucket 6", 0.98, 0.010),     // 101.2 %, 0.42 %
    ("bucket 10", 0.98, 0.010),    // 101.0 %, 0.55 %
    ("bucket 60", 0.98, 0.010),    // 101.4 %, 0.52 %
    ("bucket 3600", 0.98, 0.25),   // 151.1 %, 10.97 %
    ("bucket 86400", 0.98, 0.15),  // 152.9 %, 4.28 %
    ("fixed 1", 0.91, 0.010),      // 94.0 %, 0.43 %
    ("fixed 6", 0.95, 0.018),      // 97.8 %, 1.07 %
    ("fixed 10", 0.94, 0.015),     // 98.0 %, 0.60 %
    ("fixed 60", 0.97, 0.010),     // 99.9 %, 0.35 %
    ("fixed 3600", 0.97, 0.06),    // 100.5 %, 3.02 %
    ("fixed 86400", 0.97, 0.08),   // 100.5 %, 4.05 %
    ("sliding 1", 0.86, 0.010),    // 90.4 %, 0.33 %
    ("sliding 6", 0.91, 0.018),    // 94.5 %, 0.90 %
    ("sliding 10", 0.87, 0.020),   // 94.3 %, 0.54 %
    ("sliding 60", 0.92, 0.010),   // 96.9 %, 0.13 %
    ("sliding 3600", 0.92, 0.06),  // 100.5 %, 3.20 %
    ("sliding 86400", 0.95, 0.08), // 100.5 %, 4.08 %
    ("lenient", 0.97, 0.0),        // 99.7 %, 0.00 %
    ("slow", 0.86, 0.03),          // 93.7 %, 0.86 %
];

/// Which of [`CLASSES`] a scenario belongs to.
pub(crate) fn is_of(name: &str, class: &str) -> bool {
    match class {
        "lenient" | "slow" => name.ends_with(class),
        _ => name.contains(&format!(" {class} says ")) && !name.ends_with("lenient") && !name.ends_with("slow"),
    }
}

/// All of it.
pub(crate) fn all() -> Vec<Scenario> {
    let mut members = Vec::new();
    for counts in COUNTED {
        let member = Member { counts, shape: Shape::Bucket, seconds: 1, refuses: true, says: RIGHT[0], latency: 1.0 };
        for (shape, seconds) in SHAPES.into_iter().flat_map(|shape| WINDOWS.map(|seconds| (shape, seconds))) {
            members.extend(RIGHT.map(|says| Member { shape, seconds, says, ..member }));
            members.push(Member { shape, seconds, says: ["missing"; 3], ..member });
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
        // Where nothing is refused, and where what is not used now can be used later, each single sense has its bound.
        let is_strict = match shape {
            // What is said at random has nothing in it to learn from: it is judged with its class.
            _ if early || remaining == "random" => false,
            Shape::Bucket | Shape::Fixed if !refuses => true,
            Shape::Bucket => seconds <= 60,
            Shape::Fixed => seconds == 60,
            Shape::Sliding => false,
        };
        let expect = if is_strict { "throughput = 0.96\nrefused = 0.03" } else { "throughput = 0\nrefused = 1" };
        let spread = if counts == REQUESTS { "[1000, 1000]" } else { "[900, 1100]" };
        let text = format!(
            "about = ''\nseconds = {run}\nwarmup = {warmup}\n\
             [service]\n{enforced}\n{counted}\n{lenient}\nslots = {places}\nbase = {latency:?}\n\
             says = {{ limit = '{limit}', remaining = '{remaining}', reset = '{reset}', early = {early} }}\n\
             [client]\ntokens = {spread}\nmax = {most}\nin_order = true\n\
             [expect]\n{expect}\n"
        );
        let shape = format!("{shape:?}").to_lowercase();
        let ending = format!("{}{}", if refuses { "" } else { " lenient" }, if early { " slow" } else { "" });
        Scenario::parse(format!("{counts} {shape} {seconds} says {limit} {remaining} {reset}{ending}"), &text)
    }
}
