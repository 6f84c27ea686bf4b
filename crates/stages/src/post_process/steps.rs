//! The list of steps. A new step is a file beside this one, its `mod` line, and a line here.

use promptmill_core::StepKind;

use super::drop_boilerplate::DropBoilerplate;
use super::drop_lines_in_other_scripts::DropLinesInOtherScripts;
use super::drop_repeated_sentences::DropRepeatedSentences;
use super::markdown::{RejectMarkdown, StripMarkdown};
use super::normalize_text::NormalizeText;
use super::reject_blank::RejectBlank;
use super::reject_echo::RejectEcho;
use super::reject_hard_to_read::RejectHardToRead;
use super::reject_language::RejectLanguage;
use super::reject_length::RejectLength;
use super::reject_pattern::RejectPattern;
use super::reject_refusal::RejectRefusal;
use super::reject_repetition::RejectRepetition;
use super::reject_swapped::RejectSwapped;
use super::reject_unfounded::RejectUnfounded;
use super::reject_unrelated::RejectUnrelated;
use super::reject_words::RejectWords;
use super::remove_metadata::RemoveMetadata;
use super::remove_pattern::RemovePattern;
use super::replace_words::ReplaceWords;

/// Every step there is, repairs before checks: a sensible order to use them in, too.
#[must_use]
pub(crate) fn steps() -> &'static [StepKind] {
    const STEPS: &[StepKind] = &[
        StepKind::of::<DropBoilerplate>(),
        StepKind::of::<StripMarkdown>(),
        StepKind::of::<DropLinesInOtherScripts>(),
        StepKind::of::<RemoveMetadata>(),
        StepKind::of::<RemovePattern>(),
        StepKind::of::<ReplaceWords>(),
        StepKind::of::<DropRepeatedSentences>(),
        StepKind::of::<NormalizeText>(),
        StepKind::of::<RejectBlank>(),
        StepKind::of::<RejectLength>(),
        StepKind::of::<RejectWords>(),
        StepKind::of::<RejectPattern>(),
        StepKind::of::<RejectMarkdown>(),
        StepKind::of::<RejectLanguage>(),
        StepKind::of::<RejectRepetition>(),
        StepKind::of::<RejectHardToRead>(),
        StepKind::of::<RejectRefusal>(),
        StepKind::of::<RejectEcho>(),
        StepKind::of::<RejectUnfounded>(),
        StepKind::of::<RejectSwapped>(),
        StepKind::of::<RejectUnrelated>(),
    ];
    STEPS
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use promptmill_core::About;
    use proptest::prelude::*;
    use regex::{Captures, Regex};
    use serde_json::{Value, json};

    use super::*;
    use promptmill_core::{Language, Step, StepContext};

    const DUTCH: StepContext = StepContext { language: Some(Language::Nl) };

    /// Enough of TOML for the examples: this crate does not read pipeline files.
    fn inline_table(body: &str) -> Value {
        let literal = Regex::new("'([^']*)'").expect("a pattern");
        let key = Regex::new(r#"(?:([a-z_]+)|("[^"]*"))\s*="#).expect("a pattern");
        let json = literal.replace_all(body, |found: &Captures<'_>| Value::from(&found[1]).to_string());
        let json = key.replace_all(&json, |found: &Captures<'_>| match found.get(1) {
            Some(bare) => format!("\"{}\":", bare.as_str()),
            None => format!("{}:", &found[2]),
        });
        serde_json::from_str(&format!("{{{json}}}")).expect("JSON")
    }

    fn compile(name: &str, config: Value) -> Result<Box<dyn Step>, String> {
        let kind = steps().iter().find(|kind| kind.name == name).expect("a step of that name");
        (kind.compile)(config, &DUTCH)
    }

    #[test]
    fn every_example_compiles_and_every_step_is_described() {
        for kind in steps() {
            let step = (kind.compile)(inline_table(kind.example), &DUTCH);
            assert!(step.is_ok(), "{}: {step:?}", kind.name);
            assert!(kind.summary.ends_with('.'), "{}", kind.name);
            let schema = (kind.schema)().to_value();
            assert_eq!(schema["additionalProperties"], json!(false), "{}", kind.name);
            assert!(schema["properties"].get("on_reject").is_none(), "{}: the stage has it", kind.name);
            assert!(schema.get("$defs").is_none(), "{}: not self-contained", kind.name);
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                assert!(property["description"].is_string(), "{}.{field} has no description", kind.name);
            }
            let unknown = (kind.compile)(json!({ "patern": 1 }), &DUTCH).expect_err("refused");
            assert!(unknown.contains("unknown field `patern`"), "{unknown}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = steps().iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), steps().len());
    }

    /// The list of the guide's pipeline, on the garbage that it is there for.
    #[test]
    fn the_guides_list_repairs_and_rejects() {
        let list = [
            ("drop-lines-in-other-scripts", json!({ "scripts": ["Latin"] })),
            ("replace-words", json!({ "words": { "filthy": "vuile" } })),
            ("replace-words", json!({ "words": { "lageinkomen": "laag inkomen" } })),
            ("remove-pattern", json!({ "pattern": r"\(\d+-\d+\)" })),
            ("normalize-text", json!({})),
            ("reject-words", json!({ "list": "english-common", "more_than": 10 })),
            ("reject-language", json!({})),
            ("reject-length", json!({ "min_chars": 40, "max_chars": 1200 })),
        ];
        let steps: Vec<_> = list.into_iter().map(|(name, config)| compile(name, config).expect("compiles")).collect();
        let run = |text: &str| {
            steps.iter().try_fold(text.to_owned(), |text, step| {
                step.apply(&text, &About::NOTHING).map(Cow::into_owned).map_err(|rejection| rejection.reason)
            })
        };
        assert_eq!(
            run(
                "De motie (45-102) vraagt  om filthy lucht aan te pakken ,zodat\nهذا نص باللغة العربية\nmensen met een Lageinkomen (45-102) gezond wonen."
            ),
            Ok("De motie vraagt om vuile lucht aan te pakken, zodat\nmensen met een Laag inkomen gezond wonen.".to_owned())
        );
        assert_eq!(run("هذا نص باللغة العربية"), Err("other-script"));
        assert_eq!(run("The motion asks the government to spend more money on schools."), Err("wrong-language"));
        assert_eq!(run("De motie vraagt geld."), Err("too-short"));
        assert_eq!(run(" \n"), Err("too-short"));
    }

    /// Texts with everything in them that a step looks at.
    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-zA-Z ,.;:!?()\n\r\t\"'’“”éï0-9-]{0,80}",
            proptest::collection::vec(
                prop_oneof![
                    Just("De motie "),
                    Just("the "),
                    Just("filthy"),
                    Just("(45-102)"),
                    Just("и"),
                    Just("кабинет"),
                    Just("ع"),
                    Just("你好"),
                    Just("α"),
                    Just(" "),
                    Just("\n"),
                    Just("."),
                    Just(","),
                    Just("\u{a0}"),
                    Just("\u{200d}"),
                    Just("\u{301}"),
                    Just("e"),
                    Just("A"),
                    Just("("),
                    Just(")"),
                    Just("lageinkomen"),
                    Just("**"),
                    Just("- "),
                    Just("Hier is de uitleg: "),
                    Just("Laat me weten of het zo goed is."),
                    Just("motie_id: 2024Z01234"),
                    Just("r1: "),
                    Just("De motie vraagt om geld. "),
                    Just("2031"),
                ],
                0..30,
            )
            .prop_map(|parts| parts.concat()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn never_panics_says_owned_only_for_a_change_and_repairs_once(text in texts(), other in texts(), item in texts()) {
            let about = About { item: Some(&item), neighbours: &[&other], others: &[&item], instructions: &[&other] };
            for kind in steps() {
                let step = (kind.compile)(inline_table(kind.example), &DUTCH).expect("compiles");
                let once = match step.apply(&text, &about) {
                    Ok(once) => once,
                    Err(rejection) => {
                        prop_assert!(kind.reasons.contains(&rejection.reason), "{}: {}", kind.name, rejection.reason);
                        continue;
                    }
                };
                if let Cow::Owned(once) = &once {
                    prop_assert_ne!(once, &text, "{} claims a repair", kind.name);
                }
                // Taking `(2-3)` out of `(1(2-3)-4)` makes a new match, which is right to stay; marks, openings and
                // fields are taken out a bounded number of times, each of which looks at the whole text.
                if !["remove-pattern", "strip-markdown", "drop-boilerplate", "remove-metadata"].contains(&kind.name) {
                    let twice = step.apply(&once, &about);
                    prop_assert_eq!(twice.as_deref(), Ok(once.as_ref()), "{}", kind.name);
                }
            }
        }
    }

    /// Texts that make a careless search go over them again and again.
    #[test]
    fn every_step_takes_linear_time() {
        let awkward =
            ["De motie vraagt om geld. ", "**a ", "((((", "[a](", "Hier is: ", "<think>", "a_b: ", "> ", "12-", "\u{301}", "ع a ", "ja "];
        let item = "De motie vraagt in 2024 om geld voor Groningen. ".repeat(2_000);
        for kind in steps() {
            let step = (kind.compile)(inline_table(kind.example), &DUTCH).expect("compiles");
            for part in awkward {
                let time = |times: usize| {
                    let text = part.repeat(times);
                    let about = About { item: Some(&item[..text.len().min(item.len())]), neighbours: &[&item], ..About::NOTHING };
                    let run = || {
                        let started = std::time::Instant::now();
                        drop(step.apply(&text, &about).map(Cow::into_owned));
                        started.elapsed()
                    };
                    // The quickest of a few: others work on this machine as well.
                    (0..3).map(|_| run()).min().expect("three")
                };
                let is_linear = || {
                    let (short, long) = (time(400), time(8_000));
                    (long < short * 100 + std::time::Duration::from_millis(30)).then_some(()).ok_or((short, long))
                };
                // What is quadratic is so every time.
                let measured = is_linear().or_else(|_| is_linear()).or_else(|_| is_linear());
                assert_eq!(measured, Ok(()), "{}: {part:?}", kind.name);
            }
        }
    }
}
