//! Progress of a run: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use promptmill_core::{Meter, Reading, Trouble};

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
/// So long without an answer is worth a word …
const LASTING: Duration = Duration::from_secs(2);
/// … and so many characters of the provider's.
const WORDS: usize = 160;
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
        let view = View::of(meter);
        bar.set_length(view.total);
        bar.set_position(view.done);
        bar.set_message(view.message(rate.update(view.done), Instant::now()));
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
        let view = View::of(meter);
        output::error(&view.message(rate.update(view.done), Instant::now()));
    }
}

/// What is shown at a moment.
struct View {
    reading: Reading,
    /// Rows settled, and rows to settle, in this run.
    done: u64,
    total: u64,
    trouble: Option<Trouble>,
}

impl View {
    fn of(meter: &Meter) -> Self {
        let reading = meter.read();
        Self { done: reading.answered + reading.dead_letters, total: meter.rows_of_this_run(), trouble: meter.trouble(), reading }
    }

    /// `mean` is the rate of the last seconds; while nothing comes back, that of the run so far tells how long it will take.
    fn message(&self, mean: f64, now: Instant) -> String {
        let Self { reading, done, total, trouble } = self;
        // Until a wait that was asked for has passed, nothing goes on at any rate.
        let wait = trouble.as_ref().and_then(|trouble| trouble.until).map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let left = match total.saturating_sub(*done) {
            0 => "0s".to_owned(),
            left if mean > 0.0 => duration(left as f64 / mean + wait.as_secs_f64()),
            _ => "?".to_owned(),
        };
        let dead = if reading.dead_letters > 0 { format!(", {} dead", reading.dead_letters) } else { String::new() };
        let why = trouble.as_ref().map(|trouble| why(trouble, now)).unwrap_or_default();
        format!(
            "{done}/{total} rows{dead}  {mean:.0}/s  ${:.4}  {}/{} in flight  {left} left{why}",
            reading.cost.usd(),
            reading.in_flight,
            reading.limit
        )
    }
}

/// Why nothing comes back, in words.
fn why(trouble: &Trouble, now: Instant) -> String {
    let silent = now.saturating_duration_since(trouble.since);
    // One refusal among many answers is nobody's concern.
    if silent < LASTING && trouble.until.is_none_or(|until| until < now + LASTING) {
        return String::new();
    }
    let until =
        trouble.until.filter(|until| *until > now).map(|until| format!(", which asks to wait {}", duration((until - now).as_secs_f64())));
    let what: String = trouble.what.chars().take(WORDS).collect();
    format!("  waiting for `{}` for {}{}: {what}", trouble.model, duration(silent.as_secs_f64()), until.unwrap_or_default())
}

/// Rows a second over the last seconds, or since the beginning while none was settled in them.
struct Rate {
    began: Instant,
    points: std::collections::VecDeque<(Instant, u64)>,
}

impl Rate {
    fn new() -> Self {
        let now = Instant::now();
        Self { began: now, points: [(now, 0)].into() }
    }

    fn update(&mut self, done: u64) -> f64 {
        self.at(Instant::now(), done)
    }

    fn at(&mut self, now: Instant, done: u64) -> f64 {
        self.points.push_back((now, done));
        while self.points.len() > 2 && self.points.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW) {
            self.points.pop_front();
        }
        let over = |at: Instant, first: u64| done.saturating_sub(first) as f64 / now.duration_since(at).as_secs_f64().max(1e-9);
        match self.points.front() {
            Some((at, first)) if now > *at && done > *first => over(*at, *first),
            _ if done > 0 => over(self.began, 0),
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
    fn the_time_left_is_known_as_soon_as_one_row_is_settled() {
        let mut rate = Rate::new();
        let began = rate.began;
        assert_eq!(rate.at(began + Duration::from_secs(5), 0), 0.0);
        assert_eq!(rate.at(began + Duration::from_secs(10), 20), 2.0);
        // While a provider asks for patience, it is the mean of the run.
        for second in 11..=50 {
            rate.at(began + Duration::from_secs(second), 20);
        }
        assert!((rate.at(began + Duration::from_secs(100), 20) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn it_says_why_it_waits_and_counts_the_rows_of_this_run() {
        let meter = Meter::default();
        meter.add(|meter| &meter.source, 1_677);
        meter.set_limit_rows(Some(24));
        meter.add(|meter| &meter.answered, 3);
        let now = Instant::now();
        let line = View::of(&meter).message(0.5, now);
        assert!(line.starts_with("3/24 rows") && line.ends_with("42s left"), "{line}");
        let what = "rate-limited: Tokens per day reached".to_owned();
        let until = Some(now + Duration::from_secs(300));
        meter.set_trouble(Some(Trouble { model: "small".to_owned(), what, since: now, until }));
        let line = View::of(&meter).message(0.0, now + Duration::from_secs(60));
        assert!(
            line.ends_with("? left  waiting for `small` for 1m 00s, which asks to wait 4m 00s: rate-limited: Tokens per day reached"),
            "{line}"
        );
        let line = View::of(&meter).message(0.5, now + Duration::from_secs(60));
        assert!(line.contains("  4m 42s left  waiting"), "{line}");
        meter.set_trouble(None);
        assert!(!View::of(&meter).message(0.5, now).contains("waiting"));
    }

    #[test]
    fn durations_read_well() {
        for (seconds, text) in [(0.84, "0.8s"), (42.0, "42s"), (185.0, "3m 05s"), (7800.0, "2h 10m")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
