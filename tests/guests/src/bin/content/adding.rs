//! Adding files and trees.

use guests::report;
use runtime::io::stdin;
use runtime::ipfs_capnp::add_options::AddVersion;
use runtime::ipfs_capnp::adder;
use runtime::ipfs_capnp::client::Client;
use runtime::system_capnp::byte_stream::Client as Stream;
use runtime::{bytes, ipfs};
use serde_json::Value;

use crate::{cid, number, pattern};

/// Adds the same tree in every way there is: `dir/one` (a pattern of 3,000,001 bytes), `dir/two` (`two`), `dir/link`, and
/// `empty`.
pub async fn play(client: &Client) -> runtime::Result<()> {
    for (name, version, only_hash) in [
        ("tree", AddVersion::V1, false),
        ("tree v0", AddVersion::V0, false),
        ("only hash", AddVersion::V1, true),
    ] {
        let adder = begin(client, version, only_hash, "");
        side_by_side(&adder).await?;
        other(&adder).await?;
        report(name, finish(&adder).await);
    }
    report("lone file", lone_file(client).await);

    let adder = begin(client, AddVersion::V1, false, "");
    let open = file(&adder, "half").await?;
    bytes::write_all(&open, b"half a").await?;
    report("unclosed", finish(&adder).await);
    report("the same path", file(&adder, "half").await.map(|_| "open"));
    bytes::write_all(&open, b" file").await?;
    bytes::close(&open).await?;
    report("write after close", bytes::write_all(&open, b"x").await);
    report("read", bytes::read(&open, 1).await.map(|_| "bytes"));
    report("closed", finish(&adder).await);
    report("finish again", finish(&adder).await);
    report(
        "file after finish",
        file(&adder, "more").await.map(|_| "open"),
    );

    let adder = begin(client, AddVersion::V1, false, "");
    whole(&adder, "kept", b"kept").await?;
    let given_up = file(&adder, "given up").await?;
    bytes::write_all(&given_up, &pattern(1_000_000)).await?;
    drop(given_up);
    report("given up", finish(&adder).await);

    for path in ["../up", "/root", "a//b", "a/./b", "nul\0"] {
        let adder = begin(client, AddVersion::V1, false, "");
        let outcome = match whole(&adder, path, b"x").await {
            Ok(()) => finish(&adder).await,
            Err(error) => Err(error),
        };
        report(&format!("path {path}"), outcome);
    }
    let adder = begin(client, AddVersion::V1, false, "");
    whole(&adder, "a", b"x").await?;
    whole(&adder, "a/b", b"x").await?;
    report("below a file", finish(&adder).await);

    let adder = begin(client, AddVersion::V1, false, "");
    let mut open = Vec::new();
    let refusal = loop {
        match file(&adder, &open.len().to_string()).await {
            Ok(stream) => open.push(stream),
            Err(error) => break error,
        }
    };
    report("files open", Ok::<u64, String>(number(open.len())));
    report("too many open", Err::<Value, _>(refusal));

    report(
        "by the SDK",
        ipfs::add(client, b"hello", "kept by a guest")
            .await
            .map(|cid| cid.to_string()),
    );
    let tree = ipfs::add_tree(client, "");
    tree.file("dir/one", &pattern(3_000_001)).await?;
    tree.file("dir/two", b"two").await?;
    tree.symlink("dir/link", "one").await?;
    tree.directory("empty").await?;
    report(
        "tree by the SDK",
        tree.finish().await.map(|cid| cid.to_string()),
    );
    Ok(())
}

/// Adds as many mebibytes as it may, up to the first argument, each of its own; then reads the first again, and waits
/// for the end of its standard input. The second
/// argument makes them differ from those of others.
pub async fn fill(client: &Client) -> runtime::Result<()> {
    let salt = crate::argument(1);
    let mut first = None;
    let mut outcome = Ok(());
    let mut added = 0_u64;
    for number in 0..guests::arg(2, 1) {
        let mut data = pattern(1 << 20);
        // In each of the pieces that it is cut into.
        for chunk in data.chunks_mut(1 << 18) {
            let mark = format!("{salt} {number}");
            for (to, from) in chunk.iter_mut().zip(mark.bytes()) {
                *to = from;
            }
        }
        match ipfs::add(client, &data, "").await {
            Ok(cid) => {
                first.get_or_insert(cid);
                added += 1;
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    report("added", Ok::<u64, String>(added));
    report("all", outcome);
    if let Some(first) = first {
        let read = ipfs::read(client, &first.path(), 1 << 20).await;
        report("read", read.map(|data| number(data.len())));
    }
    report("end", Ok::<_, String>(()));
    // For as long as it goes on, what it added counts.
    stdin().next_line().await?;
    Ok(())
}

fn begin(client: &Client, version: AddVersion, only_hash: bool, pin: &str) -> adder::Client {
    let unixfs = client.unixfs_request().send().pipeline.get_api();
    let mut request = unixfs.add_request();
    let mut options = request.get().init_options();
    options.set_version(version);
    options.set_only_hash(only_hash);
    options.set_pin(pin);
    request.send().pipeline.get_adder()
}

async fn file(adder: &adder::Client, path: &str) -> runtime::Result<Stream> {
    let mut request = adder.file_request();
    request.get().set_path(path);
    Ok(request.send().promise.await?.get()?.get_stream()?)
}

async fn whole(adder: &adder::Client, path: &str, data: &[u8]) -> runtime::Result<()> {
    let stream = file(adder, path).await?;
    bytes::write_all(&stream, data).await?;
    bytes::close(&stream).await
}

/// Two files, whose bytes come by turns.
async fn side_by_side(adder: &adder::Client) -> runtime::Result<()> {
    let (one, two) = (file(adder, "dir/one").await?, file(adder, "dir/two").await?);
    let data = pattern(3_000_001);
    let (mut rest, mut other) = (&data[..], &b"two"[..]);
    for size in [1, 262_143, 7, 500_000].iter().cycle() {
        let (now, later) = rest.split_at((*size).min(rest.len()));
        bytes::write_all(&one, now).await?;
        rest = later;
        let (now, later) = other.split_at(1.min(other.len()));
        bytes::write_all(&two, now).await?;
        other = later;
        if rest.is_empty() {
            break;
        }
    }
    bytes::close(&one).await?;
    bytes::close(&two).await
}

async fn other(adder: &adder::Client) -> runtime::Result<()> {
    let mut request = adder.symlink_request();
    request.get().set_path("dir/link");
    request.get().set_target("one");
    request.send().promise.await?;
    let mut request = adder.directory_request();
    request.get().set_path("empty");
    request.send().promise.await?;
    Ok(())
}

async fn lone_file(client: &Client) -> runtime::Result<Value> {
    let adder = begin(client, AddVersion::V1, false, "");
    whole(&adder, "", &pattern(3_000_001)).await?;
    finish(&adder).await
}

async fn finish(adder: &adder::Client) -> runtime::Result<Value> {
    let reply = adder.finish_request().send().promise.await?;
    Ok(cid(reply.get()?.get_cid()?))
}
