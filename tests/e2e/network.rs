//! What of a node can be seen on the network.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use fixtures::{PATIENCE, Running, guests};

use crate::{Stage, ww};

/// Where a node listens on the loopback, from the line in which it says so.
fn port_of(running: &mut Running) -> u16 {
    let line = running.stderr_line("listening");
    let (_, rest) = line.split_once("/ip4/127.0.0.1/tcp/").unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// The TCP ports on which a process listens, as the kernel has it.
fn listening(pid: u32) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|target| {
            let target = target.to_str()?;
            let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    const LISTEN: &str = "0A";
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|table| table.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
            (*state == LISTEN && sockets.contains(*inode))
                .then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok())?
        })
        .collect()
}

/// A port that was free a moment ago. Not for ever: whoever binds it has to try again if it is taken.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

// Rows 29, 35: the port that was asked for is the only one; calls go over memory.
#[test]
fn a_node_listens_on_its_port_and_on_no_other() {
    let stage = Stage::new(guests::KERNEL);
    let port = free_port();
    let mut command = stage.ww.command(["run", "--port", &port.to_string()]);
    let mut running = Running::start(command.arg(stage.environment.path()));
    assert_eq!(port_of(&mut running), port);
    // Its guest has made calls by now.
    running.stderr_line("ready");
    assert_eq!(listening(running.pid()), BTreeSet::from([port]));
}

// Rows 29, 59: 0 is any port that is free.
#[test]
fn port_0_is_any_that_is_free() {
    let stage = Stage::new(guests::IDLE);
    let mut running = stage.start(&[]);
    let port = port_of(&mut running);
    assert_ne!(port, 0);
    assert_eq!(listening(running.pid()), BTreeSet::from([port]));
}

// Rows 28, 59. That it is so is seen in `readme`.
#[test]
fn help_tells_the_default_port() {
    let help = ww().run(["run", "--help"]).ok().stdout();
    assert!(help.contains("[default: 2025]"), "{help}");
}

// Rows 30, 36: the guest has not run by then.
#[test]
fn a_port_in_use_by_another_program_is_an_error() {
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let stage = Stage::new(guests::HELLO);
    let mut command = stage.ww.command(["run", "--port", &port]);
    fixtures::finish(command.arg(stage.environment.path())).refused(&[&port, "--port"]);
    assert!(stage.ww.scratch().is_empty());
}

// Rows 30, 100: two nodes side by side, each on a port of its own and not on one.
#[test]
fn two_nodes_run_on_two_ports_and_not_on_one() {
    let (one, other) = (Stage::new(guests::IDLE), Stage::new(guests::IDLE));
    let (mut first, mut second) = (one.start(&[]), other.start(&[]));
    let (port, next) = (port_of(&mut first), port_of(&mut second));
    assert_ne!(port, next);
    first.stdout_line("idle");
    second.stdout_line("idle");

    let third = Stage::new(guests::HELLO);
    let port = port.to_string();
    let mut command = third.ww.command(["run", "--port", &port]);
    fixtures::finish(command.arg(third.environment.path())).refused(&[&port, "--port"]);

    // The two go on.
    for running in [&mut first, &mut second] {
        running.terminate();
        assert!(matches!(running.code(), 0 | 143));
    }
}

// Row 27: a client that knows nothing of us but the protocol.
#[test]
fn a_node_speaks_multistream_and_noise() {
    let stage = Stage::new(guests::IDLE);
    let mut running = stage.start(&[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&mut running)));
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    for protocol in ["/multistream/1.0.0", "/noise"] {
        peer.write_all(&multistream(protocol)).unwrap();
        assert_eq!(read_multistream(&mut peer), protocol);
    }

    // What it does not speak it says so, and an attempt in the clear gets nowhere.
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.write_all(&multistream("/multistream/1.0.0")).unwrap();
    assert_eq!(read_multistream(&mut peer), "/multistream/1.0.0");
    peer.write_all(&multistream("/plaintext/2.0.0")).unwrap();
    assert_eq!(read_multistream(&mut peer), "na");
}

/// A line of multistream-select: its length, the text, a newline.
fn multistream(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap();
    [&[length], text.as_bytes(), b"\n"].concat()
}

fn read_multistream(peer: &mut TcpStream) -> String {
    let mut length = [0];
    peer.read_exact(&mut length).unwrap();
    let mut text = vec![0; length[0].into()];
    peer.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap().trim_end().to_owned()
}
