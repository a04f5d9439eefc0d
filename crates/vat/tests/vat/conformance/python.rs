//! C++ as the other side, by way of pycapnp, over Unix sockets and TCP.
//!
//! `lab.py` is the same object in Python; `server.py` serves it, and `client.py` has the scenarios in
//! which C++ is the one that calls.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;

use capnp::{Error, ErrorKind};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::process::{Child, Command};
use vat::Usage;

use super::engines::{Engine as _, Vat};
use super::{Joined, all, echo, failure, until};
use crate::lab::{Lab, Seen};
use crate::lab_capnp::lab;
use crate::peers::on_a_vat;

/// Says where pycapnp is, unless that is Python's own place for it.
const PLACE: &str = "PYTHONPATH";

/// What every scenario of `client.py` is called, but for those that need an object of their own.
const SCENARIOS: [&str; 20] = [
    "data_of_every_size_comes_back",
    "calls_are_delivered_in_order",
    "many_calls_run_at_once",
    "calls_on_promised_results_are_delivered_in_order",
    "calls_that_fail_say_why",
    "calls_are_cancelled",
    "a_peer_calls_back",
    "a_peer_passes_a_call_on",
    "an_object_is_held_until_it_is_let_go_of",
    "many_objects_travel_in_one_message",
    "calls_do_not_overtake_those_on_promised_results",
    "calls_do_not_overtake_those_on_a_promise",
    "calls_on_a_promise_reach_what_the_peer_resolves_it_to",
    "calls_on_a_promise_that_breaks_fail_with_the_reason",
    "calls_on_a_promise_of_the_callers_wait_for_it",
    "a_promise_resolves_to_another_promise",
    "what_is_streamed_arrives",
    "a_stream_reports_what_failed",
    "both_sides_promise_at_once",
    "it_leaves_in_the_middle_of_everything",
];

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vat/conformance")
}

/// Where `scripts/parts.sh` puts pycapnp.
fn parts() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("wetware/parts/pycapnp")
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(here().join(script))
        .env(
            PLACE,
            std::env::var_os(PLACE).unwrap_or_else(|| parts().into()),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Whether pycapnp is to be had; says so if not, and fails where all parts are required.
fn is_here() -> bool {
    let check = std::process::Command::new("python3")
        .args(["-c", "import capnp.lib.capnp"])
        .env(
            PLACE,
            std::env::var_os(PLACE).unwrap_or_else(|| parts().into()),
        )
        .stderr(Stdio::null())
        .status();
    if check.is_ok_and(|status| status.success()) {
        return true;
    }
    let message = "pycapnp is not here; scripts/parts.sh installs it";
    assert_ne!(
        std::env::var("WW_REQUIRE_PARTS").as_deref(),
        Ok("1"),
        "{message}"
    );
    eprintln!("not run: {message}");
    false
}

/// Python, serving.
struct Served {
    process: Child,
    address: String,
}

impl Served {
    async fn begin(address: &str) -> Self {
        let mut process = python("server.py")
            .arg(address)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = lines.next_line().await.unwrap().unwrap();
        // A path as it is, or ('127.0.0.1', PORT).
        let port = said.trim_end_matches(')').rsplit(' ').next().unwrap();
        let address = match address.starts_with('/') {
            true => address.into(),
            false => format!("127.0.0.1:{port}"),
        };
        Self { process, address }
    }

    async fn join(&self) -> Joined {
        let (near, lab) = match self.address.starts_with('/') {
            true => Vat::join(UnixStream::connect(&self.address).await.unwrap()),
            false => Vat::join(TcpStream::connect(&self.address).await.unwrap()),
        };
        Joined { lab, near }
    }
}

#[test]
fn cpp_serves_every_scenario_over_a_unix_socket() {
    if !is_here() {
        return;
    }
    on_a_vat(async {
        let folder = tempfile::tempdir().unwrap();
        let served = Served::begin(folder.path().join("lab").to_str().unwrap()).await;
        all(|| served.join()).await;
    });
}

#[test]
fn cpp_serves_every_scenario_over_tcp() {
    if !is_here() {
        return;
    }
    on_a_vat(async {
        let served = Served::begin("0").await;
        all(|| served.join()).await;
    });
}

#[test]
fn cpp_that_is_killed_fails_what_waits_for_it() {
    if !is_here() {
        return;
    }
    on_a_vat(async {
        // Before it has answered anything, between calls, and in the middle of many and large ones.
        for step in 0..4 {
            let mut served = Served::begin("0").await;
            let Joined { lab, near } = served.join().await;
            let (seen, mine) = super::mine::<Vat>();
            if step > 0 {
                echo(&lab, b"it works").await.unwrap();
            }
            let mut waiting = Vec::new();
            if step > 1 {
                let mut keep = lab.keep_request();
                keep.get().set_lab(mine.clone());
                keep.send().promise.await.unwrap();
                waiting.push(lab.never_request().send().pipeline.get_lab());
                waiting.push(lab.promise_request().send().pipeline.get_lab());
            }
            let large = vec![1; if step > 2 { 4 << 20 } else { 1 }];
            let calls: Vec<_> = waiting.iter().map(|lab| echo(lab, &large)).collect();
            drop(mine);
            served.process.start_kill().unwrap();
            for call in calls {
                assert_eq!(failure(call.await).kind, ErrorKind::Disconnected);
            }
            assert_eq!(near.ended().await.kind, ErrorKind::Disconnected);
            assert_eq!(
                failure(echo(&lab, b"late").await).kind,
                ErrorKind::Disconnected
            );
            assert_eq!(near.usage(), Usage::default());
            drop(waiting);
            until("what was passed is let go of", || seen.alive.get() == 0).await;
        }
    });
}

/// Runs a scenario of `client.py` against an object, and checks that nothing is left of it.
async fn call(
    scenario: &str,
    address: &str,
    lab: lab::Client,
    seen: &Seen,
    accepted: impl Future<Output = Box<dyn Stream>>,
) {
    let child = python("client.py")
        .args([address, scenario])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let near = std::cell::OnceCell::new();
    let serve = async {
        let _ = near.set(Vat::serve(accepted.await, lab));
        std::future::pending::<()>().await;
    };
    let output = tokio::select! {
        output = child.wait_with_output() => output.unwrap(),
        () = serve => return,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {said}");
    let near = near.into_inner().unwrap();
    assert_eq!(near.ended().await.kind, ErrorKind::Disconnected);
    assert_eq!(near.usage(), Usage::default(), "{scenario}");
    drop(near);
    until(scenario, || {
        seen.alive.get() == 0 && seen.running.get() == 0
    })
    .await;
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

#[test]
fn cpp_calls_in_every_scenario_over_a_unix_socket() {
    if !is_here() {
        return;
    }
    on_a_vat(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lab");
        let listener = UnixListener::bind(&path).unwrap();
        for scenario in SCENARIOS {
            let seen = Rc::new(Seen::default());
            let lab = Lab::<Vat>::client(&seen);
            let accepted =
                async { Box::new(listener.accept().await.unwrap().0) as Box<dyn Stream> };
            call(scenario, path.to_str().unwrap(), lab, &seen, accepted).await;
        }
    });
}

#[test]
fn cpp_calls_in_every_scenario_over_tcp() {
    if !is_here() {
        return;
    }
    on_a_vat(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        for scenario in SCENARIOS {
            let seen = Rc::new(Seen::default());
            let lab = Lab::<Vat>::client(&seen);
            let accepted =
                async { Box::new(listener.accept().await.unwrap().0) as Box<dyn Stream> };
            call(scenario, &port, lab, &seen, accepted).await;
        }
    });
}

/// Fails in the way that it is told.
struct Failing;

impl lab::Server for Failing {
    async fn fail(
        self: Rc<Self>,
        params: lab::FailParams,
        _: lab::FailResults,
    ) -> Result<(), Error> {
        let kind = params.get()?.get_reason()?.to_string()?;
        Err(Error {
            extra: format!("it is {kind}"),
            kind: match &*kind {
                "overloaded" => ErrorKind::Overloaded,
                "disconnected" => ErrorKind::Disconnected,
                "unimplemented" => ErrorKind::Unimplemented,
                _ => ErrorKind::Failed,
            },
        })
    }
}

#[test]
fn cpp_is_told_every_kind_of_failure() {
    if !is_here() {
        return;
    }
    on_a_vat(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let accepted = async { Box::new(listener.accept().await.unwrap().0) as Box<dyn Stream> };
        let lab = vat::new_client(Failing);
        let seen = Seen::default();
        call("every_kind_of_failure_arrives", &port, lab, &seen, accepted).await;
    });
}
