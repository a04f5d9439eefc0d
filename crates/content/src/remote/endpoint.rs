//! One server and how it is asked: a request with its deadlines, and an answer that is refused unless it
//! is a success of bounded size.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Response, Uri, header};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, AsSendBody, Body, BodyReader, Timeout};

use super::error::quoted;
use super::watch::Watch;
use super::{Deadlines, Download, Fault, Phase, RemoteError};

/// The most of a refusal that is read, in bytes: more than any message, and no page is loaded whole.
const MAX_REFUSAL_BYTES: u64 = 16 * 1024;

/// How many connections are kept for the next request: as many as a fetch has threads.
const MAX_IDLE_CONNECTIONS: usize = 8;

/// What kind of server it is, which decides what to advise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Kubo,
    Gateway,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kubo => "Kubo",
            Self::Gateway => "the gateway",
        })
    }
}

/// A server at an address that the user named, and nowhere else.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    server: Server,
    url: Arc<str>,
    deadlines: Deadlines,
    pooled: Agent,
}

/// One request, as far as its errors need to know it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(super) url: Arc<str>,
    pub(super) call: &'static str,
    server: Server,
    pub(super) deadlines: Deadlines,
}

impl Asked {
    pub(super) fn error(&self, fault: Fault) -> RemoteError {
        RemoteError::new(self.server, &self.url, self.call, fault)
    }
}

/// The whole of a small answer.
#[derive(Debug)]
pub(crate) struct Answer {
    asked: Asked,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn error(&self, fault: Fault) -> RemoteError {
        self.asked.error(fault)
    }

    /// The answer did not make sense to `why`.
    pub(crate) fn garbled(&self, why: impl ToString) -> RemoteError {
        self.error(Fault::Garbled {
            why: quoted(&why.to_string()),
        })
    }
}

impl Endpoint {
    /// Refuses addresses that are not plain `http://` or `https://` ones. Connects to nobody.
    pub(crate) fn new(
        server: Server,
        url: &str,
        deadlines: Deadlines,
    ) -> Result<Self, RemoteError> {
        let refused = |why| {
            // What may hold a password is not repeated.
            let shown = if url.contains('@') { "…" } else { url };
            RemoteError::new(server, shown, "reading the address", Fault::Address { why })
        };
        let parsed: Uri = url.parse().map_err(|_| refused("it cannot be parsed"))?;
        if !matches!(parsed.scheme_str(), Some("http" | "https")) {
            return Err(refused("it does not begin with http:// or https://"));
        }
        let authority = parsed.authority().ok_or(refused("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("credentials do not belong in it"));
        }
        if parsed.query().is_some() || url.contains('#') {
            return Err(refused("it has a query"));
        }
        let pooled = Agent::new_with_config(config(&deadlines, deadlines.call));
        Ok(Self {
            server,
            url: url.trim_end_matches('/').into(),
            deadlines,
            pooled,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// A `GET` that answers at most `limit` bytes.
    pub(crate) fn get(
        &self,
        call: &'static str,
        path: &str,
        query: &[(&str, &str)],
        accept: &str,
        limit: u64,
    ) -> Result<Answer, RemoteError> {
        let asked = self.asked(call);
        let request = self.pooled.get(format!("{}{path}", self.url));
        let request = request.header(header::ACCEPT, accept);
        let answer = request.query_pairs(query.iter().copied()).call();
        asked.small(answer, limit)
    }

    /// Asks whether a [`get`](Self::get) would succeed.
    pub(crate) fn head(
        &self,
        call: &'static str,
        path: &str,
        query: &[(&str, &str)],
        accept: &str,
    ) -> Result<(), RemoteError> {
        let request = self.pooled.head(format!("{}{path}", self.url));
        let request = request.header(header::ACCEPT, accept);
        let answer = request.query_pairs(query.iter().copied()).call();
        self.asked(call).success(answer).map(drop)
    }

    /// As [`get`](Self::get), for an answer that is read as it comes, of at most `limit` bytes.
    pub(crate) fn get_stream(
        &self,
        call: &'static str,
        path: &str,
        query: &[(&str, &str)],
        accept: &str,
        limit: u64,
    ) -> Result<Download, RemoteError> {
        let (agent, watch) = self.watched();
        let asked = self.asked(call);
        let request = agent.get(format!("{}{path}", self.url));
        let request = request.header(header::ACCEPT, accept);
        let answer = request.query_pairs(query.iter().copied()).call();
        asked.stream(answer, watch, limit)
    }

    /// A `POST` without a body that answers at most `limit` bytes.
    pub(crate) fn post(
        &self,
        call: &'static str,
        path: &str,
        query: &[(&str, &str)],
        limit: u64,
    ) -> Result<Answer, RemoteError> {
        let request = self.pooled.post(format!("{}{path}", self.url));
        let answer = request.query_pairs(query.iter().copied()).send_empty();
        self.asked(call).small(answer, limit)
    }

    /// As [`post`](Self::post), for an answer that is read as it comes, of at most `limit` bytes.
    pub(crate) fn post_stream(
        &self,
        call: &'static str,
        path: &str,
        query: &[(&str, &str)],
        limit: u64,
    ) -> Result<Download, RemoteError> {
        let (agent, watch) = self.watched();
        let request = agent.post(format!("{}{path}", self.url));
        let answer = request.query_pairs(query.iter().copied()).send_empty();
        self.asked(call).stream(answer, watch, limit)
    }

    /// A `POST` of `body` that answers at most `limit` bytes. The body is bounded as a stream.
    ///
    /// The server is asked before the body is sent, so that one that refuses says why.
    pub(crate) fn upload(
        &self,
        call: &'static str,
        path: &str,
        query: &[(&str, &str)],
        content_type: &str,
        body: impl AsSendBody,
        limit: u64,
    ) -> Result<Download, RemoteError> {
        let (agent, watch) = self.watched();
        let request = agent.post(format!("{}{path}", self.url));
        let request = request
            .header(header::CONTENT_TYPE, content_type)
            .header(header::EXPECT, "100-continue");
        let answer = request.query_pairs(query.iter().copied()).send(body);
        self.asked(call).stream(answer, watch, limit)
    }

    fn asked(&self, call: &'static str) -> Asked {
        Asked {
            url: self.url.clone(),
            call,
            server: self.server,
            deadlines: self.deadlines,
        }
    }

    /// An agent for one stream, with a connection of its own that can be watched.
    fn watched(&self) -> (Agent, Watch) {
        let watch = Watch::new(self.deadlines.progress);
        let connector =
            ().chain(TcpConnector::default())
                .chain(RustlsConnector::default())
                .chain(watch.clone());
        let config = config(&self.deadlines, self.deadlines.stream);
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        (agent, watch)
    }
}

fn config(deadlines: &Deadlines, whole: Duration) -> ureq::config::Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("wetware/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(deadlines.connect))
        .timeout_connect(Some(deadlines.connect))
        .timeout_recv_response(Some(deadlines.answer))
        .timeout_per_write(Some(deadlines.progress))
        .timeout_global(Some(whole))
        .max_idle_connections_per_host(MAX_IDLE_CONNECTIONS)
        .build()
}

impl Asked {
    fn small(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
        limit: u64,
    ) -> Result<Answer, RemoteError> {
        let body = self.success(answer)?;
        let whole = self.deadlines.call;
        let bytes = read_whole(body.into_with_config().limit(u64::MAX).reader(), limit)
            .map_err(|error| self.error(fault(error, &self.deadlines, whole)))?
            .ok_or_else(|| self.error(Fault::TooLong { limit }))?;
        Ok(Answer {
            asked: self.clone(),
            bytes,
        })
    }

    fn stream(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
        watch: Watch,
        limit: u64,
    ) -> Result<Download, RemoteError> {
        let body = self.success(answer)?;
        Ok(Download::new(body, self.clone(), watch, limit))
    }

    /// The body of a success; everything else is a fault.
    fn success(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Body, RemoteError> {
        let answer = answer
            .map_err(|error| self.error(fault(error, &self.deadlines, self.deadlines.call)))?;
        let status = answer.status();
        if status.is_redirection() {
            let to = answer.headers().get(header::LOCATION);
            return Err(self.error(Fault::Redirect {
                status: status.as_u16(),
                to: quoted(&String::from_utf8_lossy(
                    to.map(|to| to.as_bytes()).unwrap_or_default(),
                )),
            }));
        }
        // 206 and its like are not what was asked for.
        if status.as_u16() == 200 {
            return Ok(answer.into_body());
        }
        let mut text = Vec::new();
        let read = answer
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        // What it says is worth having as far as it came.
        let _ = read.take(MAX_REFUSAL_BYTES).read_to_end(&mut text);
        Err(self.error(Fault::Refused {
            status: status.as_u16(),
            message: refusal(&text),
        }))
    }
}

/// Kubo refuses in JSON, and its own web server and others in text.
fn refusal(text: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        #[serde(rename = "Message")]
        message: String,
    }
    match serde_json::from_slice::<Refusal>(text) {
        Ok(refusal) => quoted(&refusal.message),
        Err(_) => quoted(&String::from_utf8_lossy(text)),
    }
}

/// All of `body`, or `None` if there is more than `limit`.
fn read_whole(body: BodyReader<'_>, limit: u64) -> Result<Option<Vec<u8>>, ureq::Error> {
    let mut bytes = Vec::new();
    body.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// What went wrong when the body of a stream was read.
pub(super) fn read_fault(error: io::Error, deadlines: &Deadlines) -> Fault {
    fault(error.into(), deadlines, deadlines.stream)
}

fn fault(error: ureq::Error, deadlines: &Deadlines, whole: Duration) -> Fault {
    match error {
        ureq::Error::Timeout(which) => {
            let (phase, limit) = match which {
                Timeout::Resolve | Timeout::Connect => (Phase::Connect, deadlines.connect),
                Timeout::RecvResponse => (Phase::Answer, deadlines.answer),
                Timeout::PerRead | Timeout::PerWrite => (Phase::Progress, deadlines.progress),
                _ => (Phase::Whole, whole),
            };
            Fault::Late { phase, limit }
        }
        ureq::Error::HostNotFound => Fault::Unreachable {
            why: "no such host".to_owned(),
        },
        ureq::Error::ConnectionFailed => Fault::Unreachable {
            why: "the connection failed".to_owned(),
        },
        ureq::Error::Io(error) => io_fault(error),
        ureq::Error::Rustls(error) => Fault::Tls {
            why: quoted(&error.to_string()),
        },
        ureq::Error::Tls(why) => Fault::Tls {
            why: why.to_owned(),
        },
        other => Fault::Garbled {
            why: quoted(&other.to_string()),
        },
    }
}

fn io_fault(error: io::Error) -> Fault {
    let why = quoted(&error.to_string());
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => Fault::Unreachable { why },
        // What rustls refuses in the middle of a handshake or a record.
        io::ErrorKind::InvalidData => Fault::Tls { why },
        _ => Fault::Cut { why },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    fn refused(url: &str) -> RemoteError {
        match Endpoint::new(Server::Kubo, url, Deadlines::default()) {
            Err(error) => error,
            Ok(_) => panic!("{url} was accepted"),
        }
    }

    #[test]
    fn addresses_that_are_no_plain_http_ones_are_refused() {
        for url in [
            "",
            "localhost:5001",
            "ftp://localhost",
            "/ip4/127.0.0.1/tcp/5001",
            "http://",
            "http://host/?arg=x",
            "http://host/#x",
            "http://ho st/",
        ] {
            assert!(
                matches!(refused(url).fault(), Fault::Address { .. }),
                "{url}"
            );
        }
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated() {
        let message = refused("http://me:secret@host").to_string();
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn arguments_cannot_add_to_the_request() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while !lines.next().unwrap().unwrap().is_empty() {}
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            first
        });
        let endpoint = Endpoint::new(Server::Kubo, &url, Deadlines::default()).unwrap();
        let awkward = "a&b?c#d%e\nf\r\ng+h i/ü\u{1F980}=;\"'\\";
        endpoint
            .post("test", "/api/v0/test", &[("arg", awkward), ("x", "1")], 10)
            .unwrap();
        let line = server.join().unwrap();
        let encoded = line
            .strip_prefix("POST /api/v0/test?arg=")
            .and_then(|rest| rest.strip_suffix("&x=1 HTTP/1.1"))
            .unwrap_or_else(|| panic!("{line}"));
        assert!(
            encoded
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte)),
            "{encoded}"
        );
        assert_eq!(decoded(encoded), awkward);
    }

    fn decoded(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(if byte == b'%' {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            } else {
                byte
            });
        }
        String::from_utf8(bytes).unwrap()
    }
}
