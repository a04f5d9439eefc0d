//! Peers on the wire, for every face that tells of them.

use schema::system_capnp::peer_info;
use swarm::{Peer, Target};

use super::bounded;

/// Writes peers and where they can be reached.
pub fn encode(peers: &[Peer], mut list: capnp::struct_list::Builder<'_, peer_info::Owned>) {
    for (index, peer) in (0..).zip(peers) {
        encode_one(peer, list.reborrow().get(index));
    }
}

/// Writes one.
pub fn encode_one(peer: &Peer, mut entry: peer_info::Builder<'_>) {
    entry.set_peer_id(&peer.peer_id.to_bytes());
    let mut addrs = entry.init_addrs(u32::try_from(peer.addrs.len()).unwrap_or(u32::MAX));
    for (index, addr) in (0..).zip(&peer.addrs) {
        addrs.set(index, addr.as_ref());
    }
}

/// The peer that a caller names, and where to look for it.
pub fn target(
    call: &str,
    peer_id: &[u8],
    addrs: capnp::data_list::Reader<'_>,
) -> capnp::Result<Target> {
    bounded(&format!("{call}: addrs"), addrs.len())?;
    let addrs = addrs.iter().collect::<capnp::Result<Vec<_>>>()?;
    Target::parse(peer_id, addrs).map_err(|error| capnp::Error::failed(format!("{call}: {error}")))
}
