//! One client of the socket: it lives on a vat, and is to the node what a cell is, but for the program.

use std::os::unix::net::UnixStream as Handle;
use std::pin::Pin;

use capnp::Error;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};
use vat::{Connection, Limits};

use crate::authority::Authority;
use crate::cells::Cells;
use crate::session::Possessions;
use crate::tenure::Tenant;
use crate::vats::Occupied;

/// A client on its way to a vat.
pub struct Client {
    /// The connection.
    pub stream: Handle,
    /// What it gets.
    pub possessions: Possessions,
    /// What runs its programs.
    pub cells: Cells,
    /// Tells when the node has had enough, which waits for it.
    pub tenant: Tenant,
    /// Its place on the vat.
    pub occupied: Occupied,
    /// Its place among the clients.
    pub place: OwnedSemaphorePermit,
}

impl Client {
    /// Serves it until it goes or the node has had enough, and then takes back all that it held.
    pub async fn run(self) {
        let Self {
            stream,
            possessions,
            cells,
            tenant,
            occupied,
            place,
        } = self;
        let who = possessions.who.clone();
        tracing::debug!(%who, "a client has connected");
        let bounded = &possessions.bounded;
        let limits = Limits {
            message_bytes: bounded.message_bytes,
            answers: usize::try_from(bounded.calls).unwrap_or(usize::MAX),
            ..Limits::default()
        };
        match UnixStream::from_std(stream) {
            Ok(stream) => {
                let joined = |bootstrap| join(stream, limits, Some(bootstrap));
                let handed = Authority::hand_over(possessions, cells, joined);
                converse(handed, &tenant).await;
                tracing::debug!(%who, "a client has gone");
            }
            Err(error) => tracing::warn!(%who, %error, "a client cannot be served"),
        }
        drop((occupied, place));
        // Last of all: when it goes, nothing may be left.
        drop(tenant);
    }
}

/// Tells a client why it is not served, and hangs up.
pub async fn refuse(stream: Handle, why: Error) {
    if let Ok(stream) = UnixStream::from_std(stream) {
        let (connection, exchange) = join(stream, Limits::default(), None);
        connection.disconnect(why);
        exchange.await;
    }
}

fn join(
    stream: UnixStream,
    limits: Limits,
    bootstrap: Option<capnp::capability::Client>,
) -> (Connection, Exchange) {
    let (reader, writer) = stream.into_split();
    let (connection, exchange) = vat::stream::connect(
        reader.compat(),
        writer.compat_write(),
        tokio::time::sleep,
        limits,
        bootstrap,
    );
    (connection, Box::pin(exchange))
}

/// Carries the messages of a connection.
type Exchange = Pin<Box<dyn Future<Output = ()>>>;

async fn converse((authority, mut exchange): (Authority, Exchange), tenant: &Tenant) {
    let enough = tokio::select! {
        () = &mut exchange => None,
        reason = tenant.over() => Some(reason),
    };
    match enough {
        None => authority.take_back("the client has gone").await,
        // Beside each other, so that the client learns how its calls end.
        Some(reason) => {
            tokio::join!(authority.take_back(reason), exchange);
        }
    }
}
