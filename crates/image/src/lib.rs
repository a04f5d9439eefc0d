//! Layers in, one image out.
//!
//! A *layer* is a directory that somebody hands to `ww run`. Of it only the directories in [`FHS`] count;
//! that sources, `target`, `.git` or `.env` lie beside them is usual and makes them no part of anything.
//! An *image* is what several layers come to: the union of their paths, where the later layer wins, as a
//! private copy that a cell can be given as its `/`.
//!
//! The surprising case first: merging is a pure function of what the layers *list*, and it is computed
//! before a byte is copied. So a conflict, a bad link or a missing entry is found at once, and an image
//! exists as a whole or not at all.
//!
//! Refused: a file in one layer where another has a directory, links that leave the FHS directories or
//! go through other links, devices, sockets and fifos, a set of layers without [`ENTRY`], and what passes
//! the limits of [`content::tree`]. Nothing is ever written into a layer; a read-only one will do.
//!
//! In reading order: [`Layer`], [`Image`], [`ImageError`]. All of it blocks on the disk.

mod error;
mod layer;
mod merge;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use content::tree::{self, Node};
use tempfile::TempDir;

pub use error::ImageError;
pub use layer::Layer;

/// The directories that make an image, after the Filesystem Hierarchy Standard.
pub const FHS: [&str; 5] = ["boot", "bin", "etc", "usr", "var"];

/// The program that an image starts with.
pub const ENTRY: &str = "boot/main.wasm";

/// The largest entry, in bytes. It is compiled as a whole, in memory that is a multiple of its size;
/// components of whole language runtimes come to some 40 MB.
pub const MAX_ENTRY_BYTES: u64 = 64 * 1024 * 1024;

/// A merged tree in a private directory (0700) of its own, which is removed when this is dropped.
#[derive(Debug)]
pub struct Image {
    directory: TempDir,
    root: Dir,
}

impl Image {
    /// Merges `layers`, later ones over earlier ones, into a new directory inside `scratch`, which must
    /// exist and should be on a disk with room for all of it.
    ///
    /// Errors: [`ImageError::EntryMissing`] and [`ImageError::EntryNotAFile`] for the entry,
    /// [`ImageError::Conflict`], [`ImageError::Merged`] where layers do not go together,
    /// [`ImageError::Layer`] if a layer changed or cannot be read, and [`ImageError::Scratch`]. After an
    /// error nothing is left in `scratch`.
    pub fn merge(layers: &[Layer], scratch: &Path) -> Result<Self, ImageError> {
        let trees: Vec<_> = layers.iter().map(Layer::tree).collect();
        let merged = merge::merge(&trees).map_err(|error| error.name(layers))?;
        check_entry(&merged.tree, layers)?;
        merged
            .tree
            .check_links_below(&FHS)
            .map_err(ImageError::Merged)?;

        let unusable = |source| ImageError::Scratch {
            path: scratch.to_owned(),
            source,
        };
        let directory = tempfile::Builder::new()
            .prefix("image-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(scratch)
            .map_err(unusable)?;
        tree::write_tree(&merged.tree, directory.path(), |path, writer| {
            let origin = merged
                .origins
                .get(path)
                .and_then(|index| layers.get(*index));
            origin.map_or(Ok(()), |layer| layer.copy(path, writer))
        })?;
        let root =
            Dir::open_ambient_dir(directory.path(), ambient_authority()).map_err(unusable)?;
        Ok(Self { directory, root })
    }

    /// Where the merged tree is, for as long as this lives.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The program in [`ENTRY`]. Refuses one of more than [`MAX_ENTRY_BYTES`].
    pub fn entry(&self) -> Result<Vec<u8>, ImageError> {
        self.read(ENTRY, MAX_ENTRY_BYTES)
    }

    /// The file at `path`, as a cell would name it, with or without the leading slash. Links are
    /// followed inside the image. Refuses with [`ImageError::NoSuchFile`] what is no file or not there,
    /// and with [`ImageError::FileTooBig`] more than `max_bytes`, before it is read.
    pub fn read(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, ImageError> {
        let relative = path.strip_prefix('/').unwrap_or(path);
        let failed = |source: io::Error| ImageError::NoSuchFile {
            path: path.to_owned(),
            source,
        };
        let too_big = |bytes| ImageError::FileTooBig {
            path: path.to_owned(),
            bytes,
            limit: max_bytes,
        };
        let mut reading = OpenOptions::new();
        reading.read(true);
        let file = self.root.open_with(relative, &reading).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if found.len() > max_bytes {
            return Err(too_big(found.len()));
        }
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > max_bytes {
            return Err(too_big(bytes.len() as u64));
        }
        Ok(bytes)
    }
}

/// The entry is a file and no link, so that which program runs can be read off the layers.
fn check_entry(tree: &tree::Tree, layers: &[Layer]) -> Result<(), ImageError> {
    match tree.get(ENTRY) {
        Some(Node::File { .. }) => Ok(()),
        Some(_) => Err(ImageError::EntryNotAFile),
        None => {
            let layers = layers.iter().map(|layer| layer.path().to_owned()).collect();
            Err(ImageError::EntryMissing { layers })
        }
    }
}
