//! What can be done about a refusal.

use super::class::is_of_the_place;
use super::told::Told;
use crate::Class;

/// What to look at, where the refusal leaves no doubt.
pub(super) fn hint(class: Class, status: u16, told: &Told, parameter: Option<&str>) -> Option<String> {
    let hint = match class {
        Class::Unreachable if status == 407 => {
            "the proxy wants a name and a password: write them into `HTTPS_PROXY` or `HTTP_PROXY`, or take the host out of its way with `NO_PROXY`"
        }
        Class::Unreachable if told.text.contains("https") && status == 400 => "write `https://` in `base_url`",
        Class::Unreachable if status == 403 => FROM_HERE,
        Class::Forbidden if is_of_the_place(status, &told.text) => FROM_HERE,
        // Before anything was answered.
        Class::Filtered if told.is_page => {
            "a page that stands in front of the service turns everybody away: look at `base_url`, and ask those who run it"
        }
        Class::Unreachable => BASE_URL,
        Class::BadRequest if matches!(status, 404 | 405) => BASE_URL,
        Class::PackTooLarge => "smaller packs are tried; for one row alone, lower `max_tokens_per_row` or ask for fewer fields",
        Class::BadRequest => return parameter.filter(|parameter| !OF_A_ROW.contains(parameter)).map(about),
        _ => return None,
    };
    Some(hint.to_owned())
}

const FROM_HERE: &str = "the service lets nobody in from this address: ask those who run it, or go another way";

const BASE_URL: &str = "look at `base_url`: it is all that stands in front of `/chat/completions`, for most servers up to `/v1`";

/// Fields that hold what is asked about: what is wrong with them may be a row's.
const OF_A_ROW: [&str; 7] = ["messages", "message", "content", "prompt", "input", "text", "user"];

/// What to do about one field of a request.
fn about(parameter: &str) -> String {
    match parameter {
        "temperature" => "take `temperature` out of the stage `llm`".to_owned(),
        "max_tokens" => "write `max_tokens_field = \"max_completion_tokens\"` for the model".to_owned(),
        "max_completion_tokens" => "write `max_tokens_field = \"max_tokens\"` for the model".to_owned(),
        "response_format" | "json_schema" => {
            "write `structured = \"json_object\"` or `\"text\"` for a model that takes no schema".to_owned()
        }
        other => format!("`{other}` is not taken: if it stands in the model's `extra_body`, take it out of there"),
    }
}
