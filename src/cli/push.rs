//! `ww push`: publishes an environment under its content address.
//!
//! What is published is the image: `boot/`, `bin/`, `etc/`, `usr/` and `var/`. Sources, build folders,
//! `.git`, `.env` and whatever else lies beside them are not looked at. An environment without
//! `boot/main.wasm` is refused, because nobody could run it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use content::tree::{LocalTree, Node};
use content::{Cid, EmbeddedStore, import};
use ww::home::Home;

use super::say;

/// Publish an environment, and print its CID
///
/// Publishes boot/, bin/, etc/, usr/ and var/, and nothing else of the folder. The same files
/// have the same CID on every machine. They are kept in this user's store, from which `ww run
/// /ipfs/CID` takes them.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct PushArgs {
    /// The environment
    #[arg(default_value = ".")]
    path: PathBuf,
}

/// Publishes; the CID alone goes to standard output.
pub async fn run(args: PushArgs) -> anyhow::Result<u8> {
    let folder = args.path;
    if !folder.is_dir() {
        bail!(
            "there is no folder {}; give an environment",
            folder.display()
        );
    }
    let home = Home::open()?;
    let store = home.store()?;
    let cid = tokio::task::spawn_blocking({
        let store = store.clone();
        move || publish(&folder, &store)
    })
    .await??;
    say(format_args!(
        "published in {}; run it with",
        store.display()
    ));
    say(format_args!("  ww run /ipfs/{cid}"));
    writeln!(std::io::stdout(), "{cid}").context("cannot write the CID to standard output")?;
    Ok(0)
}

/// Puts the image of `folder` into the store. Refuses one that could not be run.
fn publish(folder: &Path, store: &Path) -> anyhow::Result<Cid> {
    let listed = LocalTree::open(folder, &image::FHS)?;
    match listed.tree().get(image::ENTRY) {
        Some(Node::File { .. }) => {}
        Some(_) => bail!(
            "{} is a link or a folder and must be a file; ww build {} makes it",
            folder.join(image::ENTRY).display(),
            folder.display()
        ),
        None => bail!(
            "{} not found in {1}; to compile it, run ww build {1}",
            image::ENTRY,
            folder.display()
        ),
    }
    Ok(import::local_tree(&EmbeddedStore::open(store)?, &listed)?)
}
