//! Capabilities of content to try a method on, and what can be seen of it in the store, among the pins, and by whoever
//! has subscribed.

use std::time::Duration;

use runtime::Session;
use runtime::capnp::capability::{Client, FromClientHook as _};
use runtime::ipfs_capnp::{adder, pub_sub, unix_f_s};
use runtime::system_capnp::registration;

use crate::contract::content::{
    DIRECTORY, FILE, FILE_CID, LINK, NAME, PUBLISHING, REMOVED, REMOVED_CID, RENAMED,
};
use crate::contract::{Answer, Spare};

/// Calls that a message takes on its way to whoever has subscribed, and some more.
const ON_THE_WAY: usize = 16;

/// A capability that has the method of this name, if it is one of content that the host serves, and what has to stay
/// for as long as it is tried.
pub async fn new(
    session: &Session,
    method: &str,
    spare: &Spare,
) -> runtime::Result<Option<(Client, Option<registration::Client>)>> {
    let (interface, _) = method.split_once('.').unwrap_or_default();
    let Ok(ipfs) = session.ipfs() else {
        return Ok(None);
    };
    let unixfs = || ipfs.unixfs_request().send().pipeline.get_api();
    macro_rules! api {
        ($request:ident) => {
            ipfs.$request().send().pipeline.get_api().client
        };
    }
    let cap = match interface {
        "Client" => ipfs.client.clone(),
        "UnixFS" => unixfs().client,
        "Node" => {
            let path = match method {
                "Node.entries" | "Node.child" => DIRECTORY,
                "Node.target" => LINK,
                _ => FILE,
            };
            node(&unixfs(), path)
        }
        "Adder" => unixfs().add_request().send().pipeline.get_adder().client,
        "Block" => api!(block_request),
        "Dag" => api!(dag_request),
        "Name" => api!(name_request),
        "Key" => api!(key_request),
        "Pin" => api!(pin_request),
        "Object" => api!(object_request),
        "Swarm" => api!(swarm_request),
        "PubSub" => api!(pub_sub_request),
        "Routing" => api!(routing_request),
        _ => return Ok(None),
    };
    let mut held = None;
    match method {
        "Block.rm" => {
            let block = ipfs.block_request().send().pipeline.get_api();
            let mut request = block.put_request();
            request.get().set_data(REMOVED);
            request.send().promise.await?;
        }
        "Pin.rm" | "Pin.verify" => {
            let mut request = ipfs.pin_request().send().pipeline.get_api().add_request();
            let mut params = request.get();
            params.set_path(FILE);
            params.set_name(NAME);
            request.send().promise.await?;
        }
        "Name.publish" => {
            let keys = ipfs.key_request().send().pipeline.get_api();
            let mut request = keys.generate_request();
            request.get().set_name(PUBLISHING);
            // The other twin has it already.
            let _ = request.send().promise.await;
        }
        "Key.rename" | "Key.remove" => {
            let keys = ipfs.key_request().send().pipeline.get_api();
            let mut request = keys.generate_request();
            request.get().set_name(NAME);
            request.send().promise.await?;
        }
        "PubSub.publish" => {
            let topics: pub_sub::Client = cap.clone().cast_to();
            let mut request = topics.subscribe_request();
            let mut params = request.get();
            params.set_topic(NAME);
            params.set_handler(spare.client().cast_to());
            held = Some(request.send().promise.await?.get()?.get_subscription()?);
        }
        _ => {}
    }
    Ok(Some((cap, held)))
}

fn node(unixfs: &unix_f_s::Client, path: &str) -> Client {
    let mut request = unixfs.get_request();
    request.get().set_path(path);
    request.send().pipeline.get_node().client
}

/// What can be seen once a method has been tried, and refused or not: `None` where there is nothing to see. `made` is
/// the CID of what it makes, once it has made it; what is there is taken away again.
pub async fn seen(
    session: &Session,
    method: &str,
    cap: &Client,
    answer: Option<&Answer>,
    spare: &Spare,
    made: &mut Option<Vec<u8>>,
) -> runtime::Result<Option<String>> {
    let told = |yes: bool, told: &str, otherwise: &str| {
        Ok(Some((if yes { told } else { otherwise }).to_owned()))
    };
    match method {
        "Block.put" | "Dag.put" | "Object.put" | "Object.addLink" | "Object.rmLink"
        | "Object.setData" | "Object.appendData" | "Adder.finish" => {
            if let Some(cid) = answer.and_then(Answer::cid) {
                *made = Some(cid);
            }
            let cid = made.as_deref().ok_or("nothing was ever made")?;
            told(take_block(session, cid).await?, "kept", "absent")
        }
        "Block.rm" => told(take_block(session, &REMOVED_CID).await?, "there", "gone"),
        "Pin.add" | "Pin.rm" => told(take_pin(session).await?, "pinned", "not pinned"),
        "Pin.verify" => {
            take_pin(session).await?;
            Ok(None)
        }
        "Adder.file" | "Adder.directory" | "Adder.symlink" => {
            let adder: adder::Client = cap.clone().cast_to();
            let Ok(finished) = adder.finish_request().send().promise.await else {
                return told(true, "one is open", "");
            };
            let root = finished.get()?.get_cid()?.to_vec();
            // The directory of nothing at all is what it is without it.
            let empty = session.ipfs()?.unixfs_request().send().pipeline;
            let empty = empty.get_api().add_request().send().pipeline.get_adder();
            let empty = empty.finish_request().send().promise.await?;
            told(root == empty.get()?.get_cid()?, "nothing", "an entry")
        }
        "Name.publish" => {
            let record = record(session).await?;
            let is_new = record.is_some() && record != *made;
            *made = record;
            told(is_new, "published", "not published")
        }
        "Key.generate" | "Key.rename" | "Key.remove" => {
            let mut there = "neither";
            for name in [NAME, RENAMED] {
                if take_key(session, name).await? {
                    there = name;
                }
            }
            Ok(Some(format!("there is {there}")))
        }
        "PubSub.subscribe" => {
            let topics: pub_sub::Client = cap.clone().cast_to();
            let topics = topics.topics_request().send().promise.await?;
            let count = topics.get()?.get_topics()?.len();
            Ok(Some(format!("{count} topics")))
        }
        "PubSub.publish" => {
            while answer.is_some() && spare.calls() == 0 {
                runtime::sleep(Duration::from_millis(1)).await;
            }
            for _ in 0..ON_THE_WAY {
                session.membrane().graft_request().send().promise.await?;
            }
            Ok(Some(format!("{} had come", spare.calls())))
        }
        _ => Ok(None),
    }
}

/// Whether a block is there. It is not, afterwards.
async fn take_block(session: &Session, cid: &[u8]) -> runtime::Result<bool> {
    let ipfs = session.ipfs()?;
    let routing = ipfs.routing_request().send().pipeline.get_api();
    let mut request = routing.find_providers_request();
    request.get().set_cid(cid);
    let found = request.send().promise.await?;
    if found.get()?.get_peers()?.is_empty() {
        return Ok(false);
    }
    let mut request = ipfs.block_request().send().pipeline.get_api().rm_request();
    request.get().set_cid(cid);
    request.send().promise.await?;
    Ok(true)
}

/// The record of what the name of a key stands for, if it stands for something.
async fn record(session: &Session) -> runtime::Result<Option<Vec<u8>>> {
    let ipfs = session.ipfs()?;
    let keys = ipfs.key_request().send().pipeline.get_api();
    let keys = keys.list_request().send().promise.await?;
    let keys = keys.get()?.get_keys()?;
    let is_it = |name: runtime::capnp::text::Reader<'_>| name == PUBLISHING;
    let own = keys.iter().find(|key| key.get_name().is_ok_and(is_it));
    let own = own.ok_or("there is no such key")?.get_id()?;
    let names = ipfs.name_request().send().pipeline.get_api();
    let mut request = names.record_request();
    request.get().set_name(own);
    match request.send().promise.await {
        Ok(record) => Ok(Some(record.get()?.get_record()?.to_vec())),
        Err(_) => Ok(None),
    }
}

/// Whether there is a key of this name. There is not, afterwards.
async fn take_key(session: &Session, name: &str) -> runtime::Result<bool> {
    let keys = session.ipfs()?.key_request().send().pipeline.get_api();
    let mut request = keys.remove_request();
    request.get().set_name(name);
    Ok(request.send().promise.await.is_ok())
}

/// Whether the file is pinned under the name. It is not, afterwards.
async fn take_pin(session: &Session) -> runtime::Result<bool> {
    let pins = session.ipfs()?.pin_request().send().pipeline.get_api();
    let mut request = pins.rm_request();
    let mut params = request.get();
    params.set_cid(&FILE_CID);
    params.set_name(NAME);
    match request.send().promise.await {
        Ok(_) => Ok(true),
        Err(error) if error.extra.contains("not pinned") => Ok(false),
        Err(error) => Err(error.into()),
    }
}
