//! The built-in stages, one file each.

mod answer;
mod cost;
mod filter;
mod llm;
mod post_process;
mod prompt_pack;
mod setting;

use promptmill_core::{Registry, StageKind};

pub use post_process::{Sees, StepKind, steps};

/// The built-in stages, providers and models.
pub fn registry() -> Registry {
    Registry {
        stages: vec![
            StageKind::of::<filter::Filter>(),
            StageKind::of::<prompt_pack::PromptPack>(),
            StageKind::of::<llm::Llm>(),
            StageKind::of::<post_process::PostProcess>(),
            StageKind::of::<cost::Cost>(),
        ],
        provider_kinds: promptmill_llm::providers::kinds().collect(),
        builtin_models: vec![promptmill_llm::providers::builtin::EXTRACTIVE],
        price: promptmill_llm::quote,
    }
}
