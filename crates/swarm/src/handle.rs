//! What the rest of the node asks of a swarm.
//!
//! Questions about the present are answered from a snapshot that the driver publishes, so they cost a short lock
//! and wait for nobody, however busy the network is. Requests go to the driver over a bounded queue, and each has
//! a deadline that counts the time spent in the queue.

use std::{sync::Arc, time::Duration};

use libp2p::{Multiaddr, PeerId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{ConnectError, Target};

/// Requests that wait for the driver. It takes each in microseconds, so a queue this long means that it is busy,
/// and more requests would only add to that.
const QUEUE: usize = 64;

/// A way to ask a swarm. Cheap to clone, and `Send + Sync`. It does not keep the swarm up: once that has ended,
/// there are no addresses and no peers, and connecting fails with [`ConnectError::Stopped`].
#[derive(Clone, Debug)]
pub struct Handle {
    peer_id: PeerId,
    connect_timeout: Duration,
    requests: mpsc::Sender<Request>,
    snapshot: watch::Receiver<Snapshot>,
}

/// A peer that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The id that it proved.
    pub peer_id: PeerId,
    /// First the remote ends of the connections, then the addresses that the peer says it listens on, which nobody
    /// has checked. The remote end of an inbound connection cannot be dialed. At most
    /// [`MAX_ADDRS`](crate::MAX_ADDRS).
    pub addrs: Vec<Multiaddr>,
}

impl Handle {
    /// This node's own id.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Where this node listens: one address for each address of the machine, the port filled in, without a
    /// `/p2p` suffix.
    pub fn addrs(&self) -> Vec<Multiaddr> {
        self.read(|snapshot| snapshot.addrs.to_vec())
    }

    /// Who is connected, in the order of the peer ids.
    pub fn peers(&self) -> Vec<Peer> {
        self.read(|snapshot| snapshot.peers.to_vec())
    }

    /// Connects to a peer, unless it is connected already. All its addresses are tried at once, and the first
    /// that works is kept. A connection that nobody uses is closed again after
    /// [`Options::idle_timeout`](crate::Options::idle_timeout).
    ///
    /// To be called inside a Tokio runtime with time enabled. Dropping the future leaves the attempt to end by
    /// itself, within [`Options::handshake_timeout`](crate::Options::handshake_timeout).
    ///
    /// # Errors
    /// Every case of [`ConnectError`] but `Address`; after
    /// [`Options::connect_timeout`](crate::Options::connect_timeout) at the latest.
    pub async fn connect(&self, target: Target) -> Result<(), ConnectError> {
        let peer = target.peer;
        if peer == self.peer_id {
            return Err(ConnectError::SelfDial(peer));
        }
        let attempt = async {
            let (reply, answer) = oneshot::channel();
            let request = Request::Connect { target, reply };
            let sent = self.requests.send(request).await;
            sent.map_err(|_| ConnectError::Stopped)?;
            answer.await.unwrap_or(Err(ConnectError::Stopped))
        };
        let after = self.connect_timeout;
        timeout(after, attempt)
            .await
            .unwrap_or(Err(ConnectError::TimedOut { peer, after }))
    }

    /// Waits until there is an address to listen on, or the swarm has ended.
    pub(crate) async fn listening(&self) {
        let mut snapshot = self.snapshot.clone();
        // An error says that the driver has ended, which every later call reports as well.
        let _ended = snapshot
            .wait_for(|now| !now.addrs.is_empty())
            .await
            .is_err();
    }

    fn read<T: Default>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        let has_ended = self.snapshot.has_changed().is_err();
        if has_ended {
            return T::default();
        }
        let snapshot = self.snapshot.borrow().clone();
        read(&snapshot)
    }
}

/// The state of the network at one moment. Cloning it copies two pointers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) addrs: Arc<[Multiaddr]>,
    pub(crate) peers: Arc<[Peer]>,
}

/// What the driver is asked to do.
#[derive(Debug)]
pub(crate) enum Request {
    Connect {
        target: Target,
        reply: oneshot::Sender<Result<(), ConnectError>>,
    },
}

/// The driver's ends of what a [`Handle`] holds.
pub(crate) struct Served {
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) snapshot: watch::Sender<Snapshot>,
}

pub(crate) fn new(peer_id: PeerId, connect_timeout: Duration) -> (Handle, Served) {
    let (requests, requests_served) = mpsc::channel(QUEUE);
    let (snapshot_served, snapshot) = watch::channel(Snapshot::default());
    let handle = Handle {
        peer_id,
        connect_timeout,
        requests,
        snapshot,
    };
    let served = Served {
        requests: requests_served,
        snapshot: snapshot_served,
    };
    (handle, served)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_can_be_shared_between_threads() {
        fn shared<T: Clone + Send + Sync + 'static>() {}
        shared::<Handle>();
    }
}
