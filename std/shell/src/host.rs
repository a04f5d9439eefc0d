//! What the shell tells about its node: ids, addresses and peers, as text.

use multiaddr::Multiaddr;
use runtime::{Result, Session};

/// The node's peer id, in base58.
///
/// # Errors
/// Where the cell was not granted the host, or the call failed.
pub async fn id(session: &Session) -> Result<String> {
    let reply = session.host()?.id_request().send().promise.await?;
    Ok(peer_text(reply.get()?.get_peer_id()?))
}

/// Where the node listens, one address a line.
///
/// # Errors
/// As [`id`].
pub async fn addrs(session: &Session) -> Result<String> {
    let reply = session.host()?.addrs_request().send().promise.await?;
    let mut text = String::new();
    for addr in reply.get()?.get_addrs()? {
        text.push_str(&addr_text(addr?));
        text.push('\n');
    }
    Ok(text)
}

/// The peers that the node is connected to, one a line: the id, then the addresses.
///
/// # Errors
/// As [`id`].
pub async fn peers(session: &Session) -> Result<String> {
    let reply = session.host()?.peers_request().send().promise.await?;
    let mut text = String::new();
    for peer in reply.get()?.get_peers()? {
        text.push_str(&peer_text(peer.get_peer_id()?));
        for addr in peer.get_addrs()? {
            text.push(' ');
            text.push_str(&addr_text(addr?));
        }
        text.push('\n');
    }
    Ok(text)
}

/// What the executor makes of a message.
///
/// # Errors
/// Where the cell was not granted the executor, or the call failed.
pub async fn echo(session: &Session, message: &str) -> Result<String> {
    let mut request = session.executor()?.echo_request();
    request.get().set_message(message);
    let reply = request.send().promise.await?;
    Ok(reply.get()?.get_response()?.to_string()?)
}

fn peer_text(id: &[u8]) -> String {
    bs58::encode(id).into_string()
}

/// An address that this program does not know is shown by its bytes.
fn addr_text(bytes: &[u8]) -> String {
    match Multiaddr::try_from(bytes.to_vec()) {
        Ok(addr) => addr.to_string(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_are_shown_the_way_people_write_them() {
        for text in [
            "/ip4/127.0.0.1/tcp/2025",
            "/ip6/::1/udp/2025/quic-v1",
            "/ip4/127.0.0.1/tcp/2025/p2p/12D3KooWQwiu2SDMx4FL4ERr2CiB5RDt7JHopJt7h9yq4n1iR7Bz",
        ] {
            let addr: Multiaddr = text.parse().unwrap();
            assert_eq!(addr_text(&addr.to_vec()), text);
        }
        assert_eq!(addr_text(&[0xff, 0xff]), "ffff");
    }

    #[test]
    fn peer_ids_are_base58() {
        assert_eq!(peer_text(&[0, 0x12, 0x20, 0]), "17671");
    }
}
