//! What a call costs from a guest to its host and back: with the engine on the host's side, and with
//! `capnp-rpc` there, which is how it would be without the engine.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use capnp::capability::Client;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use cell::framing::{FramingError, Splitter};
use cell::{Exit, Recipient, Sender, Setup, Stdout, stdio};
use futures::channel::mpsc;
use futures::{AsyncWrite, StreamExt as _, TryStreamExt as _};
use schema::stem_capnp::membrane;
use schema::system_capnp::host;
use tokio::io::AsyncReadExt as _;
use tokio::task::LocalSet;
use ww::vats::conversation;

use crate::lab::{Lab, Vat};
use crate::{CALLS, Line, ROUNDS, SAMPLES, guest, line, percentile, ratio, wasm};

const BULK_BYTES: usize = 64 << 10;

pub fn rows(_: &tokio::runtime::Runtime) -> Vec<Line> {
    let mut rows = [
        Measured::new(
            "rpc: empty call, by hand",
            "no RPC library in the guest",
            |engine| wire(engine, 0, 0),
        ),
        Measured::new(
            "rpc: call that suspends, by hand",
            "no RPC library in the guest",
            |engine| wire(engine, 3, 0),
        ),
        Measured::new(
            "rpc: 64 KiB echo, by hand",
            "no RPC library in the guest",
            |engine| wire(engine, 1, BULK_BYTES),
        ),
        Measured::new(
            "rpc: Host.id, SDK guest",
            "engine on the host's side",
            |engine| sdk(engine, false),
        ),
        Measured::new(
            "rpc: Host.id, SDK guest, capnp-rpc host",
            "capnp-rpc on both sides",
            |engine| sdk(engine, true),
        ),
    ];
    let engine = crate::engine(None);
    for _ in 0..ROUNDS {
        for row in &mut rows {
            let samples = (row.run)(&engine);
            row.samples.extend(samples);
        }
    }
    let [.., both] = &mut rows;
    let peer = percentile(&mut both.samples, 50);
    rows.into_iter()
        .map(|mut row| {
            let median = percentile(&mut row.samples, 50);
            let rate = match row.what.contains("KiB") {
                true => format!(
                    ", {:.1} GB/s each way",
                    BULK_BYTES as f64 / median.as_secs_f64() / 1e9
                ),
                false => String::new(),
            };
            let remark = format!(
                "{}; {:.2} x capnp-rpc{rate}",
                row.remark,
                ratio(median, peer)
            );
            line(row.what, &mut row.samples, remark)
        })
        .collect()
}

struct Measured {
    what: &'static str,
    remark: &'static str,
    run: fn(&cell::Engine) -> Vec<Duration>,
    samples: Vec<Duration>,
}

impl Measured {
    fn new(
        what: &'static str,
        remark: &'static str,
        run: fn(&cell::Engine) -> Vec<Duration>,
    ) -> Self {
        Self {
            what,
            remark,
            run,
            samples: Vec::new(),
        }
    }
}

/// A guest that writes its messages itself.
fn wire(engine: &cell::Engine, method: u16, bytes: usize) -> Vec<Duration> {
    let args = [SAMPLES, CALLS, usize::from(method), bytes];
    on_a_vat(engine, "wire", &args, |sender| {
        let lab = Lab::<Vat>::client(&Rc::default());
        let (connection, hearing) = conversation::open(sender, CALLS_UNDER_WAY, lab.client);
        (Box::new(connection), hearing)
    })
}

/// Calls that a cell may have under way: as many as the node lets it.
const CALLS_UNDER_WAY: u32 = 1024;

/// A guest with the SDK, which has `capnp-rpc` in it.
fn sdk(engine: &cell::Engine, capnp_rpc_host: bool) -> Vec<Duration> {
    let args = [SAMPLES, CALLS];
    if capnp_rpc_host {
        return on_a_vat(engine, "roundtrips", &args, |sender| {
            let host: host::Client = capnp_rpc::new_client(Known);
            let bootstrap: membrane::Client = capnp_rpc::new_client(Granting(host));
            let (system, hearing) = capnp_rpc_conversation(sender, bootstrap.client);
            let task = tokio::task::spawn_local(system);
            (Box::new(task), hearing)
        });
    }
    on_a_vat(engine, "roundtrips", &args, |sender| {
        let host: host::Client = vat::new_client(Known);
        let bootstrap: membrane::Client = vat::new_client(Granting(host));
        let (connection, hearing) = conversation::open(sender, CALLS_UNDER_WAY, bootstrap.client);
        (Box::new(connection), hearing)
    })
}

/// Runs a guest that prints times, beside its host's side.
fn on_a_vat<R: Recipient>(
    engine: &cell::Engine,
    program: &str,
    args: &[usize],
    host: impl FnOnce(Sender) -> (Box<dyn std::any::Any>, R),
) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let text = LocalSet::new().block_on(
        &runtime,
        vat::run_until(async {
            let code = engine.load(wasm(&guest(program))).await.unwrap();
            let (mut stdout, writer) = stdio::pipe(1 << 20);
            let spawned = code
                .spawn(Setup {
                    args: std::iter::once(program.to_owned())
                        .chain(args.iter().map(usize::to_string))
                        .collect(),
                    stdout: Stdout::Pipe(writer),
                    ..Setup::default()
                })
                .unwrap();
            let (keep, recipient) = host(spawned.sender);
            let exit = spawned.cell.run(recipient).await;
            drop(keep);
            let mut text = String::new();
            stdout.read_to_string(&mut text).await.unwrap();
            assert!(matches!(exit, Exit::Exited(0)), "{exit} {text}");
            text
        }),
    );
    text.lines()
        .map(|nanos| Duration::from_nanos(nanos.parse().unwrap()))
        .collect()
}

/// A host that knows its name.
struct Known;

impl host::Server for Known {
    async fn id(
        self: Rc<Self>,
        _: host::IdParams,
        mut results: host::IdResults,
    ) -> capnp::Result<()> {
        results.get().set_peer_id(&[7; 38]);
        Ok(())
    }
}

/// A membrane that grants a host.
struct Granting(host::Client);

impl membrane::Server for Granting {
    async fn graft(
        self: Rc<Self>,
        _: membrane::GraftParams,
        mut results: membrane::GraftResults,
    ) -> capnp::Result<()> {
        results.get().init_session().set_host(self.0.clone());
        Ok(())
    }
}

/// The host's side as `capnp-rpc` has it.
fn capnp_rpc_conversation(sender: Sender, bootstrap: Client) -> (RpcSystem<Side>, Queued) {
    let (queue, arriving) = mpsc::unbounded();
    let reader = arriving.map(std::io::Result::Ok).into_async_read();
    let network = twoparty::VatNetwork::new(
        reader,
        Writer {
            splitter: Splitter::new(sender.message_bytes()),
            sender,
        },
        Side::Server,
        capnp::message::ReaderOptions::new(),
    );
    (
        RpcSystem::new(Box::new(network), Some(bootstrap)),
        Queued(queue),
    )
}

struct Queued(mpsc::UnboundedSender<Vec<u8>>);

impl Recipient for Queued {
    fn deliver(&mut self, message: &[u8]) -> Result<(), cell::Closed> {
        self.0
            .unbounded_send(message.to_vec())
            .map_err(|_| cell::Closed)
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

struct Writer {
    splitter: Splitter,
    sender: Sender,
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let Self { splitter, sender } = &mut *self;
        let fed = splitter.feed::<FramingError>(bytes, |message| {
            sender.send(message.to_vec()).unwrap();
            Ok(())
        });
        fed.unwrap();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
