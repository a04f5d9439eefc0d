//! Exercises each face of `ipfs`, one line of JSON for each step. The first argument says which scene is played, the
//! others are its own; each scene tells in its file what it expects.

mod adding;
mod files;
mod graph;
mod import;
mod keeping;
mod narrowed;
mod network;
mod topics;

use runtime::ipfs_capnp::client::Client;
use serde_json::Value;

/// The argument at this place behind the scene's name.
fn argument(index: usize) -> String {
    guests::arg(index + 2, String::new())
}

/// The byte at an offset of every file whose content does not matter, so that any part of it can be checked.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn pattern(bytes: u64) -> Vec<u8> {
    (0..bytes).map(byte_at).collect()
}

/// How many bytes there are, or where the first wrong one is.
fn checked(offset: u64, bytes: &[u8]) -> Result<u64, String> {
    let wrong = (offset..)
        .zip(bytes)
        .find(|(at, byte)| byte_at(*at) != **byte);
    match wrong {
        None => Ok(bytes.len() as u64),
        Some((at, _)) => Err(format!("wrong byte at {at}")),
    }
}

fn cid(bytes: &[u8]) -> Value {
    runtime::ipfs::Cid::from_bytes(bytes).to_string().into()
}

/// Something that was counted, as JSON.
fn number(count: usize) -> u64 {
    count as u64
}

fn main() {
    runtime::run(|session| async move {
        let scene: String = guests::arg(1, String::new());
        if scene == "subscriber" {
            return topics::subscriber(&session.ipfs()?).await;
        }
        let ipfs: Client = session.ipfs()?;
        match scene.as_str() {
            "files" => files::play(&ipfs).await,
            "look" => files::look(&ipfs).await,
            "follow" => files::follow(&ipfs).await,
            "adding" => adding::play(&ipfs).await,
            "fill" => adding::fill(&ipfs).await,
            "blocks" => graph::blocks(&ipfs).await,
            "values" => graph::values(&ipfs).await,
            "objects" => graph::objects(&ipfs).await,
            "export" => graph::export(&ipfs).await,
            "import" => import::play(&ipfs).await,
            "pins" => keeping::play(&ipfs).await,
            "network" => network::play(&ipfs).await,
            "topics" => topics::play(&session).await,
            "tries" => narrowed::tries(&ipfs).await,
            "narrows" => narrowed::narrows(&session).await,
            "budget" => narrowed::budget(&session).await,
            "spend" => narrowed::spend(&session).await,
            _ => Err(format!("there is no scene {scene:?}").into()),
        }
    });
}
