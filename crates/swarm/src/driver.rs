//! The task that drives libp2p: takes requests, follows events, and publishes what the network looks like.
//!
//! It never waits for a peer. A request is begun, and answered when libp2p reports how it ended; each ends within
//! the handshake timeout, and libp2p's own limits bound how many there are.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    io,
    num::NonZeroU8,
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, TransportError,
    connection_limits::Exceeded,
    identify,
    multiaddr::Protocol,
    ping,
    swarm::{
        ConnectionId, DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::sync::oneshot;

use crate::{
    ConnectError, MAX_ADDRS, Peer,
    address::{is_dialable, without_peer},
    handle::{Request, Served, Snapshot},
    network::{Behaviour, BehaviourEvent},
};

/// Events handled before a snapshot is published. A burst is published once, and an endless one still is.
const BATCH: usize = 64;

/// All of a target's addresses at once, so that one handshake timeout bounds the whole attempt.
const AT_ONCE: NonZeroU8 = NonZeroU8::MIN.saturating_add(MAX_ADDRS as u8 - 1);

type Reply = oneshot::Sender<Result<(), ConnectError>>;

pub(crate) struct Driver {
    network: libp2p::Swarm<Behaviour>,
    served: Served,
    handshake_timeout: Duration,
    /// Attempts under way, and who waits for them.
    dialing: HashMap<ConnectionId, (PeerId, Reply)>,
    peers: BTreeMap<PeerId, Connected>,
}

#[derive(Default)]
struct Connected {
    /// The remote end of each connection.
    remotes: BTreeMap<ConnectionId, Multiaddr>,
    /// What the peer says it listens on.
    claimed: Vec<Multiaddr>,
}

/// Whether an event changed what a snapshot shows.
#[derive(PartialEq)]
enum Change {
    None,
    Visible,
}

impl Driver {
    pub(crate) fn new(
        network: libp2p::Swarm<Behaviour>,
        served: Served,
        handshake_timeout: Duration,
    ) -> Self {
        Driver {
            network,
            served,
            handshake_timeout,
            dialing: HashMap::new(),
            peers: BTreeMap::new(),
        }
    }

    /// Runs until the other end of `stopped` is used or dropped.
    pub(crate) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                Some(request) = self.served.requests.recv() => self.begin(request),
                event = self.network.select_next_some() => self.follow_all(event),
            }
        }
    }

    fn begin(&mut self, request: Request) {
        let Request::Connect { target, reply } = request;
        if reply.is_closed() {
            return;
        }
        let (peer, given) = (target.peer, target.given);
        if self.network.is_connected(&peer) {
            return answer(reply, Ok(()));
        }
        if target.addrs.is_empty() {
            return answer(reply, Err(ConnectError::NoAddress { peer, given }));
        }
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(target.addrs)
            .override_dial_concurrency_factor(AT_ONCE)
            .build();
        let attempt = options.connection_id();
        match self.network.dial(options) {
            Ok(()) => {
                self.dialing.insert(attempt, (peer, reply));
            }
            Err(error) => answer(reply, Err(self.explain(peer, error))),
        }
    }

    /// This event and those that are ready behind it; then one snapshot.
    fn follow_all(&mut self, first: SwarmEvent<BehaviourEvent>) {
        let mut change = self.follow(first);
        for _ in 1..BATCH {
            let Some(event) = self.network.select_next_some().now_or_never() else {
                break;
            };
            if self.follow(event) == Change::Visible {
                change = Change::Visible;
            }
        }
        if change == Change::Visible {
            self.publish();
        }
    }

    fn follow(&mut self, event: SwarmEvent<BehaviourEvent>) -> Change {
        match event {
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                return Change::Visible;
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                tracing::error!(?reason, "no longer listening");
                return Change::Visible;
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "cannot accept connections");
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                let remote = endpoint.get_remote_address().clone();
                if let Some(remote) = without_peer(remote, peer_id) {
                    let peer = self.peers.entry(peer_id).or_default();
                    peer.remotes.insert(connection_id, remote);
                }
                // Those who wait must find the peer in the list.
                self.publish();
                if let Some((_, reply)) = self.dialing.remove(&connection_id) {
                    answer(reply, Ok(()));
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => {
                tracing::debug!(%peer_id, ?cause, "connection closed");
                if let Some(peer) = self.peers.get_mut(&peer_id) {
                    peer.remotes.remove(&connection_id);
                    if peer.remotes.is_empty() {
                        self.peers.remove(&peer_id);
                    }
                }
                return Change::Visible;
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => self.fail(connection_id, error),
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error,
                ..
            } => {
                tracing::debug!(from = %send_back_addr, %error, "inbound connection failed");
            }
            SwarmEvent::Behaviour(event) => return self.follow_protocol(event),
            _ => {}
        }
        Change::None
    }

    fn follow_protocol(&mut self, event: BehaviourEvent) -> Change {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                let Some(peer) = self.peers.get_mut(&peer_id) else {
                    return Change::None;
                };
                tracing::debug!(%peer_id, agent = ?info.agent_version, "identified");
                peer.claimed = info
                    .listen_addrs
                    .into_iter()
                    .filter_map(|addr| without_peer(addr, peer_id))
                    .filter(is_dialable)
                    .take(MAX_ADDRS)
                    .collect();
                Change::Visible
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result: Err(ping::Failure::Timeout),
            }) => {
                tracing::debug!(%peer, "no answer to a ping: closing the connection");
                self.network.close_connection(connection);
                Change::None
            }
            _ => Change::None,
        }
    }

    fn fail(&mut self, attempt: ConnectionId, error: DialError) {
        let Some((peer, reply)) = self.dialing.remove(&attempt) else {
            return;
        };
        // The peer may have connected to us meanwhile, and the attempt failed for that very reason.
        let outcome = if self.network.is_connected(&peer) {
            Ok(())
        } else {
            Err(self.explain(peer, error))
        };
        answer(reply, outcome);
    }

    fn explain(&self, peer: PeerId, error: DialError) -> ConnectError {
        match error {
            DialError::WrongPeerId { obtained, address } => ConnectError::WrongPeer {
                expected: peer,
                found: obtained,
                addr: bare(address),
            },
            DialError::LocalPeerId { address } => ConnectError::WrongPeer {
                expected: peer,
                found: *self.network.local_peer_id(),
                addr: bare(address),
            },
            DialError::Transport(failures) if failures.iter().all(is_timeout) => {
                ConnectError::TimedOut {
                    peer,
                    after: self.handshake_timeout,
                }
            }
            DialError::Transport(failures) => ConnectError::Unreachable {
                peer,
                attempts: failures
                    .into_iter()
                    .map(|(addr, error)| (bare(addr), innermost(&error)))
                    .collect(),
            },
            DialError::Denied { cause } => match cause.downcast::<Exceeded>() {
                Ok(exceeded) => ConnectError::Full {
                    limit: exceeded.limit(),
                },
                Err(other) => ConnectError::GivenUp {
                    peer,
                    reason: innermost(&other),
                },
            },
            // libp2p passes over the addresses that it listens on itself.
            DialError::NoAddresses => ConnectError::OwnAddress { peer },
            DialError::Aborted | DialError::DialPeerConditionFalse(_) => ConnectError::GivenUp {
                peer,
                reason: error.to_string(),
            },
        }
    }

    fn publish(&self) {
        let mut addrs: Vec<_> = self.network.listeners().cloned().collect();
        addrs.sort();
        let peers = self
            .peers
            .iter()
            .map(|(id, peer)| peer.shown(*id))
            .collect();
        self.served.snapshot.send_replace(Snapshot {
            addrs: addrs.into(),
            peers,
        });
    }
}

impl Connected {
    fn shown(&self, peer_id: PeerId) -> Peer {
        let mut addrs: Vec<Multiaddr> = Vec::new();
        for addr in self.remotes.values().chain(&self.claimed) {
            if addrs.len() < MAX_ADDRS && !addrs.contains(addr) {
                addrs.push(addr.clone());
            }
        }
        Peer { peer_id, addrs }
    }
}

fn answer(reply: Reply, outcome: Result<(), ConnectError>) {
    if reply.send(outcome).is_err() {
        tracing::trace!("nobody waits for this connection any more");
    }
}

/// Whether an attempt ended in the timeout that [`network`](crate::network) gives a handshake.
fn is_timeout((_, error): &(Multiaddr, TransportError<io::Error>)) -> bool {
    let TransportError::Other(error) = error else {
        return false;
    };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let error: &io::Error = inner.unwrap_or(error);
    error.kind() == io::ErrorKind::TimedOut
}

/// Without the `/p2p` suffix that libp2p adds when it dials: the errors name the peer anyway.
fn bare(mut addr: Multiaddr) -> Multiaddr {
    if let Some(Protocol::P2p(_)) = addr.iter().last() {
        addr.pop();
    }
    addr
}

/// The text of the first cause. libp2p wraps it in one layer for each protocol, and those say nothing to a person.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
