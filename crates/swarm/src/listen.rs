//! Listening sockets that are ours alone.
//!
//! libp2p's TCP transport sets `SO_REUSEPORT` on every socket it listens on, so that it can dial from the same port.
//! With that option a second process of the same user binds the same port without an error, and the system hands
//! each of them some of the connections: peers then meet the wrong node every other time. The sockets made here do
//! without, and the port that somebody holds is an error. The price is that connections are not dialed from the
//! listening port.
//!
//! `SO_REUSEADDR` is set, because otherwise a node could not start again for a minute after it had ended. On Unix
//! it does not let two listeners share a port.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::SwarmError;

/// Connections that the system accepts before we do. libp2p's own figure: room for a burst while the driver is busy.
const BACKLOG: i32 = 1024;

/// When any port will do, the one that the first address got may be taken on the second: then another is tried.
const PORT_ATTEMPTS: usize = 16;

/// Listens on `port` of each address, or, if it is 0, on one port that is free on all of them.
pub(crate) fn bind(ips: &BTreeSet<IpAddr>, port: u16) -> Result<Vec<TcpListener>, SwarmError> {
    let mut result = bind_all(ips, port);
    for _ in 1..PORT_ATTEMPTS {
        if port != 0 || !matches!(result, Err(SwarmError::PortInUse { .. })) {
            break;
        }
        result = bind_all(ips, port);
    }
    result
}

fn bind_all(ips: &BTreeSet<IpAddr>, mut port: u16) -> Result<Vec<TcpListener>, SwarmError> {
    let mut listeners = Vec::new();
    let mut missing = None;
    for ip in ips.iter().filter(|ip| !is_covered(**ip, ips)) {
        let addr = SocketAddr::new(*ip, port);
        let bound = bind_one(addr).and_then(|listener| Ok((listener.local_addr()?, listener)));
        match bound {
            Ok((local, listener)) => {
                port = local.port();
                listeners.push(listener);
            }
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(SwarmError::PortInUse { addr });
            }
            Err(source) if ip.is_unspecified() && is_family_missing(&source) => {
                missing = Some(SwarmError::Listen { addr, source });
            }
            Err(source) => return Err(SwarmError::Listen { addr, source }),
        }
    }
    if listeners.is_empty() {
        return Err(missing.unwrap_or(SwarmError::NowhereToListen));
    }
    Ok(listeners)
}

fn bind_one(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // Otherwise the IPv6 socket takes the port's IPv4 side as well.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn is_covered(ip: IpAddr, ips: &BTreeSet<IpAddr>) -> bool {
    !ip.is_unspecified()
        && ips
            .iter()
            .any(|other| other.is_unspecified() && other.is_ipv4() == ip.is_ipv4())
}

/// Whether the machine has no IPv4, or no IPv6, at all.
fn is_family_missing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::PROTONOSUPPORT)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn port(listeners: &[TcpListener]) -> u16 {
        listeners[0].local_addr().unwrap().port()
    }

    #[test]
    fn both_families_get_the_same_free_port() {
        let listeners = bind(&BTreeSet::from([ANY_V4, ANY_V6]), 0).unwrap();
        assert_eq!(listeners.len(), 2);
        assert_eq!(port(&listeners[..1]), port(&listeners[1..]));
    }

    #[test]
    fn a_port_is_refused_when_either_family_has_it() {
        for taken in [ANY_V4, ANY_V6] {
            let held = bind(&BTreeSet::from([taken]), 0).unwrap();
            let error = bind(&BTreeSet::from([ANY_V4, ANY_V6]), port(&held)).unwrap_err();
            assert!(matches!(error, SwarmError::PortInUse { addr } if addr.ip() == taken));
        }
    }

    #[test]
    fn an_address_that_another_covers_is_passed_over() {
        let listeners = bind(&BTreeSet::from([ANY_V4, LOOPBACK]), 0).unwrap();
        assert_eq!(listeners.len(), 1);
    }

    #[test]
    fn no_address_and_a_foreign_address_are_refused() {
        assert!(matches!(
            bind(&BTreeSet::new(), 0),
            Err(SwarmError::NowhereToListen)
        ));
        let foreign: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(matches!(
            bind(&BTreeSet::from([foreign]), 0),
            Err(SwarmError::Listen { .. })
        ));
    }
}
