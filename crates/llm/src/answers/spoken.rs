//! What of a content was said aloud: without thoughts, and without the marks of chat templates.

/// What was said aloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spoken<'c> {
    pub(super) text: &'c str,
    /// Whether it stood behind a thought: then a model has said it, and neither a gateway nor a server in between.
    pub(super) is_behind_thought: bool,
}

/// The marks around a thought, in several models' ways.
const THOUGHTS: [(&str, &str); 7] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
];
/// The channel of gpt-oss in which it answers, and the mark behind which a message stands.
const FINAL: &str = "<|channel|>final";
const MESSAGE: &str = "<|message|>";
/// Marks at which a message ends.
const ENDS: [&str; 8] =
    ["<|return|>", "<|end|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>", "</s>", "<|end_of_sentence|>"];

/// What was said aloud. A thought may be there as a whole, as its end alone where the chat template has begun it, or as
/// its beginning alone where it was cut off.
pub(super) fn spoken(content: &str) -> Spoken<'_> {
    let text = |text| Spoken { text, is_behind_thought: false };
    let behind_thought = |text| Spoken { text, is_behind_thought: true };
    let blank = |sign: char| sign.is_whitespace() || matches!(sign, '\u{feff}' | '\0');
    let content = without_ends(content.trim_matches(blank));
    if !may_have_marks(content) {
        return text(content);
    }
    if let Some(answer) = answer_channel(content) {
        return behind_thought(without_ends(answer));
    }
    // A mark inside an answer is a part of it.
    if is_json(content) {
        return text(content);
    }
    for (open, close) in THOUGHTS {
        if let Some((_, spoken)) = content.rsplit_once(close) {
            // Words that speak of the mark go on behind it.
            let is_end = spoken.trim().is_empty() || content.starts_with(open) || begins_anew(spoken);
            if is_end {
                return behind_thought(spoken.trim_matches(blank));
            }
        } else if content.starts_with(open) {
            // Thoughts that do not end have left no answer.
            return text("");
        } else if let Some((spoken, _)) = content.split_once(open).filter(|(spoken, _)| is_json(spoken.trim_end())) {
            return text(spoken.trim_end());
        }
    }
    text(content)
}

/// Whether there is a sign that a mark begins with: in most contents there is none, and nothing has to be looked for.
fn may_have_marks(content: &str) -> bool {
    content.starts_with("analysis") || content.bytes().any(|byte| matches!(byte, b'<' | b'[') || byte == "◁".as_bytes()[0])
}

/// The answer of gpt-oss, which thinks and speaks in channels; empty where it has only thought.
fn answer_channel(content: &str) -> Option<&str> {
    if let Some((_, rest)) = content.rsplit_once(FINAL) {
        // `<|constrain|>json` may stand between.
        let (_, answer) = rest.split_once(MESSAGE)?;
        let end = ENDS.iter().filter_map(|end| answer.find(end)).min().unwrap_or(answer.len());
        return Some(answer[..end].trim());
    }
    if content.starts_with("<|channel|>") || content.starts_with("<|start|>") {
        return Some("");
    }
    // The same where the marks themselves were dropped.
    let thought = content.strip_prefix("analysis")?;
    thought.rsplit_once("assistantfinal").map(|(_, answer)| answer.trim())
}

/// Whether what stands behind a mark is not the rest of a sentence.
fn begins_anew(text: &str) -> bool {
    let blank = text.len() - text.trim_start().len();
    text[..blank].contains('\n') || text.trim_start().starts_with(['{', '[', '`'])
}

fn is_json(text: &str) -> bool {
    text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn without_ends(mut content: &str) -> &str {
    while let Some(rest) = ENDS.iter().find_map(|end| content.strip_suffix(end)) {
        content = rest.trim_end();
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thoughts_are_not_said_aloud() {
        for (content, aloud) in [
            ("<think>hm {\"r1\": \"a draft\"}</think>\n\n{\"r1\": \"a\"}", "{\"r1\": \"a\"}"),
            ("A first try: {\"r1\": \"a draft\"}. Now concrete.\n</think>\n\n{\"r1\": \"a\"}", "{\"r1\": \"a\"}"),
            ("{\"r1\": \"a draft\"} hm</think>{\"r1\": \"a\"}", "{\"r1\": \"a\"}"),
            ("Short is better.\n</think>\n\nOne sentence.", "One sentence."),
            ("Well. <think>hm</think>\nOne sentence.", "One sentence."),
            ("<think>one</think> two <think>three</think> four", "four"),
            ("[THINK]hm[/THINK]{\"r1\": \"a\"}", "{\"r1\": \"a\"}"),
            ("◁think▷hm◁/think▷One.", "One."),
            ("hm</seed:think>\nOne.", "One."),
            ("<think>and on it goes", ""),
            ("hm</think>", ""),
            ("{\"r1\": \"a\"}\n<think>was that right?", "{\"r1\": \"a\"}"),
            // The mark is what the words are about.
            ("{\"r1\": \"write </think> at its end\"}", "{\"r1\": \"write </think> at its end\"}"),
            ("A model closes its thought with </think> and speaks.", "A model closes its thought with </think> and speaks."),
            ("The mark <think> opens a thought.", "The mark <think> opens a thought."),
        ] {
            assert_eq!(spoken(content).text, aloud, "{content}");
        }
    }

    #[test]
    fn channels_and_marks_of_templates() {
        for (content, aloud) in [
            (
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{\"r1\": \"a\"}<|return|>",
                "{\"r1\": \"a\"}",
            ),
            ("<|channel|>final <|constrain|>json<|message|>{\"r1\": \"a\"}", "{\"r1\": \"a\"}"),
            ("<|channel|>analysis<|message|>and on it goes", ""),
            ("<|start|>assistant<|channel|>commentary<|message|>hm<|end|>", ""),
            ("analysisWe need one sentence.assistantfinal{\"r1\": \"a\"}", "{\"r1\": \"a\"}"),
            ("analysis of the motion: it asks for more.", "analysis of the motion: it asks for more."),
            ("One sentence.<|im_end|>\n", "One sentence."),
            ("One sentence.</s><|eot_id|>", "One sentence."),
            ("\u{feff}One.\0", "One."),
        ] {
            assert_eq!(spoken(content).text, aloud, "{content}");
        }
    }

    proptest! {
        #[test]
        fn json_is_left_alone(text in "[a-z<>/|\\[\\]]{0,30}(</think>|<\\|end\\|>)?[a-z\n{]{0,9}") {
            let content = serde_json::json!({"r1": text}).to_string();
            prop_assert_eq!(spoken(&content).text, content.as_str());
        }

        #[test]
        fn no_text_panics(text in "(<think>|</think>|<\\|channel\\|>|final|<\\|message\\|>|analysis|assistantfinal|[a-zé{}\n \"]){0,12}") {
            prop_assert!(spoken(&text).text.len() <= text.len());
        }
    }
}
