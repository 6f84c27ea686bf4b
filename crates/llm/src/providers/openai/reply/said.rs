//! What a model said, wherever in a message it stands.

use serde_json::Value;

/// Where servers put thoughts, and now and then the answer.
const THOUGHTS: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];

/// The words of a message.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) content: String,
    pub(super) refusal: Option<String>,
    /// The field in which there are words although there are none that are an answer.
    pub(super) elsewhere: Option<&'static str>,
}

impl Said {
    /// Takes the words out of a message. Where the content is empty, the answer may stand beside it: as the arguments of
    /// a tool, which can be nothing else since none was offered, or as a thought that is JSON.
    pub(super) fn read(message: &mut Value) -> Self {
        let spoken = |text: &Value| text.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let mut said = Self { refusal: message.get("refusal").and_then(spoken), ..Self::default() };
        match message.get_mut("content").map(Value::take) {
            Some(Value::String(text)) => said.content = text,
            Some(Value::Array(parts)) => said.take_parts(&parts),
            Some(part @ Value::Object(_)) if part.get("text").is_some() => said.take_parts(&[part]),
            // A gateway that has taken the answer apart.
            Some(Value::Object(answer)) if !answer.is_empty() => said.content = Value::Object(answer).to_string(),
            _ => {}
        }
        if said.content.trim().is_empty() {
            if let Some(arguments) = arguments(message) {
                said.content = arguments;
            } else if let Some((field, thought)) = thought(message) {
                if is_answer(&thought) {
                    said.content = thought;
                } else {
                    said.elsewhere = Some(field);
                }
            }
        }
        said
    }

    /// Content as a list of parts, of which the texts count.
    fn take_parts(&mut self, parts: &[Value]) {
        for part in parts {
            let text = |name: &str| part.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
            match part.get("type").and_then(Value::as_str) {
                Some("refusal") => self.refusal = self.refusal.take().or_else(|| text("refusal").map(str::to_owned)),
                Some("text" | "output_text") | None => {
                    self.content.push_str(part.get("text").unwrap_or(part).as_str().unwrap_or_default());
                }
                Some(_) => {}
            }
        }
    }
}

/// What was handed to tools, one behind the other.
fn arguments(message: &Value) -> Option<String> {
    let text = |arguments: &Value| match arguments {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) => Some(arguments.to_string()),
        _ => None,
    };
    let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    let mut handed: Vec<String> =
        calls.filter_map(|call| text(call.pointer("/function/arguments").or_else(|| call.get("arguments"))?)).collect();
    if handed.is_empty() {
        handed.extend(message.pointer("/function_call/arguments").and_then(text));
    }
    let handed = handed.join("\n");
    (!handed.trim().is_empty()).then_some(handed)
}

fn thought(message: &Value) -> Option<(&'static str, String)> {
    THOUGHTS.into_iter().find_map(|field| {
        let thought = match message.get(field)? {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
            other => other.get("content").and_then(Value::as_str)?.to_owned(),
        };
        (!thought.trim().is_empty()).then_some((field, thought))
    })
}

/// Whether a thought is an answer that a parser took for one: JSON, and nothing around it but a fence; or words that
/// have the end of the thought among them.
fn is_answer(thought: &str) -> bool {
    let thought = thought.trim();
    let is_json = |text: &str| text.starts_with(['{', '[']) && text.ends_with(['}', ']']);
    let fenced = || thought.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")).and_then(|rest| rest.split_once('\n'));
    is_json(thought)
        || fenced().is_some_and(|(_, inside)| is_json(inside.trim()))
        || thought.rsplit_once("</think>").is_some_and(|(_, spoken)| !spoken.trim().is_empty())
}
