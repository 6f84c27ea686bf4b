//! What the generated motions are about: per topic the files, people, organisations, facts, considerations
//! and requests. Pure data; `compose` turns it into text.
//!
//! Texts are templates. `[a|b|c]` takes one of the alternatives. A name in braces is filled in:
//! `{P}` and `{Q}` two places, `{R}` a region, `{O}` and `{o}` two organisations, `{G}` and `{g}` two groups
//! of people, `{T}` the subject and `{Y}` a coming year stay the same within one motion, so that title and
//! body agree; `{%}` a percentage, `{x}` "een op de drie", `{k}` a small number in words, `{n}` hundreds or
//! thousands, `{N}` tens or hundreds of thousands, `{m}` money, `{y}` a past year and `{q}` a term (in it `{J}`, next year) are drawn
//! anew at every use. Organisations never stand as the subject of a verb: some are singular, some plural.

mod care;
mod land;
mod living;
mod school;
mod state;
mod work;
mod world;

use std::sync::LazyLock;

/// One topic with everything that a motion about it can say.
#[derive(Debug)]
pub(super) struct Topic {
    /// Names the topic in a failing test; it is not in the text.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(super) name: &'static str,
    /// Not about places in the Netherlands: general phrases that name one do not fit.
    pub(super) abroad: bool,
    /// Number and title of the files that a motion can be filed under.
    pub(super) dossiers: &'static [(&'static str, &'static str)],
    /// For general phrases, after a preposition only: "bij de bouw van betaalbare woningen".
    pub(super) subjects: &'static [&'static str],
    /// People, always plural and without an article.
    pub(super) groups: &'static [&'static str],
    /// Organisations, with their article.
    pub(super) organisations: &'static [&'static str],
    /// What follows "constaterende dat".
    pub(super) facts: &'static [&'static str],
    /// What follows "overwegende dat".
    pub(super) considerations: &'static [&'static str],
    /// What follows "over" in the title, and what follows "verzoekt de regering" in the body.
    pub(super) requests: &'static [(&'static str, &'static str)],
}

/// Every topic, in a fixed order: the order is part of what a seed means.
pub(super) static TOPICS: LazyLock<Vec<&'static Topic>> = LazyLock::new(|| {
    [living::TOPICS, care::TOPICS, land::TOPICS, school::TOPICS, work::TOPICS, state::TOPICS, world::TOPICS].into_iter().flatten().collect()
});
