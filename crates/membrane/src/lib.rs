//! Revocable, attenuating membranes over Cap'n Proto capabilities.
//!
//! A membrane is a closed surface around a set of objects. *Inside* are the objects that it
//! guards; *outside* is whoever was handed a reference to one of them. [`Membrane::wrap`] turns an
//! inside capability into what the outside may hold. From then on nothing crosses bare: a
//! capability in the parameters of a call, in its results, taken from its pipeline, or that a
//! promise resolves to later, is wrapped as it crosses, in both directions and however deep.
//!
//! Three consequences surprise people, and are meant:
//!
//! * *A reference that comes home is unwrapped.* The outside passes a wrapped capability back in,
//!   and the inside receives the very capability that it once let out, with the same identity.
//!   Calls that the inside then makes on it do not cross the membrane, so no policy sees them.
//! * *Two outsiders who share references are one outside.* A membrane follows references, not
//!   people. Who wants to tell two peers apart gives each a membrane of its own.
//! * *Revocation cuts both ways.* After [`Membrane::revoke`] the outside reaches nothing within,
//!   and the inside reaches nothing without, although it was the outside that was to be cut off.
//!
//! The filter is at the hook, by interface id and method ordinal: a client that is cast to another
//! interface meets the same [`Policy`]. What a membrane refuses: to let a call through that its
//! policy refuses, to let anything through once revoked, and to recurse deeper than
//! [`MAX_NESTING`] over a chain of membranes that a peer may have built.
//!
//! It does no I/O, starts no task and waits for nothing: it runs on whatever thread the
//! capabilities live on. It knows the `capnp` crate's hook traits and nothing of how they are
//! implemented, so capabilities of a local server, of an `RpcSystem`, and of another membrane are
//! all alike.
//!
//! In reading order: [`Membrane`], [`Policy`], [`Call`], [`Decision`].

mod anchor;
mod boundary;
mod broken;
mod calls;
mod flight;
mod held;
mod membrane;
mod nesting;
mod payload;
mod pipeline;
pub mod policies;
mod policy;
mod reference;
mod release;
mod request;
mod results;

pub use membrane::Membrane;
pub use nesting::{MAX_NESTING, TOO_DEEP};
pub use policy::{AllowAll, Call, Decision, Direction, Policy};
