//! The engines that are in this process, each as either side.

use capnp::capability::FromClientHook as _;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::task::{AbortHandle, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};
use vat::{Connection, Limits, Usage, stream};

use crate::lab::Maker;
pub use crate::lab::{CapnpRpc, Vat};
use crate::lab_capnp::lab;

/// A connection; dropping it ends it.
pub trait Link {
    /// What is held on its account, as far as that can be seen.
    fn left(&self) -> Usage;
}

pub trait Engine: Maker + Sized {
    type Link: Link;

    /// Whether a call that is cancelled returns at once, or with whatever is said next.
    const RETURNS_WHAT_IS_CANCELLED: bool;

    fn join(stream: impl AsyncRead + AsyncWrite + 'static) -> (Self::Link, lab::Client);
    fn serve(stream: impl AsyncRead + AsyncWrite + 'static, lab: lab::Client) -> Self::Link;
}

impl Link for Connection {
    fn left(&self) -> Usage {
        self.usage()
    }
}

fn carried(
    stream: impl AsyncRead + AsyncWrite + 'static,
    bootstrap: Option<lab::Client>,
) -> Connection {
    let (reader, writer) = split(stream);
    let (connection, exchange) = stream::connect(
        reader.compat(),
        writer.compat_write(),
        tokio::time::sleep,
        Limits::default(),
        bootstrap.map(|lab| lab.client),
    );
    spawn_local(exchange);
    connection
}

impl Engine for Vat {
    type Link = Connection;

    const RETURNS_WHAT_IS_CANCELLED: bool = true;

    fn join(stream: impl AsyncRead + AsyncWrite + 'static) -> (Connection, lab::Client) {
        let connection = carried(stream, None);
        let lab = connection.bootstrap();
        (connection, lab)
    }

    fn serve(stream: impl AsyncRead + AsyncWrite + 'static, lab: lab::Client) -> Connection {
        carried(stream, Some(lab))
    }
}

/// The task of an `RpcSystem`.
pub struct System(pub AbortHandle);

impl Link for System {
    fn left(&self) -> Usage {
        Usage::default()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn system(
    stream: impl AsyncRead + AsyncWrite + 'static,
    side: Side,
    bootstrap: Option<lab::Client>,
) -> RpcSystem<Side> {
    let (reader, writer) = split(stream);
    let network = twoparty::VatNetwork::new(
        reader.compat(),
        writer.compat_write(),
        side,
        capnp::message::ReaderOptions::default(),
    );
    RpcSystem::new(Box::new(network), bootstrap.map(|lab| lab.client))
}

fn run(system: RpcSystem<Side>) -> System {
    System(spawn_local(async move { system.await.map_err(drop) }).abort_handle())
}

impl Engine for CapnpRpc {
    type Link = System;

    const RETURNS_WHAT_IS_CANCELLED: bool = false;

    fn join(stream: impl AsyncRead + AsyncWrite + 'static) -> (System, lab::Client) {
        let mut system = system(stream, Side::Client, None);
        let client: capnp::capability::Client = system.bootstrap(Side::Server);
        let lab = lab::Client::new(client.hook);
        (run(system), lab)
    }

    fn serve(stream: impl AsyncRead + AsyncWrite + 'static, lab: lab::Client) -> System {
        run(system(stream, Side::Server, Some(lab)))
    }
}
