//! Prints what its host tells about itself.

use guests::hex;
use serde_json::json;

fn main() {
    runtime::run(|session| async move {
        let host = session.host()?;
        let id = host.id_request().send().promise.await?;
        let addrs = host.addrs_request().send().promise.await?;
        let peers = host.peers_request().send().promise.await?;
        let mut listening = Vec::new();
        for addr in addrs.get()?.get_addrs()? {
            listening.push(hex(addr?));
        }
        let id = id.get()?.get_peer_id()?;
        println!(
            "{}",
            json!({
                "peer_id": bs58::encode(id).into_string(),
                "peer_id_hex": hex(id),
                "addrs_hex": listening,
                "peers": peers.get()?.get_peers()?.len(),
            })
        );
        Ok(())
    });
}
