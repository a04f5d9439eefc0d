//! Reading files and directories.

use guests::report;
use runtime::io::{stdin, stdout};
use runtime::ipfs_capnp::client::Client;
use runtime::ipfs_capnp::{entry, node, unix_f_s};
use runtime::{bytes, ipfs};
use serde_json::{Value, json};

use crate::{checked, cid, number};

/// Sizes in which a stream is read, over and over: one byte, odd ones, and more than a read gives.
const PIECES: [u32; 5] = [1, 7, 65_537, 300_001, u32::MAX];

/// Below the path in the first argument are `small` (`hello`), `big` (a pattern), `link`, and the directories `many` and
/// `sharded`.
pub async fn play(client: &Client) -> runtime::Result<()> {
    let root = crate::argument(0);
    let at = |name: &str| format!("{root}/{name}");
    let unixfs = client.unixfs_request().send().pipeline.get_api();

    report("cat", cat(&unixfs, &at("small")).await);
    report("cat big", cat(&unixfs, &at("big")).await);
    report("cat many", cat(&unixfs, &at("many")).await);
    report("cat nothing", cat(&unixfs, &at("nothing")).await);
    report("cat no path", cat(&unixfs, "../etc/passwd").await);
    for name in ["small", "big", "link", "many"] {
        report(&format!("stat {name}"), stat(&unixfs, &at(name)).await);
    }

    let big = get(&unixfs, &at("big"));
    report("whole", pieces(&big, 0, 0).await);
    report("from an offset", pieces(&big, 1_000_003, 0).await);
    report("a part", pieces(&big, 262_143, 524_290).await);
    report("past the end", pieces(&big, u64::MAX, 0).await);
    report("entries of a file", entries(&big, "", 0).await);
    report("target of a file", target(&big).await);
    let link = get(&unixfs, &at("link"));
    report("target", target(&link).await);
    report("read a link", pieces(&link, 0, 0).await);

    for name in ["many", "sharded"] {
        let directory = get(&unixfs, &at(name));
        report(&format!("pages {name}"), pages(&directory, 777).await);
        report(&format!("all {name}"), entries(&directory, "", 0).await);
        report(
            &format!("too many {name}"),
            entries(&directory, "", 4097).await,
        );
        let last = entries(&directory, "zzz", 10).await;
        report(&format!("behind {name}"), last);
        report(&format!("ls {name}"), ls(&unixfs, &at(name)).await);
        let mut listing = ipfs::list(client, &at(name));
        let mut count = 0;
        while listing.next().await?.is_some() {
            count += 1;
        }
        report(&format!("list {name}"), Ok::<u64, String>(count));
    }
    let mut request = get(&unixfs, &root).child_request();
    request.get().set_name("small");
    let child = request.send().pipeline.get_node();
    report("child", text(&child).await);
    let mut request = get(&unixfs, &root).child_request();
    request.get().set_name("../small");
    let child = request.send().pipeline.get_node();
    report("child elsewhere", text(&child).await);

    let part = ipfs::read_at(client, &at("big"), 3_000_000, 4000).await?;
    report("read_at", checked(3_000_000, &part));
    let none = ipfs::read_at(client, &at("big"), 0, 0).await;
    report("read_at nothing", none.map(|part| number(part.len())));
    let all = ipfs::read(client, &at("big"), 1000).await;
    report("read too much", all.map(|all| number(all.len())));
    for call in ["resolveNode", "resolvePath"] {
        for path in [at("small"), at("nothing"), "/etc/passwd".to_owned()] {
            report(
                &format!("{call} {path}"),
                resolve(client, call, &path).await,
            );
        }
    }
    Ok(())
}

/// Reads `small` below the path, and lists `many`.
pub async fn look(client: &Client) -> runtime::Result<()> {
    let root = crate::argument(0);
    let unixfs = client.unixfs_request().send().pipeline.get_api();
    report("cat", cat(&unixfs, &format!("{root}/small")).await);
    report("ls", ls(&unixfs, &format!("{root}/many")).await);
    report(
        "whole",
        pieces(&get(&unixfs, &format!("{root}/big")), 0, 0).await,
    );
    Ok(())
}

/// Reads the file at the path, and waits for a line of standard input after the first piece. Tells how many bytes came
/// that were right, and how it ended.
pub async fn follow(client: &Client) -> runtime::Result<()> {
    let stream = ipfs::open(client, &crate::argument(0));
    let mut offset = 0;
    loop {
        match bytes::read(&stream, 65_536).await {
            Ok(piece) if piece.is_empty() => {
                report("end", Ok::<u64, String>(offset));
                break;
            }
            Ok(piece) => {
                let first = offset == 0;
                offset += checked(offset, &piece)?;
                if first {
                    stdout().write_all(b"{\"attempt\":\"begun\"}\n").await?;
                    stdin().next_line().await?;
                }
            }
            Err(error) => {
                report("bytes", Ok::<u64, String>(offset));
                report("end", Err::<u64, _>(error));
                break;
            }
        }
    }
    // A stream that has failed does not end as if it had been whole.
    let again = bytes::read(&stream, 1).await;
    report("again", again.map(|piece| number(piece.len())));
    Ok(())
}

fn get(unixfs: &unix_f_s::Client, path: &str) -> node::Client {
    let mut request = unixfs.get_request();
    request.get().set_path(path);
    request.send().pipeline.get_node()
}

async fn cat(unixfs: &unix_f_s::Client, path: &str) -> runtime::Result<String> {
    let mut request = unixfs.cat_request();
    request.get().set_path(path);
    let reply = request.send().promise.await?;
    Ok(String::from_utf8_lossy(reply.get()?.get_data()?).into_owned())
}

async fn text(node: &node::Client) -> runtime::Result<String> {
    let stream = node.read_request().send().pipeline.get_stream();
    let all = bytes::read_to_end(&stream, 1000).await?;
    Ok(String::from_utf8_lossy(&all).into_owned())
}

async fn target(node: &node::Client) -> runtime::Result<String> {
    let reply = node.target_request().send().promise.await?;
    Ok(reply.get()?.get_target()?.to_string()?)
}

async fn stat(unixfs: &unix_f_s::Client, path: &str) -> runtime::Result<Value> {
    let mut request = unixfs.stat_request();
    request.get().set_path(path);
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    let mut told = told(reply.get_entry()?)?;
    told["dag_bytes"] = reply.get_dag_bytes().into();
    told["blocks"] = reply.get_blocks().into();
    Ok(told)
}

fn told(entry: entry::Reader<'_>) -> runtime::Result<Value> {
    Ok(json!({
        "name": entry.get_name()?.to_str()?,
        "size": entry.get_size(),
        "type": match entry.get_type()? {
            entry::Type::File => "file",
            entry::Type::Directory => "directory",
            entry::Type::Symlink => "symlink",
        },
        "cid": cid(entry.get_cid()?),
    }))
}

/// Reads a stream in odd pieces, and gives how many bytes there were.
async fn pieces(node: &node::Client, offset: u64, bytes: u64) -> runtime::Result<u64> {
    let mut request = node.read_request();
    request.get().set_offset(offset);
    request.get().set_bytes(bytes);
    let stream = request.send().pipeline.get_stream();
    let mut count = 0;
    for size in PIECES.iter().cycle() {
        let piece = runtime::bytes::read(&stream, *size).await?;
        if piece.is_empty() {
            break;
        }
        count += checked(offset + count, &piece)?;
    }
    Ok(count)
}

async fn entries(node: &node::Client, after: &str, limit: u32) -> runtime::Result<Value> {
    let mut request = node.entries_request();
    request.get().set_after(after);
    request.get().set_limit(limit);
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    Ok(json!({ "count": reply.get_entries()?.len(), "more": reply.get_more() }))
}

/// All entries by pages, in order.
async fn pages(node: &node::Client, limit: u32) -> runtime::Result<Value> {
    let (mut after, mut count, mut turned) = (String::new(), 0, 0);
    let mut first = Value::Null;
    loop {
        let mut request = node.entries_request();
        request.get().set_after(&after);
        request.get().set_limit(limit);
        let reply = request.send().promise.await?;
        let reply = reply.get()?;
        turned += 1;
        for entry in reply.get_entries()? {
            let name = entry.get_name()?.to_string()?;
            if name <= after {
                return Err(format!("{name} comes behind {after}").into());
            }
            if count == 0 {
                first = told(entry)?;
            }
            after = name;
            count += 1;
        }
        if !reply.get_more() {
            return Ok(json!({ "count": count, "pages": turned, "first": first, "last": after }));
        }
    }
}

/// The first two entries.
async fn ls(unixfs: &unix_f_s::Client, path: &str) -> runtime::Result<Value> {
    let mut request = unixfs.ls_request();
    request.get().set_path(path);
    request.get().set_limit(2);
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    let entries = reply.get_entries()?.iter().map(told);
    Ok(entries.collect::<runtime::Result<Vec<_>>>()?.into())
}

async fn resolve(client: &Client, call: &str, path: &str) -> runtime::Result<Value> {
    if call == "resolveNode" {
        let mut request = client.resolve_node_request();
        request.get().set_path(path);
        let reply = request.send().promise.await?;
        return Ok(cid(reply.get()?.get_cid()?));
    }
    let mut request = client.resolve_path_request();
    request.get().set_path(path);
    let reply = request.send().promise.await?;
    Ok(reply.get()?.get_path()?.to_string()?.into())
}
