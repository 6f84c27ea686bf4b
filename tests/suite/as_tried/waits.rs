//! Waits that services name are kept, in whatever form and by whatever clock; and what turns everybody away is waited for.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;

use super::Job;
use crate::spy::{Asked, Reply, Spy};
use crate::support::Project;

fn good(asked: &Asked) -> Reply {
    Reply::says(asked, |text| format!("Answer to {text}"))
}

fn project(job: &Job, rows: usize) -> Project {
    let bodies: Vec<String> = (0..rows).map(|row| format!("text {row}")).collect();
    job.project(&bodies.iter().map(String::as_str).collect::<Vec<_>>())
}

/// How long it takes from a refusal of the third request to the one after it.
fn pause_after(refusal: impl Fn() -> Reply + Send + Sync + 'static) -> Duration {
    let spy = Spy::scripted(move |asked, number| if number == 3 { refusal() } else { good(asked) });
    let project = project(&Job::new(&spy.url), 5);
    project.run_pipeline(&[]).expect(0);
    assert_eq!(project.query("SELECT id FROM results").len(), 5);
    let asked = spy.asked();
    assert_eq!(asked.len(), 6);
    asked[3].at - asked[2].at
}

#[test]
fn a_wait_that_a_refusal_names_is_kept() {
    fn slow_down() -> Reply {
        Reply::error(429, "Rate limit reached")
    }
    const DATE: &str = "Fri, 21 Aug 2026 12:00:00 GMT";
    type Refusal = (&'static str, fn() -> Reply);
    let refusals: [Refusal; 5] = [
        ("seconds", || slow_down().header("retry-after", "3")),
        ("by a clock that is far from ours", || slow_down().header("date", DATE).header("retry-after", "Fri, 21 Aug 2026 12:00:03 GMT")),
        ("the draft's quota", || slow_down().header("ratelimit", "\"default\";r=0;t=3")),
        ("words", || Reply::error(429, "Please try again in 3.0s.")),
        ("a field", || Reply::new(429, json!({"detail": "Too many requests", "retry_after": 3}).to_string())),
    ];
    let waits = refusals.map(|(name, refusal)| (name, std::thread::spawn(move || pause_after(refusal))));
    for (name, wait) in waits {
        let wait = wait.join().expect("it ran");
        assert!(wait >= Duration::from_secs(3), "{name}: {wait:?}");
        // By our clock it would be over for long, or take an hour.
        assert!(wait < Duration::from_secs(60), "{name}: {wait:?}");
    }
}

#[test]
fn a_server_that_is_away_until_a_moment_is_not_asked_before() {
    let since = OnceLock::new();
    let spy = Spy::scripted(move |asked, number| {
        if number > 3 && asked.at < *since.get_or_init(|| asked.at) + Duration::from_secs(3) {
            return Reply::error(503, "busy").header("retry-after", "3");
        }
        good(asked)
    });
    let job = Job { llm: "concurrency = 2".to_owned(), ..Job::new(&spy.url) };
    let project = project(&job, 12);
    project.run_pipeline(&[]).expect(0);
    assert_eq!(project.query("SELECT id FROM results").len(), 12);
    let refused = project.query("SELECT status FROM attempts WHERE status = 'overloaded'").len();
    assert!(refused <= 4, "{refused} were refused");
}

const WALL: &str = "<!DOCTYPE html><html><head><title>Attention Required!</title></head><body>Sorry, you have been blocked</body></html>";

#[test]
fn a_page_that_turns_everybody_away_is_an_outage_and_costs_no_row() {
    let since = OnceLock::new();
    let spy = Spy::scripted(move |asked, number| {
        if number > 3 && asked.at < *since.get_or_init(|| asked.at) + Duration::from_secs(3) { Reply::new(403, WALL) } else { good(asked) }
    });
    let job = Job { rows: "3".to_owned(), llm: "concurrency = 2".to_owned(), ..Job::new(&spy.url) };
    let project = project(&job, 60);
    let ran = project.run_pipeline(&[]).expect(0);
    assert_eq!(project.query("SELECT id FROM results").len(), 60, "{}", ran.stderr);
    let refused = project.query("SELECT status FROM attempts WHERE status = 'filtered'").len();
    assert!((10..=45).contains(&refused), "{refused} were refused");
}

#[test]
fn a_page_in_front_of_everything_ends_the_run_and_leaves_the_rows() {
    let spy = Spy::scripted(|_, _| Reply::new(403, WALL));
    let project = project(&Job { rows: "3".to_owned(), ..Job::new(&spy.url) }, 12);
    let ran = project.run_pipeline(&[]).expect(1);
    assert!(ran.stderr.contains("Attention Required!") && ran.stderr.contains("a page that stands in front"), "{}", ran.stderr);
    assert_eq!(project.query("SELECT id FROM dead_letters").len(), 0);
    assert!(spy.asked().len() < 20, "{}", spy.asked().len());
}

/// After answers, and where a row may be asked twice only.
#[test]
fn a_model_that_goes_away_leaves_its_rows_to_the_next_run() {
    let is_gone = Arc::new(AtomicBool::new(true));
    let gone = Arc::clone(&is_gone);
    let spy = Spy::scripted(move |asked, number| {
        if number > 3 && gone.load(Relaxed) { Reply::error(404, "The model `the-model` does not exist") } else { good(asked) }
    });
    let job = Job { llm: "concurrency = 2\nattempts = 2".to_owned(), ..Job::new(&spy.url) };
    let project = project(&job, 12);
    let ran = project.run_pipeline(&[]).expect(1);
    assert!(ran.stderr.contains("does not exist"), "{}", ran.stderr);
    assert_eq!(project.query("SELECT id FROM dead_letters").len(), 0);
    is_gone.store(false, Relaxed);
    project.run_pipeline(&[]).expect(0);
    assert_eq!(project.query("SELECT id FROM results").len(), 12);
}
