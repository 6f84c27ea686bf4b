//! Money: what providers bill, in every way in which they say so, and a budget that holds whatever they do.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Job, write_rows};
use crate::spy::{Asked, Reply, Spy};
use crate::support::Project;

/// Prices of [`Job::new`], in nano-dollars a token.
const INPUT: i64 = 1_000;
const OUTPUT: i64 = 2_000;

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|row| format!("text {row}")).collect()
}

fn project(job: &Job, rows: usize) -> Project {
    let bodies = bodies(rows);
    job.project(&bodies.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Every row is answered, with this usage.
fn billed(asked: &Asked, usage: &Value) -> Reply {
    let answers: serde_json::Map<String, Value> =
        asked.items().into_iter().map(|(id, text)| (id, format!("About {text}").into())).collect();
    let content = Value::Object(answers).to_string();
    Reply::completion(&json!({"role": "assistant", "content": content}), "stop", usage)
}

fn spent(project: &Project) -> i64 {
    project.nano("attempts")
}

/// Rows and what no row bears are all attempts.
fn assert_all_is_borne(project: &Project) {
    let rows = project.nano("results") + project.nano("dead_letters");
    let unassigned = project.nano("unassigned_costs");
    assert_eq!(
        rows + unassigned,
        spent(project),
        "rows {rows}, unassigned {unassigned}: {:?}",
        project.query("SELECT * FROM unassigned_costs")
    );
}

#[test]
fn what_extra_body_grants_is_set_aside() {
    // As many tokens as the request allows, under whatever name, are used and billed.
    let spy = Spy::scripted(|asked, _| {
        let body = &asked.body;
        let limits = [&body["max_tokens"], &body["max_completion_tokens"], &body["max_output_tokens"], &body["options"]["num_predict"]];
        let limit =
            limits.iter().filter_map(|limit| limit.as_u64()).max().unwrap_or(100) + body["thinking"]["budget_tokens"].as_u64().unwrap_or(0);
        billed(asked, &json!({"prompt_tokens": 50, "completion_tokens": limit * body["n"].as_u64().unwrap_or(1)}))
    });
    for extra in [
        "max_tokens = 20000",
        "max_completion_tokens = 20000",
        "n = 50",
        "max_output_tokens = 20000",
        "options = { num_predict = 20000 }",
        "thinking = { budget_tokens = 20000 }",
    ] {
        let mut job = Job::new(&spy.url);
        job.model += &format!("\nextra_body = {{ {extra} }}");
        job.llm = "concurrency = 16".to_owned();
        job.budget_usd = Some(0.1);
        let project = project(&job, 60);
        let summary = project.run_pipeline(&[]).expect(3).json();
        assert!(spent(&project) <= 100_000_000, "{extra}: {summary}");
        assert!(summary["rows"]["answered"].as_u64() > Some(0), "{extra}: there is room for some");
        assert_all_is_borne(&project);
    }
}

#[test]
fn what_has_no_bound_is_refused_under_a_budget_before_anything_is_sent() {
    let spy = Spy::scripted(|asked, _| billed(asked, &json!({"prompt_tokens": 50, "completion_tokens": 5})));
    for extra in ["max_tokens = -1", "n = 'many'", "models = ['another']", "plugins = [{ id = 'web' }]", "options = { num_predict = -2 }"] {
        let mut job = Job::new(&spy.url);
        job.model += &format!("\nextra_body = {{ {extra} }}");
        let project = project(&job, 2);
        project.run(&["check", "pipeline.toml"]).expect(0);
        let refused = project.run_pipeline(&["--budget-usd", "1"]).expect(2);
        assert!(refused.stderr.contains("under a budget") && refused.stderr.contains("extra_body"), "{extra}: {}", refused.stderr);
    }
    assert_eq!(spy.asked().len(), 0);
    // A context bounds what nothing else does.
    let mut job = Job::new(&spy.url);
    job.model += "\nextra_body = { max_tokens = -1 }\ncontext = 8000";
    let bounded = project(&job, 2);
    bounded.run_pipeline(&["--budget-usd", "1"]).expect(0);
}

#[test]
fn costs_that_are_stated_above_what_was_set_aside_do_not_pass_the_budget() {
    let spy = Spy::scripted(|asked, _| {
        billed(asked, &json!({"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.01})).after(Duration::from_millis(20))
    });
    for (price, concurrency) in [("input = 0.0, output = 0.0", 1), ("input = 0.0, output = 0.0", 16), ("input = 0.001, output = 0.001", 16)]
    {
        let mut job = Job::new(&spy.url);
        job.model = format!("structured = \"text\"\nprice = {{ {price} }}");
        job.llm = format!("concurrency = {concurrency}");
        job.budget_usd = Some(0.055);
        let project = project(&job, 100);
        project.run_pipeline(&[]).expect(3);
        assert_eq!(spent(&project), 50_000_000, "{price}, {concurrency} in flight");
        let before = spy.asked().len();
        project.run_pipeline(&[]).expect(3);
        assert_eq!((spent(&project), spy.asked().len()), (50_000_000, before), "what a model has billed is known in later runs");
        assert_all_is_borne(&project);
    }
}

#[test]
fn thinking_beside_the_answer_is_billed_and_foreseen_from_the_first_bill_on() {
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 4100, "completion_tokens_details": {"reasoning_tokens": 3000}});
    let spy = Spy::scripted(move |asked, _| billed(asked, &usage));
    let bill = 1_000 * INPUT + 3_100 * OUTPUT;
    let mut job = Job::new(&spy.url);
    job.rows = "10".to_owned();
    job.llm = "concurrency = 4".to_owned();
    let all = project(&job, 30);
    let summary = all.run_pipeline(&[]).expect(0).json();
    assert_eq!((spent(&all), &summary["tokens"]["output"]), (3 * bill, &json!(9_300)));
    let capped = project(&job, 30);
    capped.run_pipeline(&["--budget-usd", "0.01"]).expect(3);
    assert_eq!(spent(&capped), bill, "a second bill would pass the budget, also for fewer rows");
}

#[test]
fn counts_out_of_all_proportion_cost_what_was_set_aside() {
    for usage in [
        json!({"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX}),
        json!({"prompt_tokens": 1_u64 << 63, "completion_tokens": 5}),
        json!({"prompt_tokens": 9_007_199_254_740_993_u64, "completion_tokens": 1}),
        json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 100_000_000_000_u64}),
        json!({"prompt_tokens": 100_000_000_000_u64, "completion_tokens": 20}),
        json!({"prompt_tokens": 100, "completion_tokens": 3_000_000_000_u64, "cost": -1}),
        json!({"cost": 5e9}),
        json!({"cost": "nan"}),
        Value::Null,
    ] {
        let wrong = usage.clone();
        let spy = Spy::scripted(move |asked, number| {
            let usual = json!({"prompt_tokens": 100, "completion_tokens": 20});
            billed(asked, if number == 4 { &wrong } else { &usual })
        });
        let mut job = Job::new(&spy.url);
        job.budget_usd = Some(1.0);
        let project = project(&job, 8);
        let summary = project.run_pipeline(&[]).expect(0).json();
        assert_eq!(summary["rows"]["answered"], 8, "{usage}");
        let usual = 100 * INPUT + 20 * OUTPUT;
        let wrong = spent(&project) - 7 * usual;
        // At the most every byte a token and all of the answer that was granted.
        assert!((100 * OUTPUT..2_000 * OUTPUT).contains(&wrong), "{usage}: {wrong}");
        assert_all_is_borne(&project);
        let again = project.run_pipeline(&[]).expect(0).json();
        assert_eq!(again["rows"]["unchanged"], 8);
        project.run(&["plan", "pipeline.toml"]).expect(0);
    }
}

#[test]
fn costs_stated_in_the_bodies_of_errors_are_booked() {
    let usage = json!({"prompt_tokens": 500, "completion_tokens": 900, "cost": 0.002});
    for (status, body) in [
        (500, json!({"error": {"message": "the upstream broke off"}, "usage": usage})),
        (429, json!({"error": {"message": "slow down", "usage": usage}})),
        (503, json!({"error": {"message": "gone", "metadata": {"usage": usage}}})),
    ] {
        let text = body.to_string();
        let spy = Spy::scripted(move |asked, number| match number {
            1 => Reply::new(status, text.clone()).header("retry-after", "0"),
            _ => billed(asked, &json!({"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.0001})),
        });
        let project = project(&Job::new(&spy.url), 3);
        project.run_pipeline(&["--budget-usd", "0.02"]).expect(0);
        assert_eq!(spent(&project), 2_300_000, "{status}");
        assert_all_is_borne(&project);
    }
}

#[test]
fn a_row_costs_the_sum_of_what_is_known() {
    // The first model has no price and states nothing; the second one has a price.
    let spy = Spy::scripted(|asked, _| match asked.body["model"] == "the-model" {
        true => Reply::content(""),
        false => billed(asked, &json!({"prompt_tokens": 100, "completion_tokens": 20})),
    });
    let mut job = Job::new(&spy.url);
    job.model = "structured = \"text\"".to_owned();
    job.llm = "concurrency = 1\nattempts = 1\nfallback = [\"good\"]".to_owned();
    job.more = "[models.good]\nprovider = \"p\"\nmodel = \"good\"\nstructured = \"text\"\nprice = { input = 1.0, output = 2.0 }".to_owned();
    let project = project(&job, 3);
    project.run_pipeline(&[]).expect(0);
    assert_eq!((project.nano("results"), spent(&project)), (3 * (100 * INPUT + 20 * OUTPUT), 3 * (100 * INPUT + 20 * OUTPUT)));
    assert_eq!(project.number("SELECT count(*) FROM results WHERE cost_usd IS NULL"), 0.0);
}

#[test]
fn what_belongs_to_no_row_any_more_has_a_place_of_its_own() {
    let spy =
        Spy::scripted(|asked, _| billed(asked, &json!({"prompt_tokens": 100, "completion_tokens": 20})).after(Duration::from_millis(30)));
    let mut job = Job::new(&spy.url);
    job.rows = "3".to_owned();
    job.sink = "commit_every = \"1h\"".to_owned();
    let project = project(&job, 30);
    let plain = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(plain["unassigned_usd"], json!(0.0));
    assert_all_is_borne(&project);
    // The prompt is changed, the run killed, the prompt taken back.
    let changed = job.toml().replace("Explain.", "Explain in other words.");
    project.write("pipeline.toml", &changed);
    let before = spy.asked().len();
    let mut child = project.command(&["run", "pipeline.toml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let started = Instant::now();
    while spy.asked().len() < before + 5 {
        assert!(started.elapsed() < Duration::from_secs(60), "the run does not get going");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("is there");
    child.wait().expect("ends");
    project.write("pipeline.toml", &job.toml());
    let back = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(back["rows"]["unchanged"], 30);
    let unassigned = project.nano("unassigned_costs");
    assert!(unassigned > 0 && (back["unassigned_usd"].as_f64().expect("an amount") * 1e9).round() as i64 == unassigned, "{back}");
    assert_all_is_borne(&project);
    // Rows leave.
    write_rows(&project, "rows.parquet", &bodies(10).iter().map(String::as_str).collect::<Vec<_>>());
    project.run_pipeline(&["--prune"]).expect(0);
    assert_all_is_borne(&project);
    let gone = project.query("SELECT key, attempts, cost_usd FROM unassigned_costs WHERE reason = 'no row' ORDER BY key");
    assert_eq!(gone.len(), 20, "{gone:?}");
}

#[test]
fn every_rule_that_providers_bill_by_is_in_the_books() {
    let price = "input = 1.0, cached_input = 0.1, cache_write = 1.25, output = 2.0, request = 0.0005, above = [{ tokens = 1000, input = 2.0, output = 3.0 }]";
    for (usage, nano) in [
        (
            json!({"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 20}}),
            40_000 + 4_000 + 25_000 + 20_000,
        ),
        (
            json!({"input_tokens": 40, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 20, "output_tokens": 10}),
            40_000 + 4_000 + 25_000 + 20_000,
        ),
        (json!({"prompt_tokens": 100, "completion_tokens": 10, "prompt_cache_hit_tokens": 50}), 50_000 + 5_000 + 20_000),
        (json!({"prompt_tokens": 2000, "completion_tokens": 10}), 4_000_000 + 30_000),
    ] {
        let spy = Spy::scripted(move |asked, _| billed(asked, &usage));
        let mut job = Job::new(&spy.url);
        job.model = format!("structured = \"text\"\nprice = {{ {price} }}");
        let project = project(&job, 1);
        project.run_pipeline(&["--budget-usd", "1"]).expect(0);
        assert_eq!(spent(&project), nano + 500_000);
    }
}

#[test]
fn the_order_of_keys_asks_nothing_anew_also_not_in_a_state_of_before() {
    let spy = Spy::scripted(|asked, _| billed(asked, &json!({"prompt_tokens": 10, "completion_tokens": 5})));
    let with = |extra: &str| {
        let mut job = Job::new(&spy.url);
        job.model += &format!("\nextra_body = {{ {extra} }}");
        job
    };
    let (one, other) = (
        "top_p = 0.9, seed = 1, provider = { sort = 'price', only = ['a'] }",
        "provider = { only = ['a'], sort = 'price' }, seed = 1, top_p = 0.9",
    );
    let sent = |project: &Project| project.run_pipeline(&[]).expect(0).json()["requests"]["sent"].as_u64().expect("a count");
    let fresh = project(&with(one), 3);
    assert_eq!(sent(&fresh), 3);
    fresh.write("pipeline.toml", &with(other).toml());
    assert_eq!(sent(&fresh), 0);
    fresh.write("pipeline.toml", &with("top_p = 0.9, seed = 2").toml());
    assert_eq!(sent(&fresh), 3, "another value is another question");
    // Earlier versions took the order of the file: a state that knows a question so, and does not say it.
    let before = project(&with(one), 3);
    sent(&before);
    let file = before.path("out/_promptmill/job/question.json");
    let mut known: Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    known["questions"][0]["order"] =
        json!([[["top_p", null], ["seed", null], ["provider", [["sort", null], ["only", {"items": [null]}]]]]]);
    std::fs::write(&file, known.to_string()).expect("written");
    assert_eq!(sent(&before), 3, "in that order it is another text");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(sent(&before), 0, "what was settled by the text of before stays settled");
    before.write("pipeline.toml", &with(other).toml());
    assert_eq!(sent(&before), 0, "and from then on the order does not count");
}

#[test]
fn a_model_that_is_to_be_switched_off_says_so_in_check() {
    let mut job = Job::new("http://127.0.0.1:1/v1");
    job.more = "[models.old]\nprovider = \"p\"\nmodel = \"gpt-5-nano\"".to_owned();
    let checked = project(&job, 1).run(&["check", "pipeline.toml"]).expect(0);
    assert!(checked.stderr.contains("`old`") && checked.stderr.contains("2026-12-11"), "{}", checked.stderr);
}

#[test]
fn a_run_whose_budget_has_no_room_for_a_pack_of_short_rows_ends() {
    let spy = Spy::scripted(|asked, _| billed(asked, &json!({"prompt_tokens": 50, "completion_tokens": 5})));
    let mut job = Job::new(&spy.url);
    job.rows = "{ start = 4, min = 1, max = 20 }".to_owned();
    // The mean is that of the long rows, so a pack takes more of the short ones.
    let bodies: Vec<String> =
        (0..12).map(|row| if row % 3 == 0 { "long ".repeat(300) + &row.to_string() } else { format!("{row}") }).collect();
    for microdollars in (200..3_000).step_by(150) {
        let project = job.project(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
        let budget = format!("0.{microdollars:06}");
        let mut command = project.command(&["run", "pipeline.toml", "--budget-usd", &budget]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if started.elapsed() > Duration::from_secs(60) {
                child.kill().expect("is there");
                panic!("it does not end with a budget of {budget}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(matches!(status.code(), Some(0 | 3)), "{budget}: {status}");
        assert!(spent(&project) <= microdollars * 1_000, "{budget}");
    }
}

#[test]
fn a_row_that_the_budget_cannot_pay_does_not_keep_others_from_being_asked() {
    let spy = Spy::scripted(|asked, _| billed(asked, &json!({"prompt_tokens": 50, "completion_tokens": 5})));
    for dear in [0, 5, 11] {
        let mut job = Job::new(&spy.url);
        job.rows = "1".to_owned();
        let bodies: Vec<String> = (0..12)
            .map(|row| if row == dear { "long ".repeat(20_000) + &row.to_string() } else { format!("row {row} of {dear}") })
            .collect();
        let project = job.project(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
        for _ in 0..2 {
            let ran = project.run_pipeline(&["--budget-usd", "0.02"]).expect(3);
            assert_eq!(project.query("SELECT id FROM results").len(), 11, "{}", ran.stderr);
            assert_eq!(project.query("SELECT id FROM results").iter().filter(|row| row["id"] == format!("k{dear}")).count(), 0);
        }
        assert!(spent(&project) < 20_000_000);
        project.run_pipeline(&["--budget-usd", "1"]).expect(0);
        assert_eq!(project.query("SELECT id FROM results").len(), 12);
    }
}

#[test]
fn attempts_count_over_all_runs_until_a_row_is_settled() {
    let spy = Spy::scripted(|asked, _| match asked.body["model"] == "dear" {
        true => billed(asked, &json!({"prompt_tokens": 50, "completion_tokens": 5})),
        false => Reply::says(asked, |text| if text == "bad" { String::new() } else { format!("About {text}") }),
    });
    let asked = |model: &str| spy.asked().iter().filter(|asked| asked.body["model"] == model && asked.items()[0].1 == "bad").count();
    let mut job = Job::new(&spy.url);
    job.llm = "concurrency = 1\nattempts = 2\nfallback = [\"d\"]".to_owned();
    job.more =
        "[models.d]\nprovider = \"p\"\nmodel = \"dear\"\nstructured = \"text\"\nprice = { input = 1000.0, output = 2000.0 }".to_owned();
    let project = job.project(&["one", "bad", "two"]);
    for _ in 0..3 {
        project.run_pipeline(&["--budget-usd", "0.05"]).expect(3);
        assert_eq!((asked("the-model"), asked("dear")), (2, 0));
        assert_eq!(project.query("SELECT id FROM results").len(), 2);
    }
    project.run_pipeline(&["--budget-usd", "100"]).expect(0);
    assert_eq!((asked("the-model"), asked("dear")), (2, 1));
    assert_eq!(project.query("SELECT id FROM results").len(), 3);
    // Who asks for it has all attempts once more.
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| if text == "bad" { String::new() } else { format!("About {text}") }));
    let mut job = Job::new(&spy.url);
    job.llm = "concurrency = 1\nattempts = 2".to_owned();
    let project = job.project(&["one", "bad"]);
    project.run_pipeline(&[]).expect(0);
    project.run_pipeline(&["--retry-dead-letters"]).expect(0);
    assert_eq!(spy.asked().iter().filter(|asked| asked.items()[0].1 == "bad").count(), 4);
}

#[test]
fn a_model_that_is_gone_is_said_to_be() {
    let mut job = Job::new("http://127.0.0.1:1/v1");
    job.more = "[models.old]\nprovider = \"p\"\nmodel = \"gpt-4.1-nano\"".to_owned();
    let checked = project(&job, 1).run(&["check", "pipeline.toml"]).expect(0);
    assert!(checked.stderr.contains("`old` (`gpt-4.1-nano`) was switched off on 2026-10-23"), "{}", checked.stderr);
}

/// A project that asks this model about ten rows, with a system message of so many bytes.
fn cached(url: &str, model: &str, system: usize) -> Project {
    let job = Job::new(url);
    let project = project(&job, 10);
    let system = format!("prompt = \"Explain.\"\nsystem = \"{}\"", "x".repeat(system));
    project.write("pipeline.toml", &job.toml().replace("the-model", model).replace("prompt = \"Explain.\"", &system));
    project
}

#[test]
fn packs_do_not_pay_for_writes_to_a_cache_that_nobody_reads() {
    // As OpenAI bills from GPT-5.6 on: the whole prompt is written, unless it is told otherwise.
    let writes = |asked: &Asked| if asked.body["prompt_cache_options"]["mode"] == "explicit" { 0 } else { 2_000 };
    let spy = Spy::scripted(move |asked, _| {
        billed(
            asked,
            &json!({"prompt_tokens": 2000, "completion_tokens": 5, "prompt_tokens_details": {"cache_write_tokens": writes(asked)}}),
        )
    });
    for (model, system, nano) in [("openai/gpt-5.6-luna", 20, 2_000 * INPUT), ("gpt-5.4-nano", 20, 2_000 * INPUT)] {
        let project = cached(&spy.url, model, system);
        project.run_pipeline(&[]).expect(0);
        assert_eq!(spent(&project), 10 * (nano + 5 * OUTPUT), "{model}");
        assert_all_is_borne(&project);
    }
    let sent = |from: usize| spy.asked()[from..].iter().map(|asked| asked.body["prompt_cache_options"].clone()).collect::<Vec<_>>();
    assert!(sent(0)[..10].iter().all(|options| *options == json!({"mode": "explicit"})));
    assert!(sent(10).iter().all(Value::is_null), "a family that does not know the field is not sent it");
    // A long system message is worth keeping.
    let from = spy.asked().len();
    for (model, field) in [("gpt-5.6-luna", "prompt_cache_breakpoint"), ("anthropic/claude-haiku-4-5", "cache_control")] {
        cached(&spy.url, model, 5_000).run_pipeline(&[]).expect(0);
        let part = spy.asked().last().expect("one").body["messages"][0]["content"][0].clone();
        assert!(part["text"].is_string() && part[field].is_object(), "{model}: {part}");
    }
    assert_eq!(spy.asked().len() - from, 20);
}

#[test]
fn a_server_that_refuses_what_is_said_of_its_cache_is_asked_without() {
    let (named, unnamed) = ("Unknown parameter: 'prompt_cache_options'.", "the request is not valid");
    let content = "messages.0.content: Input should be a valid string";
    for (model, system, words) in [("gpt-5.6-luna", 20, named), ("gpt-5.6-luna", 20, unnamed), ("claude-haiku-4-5", 5_000, content)] {
        let spy = Spy::scripted(move |asked, _| {
            let is_told = !asked.body["prompt_cache_options"].is_null() || asked.body["messages"][0]["content"].is_array();
            if is_told { Reply::error(400, words) } else { billed(asked, &json!({"prompt_tokens": 100, "completion_tokens": 5})) }
        });
        let project = cached(&spy.url, model, system);
        let summary = project.run_pipeline(&[]).expect(0).json();
        assert_eq!((&summary["rows"]["answered"], &summary["requests"]["failed"]), (&json!(10), &json!(0)), "{words}");
        assert_eq!(spy.asked().len(), 11, "{words}: once is enough to know");
    }
    // What is wrong with the request all the same is said as ever, and not hidden by the second try.
    let spy = Spy::scripted(|_, _| Reply::error(400, "the request is not valid"));
    let ran = cached(&spy.url, "gpt-5.6-luna", 20).run_pipeline(&[]).expect(1);
    assert!(ran.stderr.contains("the request is not valid"), "{}", ran.stderr);
}

/// What is asked is known by this value in every state that there is: another one would ask, and bill, every row anew.
#[test]
fn the_identity_of_a_question_is_what_it_was() {
    let spy = Spy::scripted(|asked, _| billed(asked, &json!({"prompt_tokens": 10, "completion_tokens": 5})));
    for (extra, question) in
        [("", "1991db561f63aaacf3903525f7a97bc9"), ("\nextra_body = { b = { d = 3, c = 2 }, a = 1 }", "28bf83f7a7656ef8916a78a24bded3e7")]
    {
        let mut job = Job::new(&spy.url);
        job.model += extra;
        let project = project(&job, 1);
        project.run_pipeline(&[]).expect(0);
        let commit = project.files().into_iter().find(|file| file.contains("/commits/") && file.ends_with(".json")).expect("a commit");
        let commit: Value = serde_json::from_slice(&std::fs::read(project.path(&commit)).expect("a file")).expect("JSON");
        assert_eq!(commit["question"], question, "{extra}");
    }
}

/// Gateways that have no price for a model state a cost of 0.
#[test]
fn a_cost_of_nothing_does_not_void_the_price_of_the_file() {
    for name in ["cost", "estimated_cost"] {
        let spy = Spy::scripted(move |asked, _| billed(asked, &json!({"prompt_tokens": 100, "completion_tokens": 20, name: 0.0})));
        let mut job = Job::new(&spy.url);
        job.budget_usd = Some(0.002);
        let ran = project(&job, 60).run_pipeline(&[]).expect(3);
        assert_eq!(ran.stderr.matches("states a cost of 0").count(), 1, "{}", ran.stderr);
        let of_a_request = 100 * INPUT + 20 * OUTPUT;
        assert!(spy.asked().len() as i64 * of_a_request <= 2_000_000, "{} requests", spy.asked().len());
        // Where the file says that it is free, it is.
        let free = project(&Job { model: "structured = \"text\"\nprice = { input = 0, output = 0 }".to_owned(), ..job }, 60);
        let ran = free.run_pipeline(&[]).expect(0);
        assert!(!ran.stderr.contains("states a cost"), "{}", ran.stderr);
        assert_eq!(spent(&free), 0);
    }
}

#[test]
fn what_a_gateway_states_beside_the_response_is_the_cost() {
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 20});
    let spy = Spy::scripted(move |asked, number| {
        billed(asked, &usage).header("x-litellm-response-cost", if number == 1 { "0.0" } else { "1.5e-05" })
    });
    let project = project(&Job::new(&spy.url), 3);
    project.run_pipeline(&[]).expect(0);
    assert_eq!(spent(&project), 100 * INPUT + 20 * OUTPUT + 2 * 15_000);
    assert_all_is_borne(&project);
}
