//! Messages between two cells, one of which is slow.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::channel::oneshot;
use guests::{hex, report};
use runtime::capnp;
use runtime::ipfs_capnp::client::Client;
use runtime::ipfs_capnp::{message_handler, pub_sub};
use runtime::system_capnp::{byte_stream, registration};
use runtime::{Session, Spawn, bytes, process};

/// Messages that are published while the subscriber takes none.
const BURST: u32 = 100;

/// Publishes to a child that is slow.
pub async fn play(session: &Session) -> runtime::Result<()> {
    let ipfs = session.ipfs()?;
    let api = ipfs.pub_sub_request().send().pipeline.get_api();
    let child = Spawn::from_path(&session.executor()?, "/boot/main.wasm")
        .args(&["content", "subscriber"])
        .grant("ipfs", &ipfs)
        .start()
        .await?;
    let output = process::stdout(&child);
    until(&output, "ready").await?;
    // To nobody who listens.
    publish(&api, "elsewhere", b"x").await?;
    publish(&api, "slow", b"0").await?;
    until(&output, "busy").await?;
    for number in 1..BURST {
        publish(&api, "slow", number.to_string().as_bytes()).await?;
    }
    publish(&api, "go", b"").await?;
    let told = bytes::read_to_end(&output, 1 << 20).await?;
    print!("{}", String::from_utf8_lossy(&told));
    report("child", process::wait(&child).await);

    let long = vec![0; 65_537];
    report("publish 64 KiB and 1", publish(&api, "slow", &long).await);
    report("publish without a topic", publish(&api, "", b"x").await);
    let mut held = Vec::new();
    let refusal = loop {
        match subscribe(&api, &format!("topic {}", held.len()), Handler::default()).await {
            Ok(registration) => held.push(registration),
            Err(error) => break error,
        }
    };
    report("subscriptions", Ok::<u64, String>(held.len() as u64));
    report("one more", Err::<u64, _>(refusal));
    report("topics", topics(&api).await);
    held.truncate(1);
    report("topics after", topics(&api).await);
    Ok(())
}

/// Takes the first message of `slow` and does not answer before there is one of `go`.
pub async fn subscriber(ipfs: &Client) -> runtime::Result<()> {
    let api = ipfs.pub_sub_request().send().pipeline.get_api();
    let (go, gone) = oneshot::channel();
    let (done, all) = oneshot::channel();
    let slow = Handler {
        wait: RefCell::new(Some(gone)),
        last: (BURST - 1).to_string(),
        done: RefCell::new(Some(done)),
        told: Cell::new(true),
    };
    let quick = Handler {
        done: RefCell::new(Some(go)),
        ..Handler::default()
    };
    let _slow = subscribe(&api, "slow", slow).await?;
    let _go = subscribe(&api, "go", quick).await?;
    report("topics of the child", topics(&api).await);
    println!("ready");
    let _ = all.await;
    Ok(())
}

/// Prints what comes, if it is to be told. Waits before it answers for the first time; says when the last has come.
#[derive(Default)]
struct Handler {
    wait: RefCell<Option<oneshot::Receiver<()>>>,
    last: String,
    done: RefCell<Option<oneshot::Sender<()>>>,
    told: Cell<bool>,
}

impl message_handler::Server for Handler {
    async fn handle(
        self: Rc<Self>,
        params: message_handler::HandleParams,
        _results: message_handler::HandleResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let data = String::from_utf8_lossy(params.get_data()?).into_owned();
        if self.told.get() {
            let line = serde_json::json!({
                "topic": params.get_topic()?.to_str()?,
                "data": data,
                "dropped": params.get_dropped(),
                "from": hex(params.get_from()?),
            });
            println!("{line}");
        }
        let wait = self.wait.take();
        if let Some(wait) = wait {
            println!("busy");
            let _ = wait.await;
        }
        if data == self.last
            && let Some(done) = self.done.take()
        {
            let _ = done.send(());
        }
        Ok(())
    }
}

pub async fn publish(api: &pub_sub::Client, topic: &str, data: &[u8]) -> runtime::Result<()> {
    let mut request = api.publish_request();
    request.get().set_topic(topic);
    request.get().set_data(data);
    request.send().promise.await?;
    Ok(())
}

async fn subscribe(
    api: &pub_sub::Client,
    topic: &str,
    handler: Handler,
) -> runtime::Result<registration::Client> {
    let mut request = api.subscribe_request();
    request.get().set_topic(topic);
    request
        .get()
        .set_handler(runtime::capnp_rpc::new_client(handler));
    let reply = request.send().promise.await?;
    Ok(reply.get()?.get_subscription()?)
}

async fn topics(api: &pub_sub::Client) -> runtime::Result<u64> {
    let reply = api.topics_request().send().promise.await?;
    Ok(u64::from(reply.get()?.get_topics()?.len()))
}

/// Reads up to a line that says this.
async fn until(output: &byte_stream::Client, word: &str) -> runtime::Result<()> {
    let mut text = String::new();
    while !text.ends_with(&format!("{word}\n")) {
        let piece = bytes::read(output, 1).await?;
        if piece.is_empty() {
            return Err(format!("{word} did not come: {text}").into());
        }
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    print!("{}", text.trim_end_matches(&format!("{word}\n")));
    Ok(())
}
