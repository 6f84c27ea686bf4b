use super::*;
use promptmill_core::{AnswerField, FieldType};
use proptest::prelude::*;

/// Rows as text: the answer, or `-` missing, `2` duplicate, `!why` invalid.
fn rows(content: &str, count: usize) -> (String, usize, bool) {
    let reply = read_answers(content, count, &AnswerShape::Text("summary".into()), Structured::Text);
    let rows: Vec<String> = reply
        .rows
        .iter()
        .map(|row| match row {
            RowAnswer::Given(values) => values[0].as_str().expect("a text").to_owned(),
            RowAnswer::Missing => "-".into(),
            RowAnswer::Duplicate => "2".into(),
            RowAnswer::Invalid { why, .. } => format!("!{why}"),
        })
        .collect();
    (rows.join(" | "), reply.unknown_ids, reply.whole)
}

#[test]
fn forms_that_models_send() {
    for (content, count, expected, unknown, whole) in [
        (r#"{"r1": "een", "r2": "twee"}"#, 2, "een | twee", 0, true),
        (r#"{"r2": "twee", "r1": "een"}"#, 2, "een | twee", 0, true),
        ("```json\n{\"r1\": \"een\"}\n```", 1, "een", 0, true),
        (r#"Natuurlijk! Hier is het: {"r1": "een", "r2": "twee"} Succes."#, 2, "een | twee", 0, true),
        (r#"{"rows": [{"id": "r1", "summary": "een"}, {"id": "r2", "summary": "twee"}]}"#, 2, "een | twee", 0, true),
        (r#"[{"id": 2, "summary": "twee"}, {"id": 1, "summary": "een"}]"#, 2, "een | twee", 0, true),
        (r#"{"answers": {"r1": {"summary": "een"}, "r2": {"uitleg": "twee"}}}"#, 2, "een | twee", 0, true),
        (r#"[{"r1": "een"}, {"r2": "twee"}]"#, 2, "een | twee", 0, true),
        (r#"{"1": "een", "R2": "twee"}"#, 2, "een | twee", 0, true),
        (r#"{"r1": "een",}"#, 1, "een", 0, true),
        ("Gewoon een antwoord.", 1, "Gewoon een antwoord.", 0, true),
        ("Gewoon een antwoord.", 2, "- | -", 0, false),
        ("", 1, "!empty", 0, true),
    ] {
        assert_eq!(rows(content, count), (expected.to_owned(), unknown, whole), "{content}");
    }
}

#[test]
fn plain_words_are_an_answer_only_where_words_were_asked_for() {
    let shape = AnswerShape::Text("summary".into());
    let read = |content: &str, structured| read_answers(content, 1, &shape, structured).rows.remove(0);
    for structured in [Structured::JsonSchema, Structured::JsonObject] {
        for content in ["Het spijt me, maar ik kan niet helpen.", "\"Het spijt me.\"", "```\nHet spijt me.\n```"] {
            let RowAnswer::Invalid { why, said } = read(content, structured) else { panic!("{content}") };
            assert!(why.starts_with("plain words") && said.starts_with("Het spijt me"), "{why}: {said}");
            assert!(matches!(read(content, Structured::Text), RowAnswer::Given(_)), "{content}");
        }
        // Behind a thought it is the model that speaks.
        for content in ["Short is better.\n</think>\n\nEen zin.", "<|channel|>final<|message|>Een zin.<|return|>"] {
            assert_eq!(read(content, structured), RowAnswer::Given(vec!["Een zin.".into()]), "{content}");
        }
        // Without an id, around a text or behind one: JSON is JSON.
        for content in [r#"{"summary": "een"}"#, r#"Hier: {"r1": "een"}"#, r#"[{"summary": "een"}]"#] {
            assert_eq!(read(content, structured), RowAnswer::Given(vec!["een".into()]), "{content}");
        }
        let RowAnswer::Invalid { why, .. } = read("", structured) else { panic!("empty") };
        assert_eq!(why, "empty");
    }
}

#[test]
fn an_answer_belongs_to_a_row_only_by_its_id() {
    for (content, count, expected, unknown) in [
        (r#"{"r1": "een", "r1": "anders"}"#, 1, "2", 0),
        (r#"{"r1": "een", "r1": "een"}"#, 1, "een", 0),
        (r#"{"r1": "een", "r1": "anders", "r1": "een"}"#, 1, "2", 0),
        (r#"{"r1": "een", "r9": "vreemd"}"#, 2, "een | -", 1),
        (r#"{"r1": "een", "motie": "vreemd", "r01": "nul"}"#, 1, "een", 2),
        // Somebody has counted from zero: whose answer is `r1`?
        (r#"{"r0": "een", "r1": "twee"}"#, 2, "- | -", 2),
        (r#"[{"id": 0, "summary": "een"}, {"id": 1, "summary": "twee"}]"#, 2, "- | -", 2),
        (r#"["een", "twee"]"#, 2, "- | -", 0),
        (r#"{"rows": ["een", "twee"]}"#, 2, "- | -", 0),
        (r#"{"r1": null, "r2": 7, "r3": "  "}"#, 3, "!null | !not a text | !empty", 0),
        ("{\"r1\": \"kapot\u{fffd}\"}", 1, "!broken characters", 0),
    ] {
        let (found, found_unknown, _) = rows(content, count);
        assert_eq!((found.as_str(), found_unknown), (expected, unknown), "{content}");
    }
}

#[test]
fn what_stands_before_a_break_counts() {
    for (content, expected) in [
        (r#"{"r1": "een", "r2": "tw"#, "een | -"),
        (r#"{"r1": "een", "r2": "twee""#, "een | twee"),
        (r#"{"rows": [{"id": "r1", "summary": "een"}, {"id": "r2", "summary": "tw"#, "een | -"),
        (r#"{"r1": "een" "r2": "twee"}"#, "een | twee"),
        (r#"{"r1": "een"; "r2": "twee"}"#, "een | twee"),
        (r#"{"r1": "een" = "r2": "twee"}"#, "- | -"),
    ] {
        assert_eq!(rows(content, 2).0, expected, "{content}");
    }
    assert!(!rows(r#"{"r1": "een", "r2": "tw"#, 2).2);
}

#[test]
fn words_that_may_go_on_are_no_answer_once_known_to_be_cut_off() {
    let shape = AnswerShape::Text("summary".into());
    for (content, count, given, after_cut) in [
        ("De motie vraagt om meer tr", 1, 1, 0),
        (r#"{"r1": "een", "r2": "hij zei ""#, 2, 2, 1),
        (r#"{"r1": "een", "r2": "tw"#, 2, 1, 1),
        (r#"{"r1": "een", "r"#, 2, 1, 1),
        (r#"{"r1": "een","#, 2, 1, 0),
        (r#"{"r1": "een", "r2": "twee"}"#, 2, 2, 2),
    ] {
        let reply = read_answers(content, count, &shape, Structured::Text);
        assert_eq!((reply.given(), reply.cut_off().given()), (given, after_cut), "{content}");
    }
}

#[test]
fn typed_fields_are_of_their_type_or_invalid() {
    let shape = AnswerShape::Fields(vec![
        AnswerField::new("summary", FieldType::String),
        AnswerField::new("topics", FieldType::List(Box::new(FieldType::String))),
        AnswerField::new("urgency", FieldType::Enum(vec!["low".into(), "high".into()])),
        AnswerField { nullable: true, ..AnswerField::new("score", FieldType::Int) },
    ]);
    let read = |content: &str| read_answers(content, 1, &shape, Structured::Text).rows.remove(0);
    let good = read(r#"{"r1": {"score": 3, "summary": "een", "topics": ["a"], "urgency": "high"}}"#);
    assert_eq!(good, RowAnswer::Given(vec!["een".into(), serde_json::json!(["a"]), "high".into(), 3.into()]));
    let said = r#"{"summary":"een","topics":["a"],"urgency":"hoog","score":null}"#;
    let why = "`urgency` is not one of low, high".to_owned();
    assert_eq!(read(&format!("{{\"r1\": {said}}}")), RowAnswer::Invalid { why, said: said.to_owned() });
}

proptest! {
    #[test]
    fn no_text_panics(content in "[\\[\\]{}\",:r0-9a \\\\]{0,60}", count in 0_usize..5) {
        let reply = read_answers(&content, count, &AnswerShape::Text("summary".into()), Structured::Text);
        prop_assert_eq!(reply.rows.len(), count);
    }

    #[test]
    fn a_cut_never_invents_an_answer(texts in prop::collection::vec("[a-zé\"\\\\{},: ]{1,12}[a-z]", 1..6), cut in any::<prop::sample::Index>()) {
        let whole: serde_json::Map<String, Value> =
            texts.iter().enumerate().map(|(n, text)| (format!("r{}", n + 1), Value::String(text.clone()))).collect();
        let content = serde_json::to_string(&whole).expect("serialises");
        let mut end = cut.index(content.len());
        while !content.is_char_boundary(end) { end -= 1; }
        let reply = read_answers(&content[..end], texts.len(), &AnswerShape::Text("summary".into()), Structured::Text);
        for (row, text) in reply.rows.iter().zip(&texts) {
            match row {
                RowAnswer::Given(values) => prop_assert_eq!(values[0].as_str(), Some(text.trim())),
                RowAnswer::Missing => {}
                other => prop_assert!(texts.len() == 1, "{:?}", other),
            }
        }
    }
}
