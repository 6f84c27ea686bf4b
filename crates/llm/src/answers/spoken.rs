//! What of a content was said aloud: without thoughts, and without the marks of chat templates.

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
pub(super) fn spoken(content: &str) -> &str {
    let blank = |sign: char| sign.is_whitespace() || matches!(sign, '\u{feff}' | '\0');
    let content = without_ends(content.trim_matches(blank));
    if let Some(answer) = answer_channel(content) {
        return without_ends(answer);
    }
    // A mark inside an answer is a part of it.
    if is_json(content) {
        return content;
    }
    for (open, close) in THOUGHTS {
        if let Some((_, spoken)) = content.rsplit_once(close) {
            // Words that speak of the mark go on behind it.
            let is_end = spoken.trim().is_empty() || content.starts_with(open) || begins_anew(spoken);
            if is_end {
                return spoken.trim_matches(blank);
            }
        } else if content.starts_with(open) {
            // Thoughts that do not end have left no answer.
            return "";
        } else if let Some((spoken, _)) = content.split_once(open).filter(|(spoken, _)| is_json(spoken.trim_end())) {
            return spoken.trim_end();
        }
    }
    content
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
            assert_eq!(spoken(content), aloud, "{content}");
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
            assert_eq!(spoken(content), aloud, "{content}");
        }
    }

    proptest! {
        #[test]
        fn json_is_left_alone(text in "[a-z<>/|\\[\\]]{0,30}(</think>|<\\|end\\|>)?[a-z\n{]{0,9}") {
            let content = serde_json::json!({"r1": text}).to_string();
            prop_assert_eq!(spoken(&content), content.as_str());
        }

        #[test]
        fn no_text_panics(text in "(<think>|</think>|<\\|channel\\|>|final|<\\|message\\|>|analysis|assistantfinal|[a-zé{}\n \"]){0,12}") {
            prop_assert!(spoken(&text).len() <= text.len());
        }
    }
}
