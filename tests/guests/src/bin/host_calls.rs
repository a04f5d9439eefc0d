//! Calls each method of its host; prints one line of JSON for each. The arguments are a peer to connect
//! to: its id, then its addresses, all in hexadecimal digits.

use guests::{hex, report};
use serde_json::{Value, json};

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect()
}

fn main() {
    runtime::run(|session| async move {
        let host = session.host()?;

        let mut request = host
            .executor_request()
            .send()
            .pipeline
            .get_executor()
            .echo_request();
        request.get().set_message("by way of the host");
        let reply = request.send().promise.await?;
        report(
            "executor",
            Ok::<_, runtime::Error>(reply.get()?.get_response()?.to_string()?),
        );

        let mut args = std::env::args().skip(1);
        if let Some(peer) = args.next() {
            let addrs: Vec<_> = args.map(|addr| unhex(&addr)).collect();
            let mut request = host.connect_request();
            request.get().set_peer_id(&unhex(&peer));
            let mut list = request.get().init_addrs(addrs.len() as u32);
            for (index, addr) in (0..).zip(&addrs) {
                list.set(index, addr);
            }
            report("connect", request.send().promise.await.map(drop));
        }

        let reply = host.peers_request().send().promise.await?;
        let mut peers = Vec::new();
        for peer in reply.get()?.get_peers()? {
            let addrs = peer.get_addrs()?.len();
            peers.push(json!({ "peer_id_hex": hex(peer.get_peer_id()?), "addrs": addrs }));
        }
        report("peers", Ok::<Value, runtime::Error>(peers.into()));
        Ok(())
    });
}
