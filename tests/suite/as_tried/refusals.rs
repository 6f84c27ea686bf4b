//! Every refusal has its class: about a row, a pack, the request's form, the account, the way there.

use serde_json::{Value, json};

use super::Job;
use crate::spy::{Asked, Reply, Spy};

fn good(asked: &Asked) -> Reply {
    Reply::says(asked, |text| format!("Answer to {text}"))
}

fn error(status: u16, body: &Value) -> Reply {
    Reply::new(status, body.to_string())
}

#[test]
fn a_row_whose_content_is_refused_is_lost_alone() {
    let spy = Spy::scripted(|asked, _| {
        let texts: Vec<String> = asked.items().into_iter().map(|(_, text)| text).collect();
        match texts.iter().find_map(|text| text.strip_prefix("refused: ")) {
            Some("risk") => error(400, &json!({"error": {"message": "Content Exists Risk", "code": "invalid_request_error"}})),
            Some("inspection") => error(400, &json!({"error": {"code": "data_inspection_failed", "message": "no"}})),
            Some("sensitive") => {
                error(200, &json!({"choices": null, "base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}))
            }
            Some("words") => error(500, &json!({"error": {"message": "sensitive_words_detected", "code": "500"}})),
            Some("firewall") => {
                Reply::new(403, "<!DOCTYPE html><html><head><title>Blocked</title></head></html>").header("content-type", "text/html")
            }
            _ => good(asked),
        }
    });
    let bodies = [
        "amber",
        "refused: risk",
        "beryl",
        "refused: inspection",
        "coral",
        "refused: sensitive",
        "diamond",
        "refused: words",
        "emerald",
        "refused: firewall",
        "flint",
        "garnet",
    ];
    let project = Job { rows: "4".to_owned(), ..Job::new(&spy.url) }.project(&bodies);
    project.run_pipeline(&[]).expect(0);
    assert_eq!(project.query("SELECT id FROM results").len(), 7);
    let lost = project.query("SELECT id, reason FROM dead_letters ORDER BY id");
    assert_eq!(lost.len(), 5);
    assert!(lost.iter().all(|row| row["reason"] == "filtered"), "{lost:?}");
    // There is nothing left to do, and nothing is asked.
    let asked = spy.asked().len();
    project.run_pipeline(&[]).expect(0);
    assert_eq!(spy.asked().len(), asked);
}

#[test]
fn money_that_is_gone_and_a_wrong_key_end_the_run_in_any_words() {
    for (status, body, hint) in [
        (
            429,
            json!({"error": {"message": "Your account is suspended due to insufficient balance, please recharge", "type": "exceeded_current_quota_error"}}),
            "add credit",
        ),
        (500, json!({"type": "error", "error": {"type": "api_error", "message": "insufficient balance (1008)"}}), "add credit"),
        (200, json!({"choices": null, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}), "add credit"),
        (
            400,
            json!({"error": {"message": "Budget has been exceeded! Current cost: 2.1, Max budget: 2.0", "type": "budget_exceeded"}}),
            "add credit",
        ),
        (
            400,
            json!([{"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}]),
            "api_key_env",
        ),
        (403, json!({"error": {"message": "Key limit exceeded (total limit).", "code": 403}}), "add credit"),
        (401, json!({"message": "Inactive subscription or usage limit reached"}), "add credit"),
    ] {
        let refused = body.clone();
        let spy = Spy::scripted(move |asked, number| if number == 1 { good(asked) } else { error(status, &refused) });
        let project = Job::new(&spy.url).project(&["amber", "beryl", "coral"]);
        let ran = project.run_pipeline(&[]).expect(1);
        assert!(ran.stderr.contains(hint), "{body}\n{}", ran.stderr);
        // One more may have left before the refusal was seen.
        assert!(spy.asked().len() <= 3, "{body}");
        assert_eq!(project.query("SELECT id FROM results").len(), 1, "{body}");
    }
}

#[test]
fn a_pack_that_is_too_large_becomes_smaller() {
    let schema_names = |asked: &Asked| {
        let properties = &asked.body["response_format"]["json_schema"]["schema"]["properties"];
        properties.as_object().map_or(0, |properties| properties.len())
    };
    let spy = Spy::scripted(move |asked, _| {
        let granted = asked.body["max_tokens"].as_u64().unwrap_or(0);
        if granted > 300 {
            let message = format!("max_tokens is too large: {granted}. This model supports at most 300 completion tokens");
            error(400, &json!({"error": {"message": message, "param": "max_tokens", "code": "invalid_value"}}))
        } else if schema_names(asked) > 2 {
            error(400, &json!({"error": {"code": 400, "message": "The specified schema has too many states for serving"}}))
        } else {
            good(asked)
        }
    });
    let job = Job {
        rows: "{ start = 8, min = 1, max = 8 }".to_owned(),
        model: "price = { input = 1.0, output = 2.0 }".to_owned(),
        ..Job::new(&spy.url)
    };
    let bodies: Vec<String> = (0..24).map(|row| format!("row {row}")).collect();
    let project = job.project(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    project.run_pipeline(&[]).expect(0);
    assert_eq!(project.query("SELECT id FROM results").len(), 24);
    let statuses = project.query("SELECT status, sum(cost_usd) AS cost FROM attempts GROUP BY status ORDER BY status");
    assert_eq!(statuses.iter().map(|row| row["status"].as_str().unwrap_or_default()).collect::<Vec<_>>(), ["ok", "pack-too-large"]);
    assert!(spy.asked().iter().any(|asked| asked.ids().len() <= 2));
}

#[test]
fn the_bound_of_the_output_is_sent_under_the_name_that_the_server_takes() {
    let script = |asked: &Asked, _| match asked.body.get("max_tokens") {
        None => good(asked),
        Some(_) => error(
            400,
            &json!({"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "param": "max_tokens", "code": "unsupported_parameter"}}),
        ),
    };
    let spy = Spy::scripted(script);
    let project = Job::new(&spy.url).project(&["amber", "beryl"]);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(
        (&summary["rows"]["answered"], &summary["requests"]["sent"], &summary["requests"]["failed"]),
        (&json!(2), &json!(2), &json!(0))
    );
    let sent: Vec<bool> = spy.asked().iter().map(|asked| asked.body["max_completion_tokens"].is_u64()).collect();
    assert_eq!(sent, [false, true, true]);

    // A setting of the model, which is no part of the question: nothing is asked anew.
    let set = ["--set", "models.m.max_tokens_field=max_completion_tokens"];
    assert_eq!(project.run_pipeline(&set).expect(0).json()["requests"]["sent"], 0);
    let spy = Spy::scripted(script);
    let project = Job { model: "structured = \"text\"\nmax_tokens_field = \"max_completion_tokens\"".to_owned(), ..Job::new(&spy.url) }
        .project(&["amber"]);
    project.run_pipeline(&[]).expect(0);
    assert_eq!(spy.asked().len(), 1);
}

#[test]
fn a_field_that_is_refused_is_named_with_what_to_do() {
    let spy = Spy::scripted(|_, _| {
        error(400, &json!({"error": {"message": "temperature is not supported with this model", "param": "temperature"}}))
    });
    // Two refusals are enough to know, however large the packs are.
    for rows in ["1", "4", "{ start = 8, min = 1, max = 16 }"] {
        let before = spy.asked().len();
        let job = Job { llm: "concurrency = 1\ntemperature = 0.2".to_owned(), rows: rows.to_owned(), ..Job::new(&spy.url) };
        let bodies: Vec<String> = (0..30).map(|row| format!("row {row}")).collect();
        let project = job.project(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
        let ran = project.run_pipeline(&[]).expect(1);
        assert!(ran.stderr.contains("take `temperature` out of the stage `llm`"), "{}", ran.stderr);
        assert_eq!(project.nano("attempts"), 0);
        assert_eq!(spy.asked().len() - before, 2, "{rows}");
    }
}

#[test]
fn a_field_that_a_row_fills_is_that_rows() {
    let spy = Spy::scripted(|asked, _| match asked.items().iter().any(|(_, text)| text.starts_with("bad")) {
        true => error(400, &json!({"error": {"message": "Invalid content", "param": "messages.1.content", "code": "invalid_value"}})),
        false => good(asked),
    });
    let project = Job { rows: "4".to_owned(), ..Job::new(&spy.url) }.project(&["bad 1", "bad 2", "bad 3", "amber", "beryl"]);
    project.run_pipeline(&["--set", "max_dead_letters=100%"]).expect(0);
    assert_eq!((project.query("SELECT id FROM results").len(), project.query("SELECT id FROM dead_letters").len()), (2, 3));
}

#[test]
fn a_403_about_a_row_is_that_rows_once_others_were_answered() {
    let forbidden = || error(403, &json!({"error": {"message": "Forbidden", "code": 403}}));
    let script = move |asked: &Asked, _| {
        if asked.items().iter().any(|(_, text)| text.starts_with("secret")) { forbidden() } else { good(asked) }
    };
    // Alone, in packs, several in a row, and as the last that are left.
    let bodies: Vec<String> =
        (0..40).map(|row| if [5, 6, 7, 20, 38, 39].contains(&row) { format!("secret {row}") } else { format!("row {row}") }).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    for (rows, concurrency) in [("1", 1), ("4", 1), ("10", 8)] {
        let spy = Spy::scripted(script);
        let job = Job { rows: rows.to_owned(), llm: format!("concurrency = {concurrency}"), ..Job::new(&spy.url) };
        let project = job.project(&bodies);
        project.run_pipeline(&[]).expect(0);
        assert_eq!(project.query("SELECT id FROM results").len(), 34, "{rows} {concurrency}");
        let lost = project.query("SELECT reason FROM dead_letters");
        assert!(lost.len() == 6 && lost.iter().all(|row| row["reason"] == "forbidden"), "{rows} {concurrency}: {lost:?}");
        let asked = spy.asked().len();
        project.run_pipeline(&[]).expect(0);
        assert_eq!(spy.asked().len(), asked, "there is nothing left to do");
    }
}

#[test]
fn a_key_that_may_do_nothing_any_more_ends_the_run() {
    let forbidden = || error(403, &json!({"error": {"message": "Forbidden", "code": 403}}));
    let bodies: Vec<String> = (0..60).map(|row| format!("row {row}")).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    for rows in ["1", "5"] {
        let spy = Spy::scripted(move |asked, number| if number <= 4 { good(asked) } else { forbidden() });
        let project = Job { rows: rows.to_owned(), ..Job::new(&spy.url) }.project(&bodies);
        let ran = project.run_pipeline(&[]).expect(1);
        assert!(ran.stderr.contains("check what the key may do"), "{}", ran.stderr);
        assert!(spy.asked().len() < 60, "{rows}: {}", spy.asked().len());
        assert_eq!(project.query("SELECT id FROM dead_letters").len(), 0, "no row is to blame");
        // And at once if it is so from the start.
        let spy = Spy::scripted(move |_, _| forbidden());
        for (concurrency, most) in [(1, 2), (8, 20)] {
            let before = spy.asked().len();
            let llm = format!("concurrency = {concurrency}");
            let fresh = Job { rows: rows.to_owned(), llm, ..Job::new(&spy.url) }.project(&bodies);
            fresh.run_pipeline(&[]).expect(1);
            let asked = spy.asked().len() - before;
            assert!(asked <= most, "{concurrency}: {asked}");
        }
    }
}

#[test]
fn a_way_that_leads_elsewhere_ends_the_run_at_once_and_costs_nothing() {
    type Script = fn(&Asked, usize) -> Reply;
    let scripts: [(Script, &str); 4] = [
        (|_, _| Reply::new(200, r#"{"error":"Unexpected endpoint or method. (POST /chat/completions)"}"#), "Unexpected endpoint"),
        (|_, _| Reply::new(200, "<!DOCTYPE html><html><title>Sign in</title></html>"), "web page"),
        (|_, _| Reply::new(404, r#"{"detail":"Not Found"}"#), "Not Found"),
        (|_, _| Reply::new(308, "").header("location", "https://elsewhere.example/v1/chat/completions"), "elsewhere.example"),
    ];
    for (script, words) in scripts {
        let spy = Spy::scripted(script);
        let project = Job::new(&spy.url).project(&["amber", "beryl"]);
        let ran = project.run_pipeline(&[]).expect(1);
        assert!(ran.stderr.contains(words) && ran.stderr.contains("base_url"), "{words}\n{}", ran.stderr);
        assert_eq!(project.nano("attempts"), 0);
    }
    // Nothing listens: the port was somebody's a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    for (scheme, hint) in [("http", "nothing listens"), ("https", "nothing listens")] {
        let project = Job::new(&format!("{scheme}://{address}/v1")).project(&["amber"]);
        let ran = project.run_pipeline(&[]).expect(1);
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
    // TLS where there is none.
    let spy = Spy::scripted(|asked, _| good(asked));
    let project = Job::new(&spy.url.replace("http://", "https://")).project(&["amber"]);
    let ran = project.run_pipeline(&[]).expect(1);
    assert!(ran.stderr.contains("`http://`"), "{}", ran.stderr);
}

#[test]
fn whoever_is_let_in_from_nowhere_is_told_so() {
    for (status, body) in [
        (
            400,
            json!([{"error": {"code": 400, "message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}}]),
        ),
        (403, json!({"error": {"code": "unsupported_country_region_territory", "message": "Country, region, or territory not supported"}})),
    ] {
        let refused = body.clone();
        let spy = Spy::scripted(move |_, _| error(status, &refused));
        let project = Job::new(&spy.url).project(&["amber", "beryl", "coral"]);
        let ran = project.run_pipeline(&[]).expect(1);
        assert!(ran.stderr.contains("lets nobody in from this address"), "{body}\n{}", ran.stderr);
        assert!(spy.asked().len() <= 3, "{body}");
    }
}

#[test]
fn a_context_without_room_for_an_answer_is_refused_before_anything_is_sent() {
    let spy = Spy::scripted(|asked, _| good(asked));
    let context = |context: u32| {
        let job = Job::new(&spy.url);
        Job { model: format!("{}\ncontext = {context}", job.model), ..job }.project(&["amber"])
    };
    let ran = context(100).run_pipeline(&[]).expect(2);
    assert!(ran.stderr.contains("a context of 100 tokens has no room") && ran.stderr.contains("max_tokens_per_row"), "{}", ran.stderr);
    assert_eq!(spy.asked().len(), 0);
    context(500).run_pipeline(&[]).expect(0);
}
