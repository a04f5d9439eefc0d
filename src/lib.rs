//! The node: one running `ww`, which puts the crates together.
//!
//! [`node::Node`] owns everything that runs. A [`cells`] module turns a program into a cell on one of
//! the [`vats`], the threads that carry Cap'n Proto. Its [`grants`] become a [`session`] there, one for each
//! [`epoch`]; the [`rpc`] modules are the thin faces that the cell sees, and [`audit`] is told what it does with
//! them. [`socket`] hands the same to programs beside the node. [`terminal`] joins the first cell to the operator's terminal, and [`home`] says where a
//! node keeps what outlives it. The [`root`] of a cell is the image, and [`files`] has what it may write to. The [`descriptors`] of the process are shared by all of them.
//!
//! What a capability *does* is never here: it is an object of the crate that knows the subject.

pub mod audit;
mod authority;
pub mod bounds;
pub mod cells;
pub mod descriptors;
pub mod epoch;
pub mod files;
pub mod grants;
pub mod home;
pub mod ipfs;
pub mod node;
pub mod root;
pub mod rpc;
pub mod scratch;
pub mod session;
pub mod socket;
pub mod tenure;
pub mod terminal;
pub mod vats;
