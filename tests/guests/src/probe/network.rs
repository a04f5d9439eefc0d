//! The network: every kind of socket, and names.

use std::net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};

use super::tell;

const KIND: &str = "network";

/// Tries them. `to` is an address where somebody listens.
pub fn run(to: &str) {
    tell(KIND, "connect over TCP", TcpStream::connect(to).map(drop));
    tell(
        KIND,
        "connect over TCP, IPv6",
        TcpStream::connect("[::1]:80").map(drop),
    );
    tell(
        KIND,
        "listen on TCP",
        TcpListener::bind("127.0.0.1:0").map(drop),
    );
    tell(
        KIND,
        "listen on TCP, IPv6",
        TcpListener::bind("[::1]:0").map(drop),
    );
    tell(
        KIND,
        "open a UDP socket",
        UdpSocket::bind("127.0.0.1:0").map(drop),
    );
    let sent = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", to));
    tell(KIND, "send over UDP", sent);
    for name in ["localhost:80", "example.com:80"] {
        let found = name.to_socket_addrs().map(Iterator::count);
        tell(KIND, &format!("resolve {name}"), found);
    }
}
