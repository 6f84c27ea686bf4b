//! Progress of a run: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use promptmill_core::{Meter, Reading};

use crate::output;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar on a terminal, plain lines elsewhere
    Auto,
    /// A line every few seconds
    Plain,
    /// Nothing
    None,
}

const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The rate is that of the last seconds, so that it follows what happens.
const RATE_WINDOW: Duration = Duration::from_secs(20);

/// Shows progress until it is aborted.
pub(crate) async fn show(progress: Progress, meter: Arc<Meter>) {
    match progress {
        Progress::None => {}
        Progress::Auto if std::io::stderr().is_terminal() => bar(&meter).await,
        Progress::Auto | Progress::Plain => lines(&meter).await,
    }
}

async fn bar(meter: &Meter) {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = "{spinner} {bar:14.cyan/dim} {percent:>3}%  {wide_msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─"));
    // The bar goes when the run ends, however it ends: the summary says the same and stays.
    let _clear = ClearOnDrop(bar.clone());
    let mut rate = Rate::new();
    loop {
        tokio::time::sleep(BAR_EVERY).await;
        let reading = meter.read();
        let (done, total) = counts(&reading);
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(message(&reading, rate.update(done)));
        bar.tick();
    }
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

async fn lines(meter: &Meter) {
    let mut rate = Rate::new();
    loop {
        tokio::time::sleep(LINE_EVERY).await;
        let reading = meter.read();
        output::error(&message(&reading, rate.update(counts(&reading).0)));
    }
}

/// Rows settled, and rows to settle, in this run.
fn counts(reading: &Reading) -> (u64, u64) {
    let done = reading.answered + reading.dead_letters;
    (done, done + reading.remaining())
}

fn message(reading: &Reading, rate: f64) -> String {
    let (done, total) = counts(reading);
    let left = if rate > 0.0 { duration((total - done) as f64 / rate) } else { "?".to_owned() };
    let dead = if reading.dead_letters > 0 { format!(", {} dead", reading.dead_letters) } else { String::new() };
    format!(
        "{done}/{total} rows{dead}  {rate:.0}/s  ${:.4}  {}/{} in flight  {left} left",
        reading.cost.usd(),
        reading.in_flight,
        reading.limit
    )
}

/// Rows a second over the last seconds.
struct Rate {
    points: std::collections::VecDeque<(Instant, u64)>,
}

impl Rate {
    fn new() -> Self {
        Self { points: [(Instant::now(), 0)].into() }
    }

    fn update(&mut self, done: u64) -> f64 {
        let now = Instant::now();
        self.points.push_back((now, done));
        while self.points.len() > 2 && self.points.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW) {
            self.points.pop_front();
        }
        match self.points.front() {
            Some((at, first)) if now > *at => done.saturating_sub(*first) as f64 / now.duration_since(*at).as_secs_f64(),
            _ => 0.0,
        }
    }
}

/// Seconds as people say them: `0.8s`, `42s`, `3m 05s`, `2h 10m`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (seconds, text) in [(0.84, "0.8s"), (42.0, "42s"), (185.0, "3m 05s"), (7800.0, "2h 10m")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
