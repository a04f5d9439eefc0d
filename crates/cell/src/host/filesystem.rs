//! The files of a cell: its image, read-only, at `/`, and what it may write to at `/tmp` and `/var`.
//!
//! Stands between the guest and wasmtime-wasi's `wasi:filesystem`. What concerns the image is answered here,
//! from an [`ImageTree`]: nothing of the host's is behind it. Of a [`Writable`], which is a directory of the
//! host's, what changes nothing is passed through; changes are made here, each together with its
//! accounting, so that a guest which has no quota left gets the error `quota`, whichever way it takes.
//! Nothing is linked or renamed from one of the places to another.
//!
//! Whatever a guest opens, in its image or elsewhere, is one of the descriptors that it may have, until
//! it and the streams made from it have gone.
//!
//! - `image`: what is served at `/`.
//! - `quota`: who is asked for bytes.
//! - `writable`: a directory of the host, taken into use.
//! - `tree`: what the cells have open in one, and the turns that their changes take.
//! - `books`: what counts for how much.
//! - `change`: the changes themselves.
//! - `descriptors`: how many a cell has open.
//! - `descriptor`: `wasi:filesystem/types` in front of all that; `stream`: its streams.

mod books;
mod change;
mod descriptor;
mod descriptors;
mod image;
mod quota;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod writable;

pub(crate) use descriptors::Descriptors;
pub use image::{IMAGE_ROOT, ImageFile, ImageNode, ImageTree, MemoryImage};
pub use quota::{FixedQuota, Quota};
pub use writable::{Writable, WritableError};

use self::image::{Seen, Turns};
use self::stream::{Pending, WriteFailed};
use self::tree::Opened;
use std::collections::HashMap;
use std::sync::Arc;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView};
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};

/// The image and the writable places of one cell, and what it has open in the places.
pub(crate) struct Files {
    image: Option<Arc<dyn ImageTree>>,
    /// For reading the image.
    turns: Turns,
    places: Vec<(&'static str, Writable)>,
    descriptors: Descriptors,
    /// By the number of the descriptor in the cell's table. What is not here is the image's.
    opened: HashMap<u32, Arc<Opened>>,
    /// What each listing of a place holds, by the number of its stream, and all of them together, in bytes.
    listed: HashMap<u32, usize>,
    listed_bytes: usize,
    pending: Pending,
}

impl Files {
    pub(crate) fn new(
        image: Option<Arc<dyn ImageTree>>,
        tmp: Option<Writable>,
        var: Option<Writable>,
        descriptors: Descriptors,
    ) -> Self {
        let tmp = tmp.map(|tmp| ("/tmp", tmp));
        let var = var.map(|var| ("/var", var));
        Self {
            image,
            turns: Turns::default(),
            places: tmp.into_iter().chain(var).collect(),
            descriptors,
            opened: HashMap::new(),
            listed: HashMap::new(),
            listed_bytes: 0,
            pending: Pending::default(),
        }
    }
}

/// One cell's files during a call.
pub(crate) struct FilesView<'a> {
    pub(crate) wasi: WasiFilesystemCtxView<'a>,
    pub(crate) files: &'a mut Files,
}

/// Somebody who has [`Files`].
pub(crate) trait HasFiles: Send {
    fn files(&mut self) -> FilesView<'_>;
}

struct Filesystem;

impl HasData for Filesystem {
    type Data<'a> = FilesView<'a>;
}

/// Adds all of `wasi:filesystem`.
pub(crate) fn add_to_linker<T: HasFiles + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    preopens::add_to_linker::<T, Filesystem>(linker, T::files)?;
    types::add_to_linker::<T, Filesystem>(linker, T::files)
}

impl preopens::Host for FilesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let mut directories = Vec::new();
        if let Some(image) = self.files.image.clone() {
            let root = Seen::root(image, self.files.turns.clone());
            directories.push((self.push_seen(root)?, "/".to_owned()));
        }
        for (name, place) in &self.files.places {
            let root = Opened::root(&place.tree);
            let descriptor = self.wasi.table.push(root.descriptor.clone())?;
            self.files.opened.insert(descriptor.rep(), root);
            directories.push((descriptor, (*name).to_owned()));
        }
        Ok(directories)
    }
}

impl types::Host for FilesView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<types::ErrorCode> {
        types::Host::convert_error_code(&mut self.wasi, error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        if let Some(WriteFailed(code)) = self.wasi.table.get(&error)?.downcast_ref() {
            return Ok(Some(*code));
        }
        types::Host::filesystem_error_code(&mut self.wasi, error)
    }
}
