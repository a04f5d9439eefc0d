//! The node's content, for those who cannot wait for a disk or a peer themselves.
//!
//! What content means is for the crate `content`, whose [`Repo`] blocks. Here is who may block how much: each holder
//! has some places, and the node has some more than that in all, so that a holder who asks for what nobody has keeps
//! its own places waiting and nobody else's. A place is free again when the work has really ended, not when whoever
//! asked has gone.
//!
//! - `metered`: what a holder adds counts.
//! - `scope`: what a holder may name.
//! - `topics`: messages among those on this node.

mod metered;
mod scope;
mod topics;

use std::sync::Arc;

use content::{ContentError, Repo};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use metered::{Added, Metered};
pub use scope::{Scope, ScopeError};
pub use topics::{MAX_MESSAGE_BYTES, Message, Subscription, Topics, TopicsError};

/// Calls on content that may block at a time, on the whole node. A thread each, which mostly waits for a peer.
const PLACES: usize = 64;

/// Calls of one holder that may block at a time: enough to keep a slow peer busy.
const PLACES_OF_A_HOLDER: usize = 8;

/// The content of a node, and who it exchanges content with.
pub struct Ipfs {
    repo: Repo,
    swarm: swarm::Handle,
    topics: Topics,
    runtime: Handle,
    places: Arc<Semaphore>,
}

/// What holders have of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Calls that block.
    pub places: usize,
    /// Topics that somebody has subscribed to.
    pub topics: usize,
}

/// Why a call on content was not answered.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It was refused.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The thread that it ran on came down, or the node is shutting down.
    #[error("the call was interrupted")]
    Interrupted,
}

impl Ipfs {
    /// The content in `repo`, exchanged over `swarm`. What blocks runs on threads of this runtime.
    pub fn new(repo: Repo, swarm: swarm::Handle, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            topics: Topics::new(swarm.peer_id().to_bytes()),
            repo,
            swarm,
            runtime,
            places: Arc::new(Semaphore::new(PLACES)),
        })
    }

    /// The content.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The peers.
    pub fn swarm(&self) -> &swarm::Handle {
        &self.swarm
    }

    /// Messages by topic.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// What is in use at this moment, by all holders.
    pub fn in_use(&self) -> InUse {
        InUse {
            places: PLACES.saturating_sub(self.places.available_permits()),
            topics: self.topics.count(),
        }
    }

    /// The places of one more holder.
    pub fn places(self: &Arc<Self>) -> Places {
        Places {
            node: self.clone(),
            own: Arc::new(Semaphore::new(PLACES_OF_A_HOLDER)),
        }
    }
}

/// Where one holder's calls block.
#[derive(Clone)]
pub struct Places {
    node: Arc<Ipfs>,
    own: Arc<Semaphore>,
}

impl Places {
    /// Runs `work` where it may block. Given up, it goes on to its end, in its place.
    ///
    /// # Errors
    /// What `work` answers, and [`CallError::Interrupted`].
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ContentError> + Send + 'static,
    ) -> Result<T, CallError> {
        let interrupted = |_| CallError::Interrupted;
        let own = self.own.clone().acquire_owned().await;
        let own = own.map_err(interrupted)?;
        let shared = self.node.places.clone().acquire_owned().await;
        let shared = shared.map_err(interrupted)?;
        let work = self.node.runtime.spawn_blocking(move || {
            let done = work();
            drop((own, shared));
            done
        });
        Ok(work.await.map_err(|_| CallError::Interrupted)??)
    }
}
