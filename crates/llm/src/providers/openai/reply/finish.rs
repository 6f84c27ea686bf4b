//! Why a model stopped, in every provider's words.

use crate::Finish;

/// Whether a model or a filter would not answer, by the provider's own word.
pub(super) fn is_refusal(reason: &str) -> bool {
    read_finish(Some(reason)) == Finish::Filtered
}

/// In any case and with whatever stands behind a colon. A word that is not in it is never taken
/// for a normal end.
pub(super) fn read_finish(reason: Option<&str>) -> Finish {
    let Some(reason) = reason else { return Finish::Other };
    let reason = reason.to_ascii_lowercase();
    match reason.split(':').next().unwrap_or_default().trim() {
        "stop" | "end_turn" | "stop_sequence" | "eos" | "eos_token" | "end" | "complete" | "completed" | "finished" => Finish::Stop,
        "length"
        | "model_length"
        | "max_tokens"
        | "max_length"
        | "max_output_tokens"
        | "max_tokens_reached"
        | "truncated"
        | "model_context_window_exceeded" => Finish::Truncated,
        "content_filter"
        | "content_filtered"
        | "refusal"
        | "safety"
        | "recitation"
        | "prohibited_content"
        | "blocklist"
        | "spii"
        | "sensitive"
        | "moderation"
        | "guardrail_intervened" => Finish::Filtered,
        "error" | "abort" | "aborted" | "cancelled" | "network_error" | "insufficient_system_resource" => Finish::Broken,
        _ => Finish::Other,
    }
}
