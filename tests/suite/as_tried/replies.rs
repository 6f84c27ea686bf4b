//! Every shape of a response: what is certainly meant is read, and what a body says was used is what is booked.

use serde_json::{Value, json};

use super::Job;
use crate::spy::{Asked, Reply, Spy};

/// What a request of the spy costs: 100 tokens in at $1 and 20 out at $2 per million.
const NANO: i64 = 140_000;

fn usage() -> Value {
    json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120})
}

/// The answers as the content of a response.
fn said(asked: &Asked) -> String {
    let answers = asked.items().into_iter().map(|(id, text)| (id, format!("Answer to {text}").into()));
    Value::Object(answers.collect()).to_string()
}

fn chunk(delta: &Value, finish: &Value) -> String {
    let chunk = json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    format!("data: {chunk}\n\n")
}

/// A whole stream of events.
fn stream(said: &str) -> String {
    let (first, second) = said.split_at(said.len() / 2);
    let last = json!({"choices": [], "usage": usage()});
    [
        ": connected\n\n".to_owned(),
        chunk(&json!({"role": "assistant", "content": first}), &Value::Null),
        chunk(&json!({"content": second}), &Value::Null),
        chunk(&json!({}), &json!("stop")),
        format!("data: {last}\n\ndata: [DONE]\n\n"),
    ]
    .concat()
}

/// A response in the shape that is named, which is also the text of the row.
fn shaped(shape: &str, asked: &Asked) -> Reply {
    let said = said(asked);
    let message = |message: Value| Reply::completion(&message, "stop", &usage());
    let content = |content: &str| Reply::content(content);
    let raw = |change: &dyn Fn(String) -> String| {
        let whole = String::from_utf8(Reply::content(&said).body).expect("a text");
        Reply::new(200, change(whole))
    };
    let finished = |reason: &str| Reply::completion(&json!({"role": "assistant", "content": said}), reason, &usage());
    match shape {
        "byte order mark" => raw(&|body| format!("\u{feff}{body}")),
        "blank lines in front" => raw(&|body| format!("\n\n\r\n{body}")),
        "comments in front" => raw(&|body| format!(": waiting\n\n: waiting\n\n{body}")),
        "the end of a stream behind" => raw(&|body| format!("{body}\n\ndata: [DONE]\n\n")),
        "a warning behind" => raw(&|body| format!("{body}\n<br />Warning: headers already sent")),
        "a stream" => Reply::new(200, stream(&said)).header("content-type", "text/event-stream"),
        "one event" => raw(&|body| format!("data: {body}\n\n")),
        "parts without events" => {
            Reply::new(200, stream(&said).replace("data: [DONE]", "").replace("data: ", "").replace(": connected", ""))
        }
        "a control character" => raw(&|body| body.replacen("Answer to", "Answer\tto", 1)),
        "no number" => raw(&|body| body.replacen("\"index\":0", "\"index\":0,\"score\":NaN", 1)),
        "half a pair" => raw(&|body| body.replacen("\"id\":\"c1\"", "\"id\":\"c\\ud83d\"", 1)),
        "content in parts" => message(json!({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": said}]})),
        "content as a table" => message(json!({"content": serde_json::from_str::<Value>(&said).expect("JSON")})),
        "in reasoning_content" => message(json!({"content": null, "reasoning_content": said})),
        "in reasoning" => message(json!({"content": "", "reasoning": said})),
        "in tool_calls" => message(json!({"content": null, "tool_calls": [{"function": {"name": "rows", "arguments": said}}]})),
        "a whole thought" => content(&format!("<think>A draft: {said}</think>\n{said}")),
        "the end of a thought" => content(&format!("A draft: {}. Now concrete.\n</think>\n\n{said}", said.replace("Answer", "Draft"))),
        "channels" => {
            content(&format!("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{said}<|return|>"))
        }
        "another model's end" => content(&format!("{said}<|im_end|>")),
        "STOP" | "end_turn" | "eos" => finished(shape),
        "an envelope" => raw(&|body| format!("{{\"code\":0,\"data\":{body}}}")),
        "an empty error" => raw(&|body| body.replacen('{', "{\"error\":{},", 1)),
        "all is well" => raw(&|body| body.replacen('{', "{\"base_resp\":{\"status_code\":0,\"status_msg\":\"success\"},", 1)),
        other => panic!("no shape is called `{other}`"),
    }
}

const SHAPES: [&str; 26] = [
    "byte order mark",
    "blank lines in front",
    "comments in front",
    "the end of a stream behind",
    "a warning behind",
    "a stream",
    "one event",
    "parts without events",
    "a control character",
    "no number",
    "half a pair",
    "content in parts",
    "content as a table",
    "in reasoning_content",
    "in reasoning",
    "in tool_calls",
    "a whole thought",
    "the end of a thought",
    "channels",
    "another model's end",
    "STOP",
    "end_turn",
    "eos",
    "an envelope",
    "an empty error",
    "all is well",
];

#[test]
fn every_shape_is_read_for_what_it_means_and_booked_at_what_it_says() {
    let spy = Spy::scripted(|asked, _| shaped(&asked.items()[0].1, asked));
    let project = Job::new(&spy.url).project(&SHAPES);
    let summary = project.run_pipeline(&[]).expect(0).json();
    let lost = project.query("SELECT id, reason, detail, last_text FROM dead_letters");
    assert_eq!((summary["rows"]["answered"].as_u64(), &lost[..]), (Some(SHAPES.len() as u64), &[][..]), "{summary}");
    let rows = project.query("SELECT body, summary FROM results");
    for row in &rows {
        let (shape, answer) = (row["body"].as_str().expect("a text"), row["summary"].as_str().expect("a text"));
        assert_eq!(answer.replace('\t', " "), format!("Answer to {shape}"));
    }
    assert_eq!((rows.len(), spy.asked().len()), (SHAPES.len(), SHAPES.len()));
    assert_eq!(project.assert_money_agrees(), NANO * SHAPES.len() as i64);

    // The journal has them as they came, and they are read again in the same way.
    project.run(&["replay", "pipeline.toml"]).expect(0);
    assert_eq!(project.query("SELECT body, summary FROM results ORDER BY id").len(), SHAPES.len());
    assert_eq!(spy.asked().len(), SHAPES.len());
}

#[test]
fn drafts_in_a_thought_are_no_answers_of_a_pack() {
    let spy =
        Spy::scripted(|asked, _| Reply::content(&format!("First: {}.\n</think>\n{}", said(asked).replace("Answer", "Draft"), said(asked))));
    let project = Job { rows: "3".to_owned(), ..Job::new(&spy.url) }.project(&["amber", "beryl", "coral"]);
    project.run_pipeline(&[]).expect(0);
    let rows = project.query("SELECT summary FROM results ORDER BY id");
    let answers: Vec<&str> = rows.iter().filter_map(|row| row["summary"].as_str()).collect();
    assert_eq!((answers, spy.asked().len()), (vec!["Answer to amber", "Answer to beryl", "Answer to coral"], 1));
}

/// A stream that broke off, and a generation that the host has thrown away: what is whole in them counts.
#[test]
fn what_was_said_before_a_break_counts() {
    let spy = Spy::scripted(|asked, number| {
        let said = said(asked);
        // The last row is cut in the middle of its words.
        let cut = &said[..said.len() - 4];
        match number {
            1 => Reply::new(200, chunk(&json!({"content": cut}), &Value::Null)),
            2 => {
                let error = json!({"message": "the JSON is not valid", "code": "json_validate_failed", "failed_generation": cut});
                Reply::new(400, json!({"error": error}).to_string())
            }
            _ => Reply::content(&said),
        }
    });
    let project = Job { rows: "3".to_owned(), ..Job::new(&spy.url) }.project(&["amber", "beryl", "coral", "diamond", "emerald", "flint"]);
    project.run_pipeline(&[]).expect(0);
    let rows = project.query("SELECT body, summary FROM results");
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|row| row["summary"] == format!("Answer to {}", row["body"].as_str().unwrap_or_default())), "{rows:?}");
    let attempts = project.query("SELECT status, finish_reason FROM attempts ORDER BY started_at, attempt_id");
    assert_eq!(attempts.iter().filter(|attempt| attempt["status"] == "malformed").count(), 2, "{attempts:?}");
    // Two rows of each pack were not asked again.
    let asked: usize = spy.asked().iter().map(|asked| asked.ids().len()).sum();
    assert_eq!(asked, 8, "{:?}", spy.asked().iter().map(Asked::ids).collect::<Vec<_>>());
    project.assert_money_agrees();
}

#[test]
fn what_cannot_be_read_costs_what_it_says_and_an_empty_body_nothing() {
    let spy = Spy::scripted(|asked, number| match number {
        1 => Reply::new(200, "\n\n"),
        2 => Reply::new(204, ""),
        // The body is broken, and says what it used.
        3 => Reply::new(200, String::from_utf8_lossy(&Reply::content("x").body).replacen("\"message\":", "\"message\" ", 1)),
        4 => Reply::completion(&json!({"content": null, "reasoning_content": "Well, one sentence."}), "stop", &usage()),
        _ => Reply::content(&said(asked)),
    });
    let job = Job { llm: "concurrency = 1\nattempts = 8".to_owned(), ..Job::new(&spy.url) };
    let project = job.project(&["amber"]);
    project.run_pipeline(&[]).expect(0);
    let attempts =
        project.query("SELECT status, error, cast(cost_usd * 1000000000 AS bigint) AS nano FROM attempts ORDER BY started_at, attempt_id");
    let found: Vec<(&str, i64)> =
        attempts.iter().map(|attempt| (attempt["status"].as_str().expect("a text"), attempt["nano"].as_i64().expect("a number"))).collect();
    assert_eq!(found, [("overloaded", 0), ("overloaded", 0), ("malformed", NANO), ("malformed", NANO), ("ok", NANO)]);
    assert!(attempts[3]["error"].as_str().is_some_and(|error| error.contains("`reasoning_content`")), "{attempts:?}");
    assert_eq!(project.assert_money_agrees(), 3 * NANO);
}

#[test]
fn plain_words_are_an_answer_only_where_words_were_asked_for() {
    // A row that is asked alone and refused in plain words, until it is told that this was no answer.
    let script = |asked: &Asked, _| match asked.items().iter().any(|(_, text)| text == "beryl") && asked.told("r1").is_none() {
        true => Reply::content("Beryl is a mineral about which I would rather say nothing."),
        false => Reply::content(&said(asked)),
    };
    for (model, kept, sent) in [
        ("structured = \"json_schema\"", "Answer to beryl", 4),
        ("structured = \"json_object\"", "Answer to beryl", 4),
        ("structured = \"text\"", "Beryl is a mineral about which I would rather say nothing.", 3),
    ] {
        let spy = Spy::scripted(script);
        let job = Job { model: format!("{model}\nprice = {{ input = 1.0, output = 2.0 }}"), ..Job::new(&spy.url) };
        let project = job.project(&["amber", "beryl", "coral"]);
        project.run_pipeline(&[]).expect(0);
        let rows = project.query("SELECT summary FROM results WHERE id = 'k1'");
        assert_eq!((rows[0]["summary"].as_str(), spy.asked().len()), (Some(kept), sent), "{model}");
        assert_eq!(project.nano("attempts"), sent as i64 * NANO, "{model}: it was billed all the same");
        assert_eq!(project.run_pipeline(&[]).expect(0).json()["requests"]["sent"], 0, "{model}");
        // Read again from the journal it is judged as it was.
        project.run(&["replay", "pipeline.toml"]).expect(0);
        assert_eq!(project.query("SELECT summary FROM results WHERE id = 'k1'")[0]["summary"].as_str(), Some(kept), "{model}");
    }
}
