//! Policies that most membranes are made of.
//!
//! Each decides one thing; [`All`] puts several together. What one refuses, it refuses with a text that
//! begins with a word of its own, then `: `, then a sentence for a person. The words are stable, so
//! that a caller at the other end of a wire can tell one refusal from another:
//!
//! | policy | refuses | the text begins | kind of error |
//! |---|---|---|---|
//! | [`AllowList`] | inward calls of methods that are not listed | [`NOT_ALLOWED`], or as its owner says | failed |
//! | [`RateLimit`] | more calls a second than it was told | [`RATE_LIMITED`] | overloaded |
//! | [`ConcurrencyLimit`] | more calls at a time than it was told | [`TOO_MANY_CALLS`] | overloaded |
//! | [`EpochGuard`] | calls in a later epoch than its own | [`STALE_EPOCH`] | disconnected |
//! | [`Expiry`] | calls after a moment | [`EXPIRED`] | disconnected |
//! | [`All`] | what one of several refuses; two stand-ins for one target | as that one says; [`CONFLICT`] | |
//!
//! [`OneWay`] asks a policy about one direction only. [`Audit`] refuses nothing: it tells a [`Sink`], for
//! instance [`Counts`], what another policy decided.
//!
//! A policy is asked as a call is made, so a call that is under way outlives the epoch that it was made
//! in, and its lease. What must end then is ended by [`Membrane::revoke`](crate::Membrane::revoke).
//!
//! One policy may serve several membranes, as clones of one `Rc`: a limit is then their common limit.

mod all;
mod allow_list;
mod audit;
mod clock;
mod concurrency_limit;
mod epoch_guard;
mod expiry;
mod one_way;
mod rate_limit;

pub use all::{All, CONFLICT};
pub use allow_list::{AllowList, NOT_ALLOWED};
pub use audit::{Audit, Counts, Sink};
pub use clock::Clock;
pub use concurrency_limit::{ConcurrencyLimit, TOO_MANY_CALLS};
pub use epoch_guard::{CurrentEpoch, EpochGuard, STALE_EPOCH};
pub use expiry::{EXPIRED, Expiry};
pub use one_way::OneWay;
pub use rate_limit::{RATE_LIMITED, RateLimit};
