//! Talking HTTP to those who keep blocks for us: a Kubo daemon, a trustless gateway.
//!
//! Neither is believed and neither is waited for. An answer is bounded in size before it is read and in
//! time while it comes ([`Deadlines`]); what went wrong is a [`RemoteError`] that names who was asked,
//! for what, and which of the few things that can go wrong did ([`Fault`]). Whether the bytes are the
//! right ones is for the store above to check against their CID.
//!
//! Refused: redirects (only the address that the user named is asked), proxies from the environment (an
//! address on this machine must not leave it), and addresses with credentials in them, which would end
//! up in every message.

mod deadlines;
mod endpoint;
mod error;
mod paced;
mod watch;

pub use deadlines::Deadlines;
pub(crate) use endpoint::{Answer, Endpoint, Server};
pub(crate) use error::quoted;
pub use error::{Fault, Phase, RemoteError};
pub use paced::Download;
