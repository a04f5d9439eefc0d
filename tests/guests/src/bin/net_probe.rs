//! Tries to reach a network, one line of JSON for each attempt. The first argument is the address to try.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use guests::report;

fn main() {
    let target = guests::arg(1, "127.0.0.1:80".to_owned());
    report("tcp connect", TcpStream::connect(&target).map(drop));
    report("tcp listen", TcpListener::bind("127.0.0.1:0").map(drop));
    let udp = UdpSocket::bind("127.0.0.1:0");
    report(
        "udp send",
        udp.and_then(|socket| socket.send_to(b"x", &target)),
    );
    report("dns", "localhost:80".to_socket_addrs().map(Iterator::count));
}
