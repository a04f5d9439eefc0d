//! The node's socket: a Unix socket through which a local program gets what the operator grants.
//!
//! Whoever connects bootstraps a `Membrane`, as a cell does, with the grants of the first cell. Each connection
//! is a holder of grants of its own: numbered among the cells, told to the audit, and with a session that nobody
//! shares. When it ends, all that it held is taken back, and the cells that it started end.
//!
//! Refused are other users than the node's own, and more than [`MAX_CLIENTS`] at a time; both are told why. What a
//! connection may make the node hold is bounded as a cell's is.

mod client;
mod place;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::client::Client;
use self::place::Place;
pub use self::place::{MAX_PATH_BYTES, PlaceError};
use crate::bounds::Bounded;
use crate::cells::Cells;
use crate::grants::{Grants, Kind, NOT_GRANTED};
use crate::session::Possessions;
use crate::tenure::{Tenant, Tenure};

/// Clients that may be connected at a time. Each can make the node hold some 50 MiB of messages; people have a few
/// terminals, tools and scripts.
pub const MAX_CLIENTS: usize = 16;

/// What a client is called.
const NAME: &str = "rpc-socket";

/// How long nobody is let in after that has failed: most often the process has run out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket on which nobody is served yet; whoever connects waits. Dropping it removes it.
pub struct Socket {
    listener: UnixListener,
    place: Place,
}

/// What clients get.
pub struct Offer {
    /// What runs their programs.
    pub cells: Cells,
    /// What they may use. Clients share one budget, and may share it with the first cell: what the operator allows
    /// is for all of them together, and to connect takes nothing of it.
    pub bounded: Bounded,
    /// Below which directory their programs may have their `/tmp`.
    pub scratch: Arc<Path>,
    /// Makes the grants of one client.
    pub grants: Box<dyn Fn() -> Grants + Send + Sync>,
}

/// The clients of a socket. Dropping it ends them and removes the socket, but does not wait for that.
pub struct Clients(Tenure);

impl Socket {
    /// Makes a socket at this path, for this user alone.
    ///
    /// # Errors
    /// There is something else at this path, or nothing can be made there. A socket on which nobody listens is
    /// replaced.
    pub async fn open(path: &Path) -> Result<Self, PlaceError> {
        let (place, listener) = Place::make(path).await?;
        Ok(Self { listener, place })
    }

    /// Serves whoever connects.
    pub fn serve(self, offer: Offer) -> Clients {
        let tenure = Tenure::default();
        if let Some(tenant) = tenure.tenant() {
            tokio::spawn(accept(self, offer, tenant));
        }
        Clients(tenure)
    }
}

impl Clients {
    /// Takes back all that they hold, tells them, and returns once they are gone and the socket with them. Takes a
    /// moment at most, because clients that do not hang up are not waited for.
    pub async fn shutdown(mut self) {
        self.0.end("the node is stopping");
        self.0.vacant().await;
    }
}

/// Why a client is not served.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "{NOT_GRANTED}: this socket is for the user with the id {node} alone, and you are {client}"
    )]
    OtherUser { node: u32, client: u32 },
    #[error("limit: clients: {MAX_CLIENTS} are connected to this socket; disconnect one first")]
    TooMany,
    #[error("it cannot be told who you are: {0}")]
    Unknown(std::io::Error),
}

impl From<Refusal> for capnp::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooMany => Self::overloaded(refusal.to_string()),
            _ => Self::failed(refusal.to_string()),
        }
    }
}

/// Serves clients until the node has had enough. The socket goes with it.
async fn accept(socket: Socket, offer: Offer, tenant: Tenant) {
    let Socket { listener, place } = socket;
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = tenant.over() => break,
        };
        let welcomed = match accepted {
            Ok((stream, _)) => welcome(stream, &places, &offer, &tenant).await,
            Err(error) => Err(error.into()),
        };
        // Told when it begins and when it is over: what fails now fails again after the pause.
        match welcomed {
            Ok(()) if failing => tracing::info!("clients of the socket are served again"),
            Err(ref error) if !failing => {
                tracing::warn!("a client of the socket could not be served: {error}");
            }
            _ => {}
        }
        failing = welcomed.is_err();
        if failing {
            tokio::time::sleep(PAUSE).await;
        }
    }
    // Whoever still waits to be served is hung up on.
    drop(listener);
    drop(place);
}

/// Serves one client on a vat, or tells it why not.
async fn welcome(
    stream: UnixStream,
    places: &Arc<Semaphore>,
    offer: &Offer,
    tenant: &Tenant,
) -> anyhow::Result<()> {
    let admitted = admit(&stream, places);
    let vat = offer.cells.vat()?;
    let stream = stream.into_std()?;
    match admitted {
        Ok(place) => {
            let client = Client {
                stream,
                possessions: Possessions {
                    who: offer.cells.number(Kind::Client, NAME),
                    bounded: offer.bounded.clone(),
                    grants: (offer.grants)(),
                    scratch: Some(offer.scratch.clone()),
                },
                cells: offer.cells.clone(),
                tenant: tenant.clone(),
                occupied: vat.occupy(),
                place,
            };
            vat.spawn(move || client.run()).await?;
        }
        Err(refusal) => {
            // One at a time: those who are refused must not become many.
            let (refused, told) = oneshot::channel::<()>();
            vat.spawn(move || async move {
                client::refuse(stream, refusal.into()).await;
                drop(refused);
            })
            .await?;
            let _ = told.await;
        }
    }
    Ok(())
}

fn admit(stream: &UnixStream, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    let client = stream.peer_cred().map_err(Refusal::Unknown)?.uid();
    let node = rustix::process::geteuid().as_raw();
    if client != node {
        return Err(Refusal::OtherUser { node, client });
    }
    places
        .clone()
        .try_acquire_owned()
        .map_err(|_| Refusal::TooMany)
}
