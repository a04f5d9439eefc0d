//! A proxy between us and a server, that does one thing wrong.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the proxy does with the first answer on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// The body comes in small pieces, as over a slow line.
    Slow,
    /// The body comes byte by byte, for as long as anybody listens.
    Trickle,
    /// The connection ends in the middle of the body.
    Cut,
    /// The request is never read.
    Deaf,
    /// The request is read and never answered.
    Mute,
    /// The answer is no HTTP.
    Garbage,
    /// A byte in the body is another.
    Flip,
    /// The body never ends.
    Endless,
    /// The head never ends.
    EndlessHead,
    /// An error.
    Status500,
    /// Somewhere else.
    Redirect,
}

/// A proxy on a port of its own. It lives as long as the process.
pub struct Proxy {
    pub url: String,
    mode: Arc<Mutex<Mode>>,
    /// How many came to where the redirect points.
    pub astray: Arc<AtomicUsize>,
}

impl Proxy {
    /// In front of the server at `url`.
    pub fn new(url: &str) -> Self {
        let server = url.strip_prefix("http://").unwrap().to_owned();
        let (listener, elsewhere) = (listen(), listen());
        let mode = Arc::new(Mutex::new(Mode::Pass));
        let astray = Arc::new(AtomicUsize::new(0));
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            mode: mode.clone(),
            astray: astray.clone(),
        };
        let place = elsewhere.local_addr().unwrap();
        std::thread::spawn(move || {
            for _ in elsewhere.incoming() {
                astray.fetch_add(1, Ordering::Relaxed);
            }
        });
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mode = *mode.lock().unwrap();
                let (client, server) = (client.unwrap(), server.clone());
                let location = format!("http://{place}/");
                // Whoever hangs up ends the thread.
                std::thread::spawn(move || serve(client, &server, mode, &location));
            }
        });
        proxy
    }

    /// From the next connection on.
    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn serve(mut client: TcpStream, server: &str, mode: Mode, location: &str) {
    // The bound on every test: nothing is waited for longer.
    client
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let own_answer = match mode {
        Mode::Deaf => {
            let mut nothing = [];
            let _ = client.read(&mut nothing);
            std::thread::sleep(Duration::from_secs(20));
            return;
        }
        Mode::Mute => {
            let _ = std::io::copy(&mut client, &mut std::io::sink());
            return;
        }
        Mode::Garbage => "\u{0}\u{1}SSH-2.0-what?\r\n\r\n".to_owned(),
        Mode::Status500 => {
            let body = r#"{"Message":"out of order","Code":0,"Type":"error"}"#;
            format!(
                "HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        }
        Mode::Redirect => {
            format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            )
        }
        Mode::Endless => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
        Mode::EndlessHead => "HTTP/1.1 200 OK\r\n".to_owned(),
        _ => {
            let _ = relay(client, server, mode);
            return;
        }
    };
    // The request is read as far as it comes, so that the answer is not lost with the connection.
    let mut reader = client.try_clone().unwrap();
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let mut answered = client.write_all(own_answer.as_bytes());
    let more: &[u8] = match mode {
        Mode::Endless => &[b'{'; 8192],
        Mode::EndlessHead => b"X-More: and more\r\n",
        _ => {
            std::thread::sleep(Duration::from_millis(200));
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
    };
    while answered.is_ok() {
        answered = client.write_all(more);
    }
}

/// Passes everything on, but does its one thing to the body of the first answer.
fn relay(mut client: TcpStream, server: &str, mode: Mode) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(server)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, upstream.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let outcome = answer(&mut client, &mut upstream, mode);
    let _ = client.shutdown(Shutdown::Both);
    let _ = upstream.shutdown(Shutdown::Both);
    outcome
}

fn answer(client: &mut TcpStream, upstream: &mut TcpStream, mode: Mode) -> std::io::Result<()> {
    if mode == Mode::Pass {
        std::io::copy(upstream, client)?;
        return Ok(());
    }
    // The head goes by as it is; so does a `100 Continue` before it.
    let mut head = Vec::new();
    let mut byte = [0];
    loop {
        upstream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            client.write_all(&head)?;
            if !head.starts_with(b"HTTP/1.1 100") {
                break;
            }
            head.clear();
        }
    }
    let mut passed = 0;
    let mut piece = [0; 8192];
    loop {
        let count = upstream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        let piece = &mut piece[..count];
        match mode {
            Mode::Flip if (passed..passed + count).contains(&FLIPPED) => {
                piece[FLIPPED - passed] ^= 0x20;
            }
            Mode::Slow => std::thread::sleep(Duration::from_millis(30)),
            Mode::Trickle => {
                for byte in piece {
                    client.write_all(std::slice::from_ref(byte))?;
                    std::thread::sleep(Duration::from_millis(20));
                }
                continue;
            }
            Mode::Cut if passed + count > CUT_AFTER => {
                let rest = CUT_AFTER.saturating_sub(passed);
                return client.write_all(&piece[..rest]);
            }
            _ => {}
        }
        client.write_all(piece)?;
        passed += count;
    }
}

/// Where a byte is changed, in bytes from the beginning of the body: behind the head of a chunk and that
/// of a CAR, in the first block.
const FLIPPED: usize = 300;

/// Where the connection is cut, in bytes from the beginning of the body.
const CUT_AFTER: usize = 100;
