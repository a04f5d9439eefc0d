//! What is given to a command as environments, made into one image.

use std::path::{Path, PathBuf};

use content::{EmbeddedStore, IpfsPath, export};
use image::{Image, Layer};
use tempfile::TempDir;

/// Merges layers, local or published, into one image below `scratch`; gives the image and its entry.
///
/// # Errors
/// A layer is not there, or does not fit the others, or there is no entry.
pub fn merge(paths: &[PathBuf], scratch: &Path, store: &Path) -> anyhow::Result<(Image, Vec<u8>)> {
    let mut layers = Vec::new();
    // What was taken from the store has to stay until it is merged.
    let mut taken = Vec::new();
    for path in paths {
        if path.starts_with("/ipfs") {
            let directory = take(path, scratch, store)?;
            layers.push(Layer::open(directory.path())?);
            taken.push(directory);
        } else {
            layers.push(Layer::open(path)?);
        }
    }
    let image = Image::merge(&layers, scratch)?;
    let wasm = image.entry()?;
    Ok((image, wasm))
}

/// What tells the environment that these layers make from others: which they are, and in which order.
pub fn identity(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| match path.starts_with("/ipfs") {
        true => path.to_string_lossy().trim_end_matches('/').to_owned(),
        // One that is not there is refused elsewhere.
        false => path.canonicalize().map_or_else(
            |_| path.to_string_lossy().into_owned(),
            |path| path.to_string_lossy().into_owned(),
        ),
    };
    paths.iter().map(name).collect::<Vec<_>>().join("\n")
}

/// Takes a published environment out of the store, every block of it verified.
fn take(path: &Path, scratch: &Path, store: &Path) -> anyhow::Result<TempDir> {
    let path: IpfsPath = path.to_string_lossy().trim_end_matches('/').parse()?;
    let store = EmbeddedStore::open(store)?;
    let cid = content::directory::resolve(&store, path.root(), path.names())?;
    let directory = tempfile::Builder::new()
        .prefix("layer-")
        .tempdir_in(scratch)?;
    export::to_directory(&store, &cid, directory.path())?;
    Ok(directory)
}
