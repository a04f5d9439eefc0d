//! What is given to a command as environments, made into one image.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use content::{Cid, IpfsPath, Repo};
use image::{Image, Layer};

/// Several layers as one.
pub struct Merged {
    /// The image.
    pub image: Image,
    /// Its program.
    pub entry: Vec<u8>,
    /// What of it is read from the store while it runs.
    pub published: Vec<Cid>,
}

/// Merges layers into one image. A path that begins with `/ipfs/` is a published layer, a file whose name ends in
/// `.car` is one that somebody carried here, and any other is a directory.
///
/// # Errors
/// A layer is not there, or does not fit the others, or there is no entry.
pub fn merge(paths: &[PathBuf], repo: &Repo) -> anyhow::Result<Merged> {
    let mut layers = Vec::new();
    for path in paths {
        layers.push(if is_published(path) {
            let path: IpfsPath = path.to_string_lossy().trim_end_matches('/').parse()?;
            Layer::published(repo.store().clone(), &path)?
        } else if is_car(path) {
            Layer::car(repo.store().clone(), path)?
        } else {
            Layer::local(path)?
        });
    }
    let image = Image::merge(&layers)?;
    Ok(Merged {
        entry: image.entry()?,
        published: layers.iter().filter_map(Layer::cid).collect(),
        image,
    })
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
