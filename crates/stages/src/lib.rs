//! The built-in stages, one file each.

mod answer;
mod cost;
mod filter;
mod llm;
mod post_process;
mod prompt_pack;
mod setting;

use promptmill_core::{Registry, StageKind};

/// The built-in stages, steps, providers and models: a registry that others may add theirs to.
pub fn registry() -> Registry {
    Registry {
        stages: vec![
            StageKind::of::<filter::Filter>(),
            StageKind::of::<prompt_pack::PromptPack>(),
            StageKind::of::<llm::Llm>(),
            StageKind::of::<post_process::PostProcess>(),
            StageKind::of::<cost::Cost>(),
        ],
        steps: post_process::steps().to_vec(),
        providers: promptmill_llm::providers::kinds(),
        models: vec![promptmill_extractive::model()],
        price: promptmill_llm::quote,
    }
}
