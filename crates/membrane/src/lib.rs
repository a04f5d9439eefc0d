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
//! # A membrane at work
//!
//! ```
//! # mod node_capnp {
//! #     #![allow(warnings)]
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/membrane/node_capnp.rs"));
//! # }
//! use std::rc::Rc;
//!
//! use membrane::policies::AllowList;
//! use membrane::Membrane;
//! use capnp::traits::HasTypeId;
//! use node_capnp::node;
//!
//! struct Node;
//!
//! impl node::Server for Node {
//!     async fn name(
//!         self: Rc<Self>,
//!         _: node::NameParams,
//!         mut results: node::NameResults,
//!     ) -> Result<(), capnp::Error> {
//!         results.get().set_name("inside");
//!         Ok(())
//!     }
//!
//!     async fn kept(
//!         self: Rc<Self>,
//!         _: node::KeptParams,
//!         mut results: node::KeptResults,
//!     ) -> Result<(), capnp::Error> {
//!         results.get().set_node(capnp_rpc::new_client_from_rc(self));
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), capnp::Error> {
//! # futures::executor::block_on(async {
//! // `name` and `kept` may be called from outside, on this node and on whatever comes of it.
//! let methods = [0, 4].map(|ordinal| (node::Client::TYPE_ID, ordinal));
//! let membrane = Membrane::new(Rc::new(AllowList::new(methods)));
//! let outside: node::Client = membrane.wrap(capnp_rpc::new_client(Node));
//!
//! let another = outside.kept_request().send().promise.await?.get()?.get_node()?;
//! let answer = another.name_request().send().promise.await?;
//! assert_eq!(answer.get()?.get_name()?, "inside");
//!
//! let refused = another.hang_request().send().promise.await.err().unwrap();
//! assert!(refused.extra.starts_with("notAllowed: "));
//!
//! membrane.revoke(capnp::Error::disconnected("staleEpoch: epoch 8 has begun".into()));
//! let revoked = another.name_request().send().promise.await.err().unwrap();
//! assert_eq!(revoked.extra, "staleEpoch: epoch 8 has begun");
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # How to write a policy
//!
//! First see whether [`policies`] has it: lists of methods, rates and numbers of calls, epochs, leases,
//! audit, and [`All`](policies::All) of several. Otherwise implement [`Policy`]: one method that is told
//! the interface id, the method's ordinal and the [`Direction`] of a call, and answers with a
//! [`Decision`]:
//!
//! ```
//! use std::cell::Cell;
//! use std::rc::Rc;
//!
//! use membrane::{Call, Decision, Direction, Policy};
//!
//! /// Lets so many calls in, altogether, and says when the last of them is over.
//! struct Ration {
//!     left: Cell<u32>,
//!     open: Rc<Cell<u32>>,
//! }
//!
//! /// Is dropped when its call is over, whichever way it ends.
//! struct Open(Rc<Cell<u32>>);
//!
//! impl Drop for Open {
//!     fn drop(&mut self) {
//!         self.0.set(self.0.get() - 1);
//!     }
//! }
//!
//! impl Policy for Ration {
//!     fn check(&self, call: Call) -> Decision {
//!         // Calls back to whoever called must work too.
//!         if call.direction == Direction::Outward {
//!             return Decision::Allow;
//!         }
//!         let Some(left) = self.left.get().checked_sub(1) else {
//!             // A word that programs can tell apart, then a sentence for people.
//!             let error = "rationSpent: no more calls are granted; ask for another reference";
//!             return Decision::Refuse(capnp::Error::failed(error.into()));
//!         };
//!         self.left.set(left);
//!         self.open.set(self.open.get() + 1);
//!         Decision::AllowWith(Box::new(Open(Rc::clone(&self.open))))
//!     }
//! }
//! # let ration = Ration { left: Cell::new(1), open: Rc::default() };
//! # let call = Call { interface_id: 1, method_id: 2, direction: Direction::Inward };
//! # let decision = ration.check(call);
//! # assert_eq!(ration.open.get(), 1);
//! # drop(decision);
//! # assert_eq!(ration.open.get(), 0);
//! # assert!(matches!(ration.check(call), Decision::Refuse(_)));
//! ```
//!
//! Four things to know:
//!
//! * *It holds for the whole inside.* A policy does not see which object is called: a list of methods is a
//!   list for everything that is reached through the membrane. To treat two objects differently, give each
//!   a membrane of its own, or let [`Decision::Replace`] put a narrower object in the place of the target.
//! * *It cannot be got round by a cast*, because the numbers it sees are those that the call is made with.
//! * *A call may be decided on twice.* What is promised and has not come leads out and back in again when it
//!   is passed home, until it is known what it is. Refuse in one direction what you refuse in the other, or
//!   allow one of them altogether, as [`AllowList`](policies::AllowList) does.
//! * *It runs on the caller's stack.* It must not wait; it may do anything else, revoke included.
//!
//! A membrane around a membrane is the intersection: a call has to pass both, and either can be revoked.
//!
//! # What revocation promises
//!
//! When [`Membrane::revoke`] returns, no method body starts any more on behalf of a call that crossed, queued
//! and promised ones included; no promise that crossed resolves to anything that lives; calls and streams that
//! were under way have been dropped where they ran, and fail with the reason given; and what the membrane held
//! has been let go of. It takes time in proportion to what is held. The crate's tests compare this with a model of
//! who may reach what, over random histories, with two engines.
//!
//! # What it needs, and what it refuses
//!
//! It does no I/O, starts no task and waits for nothing: it runs on whatever thread the capabilities live on.
//! It knows the `capnp` crate's hook traits and nothing of how they are implemented, so capabilities of a local
//! server, of an `RpcSystem`, and of another membrane are all alike.
//!
//! It refuses to let a call through that its policy refuses, to let anything through once revoked, and to
//! recurse deeper than [`MAX_NESTING`] over a chain of membranes that a peer may have built.
//!
//! In reading order: [`Membrane`], [`Policy`], [`Call`], [`Decision`], [`policies`], [`TailCalls`].

mod anchor;
mod boundary;
mod broken;
mod calls;
mod copied;
mod flight;
mod held;
mod layers;
mod lent;
mod membrane;
mod nesting;
mod payload;
mod pipeline;
pub mod policies;
mod policy;
mod reference;
mod references;
mod release;
mod request;
mod results;
mod spare;
mod tail;

pub use layers::{Layers, peel};
pub use membrane::Membrane;
pub use nesting::{MAX_NESTING, TOO_DEEP};
pub use policy::{AllowAll, Call, Decision, Direction, Policy};
pub use tail::TailCalls;
