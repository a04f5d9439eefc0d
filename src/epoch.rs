//! Epochs: the lifetime of authority on this node, and the order in which one follows another.
//!
//! Sessions belong to an epoch. To move on, the node first *revokes* the epoch in force, which returns when
//! no session of it is left; prepares what the next one needs; and then *publishes* it. Between the two nothing is in
//! force, and no session can be had: authority fails closed. A node that follows no chain stays in epoch 0.

use std::sync::Arc;
use std::time::Duration;

use atom::Epoch;
use tokio::sync::watch;

use crate::tenure::{Tenant, Tenure};

/// How the error starts of every call on a session whose epoch has ended.
pub const STALE: &str = "staleEpoch";

/// How long the sessions of an epoch may take to end. Each needs some microseconds of its vat, and a vat
/// gets its turn at each tick.
const PATIENCE: Duration = Duration::from_secs(10);

/// The epochs of a node. Clones are the same.
#[derive(Clone)]
pub struct Epochs {
    /// `None` while nothing is in force.
    standing: Arc<watch::Sender<Option<Standing>>>,
}

struct Standing {
    epoch: Arc<Epoch>,
    sessions: Tenure,
}

/// A session's share in an epoch. The epoch is not over before all of them are dropped.
pub struct Term {
    /// The epoch.
    pub epoch: Arc<Epoch>,
    /// Tells when it ends.
    pub tenant: Tenant,
}

/// Sessions of a revoked epoch that did not end in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("sessions of the epoch that was revoked are still alive after {PATIENCE:?}")]
pub struct StillAlive;

impl Epochs {
    /// Puts the first epoch in force.
    pub fn new(first: Epoch) -> Self {
        Self {
            standing: Arc::new(watch::Sender::new(Some(Standing::new(first)))),
        }
    }

    /// A share in the epoch in force; `None` between two epochs.
    pub fn term(&self) -> Option<Term> {
        let standing = self.standing.borrow();
        let standing = standing.as_ref()?;
        Some(Term {
            epoch: standing.epoch.clone(),
            tenant: standing.sessions.tenant()?,
        })
    }

    /// Waits until an epoch later than this sequence number is in force.
    pub async fn after(&self, sequence: u64) -> Arc<Epoch> {
        let mut standings = self.standing.subscribe();
        loop {
            if let Some(standing) = &*standings.borrow_and_update()
                && standing.epoch.sequence > sequence
            {
                return standing.epoch.clone();
            }
            if standings.changed().await.is_err() {
                // Nobody is left who could publish one.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the epoch in force, and returns once no session of it is left. Nothing happens if none is in
    /// force.
    ///
    /// # Errors
    /// When sessions are left after ten seconds: theirs is a vat that does not run, so that they cannot be
    /// used either.
    pub async fn revoke(&self) -> Result<(), StillAlive> {
        let Some(mut standing) = self.standing.send_replace(None) else {
            return Ok(());
        };
        standing.end();
        tokio::time::timeout(PATIENCE, standing.sessions.vacant())
            .await
            .map_err(|_| StillAlive)
    }

    /// Puts an epoch in force. One that still is in force ends as by [`Epochs::revoke`], but is not waited for.
    pub fn publish(&self, epoch: Epoch) {
        if let Some(mut before) = self.standing.send_replace(Some(Standing::new(epoch))) {
            before.end();
        }
    }
}

impl Standing {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch: Arc::new(epoch),
            sessions: Tenure::default(),
        }
    }

    fn end(&mut self) {
        self.sessions.end(&format!(
            "{STALE}: epoch {} has ended; wait on Membrane.watch and graft again",
            self.epoch.sequence
        ));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn epoch(sequence: u64) -> Epoch {
        Epoch {
            sequence,
            ..Epoch::default()
        }
    }

    #[tokio::test]
    async fn revoking_waits_for_the_last_session() {
        let epochs = Epochs::new(epoch(1));
        let term = epochs.term().unwrap();
        let mut revoking = Box::pin(epochs.revoke());
        assert!(revoking.as_mut().now_or_never().is_none());
        assert!(term.tenant.over().await.starts_with(STALE));
        assert!(epochs.term().is_none(), "between two epochs");
        drop(term);
        revoking.await.unwrap();
    }

    #[tokio::test]
    async fn watching_waits_for_a_later_epoch_in_force() {
        let epochs = Epochs::new(epoch(1));
        assert_eq!(epochs.after(0).await.sequence, 1);
        let mut watching = Box::pin(epochs.after(1));
        assert!(watching.as_mut().now_or_never().is_none());
        epochs.revoke().await.unwrap();
        assert!(watching.as_mut().now_or_never().is_none());
        epochs.publish(epoch(2));
        assert_eq!(watching.await.sequence, 2);
    }

    #[tokio::test]
    async fn publishing_over_an_epoch_ends_it() {
        let epochs = Epochs::new(epoch(1));
        let term = epochs.term().unwrap();
        epochs.publish(epoch(2));
        assert!(term.tenant.is_over());
        assert_eq!(epochs.term().unwrap().epoch.sequence, 2);
    }
}
