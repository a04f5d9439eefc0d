//! What is given to a command as environments, made into one image.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use content::{BlockStore, EmbeddedStore, IpfsPath};
use image::{Image, Layer};

/// Merges layers into one image; gives the image and its entry. A path that begins with `/ipfs/` is a
/// published layer, a file whose name ends in `.car` is one that somebody carried here, and any other is a
/// directory. The store at `store` is opened when there is a layer that needs it.
///
/// # Errors
/// A layer is not there, or does not fit the others, or there is no entry.
pub fn merge(paths: &[PathBuf], store: &Path) -> anyhow::Result<(Image, Vec<u8>)> {
    let opened = OnceLock::new();
    let stored = || -> anyhow::Result<Arc<dyn BlockStore>> {
        if let Some(store) = opened.get() {
            return Ok(Arc::clone(store));
        }
        let store: Arc<dyn BlockStore> = Arc::new(EmbeddedStore::open(store)?);
        Ok(opened.get_or_init(|| store).clone())
    };
    let mut layers = Vec::new();
    for path in paths {
        layers.push(if is_published(path) {
            let path: IpfsPath = path.to_string_lossy().trim_end_matches('/').parse()?;
            Layer::published(stored()?, &path)?
        } else if is_car(path) {
            Layer::car(stored()?, path)?
        } else {
            Layer::local(path)?
        });
    }
    let image = Image::merge(&layers)?;
    let wasm = image.entry()?;
    Ok((image, wasm))
}

/// What tells the environment that these layers make from others: which they are, and in which order.
pub fn identity(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| match is_published(path) {
        true => path.to_string_lossy().trim_end_matches('/').to_owned(),
        // One that is not there is refused elsewhere.
        false => path.canonicalize().map_or_else(
            |_| path.to_string_lossy().into_owned(),
            |path| path.to_string_lossy().into_owned(),
        ),
    };
    paths.iter().map(name).collect::<Vec<_>>().join("\n")
}

fn is_published(path: &Path) -> bool {
    path.starts_with("/ipfs")
}

fn is_car(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("car")) && path.is_file()
}
