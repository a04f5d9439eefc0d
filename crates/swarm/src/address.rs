//! Peer ids and addresses as they come from outside: bytes that a cell or a peer chose.
//!
//! A peer id is the bytes of its multihash, an address is a binary multiaddr. Length is checked before anything is
//! parsed or copied. To print them again, use `PeerId::to_bytes` and `Multiaddr::to_vec`.

use std::net::{IpAddr, SocketAddr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::AddressError;

/// The most bytes a peer id has. An inlined Ed25519 key takes 38, a sha2-256 multihash 34; a multihash of the
/// longest digest that libp2p parses, 64 bytes, takes 84 with the longest varints for code and length.
pub const MAX_PEER_ID_BYTES: usize = 84;

/// The most bytes an address has. One over a relay, with two peer ids and a DNS name of full length, stays below
/// 400.
pub const MAX_ADDR_BYTES: usize = 512;

/// The most addresses for one peer. They are all dialed at once, so one call makes this many packets at most.
pub const MAX_ADDRS: usize = 16;

/// Reads a peer id from the bytes of its multihash.
///
/// # Errors
/// [`AddressError::PeerId`] for anything else, and for more than [`MAX_PEER_ID_BYTES`].
pub fn parse_peer_id(bytes: &[u8]) -> Result<PeerId, AddressError> {
    let refused = AddressError::PeerId {
        length: bytes.len(),
    };
    if bytes.len() > MAX_PEER_ID_BYTES {
        return Err(refused);
    }
    PeerId::from_bytes(bytes).map_err(|_| refused)
}

/// Reads an address from a binary multiaddr.
///
/// # Errors
/// [`AddressError::Multiaddr`] if it is empty, longer than [`MAX_ADDR_BYTES`], or no multiaddr.
pub fn parse_addr(bytes: &[u8]) -> Result<Multiaddr, AddressError> {
    let refused = |reason: String| AddressError::Multiaddr {
        length: bytes.len(),
        reason,
    };
    if bytes.is_empty() {
        return Err(refused("it is empty".into()));
    }
    if bytes.len() > MAX_ADDR_BYTES {
        return Err(refused(format!("{MAX_ADDR_BYTES} is the limit")));
    }
    Multiaddr::try_from(bytes.to_vec()).map_err(|error| refused(error.to_string()))
}

/// A peer, and where to try to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who must answer.
    pub(crate) peer: PeerId,
    /// Where to dial, without a `/p2p` suffix; only what this node has a transport for.
    pub(crate) addrs: Vec<Multiaddr>,
    /// How many addresses were given.
    pub(crate) given: usize,
}

impl Target {
    /// Reads a peer id and its addresses, each of which may end in `/p2p` with that peer's id.
    ///
    /// Addresses that are well formed, but for transports that this node does not have, are passed over: peers
    /// commonly list one address for each transport. No address at all is enough for a peer that is connected.
    ///
    /// # Errors
    /// The first malformed part; more than [`MAX_ADDRS`] addresses; an address that names another peer.
    pub fn parse<'a>(
        peer: &[u8],
        addrs: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, AddressError> {
        let mut target = Target {
            peer: parse_peer_id(peer)?,
            addrs: Vec::new(),
            given: 0,
        };
        for bytes in addrs {
            target.given += 1;
            if target.given > MAX_ADDRS {
                return Err(AddressError::TooMany { limit: MAX_ADDRS });
            }
            let addr = parse_addr(bytes)?;
            let bare = without_peer(addr.clone(), target.peer).ok_or(AddressError::OtherPeer {
                expected: target.peer,
                addr,
            })?;
            if is_dialable(&bare) && !target.addrs.contains(&bare) {
                target.addrs.push(bare);
            }
        }
        Ok(target)
    }

    /// Who must answer.
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }
}

/// The address without its `/p2p` suffix; `None` if that names another peer.
pub(crate) fn without_peer(mut addr: Multiaddr, peer: PeerId) -> Option<Multiaddr> {
    match addr.iter().last() {
        Some(Protocol::P2p(named)) if named != peer => None,
        Some(Protocol::P2p(_)) => {
            addr.pop();
            Some(addr)
        }
        _ => Some(addr),
    }
}

/// Whether this node has a transport for the address: an IP address and a TCP port, and nothing more.
pub(crate) fn is_dialable(addr: &Multiaddr) -> bool {
    socket_addr(addr).is_some_and(|socket| socket.port() != 0 && !socket.ip().is_unspecified())
}

/// The address as `/ip4/…/tcp/…` or `/ip6/…/tcp/…`.
pub(crate) fn multiaddr(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Tcp(socket.port()))
}

/// The opposite of [`multiaddr`]; `None` for any other shape.
pub(crate) fn socket_addr(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else {
        return None;
    };
    parts.next().is_none().then_some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn bytes(addr: &str) -> Vec<u8> {
        addr.parse::<Multiaddr>().unwrap().to_vec()
    }

    #[test]
    fn peer_id_and_address_survive_the_way_out_and_in() {
        let peer = PeerId::random();
        assert_eq!(parse_peer_id(&peer.to_bytes()), Ok(peer));
        let addr: Multiaddr = "/ip6/::1/tcp/2025".parse().unwrap();
        assert_eq!(parse_addr(&addr.to_vec()), Ok(addr));
    }

    #[test]
    fn malformed_bytes_are_refused() {
        let peer = PeerId::random().to_bytes();
        for bad in [&[][..], b"x", &peer[..peer.len() - 1], &[0; 4096]] {
            assert!(matches!(
                parse_peer_id(bad),
                Err(AddressError::PeerId { .. })
            ));
        }
        let long = bytes("/ip4/1.2.3.4/tcp/1").repeat(100);
        for bad in [&[][..], b"/ip4/1.2.3.4/tcp/1", &[0xff; 40], &[4, 1], &long] {
            assert!(matches!(
                parse_addr(bad),
                Err(AddressError::Multiaddr { .. })
            ));
        }
    }

    #[test]
    fn target_keeps_what_can_be_dialed_once() {
        let peer = PeerId::random();
        let addrs = [
            bytes("/ip4/192.0.2.1/tcp/4001"),
            bytes(&format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}")),
            bytes("/ip4/192.0.2.1/udp/4001/quic-v1"),
            bytes("/ip4/0.0.0.0/tcp/4001"),
            bytes("/ip4/192.0.2.1/tcp/0"),
            bytes("/dns4/example.org/tcp/4001"),
            bytes("/ip4/192.0.2.1/tcp/4001/ws"),
        ];
        let target = Target::parse(&peer.to_bytes(), addrs.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(target.addrs, ["/ip4/192.0.2.1/tcp/4001".parse().unwrap()]);
        assert_eq!(target.given, addrs.len());
    }

    #[test]
    fn target_refuses_another_peers_address_and_too_many() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let theirs = bytes(&format!("/ip4/192.0.2.1/tcp/4001/p2p/{other}"));
        assert!(matches!(
            Target::parse(&peer.to_bytes(), [theirs.as_slice()]),
            Err(AddressError::OtherPeer { .. })
        ));
        let addr = bytes("/ip4/192.0.2.1/tcp/4001");
        let endless = std::iter::repeat(addr.as_slice());
        assert_eq!(
            Target::parse(&peer.to_bytes(), endless),
            Err(AddressError::TooMany { limit: MAX_ADDRS })
        );
    }
}
