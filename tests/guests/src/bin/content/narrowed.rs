//! Content with less authority, and with bounds.

use guests::report;
use runtime::ipfs_capnp::client::Client;
use runtime::system_capnp::process::Client as Process;
use runtime::{Session, Spawn, bytes, ipfs, process};
use serde_json::{Value, json};

use crate::keeping;

/// Tries something of every kind. The arguments are a path that it may read, and one that leads elsewhere.
pub async fn tries(client: &Client) -> runtime::Result<()> {
    let (inside, outside) = (crate::argument(0), crate::argument(1));
    report("read inside", read(client, &inside).await);
    report("read outside", read(client, &outside).await);
    let up = format!(
        "{inside}/../{}",
        outside.rsplit('/').next().unwrap_or_default()
    );
    report("read by way of ..", read(client, &up).await);
    let added = ipfs::add(client, b"added", "").await;
    report("add", added.map(|cid| cid.to_string()));
    let block = client.block_request().send().pipeline.get_api();
    let mut request = block.get_request();
    request.get().set_path(&outside);
    report("block outside", request.send().promise.await.map(drop));
    let mut request = block.put_request();
    request.get().set_data(b"block");
    report("block put", request.send().promise.await.map(drop));
    let dag = client.dag_request().send().pipeline.get_api();
    let mut request = dag.get_request();
    request.get().set_path(&outside);
    report("dag outside", request.send().promise.await.map(drop));
    let mut request = dag.export_request();
    request.get().set_path(&outside);
    report("export outside", request.send().promise.await.map(drop));
    report(
        "import",
        dag.import_request().send().promise.await.map(drop),
    );
    let object = client.object_request().send().pipeline.get_api();
    let mut request = object.get_request();
    request.get().set_path(&outside);
    report("object outside", request.send().promise.await.map(drop));
    let mut request = object.set_data_request();
    request.get().set_path(&inside);
    report("object change", request.send().promise.await.map(drop));
    let mut request = client.resolve_node_request();
    request.get().set_path(&outside);
    report("resolve outside", request.send().promise.await.map(drop));

    let pinned = ipfs::pin(client, &inside, "mine").await;
    report("pin", pinned.map(|cid| cid.to_string()));
    let pins = client.pin_request().send().pipeline.get_api();
    report("pins", keeping::ls(&pins, "", 0, 0).await);
    let above = ipfs::pin(client, &inside, "../theirs").await;
    report("pin ..", above.map(|cid| cid.to_string()));
    if let Ok(cid) = resolve(client, &inside).await {
        report("unpin theirs", ipfs::unpin(client, &cid, "theirs").await);
    }
    let swarm = client.swarm_request().send().pipeline.get_api();
    report(
        "peers",
        swarm.peers_request().send().promise.await.map(drop),
    );
    let addrs = swarm.local_addrs_request().send().promise.await;
    report("addrs", addrs.map(drop));
    report(
        "connect",
        swarm.connect_request().send().promise.await.map(drop),
    );
    let keys = client.key_request().send().pipeline.get_api();
    let mut request = keys.generate_request();
    request.get().set_name("made by a guest");
    report("key", request.send().promise.await.map(drop));
    let topics = client.pub_sub_request().send().pipeline.get_api();
    report(
        "publish",
        crate::topics::publish(&topics, "topic", b"x").await,
    );
    let routing = client.routing_request().send().pipeline.get_api();
    let mut request = routing.provide_request();
    request.get().set_path(&inside);
    report("provide", request.send().promise.await.map(drop));

    // Whoever holds it may narrow it, and gets nothing more by that.
    report(
        "narrow outside",
        attenuate(client, false, &outside, "").await.map(drop),
    );
    let same = attenuate(client, false, "", "").await?;
    report(
        "narrowed add",
        ipfs::add(&same, b"added", "")
            .await
            .map(|cid| cid.to_string()),
    );
    report("narrowed read outside", read(&same, &outside).await);
    report("narrowed read inside", read(&same, &inside).await);
    for namespace in ["a/b", "..", "/"] {
        let narrowed = attenuate(client, false, "", namespace).await;
        report(&format!("namespace {namespace}"), narrowed.map(drop));
    }
    Ok(())
}

/// Narrows what it has for a child, which tries everything. The arguments are those of the child, and then `read-only`,
/// `under=PATH` or `pins=NAME`, each of which narrows what is left by the one before.
pub async fn narrows(session: &Session) -> runtime::Result<()> {
    let mut client = session.ipfs()?;
    for option in std::env::args().skip(4) {
        let (name, value) = option.split_once('=').unwrap_or((&option, ""));
        client = match name {
            "read-only" => attenuate(&client, true, "", "").await?,
            "under" => attenuate(&client, false, value, "").await?,
            "pins" => attenuate(&client, false, "", value).await?,
            _ => return Err(format!("there is no {option}").into()),
        };
    }
    let child = Spawn::from_path(&session.executor()?, "/boot/main.wasm")
        .args(&["content", "tries", &crate::argument(0), &crate::argument(1)])
        .grant("ipfs", &client)
        .start()
        .await?;
    let told = bytes::read_to_end(&process::stdout(&child), 1 << 20).await?;
    print!("{}", String::from_utf8_lossy(&told));
    let errors = bytes::read_to_end(&process::stderr(&child), 1 << 20).await?;
    eprint!("{}", String::from_utf8_lossy(&errors));
    report("child", process::wait(&child).await);
    Ok(())
}

/// Runs children that add so many mebibytes each (the first argument): two one after the other, two at once, and one that
/// is bounded to two. Tells of each what it said, and what it used while it was there.
pub async fn budget(session: &Session) -> runtime::Result<()> {
    let executor = session.executor()?;
    let many = crate::argument(0);
    let content = session.ipfs()?;
    let spawn = async |salt: &str, bound: u64| {
        let child = Spawn::from_path(&executor, "/boot/main.wasm")
            .args(&["content", "fill", &many, salt])
            .grant("ipfs", &content)
            .limit(|mut limits| limits.set_content_bytes(bound))
            .start()
            .await?;
        report(salt, filled(&child).await);
        Ok::<_, runtime::Error>(child)
    };
    for (name, bound) in [("first", 0), ("second", 0), ("bounded", 2 << 20)] {
        end(&spawn(name, bound).await?).await?;
    }
    let (one, other) = (spawn("one", 0).await?, spawn("other", 0).await?);
    end(&one).await?;
    end(&other).await?;
    let own = ipfs::add(&content, b"the parent's", "").await;
    report("own", own.map(|cid| cid.to_string()));
    // Narrowed, or only promised, it is still the child's to pay for.
    let promised = content.attenuate_request().send().pipeline.get_ipfs();
    for (name, content) in [
        ("narrowed", attenuate(&content, false, "", "mine").await?),
        ("promised", promised),
    ] {
        let child = Spawn::from_path(&executor, "/boot/main.wasm")
            .args(&["content", "fill", &many, name])
            .grant("ipfs", &content)
            .limit(|mut limits| limits.set_content_bytes(2 << 20))
            .start()
            .await?;
        report(name, filled(&child).await);
        end(&child).await?;
    }
    Ok(())
}

/// Runs children one after the other that add so many mebibytes each (the first argument).
pub async fn spend(session: &Session) -> runtime::Result<()> {
    let executor = session.executor()?;
    let many = crate::argument(0);
    let content = session.ipfs()?;
    for name in ["first", "second", "third", "fourth"] {
        let child = Spawn::from_path(&executor, "/boot/main.wasm")
            .args(&["content", "fill", &many, name])
            .grant("ipfs", &content)
            .start()
            .await?;
        report(name, filled(&child).await);
        end(&child).await?;
    }
    Ok(())
}

/// What a child said that adds something, and what it uses. It goes on.
async fn filled(child: &Process) -> runtime::Result<Value> {
    let output = process::stdout(child);
    let mut told = String::new();
    while !told.contains("\"end\"") {
        let piece = bytes::read(&output, 4096).await?;
        if piece.is_empty() {
            let errors = bytes::read_to_end(&process::stderr(child), 1 << 20).await?;
            return Err(String::from_utf8_lossy(&errors).as_ref().into());
        }
        told.push_str(&String::from_utf8_lossy(&piece));
    }
    let usage = child.usage_request().send().promise.await?;
    let used = usage.get()?.get_usage()?.get_content_bytes();
    Ok(json!({ "stdout": told, "content_bytes": used }))
}

async fn end(child: &Process) -> runtime::Result<()> {
    bytes::close(&process::stdin(child)).await?;
    process::wait(child).await?;
    Ok(())
}

async fn read(client: &Client, path: &str) -> runtime::Result<u64> {
    let all = ipfs::read(client, path, 1 << 20).await?;
    Ok(crate::number(all.len()))
}

async fn resolve(client: &Client, path: &str) -> runtime::Result<ipfs::Cid> {
    let mut request = client.resolve_node_request();
    request.get().set_path(path);
    let reply = request.send().promise.await?;
    Ok(ipfs::Cid::from_bytes(reply.get()?.get_cid()?))
}

async fn attenuate(
    client: &Client,
    read_only: bool,
    subtree: &str,
    pins: &str,
) -> runtime::Result<Client> {
    let mut request = client.attenuate_request();
    let mut params = request.get();
    params.set_read_only(read_only);
    params.set_subtree(subtree);
    params.set_pins(pins);
    let reply = request.send().promise.await?;
    Ok(reply.get()?.get_ipfs()?)
}
