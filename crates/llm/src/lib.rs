//! Talks to language models: the only crate that does. Usable on its own.
//!
//! A [`Provider`] takes a [`Request`] about a pack of rows and brings back a [`Response`] or a [`CallError`]
//! that says what to do about it. Around it stand the pieces that decide how much to send and what it may
//! cost: the [`lane`], the [`Budget`] and the [`quote`] of a price.

mod answers;
mod budget;
mod classify;
mod clear;
pub mod cost_bound;
mod escape;
mod headers;
pub mod lane;
mod models;
mod price;
mod prompt;
pub mod providers;
mod tokens;

pub use answers::{Reply, RowAnswer, read_answers};
pub use budget::{Budget, NotReserved, Reservation};
pub use classify::{Refusal, classify};
pub use clear::{goes_out_in_clear, without_query};
pub use headers::{read_rate_limits, read_retry_after};
pub use models::{Model, Models};
pub use price::{Leaving, ListedPrice, leaving, listed_prices, quote};
pub use prompt::{pack_schema, rejections, row_id, user_message};
pub use promptmill_core::{
    CallError, Charge, Class, Dimension, Finish, Item, Language, LimitHint, Per, Provider, RateLimits, Request, Response, Window,
};
pub use tokens::Tokens;
