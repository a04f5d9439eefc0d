//! Pins.

use guests::report;
use runtime::ipfs_capnp::client::Client;
use runtime::ipfs_capnp::pin;
use runtime::{ipfs, ipfs_capnp};
use serde_json::{Value, json};

use crate::cid;

/// Pins, looks, and lets go.
pub async fn play(client: &Client) -> runtime::Result<()> {
    let api = client.pin_request().send().pipeline.get_api();
    let tree = ipfs::add_tree(client, "");
    tree.file("a", b"a").await?;
    tree.file("b", b"b").await?;
    let root = tree.finish().await?;
    report("root", Ok::<_, String>(root.to_string()));
    report("before", is_pinned(&api, &root).await);
    let pinned = ipfs::pin(client, &root.path(), "one").await;
    report("add", pinned.map(|cid| cid.to_string()));
    let inner = ipfs::pin(client, &format!("{}/a", root.path()), "two").await?;
    report("add below", Ok::<_, String>(inner.to_string()));
    report("add direct", direct(&api, &root.path(), "bare").await);
    report("is pinned", is_pinned(&api, &root).await);
    report("ls", ls(&api, "", 0, 0).await);
    report("ls one", ls(&api, "one", 0, 0).await);
    report("ls page", ls(&api, "", 1, 1).await);
    report("ls beyond", ls(&api, "", 99, 0).await);
    report("verify", verify(&api, &root).await);
    report("rm other", ipfs::unpin(client, &root, "two").await);
    report("rm", ipfs::unpin(client, &root, "one").await);
    report("rm again", ipfs::unpin(client, &root, "one").await);
    report("ls after", ls(&api, "one", 0, 0).await);
    ipfs::unpin(client, &root, "bare").await?;
    report("after", is_pinned(&api, &root).await);
    report("verify unpinned", verify(&api, &root).await);
    let nothing = ipfs::pin(
        client,
        "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        "none",
    );
    report("add missing", nothing.await.map(|cid| cid.to_string()));
    Ok(())
}

pub async fn ls(api: &pin::Client, name: &str, after: u64, limit: u32) -> runtime::Result<Value> {
    let mut request = api.ls_request();
    let mut params = request.get();
    params.set_name(name);
    params.set_after(after);
    params.set_limit(limit);
    let reply = request.send().promise.await?;
    let reply: ipfs_capnp::pin::ls_results::Reader<'_> = reply.get()?;
    let mut pins = Vec::new();
    for pin in reply.get_pins()? {
        let direct = pin.get_direct();
        pins.push(json!([
            pin.get_name()?.to_str()?,
            cid(pin.get_cid()?),
            direct
        ]));
    }
    Ok(json!({ "pins": pins, "more": reply.get_more() }))
}

async fn direct(api: &pin::Client, path: &str, name: &str) -> runtime::Result<Value> {
    let mut request = api.add_request();
    let mut params = request.get();
    params.set_path(path);
    params.set_name(name);
    params.set_direct(true);
    let reply = request.send().promise.await?;
    Ok(cid(reply.get()?.get_cid()?))
}

async fn is_pinned(api: &pin::Client, cid: &ipfs::Cid) -> runtime::Result<Value> {
    let mut request = api.is_pinned_request();
    request.get().set_cid(cid.as_bytes());
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    Ok(json!([reply.get_pinned(), reply.get_name()?.to_str()?]))
}

async fn verify(api: &pin::Client, root: &ipfs::Cid) -> runtime::Result<Value> {
    let mut request = api.verify_request();
    request.get().set_cid(root.as_bytes());
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    Ok(json!([reply.get_blocks(), reply.get_missing()?.len()]))
}
