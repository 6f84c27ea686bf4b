//! Rows on their way: one of them, or one of the models, is in trouble, and every run ends all the same.

use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use super::Job;
use crate::spy::{Asked, Reply, Spy};
use crate::support::{Project, Ran};

/// Answers every row, or does what `trouble` says about a request.
fn spy(trouble: impl Fn(&Asked, usize) -> Option<Reply> + Send + Sync + 'static) -> Spy {
    Spy::scripted(move |asked, number| trouble(asked, number).unwrap_or_else(|| Reply::says(asked, |text| format!("Answer to {text}"))))
}

/// Whether a request is about a row with this word in it.
fn is_about(asked: &Asked, word: &str) -> bool {
    asked.items().iter().any(|(_, text)| text.contains(word))
}

fn bodies(count: usize, bad: &[usize]) -> Vec<String> {
    (0..count).map(|row| format!("text {row}{}", if bad.contains(&row) { " POISON" } else { "" })).collect()
}

fn project(job: &Job, bodies: &[String]) -> Project {
    job.project(&bodies.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Answered, dead letters, remaining.
#[track_caller]
fn rows(ran: &Ran) -> (u64, u64, u64) {
    let summary = ran.json();
    let count = |name: &str| summary["rows"][name].as_u64().expect("a count");
    (count("answered"), count("dead_letters"), count("remaining"))
}

/// Turns answers of fewer characters away.
fn longer_than(characters: usize) -> String {
    format!("[[stages]]\nuse = \"post-process\"\ncolumn = \"summary\"\nsteps = [{{ use = \"reject-length\", min_chars = {characters} }}]")
}

/// A second model `good`, on another server.
fn job_with_fallback(first: &str, good: &str, more: &str) -> Job {
    Job {
        llm: format!("concurrency = 4\nfallback = [\"good\"]\n{more}"),
        more: format!(
            "[models.good]\nprovider = \"q\"\nmodel = \"good\"\nstructured = \"text\"\nprice = {{ input = 1.0, output = 2.0 }}\n\
             [providers.q]\nkind = \"openai\"\nbase_url = \"{good}\""
        ),
        ..Job::new(first)
    }
}

fn malformed() -> Reply {
    Reply::error(400, "Invalid value: could not parse the messages")
}

#[test]
fn a_row_whose_request_is_malformed_is_a_dead_letter_and_the_others_are_answered() {
    let poison = || spy(|asked, _| is_about(asked, "POISON").then(malformed));
    for (llm, packs) in [("concurrency = 1", "1"), ("concurrency = 4", "5")] {
        let spy = poison();
        // Also where the first rows are the bad ones.
        for bad in [&[7][..], &[0, 1, 2, 3][..]] {
            let job = Job { llm: llm.to_owned(), rows: packs.to_owned(), ..Job::new(&spy.url) };
            let project = project(&job, &bodies(20, bad));
            assert_eq!(rows(&project.run_pipeline(&[]).expect(0)), (20 - bad.len() as u64, bad.len() as u64, 0), "{llm}, {packs}, {bad:?}");
            project.assert_money_agrees();
        }
    }
    // A bad row that comes alone, in a later run.
    let spy = poison();
    let job = Job::new(&spy.url);
    let project = project(&job, &bodies(5, &[]));
    project.run_pipeline(&[]).expect(0);
    let six = bodies(6, &[5]);
    super::write_rows(&project, "rows.parquet", &six.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(rows(&project.run_pipeline(&[]).expect(0)), (0, 1, 0));
    assert_eq!(project.query("SELECT reason FROM dead_letters"), [json!({"reason": "bad-request"})]);
}

#[test]
fn a_form_that_no_row_gets_past_ends_the_run_before_any_row_is_given_up() {
    let refusing = spy(|_, _| Some(malformed()));
    let project_of = |job: &Job| project(job, &bodies(40, &[]));
    let project = project_of(&Job { rows: "10".to_owned(), ..Job::new(&refusing.url) });
    let ran = project.run_pipeline(&[]).expect(1);
    assert_eq!(rows(&ran), (0, 0, 40), "all of them can be asked once the form is mended");
    assert!(ran.stderr.contains("could not parse the messages") && ran.stderr.contains("hint:"), "{}", ran.stderr);
    assert!(refusing.asked().len() < 60, "{} requests", refusing.asked().len());
    // With another model that takes the form nothing is lost.
    let good = spy(|_, _| None);
    let project = project_of(&job_with_fallback(&refusing.url, &good.url, ""));
    assert_eq!(rows(&project.run_pipeline(&[]).expect(0)), (40, 0, 0));
}

#[test]
fn a_model_that_is_missing_is_skipped_and_ends_the_run_only_as_the_last() {
    let missing = || spy(|_, _| Some(Reply::error(404, "No endpoints found that support the requested parameters")));
    let (first, good) = (missing(), spy(|_, _| None));
    let project_of = |job: &Job, count| project(job, &bodies(count, &[]));
    let project = project_of(&job_with_fallback(&first.url, &good.url, ""), 30);
    assert_eq!(rows(&project.run_pipeline(&[]).expect(0)), (30, 0, 0));
    assert!(first.asked().len() <= 4, "once it is known, nobody asks it any more: {}", first.asked().len());
    assert_eq!(project.query("SELECT DISTINCT llm_model FROM results"), [json!({"llm_model": "good"})]);

    // The fallback is missing, and only one row needs it.
    let first = Spy::scripted(|asked, _| Reply::says(asked, |text| if text.contains("text 3 ") { String::new() } else { text.to_owned() }));
    let texts: Vec<String> = (0..40).map(|row| format!("text {row} is here")).collect();
    let job = Job { stages: longer_than(3), ..job_with_fallback(&first.url, &missing().url, "attempts = 1") };
    let other = job.project(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(rows(&other.run_pipeline(&[]).expect(0)), (39, 1, 0));

    // Both are missing.
    let (first, second) = (missing(), missing());
    let project = project_of(&job_with_fallback(&first.url, &second.url, ""), 30);
    let ran = project.run_pipeline(&[]).expect(1);
    assert_eq!(rows(&ran), (0, 0, 30));
    assert!(ran.stderr.contains("No endpoints found"), "{}", ran.stderr);
}

#[test]
fn a_first_model_whose_server_is_not_there_leaves_its_rows_to_the_next() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let good = spy(|_, _| None);
    let job = job_with_fallback(&format!("http://127.0.0.1:{port}/v1"), &good.url, "attempts = 2");
    let project = project(&job, &bodies(30, &[]));
    assert_eq!(rows(&project.run_pipeline(&[]).expect(0)), (30, 0, 0));
    project.assert_money_agrees();
}

#[test]
fn a_first_model_that_refuses_for_an_hour_leaves_its_rows_to_the_next() {
    let first = spy(|_, _| Some(Reply::error(429, "Tokens per day reached").header("retry-after", "3600")));
    let good = spy(|_, _| None);
    let project = project(&job_with_fallback(&first.url, &good.url, ""), &bodies(12, &[]));
    assert_eq!(rows(&project.run_pipeline(&[]).expect(0)), (12, 0, 0));
}

#[test]
fn what_is_in_flight_when_the_source_turns_out_to_be_damaged_is_kept() {
    let spy = spy(|asked, _| Some(Reply::says(asked, str::to_owned).after(Duration::from_millis(50))));
    let job = Job { llm: "concurrency = 32".to_owned(), ..Job::new(&spy.url) };
    let project = Project::new();
    project.write("pipeline.toml", &job.toml());
    let path = project.path("rows.parquet");
    let groups = 60_usize;
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).set_dictionary_enabled(false).build();
    let (mut writer, mut first) = (None, 0);
    for group in 0..groups {
        let row = |row: usize| group * 100 + row;
        let ids: ArrayRef = Arc::new((0..100).map(|at| Some(format!("k{}", row(at)))).collect::<StringArray>());
        let texts: ArrayRef = Arc::new((0..100).map(|at| Some(format!("text {} {}", row(at), "x".repeat(200)))).collect::<StringArray>());
        let batch = RecordBatch::try_from_iter([("id", ids), ("body", texts)]).expect("a batch");
        let writer: &mut ArrowWriter<std::fs::File> = writer.get_or_insert_with(|| {
            let file = std::fs::File::create(&path).expect("a file");
            ArrowWriter::try_new(file, batch.schema(), Some(properties.clone())).expect("a writer")
        });
        writer.write(&batch).expect("rows");
        first += 100;
    }
    assert_eq!(first, groups * 100);
    let metadata = writer.expect("a writer").close().expect("a footer");
    let good = std::fs::read(&path).expect("a file");
    // Some texts cannot be read; the keys, which are counted before, can.
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a file");
    for group in (25..30).chain(55..groups) {
        let at = metadata.row_group(group).column(1).data_page_offset() as u64;
        file.write_all_at(&[0xff; 40], at).expect("a write");
    }
    drop(file);
    let ran = project.run_pipeline(&[]).expect(1);
    let asked = spy.asked().len();
    assert!(asked > 0, "some rows were read before: {}", ran.stderr);
    let kept = project.number("SELECT count(*) FROM attempts WHERE status = 'ok'") as usize;
    assert_eq!(kept, asked, "what the server has answered is in the journal");
    assert_eq!(project.number("SELECT count(*) FROM results") as usize, asked, "and in the results");
    std::fs::write(&path, good).expect("a file");
    let ran = project.run_pipeline(&["--limit", &(asked + 10).to_string()]).expect(0);
    let texts: Vec<String> = spy.asked().iter().map(|asked| asked.items()[0].1.clone()).collect();
    let again = texts[asked..].iter().filter(|text| texts[..asked].contains(text)).count();
    assert_eq!(again, 0, "nothing is asked and paid again: {}", ran.stdout);
}

#[test]
fn a_prompt_that_cannot_be_rendered_for_a_row_costs_that_row_alone() {
    let spy = spy(|_, _| None);
    let job = Job { rows: "5".to_owned(), llm: "concurrency = 4".to_owned(), ..Job::new(&spy.url) };
    let project = project(&job, &bodies(20, &[11]));
    let prompt = "{% if 'POISON' in items | join(' ') %}{{ items.of.nobody }}{% endif %}Explain.";
    let ran = project.run_pipeline(&["--set", &format!("stages.prompt-pack.prompt={prompt}")]).expect(0);
    assert_eq!(rows(&ran), (19, 1, 0));
    let dead = project.query("SELECT id, reason, llm_attempts FROM dead_letters");
    assert_eq!(dead, [json!({"id": "k11", "reason": "template", "llm_attempts": 0})]);
}

#[test]
fn identical_rows_are_asked_once_in_replay_too_however_often_the_first_was_turned_away() {
    // The first ten answers are turned away; all six rows wait for the eleventh.
    let spy = Spy::scripted(|asked, number| Reply::says(asked, |_| if number <= 10 { "no" } else { "the right answer" }.to_owned()));
    let step = |steps: &str| format!("[[stages]]\nuse = \"post-process\"\ncolumn = \"summary\"\nsteps = [{steps}]");
    let long = "{ use = \"reject-length\", min_chars = 5 }";
    let job = Job { llm: "concurrency = 1\nattempts = 20".to_owned(), stages: step(long), ..Job::new(&spy.url) };
    let project = project(&job, &vec!["the very same".to_owned(); 6]);
    assert_eq!(rows(&project.run_pipeline(&[]).expect(0)), (6, 0, 0));
    assert_eq!(spy.asked().len(), 11);
    let words = format!("{long}, {{ use = \"replace-words\", words = {{ \"right\" = \"best\" }} }}");
    project.write("pipeline.toml", &Job { stages: step(&words), ..job }.toml());
    project.run(&["replay", "pipeline.toml"]).expect(0);
    let answers = project.query("SELECT summary, count(*) AS n FROM results GROUP BY 1");
    assert_eq!(answers, [json!({"summary": "the best answer", "n": 6})]);
    assert_eq!(spy.asked().len(), 11, "nothing is sent");
    project.assert_money_agrees();
}

#[test]
fn a_run_in_which_nothing_usable_comes_back_stops_early_and_says_why() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |_| "Let us talk about the weather.".to_owned()));
    let job = Job { llm: "concurrency = 2\nattempts = 2".to_owned(), stages: longer_than(60), ..Job::new(&spy.url) };
    let many = project(&job, &bodies(400, &[]));
    let ran = many.run_pipeline(&[]).expect(1);
    let (answered, dead, remaining) = rows(&ran);
    assert!(answered == 0 && (30..40).contains(&dead) && remaining == 400 - dead, "{}", ran.stdout);
    assert!(ran.stderr.contains("nothing usable came back") && ran.stderr.contains("talk about the weather"), "{}", ran.stderr);
    // A few rows are all asked; that none has an answer is said aloud, and is no success.
    let few = project(&job, &bodies(6, &[]));
    let ran = few.run_pipeline(&[]).expect(4);
    assert_eq!((rows(&ran), &ran.json()["status"]), ((0, 6, 0), &json!("completed")));
    assert!(ran.stderr.contains("none of the 6 rows of this run has an answer"), "{}", ran.stderr);
}

#[test]
fn an_overloaded_server_is_waited_for_and_uses_up_no_attempts() {
    let spy = spy(|_, number| (number <= 12).then(|| Reply::error(503, "overloaded, please come back")));
    let job = Job { llm: "concurrency = 2\nattempts = 2".to_owned(), ..Job::new(&spy.url) };
    let project = project(&job, &bodies(40, &[]));
    assert_eq!(rows(&project.run_pipeline(&[]).expect(0)), (40, 0, 0));
}

#[test]
fn dead_letters_are_bounded_by_number_or_by_share() {
    let spy = spy(|asked, _| is_about(asked, "POISON").then(|| Reply::says(asked, |_| "no".to_owned())));
    let job = Job { llm: "attempts = 1".to_owned(), stages: longer_than(5), ..Job::new(&spy.url) };
    let project = project(&job, &bodies(10, &[1, 2, 3]));
    let code = |setting: &[&str]| {
        let settings: Vec<String> = setting.iter().map(|setting| format!("max_dead_letters={setting}")).collect();
        let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
        project.run_pipeline(&arguments).code
    };
    assert_eq!(code(&[]), 0, "half of the rows may be");
    assert_eq!(["2", "3", "29%", "30%", "0%", "100%"].map(|setting| code(&[setting])), [4, 0, 4, 0, 4, 0]);
    let ran = project.run_pipeline(&["--set", "max_dead_letters=half"]).expect(2);
    assert!(ran.stderr.contains("for example `5%`"), "{}", ran.stderr);
    let limited = project.run_pipeline(&["--set", "max_dead_letters=25%"]).expect(4);
    assert!(limited.stderr.contains("3 of 10 settled rows are dead letters, where `max_dead_letters` allows 25%"), "{}", limited.stderr);
}

#[test]
fn progress_says_what_it_waits_for_and_counts_the_rows_of_this_run() {
    let spy = spy(|_, number| (number == 1).then(|| Reply::error(429, "Slow down, please").header("retry-after", "7")));
    let project = project(&Job::new(&spy.url), &bodies(10, &[]));
    let ran = project.run(&["run", "pipeline.toml", "--limit", "4", "--progress", "plain"]).expect(0);
    let line = ran.stderr.lines().find(|line| line.contains(" rows")).unwrap_or_default();
    assert!(line.starts_with("0/4 rows"), "{}", ran.stderr);
    assert!(line.contains("waiting for `m`") && line.contains("asks to wait") && line.contains("Slow down, please"), "{}", ran.stderr);
}

#[test]
fn the_last_rows_on_which_the_server_fails_are_given_up() {
    let spy = spy(|asked, _| is_about(asked, "POISON").then(|| Reply::error(500, "internal error: index out of range")));
    let job = Job { rows: "5".to_owned(), llm: "concurrency = 4\nattempts = 2".to_owned(), ..Job::new(&spy.url) };
    let project = project(&job, &bodies(40, &[5, 11, 17]));
    assert_eq!(rows(&project.run_pipeline(&[]).expect(0)), (37, 3, 0));
    let dead: Vec<Value> = project.query("SELECT id, reason FROM dead_letters ORDER BY id");
    assert!(dead.iter().all(|row| row["reason"] == "overloaded"), "{dead:?}");
    // And again, when they are all that is asked.
    let ran = project.run_pipeline(&["--retry-dead-letters"]);
    assert_eq!((ran.code, rows(&ran)), (0, (0, 3, 0)), "{}", ran.stderr);
}
