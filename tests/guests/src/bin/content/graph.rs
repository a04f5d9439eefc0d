//! Blocks, values, and nodes with links.

use guests::report;
use runtime::io::stdout;
use runtime::ipfs_capnp::client::Client;
use runtime::ipfs_capnp::{block, dag, object};
use runtime::{bytes, ipfs};
use serde_json::{Value, json};

use crate::{cid, number, pattern};

/// Puts, reads and removes blocks.
pub async fn blocks(client: &Client) -> runtime::Result<()> {
    let api = client.block_request().send().pipeline.get_api();
    let put = put(&api, b"a block", "", "").await?;
    report("put", Ok::<_, String>(put.to_string()));
    report("get", get(&api, &put.path()).await);
    report("get bare", get(&api, &put.to_string()).await);
    report("stat", stat(&api, &put.path()).await);
    report("rm", rm(&api, put.as_bytes()).await);
    report("stat removed", stat(&api, &put.path()).await);
    report("rm again", rm(&api, put.as_bytes()).await);
    report("rm nothing", rm(&api, &[]).await);
    report("rm garbage", rm(&api, b"garbage").await);

    let pinned = self::put(&api, b"pinned", "raw", "kept").await?;
    report("rm pinned", rm(&api, pinned.as_bytes()).await);
    report("pinned", get(&api, &pinned.path()).await);
    // What is below something pinned is kept by that.
    let tree = ipfs::add_tree(client, "tree");
    tree.file("deep/file", b"deep").await?;
    let root = tree.finish().await?;
    let deep = stat(&api, &format!("{}/deep/file", root.path())).await?;
    report("deep", Ok::<_, String>(deep));
    let leaf = self::put(&api, b"deep", "raw", "").await?;
    report("rm deep", rm(&api, leaf.as_bytes()).await);

    let codecs = [
        ("dag-cbor", &b"\xa0"[..]),
        ("dag-json", b"{}"),
        ("dag-pb", b""),
    ];
    for (codec, data) in codecs {
        let put = self::put(&api, data, codec, "").await;
        report(&format!("put {codec}"), put.map(|cid| cid.to_string()));
    }
    let put = self::put(&api, b"x", "dag-xml", "").await;
    report("put dag-xml", put.map(|cid| cid.to_string()));
    let put = self::put(&api, &pattern(3 << 20), "", "").await;
    report("put 3 MiB", put.map(|cid| cid.to_string()));
    Ok(())
}

async fn put(
    api: &block::Client,
    data: &[u8],
    codec: &str,
    pin: &str,
) -> runtime::Result<ipfs::Cid> {
    let mut request = api.put_request();
    let mut params = request.get();
    params.set_data(data);
    params.set_codec(codec);
    params.set_pin(pin);
    let reply = request.send().promise.await?;
    Ok(ipfs::Cid::from_bytes(reply.get()?.get_cid()?))
}

async fn get(api: &block::Client, path: &str) -> runtime::Result<String> {
    let mut request = api.get_request();
    request.get().set_path(path);
    let reply = request.send().promise.await?;
    Ok(String::from_utf8_lossy(reply.get()?.get_data()?).into_owned())
}

async fn stat(api: &block::Client, path: &str) -> runtime::Result<Value> {
    let mut request = api.stat_request();
    request.get().set_path(path);
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    Ok(json!({ "cid": cid(reply.get_cid()?), "bytes": reply.get_bytes() }))
}

async fn rm(api: &block::Client, cid: &[u8]) -> runtime::Result<()> {
    let mut request = api.rm_request();
    request.get().set_cid(cid);
    request.send().promise.await?;
    Ok(())
}

/// Keeps a value that links to a file, and goes along paths into it.
pub async fn values(client: &Client) -> runtime::Result<()> {
    let file = ipfs::add(client, b"linked", "").await?;
    let api = client.dag_request().send().pipeline.get_api();
    let inner = put_value(&api, r#"{"deep":[10,{"x":"found"}]}"#, "").await?;
    let text =
        format!(r#"{{"a":[1,2,{{"b":true}}],"file":{{"/":"{file}"}},"inner":{{"/":"{inner}"}}}}"#);
    let root = put_value(&api, &text, "").await?;
    report("put", Ok::<_, String>(root.to_string()));
    report("text", Ok::<_, String>(text));
    let at = |rest: &str| format!("{}{rest}", root.path());
    for rest in ["", "/a/2/b", "/inner/deep/1/x", "/a/7", "/file"] {
        report(&format!("get {rest}"), value(&api, &at(rest), "").await);
        report(&format!("resolve {rest}"), resolve(&api, &at(rest)).await);
    }
    report("get as cbor", value(&api, &at("/a/0"), "dag-cbor").await);
    report("get as raw", value(&api, &at(""), "raw").await);
    // A text of a mebibyte and a half in CBOR, which dag-json writes in six times as many bytes.
    let mut long = vec![0x7a, 0, 24, 0, 0];
    long.resize(5 + (24 << 16), 1);
    let block = client.block_request().send().pipeline.get_api();
    let long = put(&block, &long, "dag-cbor", "").await?;
    let told = value(&api, &long.path(), "").await;
    report("get long", told.map(|_| "all of it"));
    let told = value(&api, &root.path(), "").await;
    report("get after long", told.map(|_| "all of it"));
    let broken = put_value(&api, "{", "").await;
    report("put broken", broken.map(|cid| cid.to_string()));
    let json = put_value(&api, "[1]", "dag-json").await;
    report("put as dag-json", json.map(|cid| cid.to_string()));
    Ok(())
}

async fn put_value(api: &dag::Client, text: &str, codec: &str) -> runtime::Result<ipfs::Cid> {
    let mut request = api.put_request();
    let mut params = request.get();
    params.set_data(text.as_bytes());
    params.set_store_codec(codec);
    let reply = request.send().promise.await?;
    Ok(ipfs::Cid::from_bytes(reply.get()?.get_cid()?))
}

async fn value(api: &dag::Client, path: &str, codec: &str) -> runtime::Result<Value> {
    let mut request = api.get_request();
    let mut params = request.get();
    params.set_path(path);
    params.set_codec(codec);
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    let data = String::from_utf8_lossy(reply.get_data()?).into_owned();
    Ok(json!({ "data": data, "cid": cid(reply.get_cid()?) }))
}

async fn resolve(api: &dag::Client, path: &str) -> runtime::Result<Value> {
    let mut request = api.resolve_request();
    request.get().set_path(path);
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    Ok(json!({ "cid": cid(reply.get_cid()?), "rest": reply.get_remainder()?.to_str()? }))
}

/// Patches nodes.
pub async fn objects(client: &Client) -> runtime::Result<()> {
    let child = ipfs::add(client, b"a child", "").await?;
    let api = client.object_request().send().pipeline.get_api();
    let mut request = api.put_request();
    let mut params = request.get();
    params.set_data(b"data");
    let mut link = params.init_links(1).get(0);
    link.set_name("first");
    link.set_bytes(7);
    link.set_cid(child.as_bytes());
    let reply = request.send().promise.await?;
    let root = ipfs::Cid::from_bytes(reply.get()?.get_cid()?);
    report("put", look(&api, &root).await);

    let mut request = api.add_link_request();
    let mut params = request.get();
    params.set_path(root.path());
    params.set_name("second");
    params.set_child(child.as_bytes());
    let reply = request.send().promise.await?;
    let two = ipfs::Cid::from_bytes(reply.get()?.get_cid()?);
    report("addLink", look(&api, &two).await);

    for name in ["first", "third"] {
        let mut request = api.rm_link_request();
        let mut params = request.get();
        params.set_path(two.path());
        params.set_name(name);
        let name = format!("rmLink {name}");
        match request.send().promise.await {
            Ok(reply) => {
                let cid = ipfs::Cid::from_bytes(reply.get()?.get_cid()?);
                report(&name, look(&api, &cid).await);
            }
            Err(error) => report(&name, Err::<Value, _>(error)),
        }
    }
    let mut request = api.set_data_request();
    request.get().set_path(root.path());
    request.get().set_data(b"other");
    let reply = request.send().promise.await?;
    let other = ipfs::Cid::from_bytes(reply.get()?.get_cid()?);
    report("setData", look(&api, &other).await);
    let mut request = api.append_data_request();
    request.get().set_path(other.path());
    request.get().set_data(b" data");
    let reply = request.send().promise.await?;
    let more = ipfs::Cid::from_bytes(reply.get()?.get_cid()?);
    report("appendData", look(&api, &more).await);
    // The one that was patched is as it was.
    report("unchanged", look(&api, &root).await);
    report("get raw", look(&api, &child).await);

    // A directory is a node like any other.
    let tree = ipfs::add_tree(client, "");
    tree.file("file", b"a child").await?;
    let directory = tree.finish().await?;
    let mut request = api.add_link_request();
    let mut params = request.get();
    params.set_path(directory.path());
    params.set_name("again");
    params.set_child(child.as_bytes());
    let reply = request.send().promise.await?;
    let patched = ipfs::Cid::from_bytes(reply.get()?.get_cid()?);
    let read = ipfs::read(client, &format!("{}/again", patched.path()), 100).await?;
    report("linked", Ok::<_, String>(String::from_utf8_lossy(&read)));
    Ok(())
}

async fn look(api: &object::Client, cid: &ipfs::Cid) -> runtime::Result<Value> {
    let mut request = api.get_request();
    request.get().set_path(cid.path());
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    let mut links = Vec::new();
    for link in reply.get_links()? {
        let child = crate::cid(link.get_cid()?);
        links.push(json!([link.get_name()?.to_str()?, link.get_bytes(), child]));
    }
    Ok(json!({
        "cid": crate::cid(reply.get_cid()?),
        "data": String::from_utf8_lossy(reply.get_data()?),
        "links": links,
    }))
}

/// Writes what is at a path as a CAR to standard output.
pub async fn export(client: &Client) -> runtime::Result<()> {
    let api = client.dag_request().send().pipeline.get_api();
    let mut request = api.export_request();
    request.get().set_path(crate::argument(0));
    let car = request.send().pipeline.get_car();
    let written = bytes::copy_out(&car, &mut stdout()).await?;
    eprintln!("{}", number(written as usize));
    Ok(())
}
