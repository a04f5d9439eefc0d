//! Imports of a CAR that this guest serves itself, and not always well.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use guests::report;
use runtime::capnp;
use runtime::ipfs_capnp::client::Client;
use runtime::ipfs_capnp::dag;
use runtime::system_capnp::byte_stream;
use serde_json::{Value, json};

use crate::cid;

/// How a stream goes on where the CAR is not to go on.
#[derive(Clone, Copy)]
enum Then {
    /// As if it were complete.
    Ends,
    /// With an error.
    Fails,
    /// Not at all.
    Stalls,
}

/// Bytes in pieces that are smaller than what is asked for.
struct Served {
    bytes: Vec<u8>,
    at: Cell<usize>,
    then: Then,
}

impl byte_stream::Server for Served {
    async fn read(
        self: Rc<Self>,
        params: byte_stream::ReadParams,
        mut results: byte_stream::ReadResults,
    ) -> capnp::Result<()> {
        let most = params.get()?.get_max_bytes() as usize;
        let at = self.at.get();
        let rest = self.bytes.get(at..).unwrap_or_default();
        let piece = rest.get(..most.min(10_007)).unwrap_or(rest);
        if piece.is_empty() {
            match self.then {
                Then::Ends => {}
                Then::Fails => return Err(capnp::Error::failed("the tape tore".to_owned())),
                Then::Stalls => std::future::pending().await,
            }
        }
        self.at.set(at + piece.len());
        results.get().set_data(piece);
        Ok(())
    }
}

/// The CAR is in the image: `/etc/whole.car`.
pub async fn play(client: &Client) -> runtime::Result<()> {
    let car = std::fs::read("/etc/whole.car")?;
    let api = client.dag_request().send().pipeline.get_api();
    let half = car.get(..car.len() / 2).unwrap_or_default();
    let mut corrupted = car.clone();
    // In the middle of a block's bytes.
    let middle = corrupted.len() / 2;
    if let Some(byte) = corrupted.get_mut(middle) {
        *byte ^= 1;
    }

    report("cut", import(&api, half, Then::Ends).await);
    report("torn", import(&api, half, Then::Fails).await);
    report("corrupted", import(&api, &corrupted, Then::Ends).await);
    let stalled = corrupted.get(..middle + 600_000).unwrap_or(&corrupted);
    report(
        "corrupted and stalled",
        import(&api, stalled, Then::Stalls).await,
    );
    report("no CAR", import(&api, b"no CAR at all", Then::Ends).await);
    report("nothing", import(&api, b"", Then::Ends).await);
    // More often than there may be at a time: each has to give back its place.
    for _ in 0..12 {
        let import = import(&api, half, Then::Stalls);
        if runtime::timeout(Duration::from_millis(20), import)
            .await
            .is_ok()
        {
            return Err("a stream that stalls was read to its end".into());
        }
    }
    let reads = runtime::ipfs::read(client, &crate::argument(0), 1 << 30).await;
    report("not kept", reads.map(|all| crate::number(all.len())));
    report("whole", import(&api, &car, Then::Ends).await);
    let reads = runtime::ipfs::read(client, &crate::argument(0), 1 << 30).await;
    report("kept", reads.map(|all| crate::number(all.len())));
    Ok(())
}

async fn import(api: &dag::Client, bytes: &[u8], then: Then) -> runtime::Result<Value> {
    let mut request = api.import_request();
    let mut params = request.get();
    params.set_car(runtime::capnp_rpc::new_client(Served {
        bytes: bytes.to_vec(),
        at: Cell::new(0),
        then,
    }));
    params.set_pin("imported");
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    let roots = reply.get_roots()?.iter();
    let roots = roots.map(|root| Ok(cid(root?)));
    let roots = roots.collect::<capnp::Result<Vec<_>>>()?;
    Ok(json!({ "roots": roots, "blocks": reply.get_blocks() }))
}
