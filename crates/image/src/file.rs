//! A file of an image, read where its bytes are.

use std::sync::Arc;

use content::read;
use content::tree::{LocalFile, Node, TreePath};

use crate::layer::{Layer, Source};
use crate::{Image, ImageError};

/// An open file of an image. Any number of threads may read at once.
#[derive(Debug)]
pub struct ImageFile {
    /// Whom errors name.
    layer: Layer,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Local(LocalFile),
    Stored(read::File),
}

impl ImageFile {
    /// Opens what `layer` has at `path`, listed with that many bytes.
    pub(crate) fn open(
        layer: &Layer,
        path: &TreePath,
        bytes: u64,
        cache: &Arc<read::Cache>,
    ) -> Result<Self, ImageError> {
        let failed = |source| ImageError::layer(layer.name(), source);
        let bytes = match layer.source() {
            Source::Local(tree) => {
                Bytes::Local(tree.file(path).map_err(|error| failed(error.into()))?)
            }
            Source::Published { tree, store } => {
                let stored = tree.stored(path.as_str());
                let cid = stored
                    .ok_or_else(|| ImageError::no_such_file(path.as_str()))?
                    .cid;
                let (store, cache) = (store.clone(), cache.clone());
                Bytes::Stored(read::File::open_listed(store, cache, &cid, bytes).map_err(failed)?)
            }
        };
        Ok(Self {
            layer: layer.clone(),
            bytes,
        })
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Local(file) => file.bytes(),
            Bytes::Stored(file) => file.bytes(),
        }
    }

    /// Fills the front of `buffer` with what stands at `offset`, and returns how many bytes that are: 0
    /// only at the end or for an empty buffer. Blocks.
    ///
    /// Errors: [`ImageError::Layer`], for a local file that is no longer what was listed, and for blocks
    /// that are not there or are refused. What is in `buffer` then means nothing.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let failed = |source| ImageError::layer(self.layer.name(), source);
        match &self.bytes {
            Bytes::Local(file) => {
                let read = file.read_at(offset, buffer);
                // In this order: what was read before it was found unchanged is what was listed.
                let read = read.and_then(|read| file.check_unchanged().map(|()| read));
                read.map_err(|error| failed(error.into()))
            }
            Bytes::Stored(file) => file.read_at(offset, buffer).map_err(failed),
        }
    }

    /// As [`ImageFile::read_at`], as far as the bytes are in memory, and `None` if not even the first one
    /// is. Does not block.
    pub fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        match &self.bytes {
            Bytes::Local(_) => None,
            Bytes::Stored(file) => file.read_cached(offset, buffer),
        }
    }
}

impl Image {
    /// The file at `path`, as a cell would name it, with or without the leading slash. Links are
    /// followed inside the image. Refuses with [`ImageError::NoSuchFile`] what is no file or not there,
    /// and with [`ImageError::FileTooBig`] more than `max_bytes`, before it is read. Errors otherwise as
    /// [`Image::open`] and [`ImageFile::read_at`].
    pub fn read(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, ImageError> {
        let number = self
            .find(path)
            .ok_or_else(|| ImageError::no_such_file(path))?;
        let Some(&Node::File { bytes }) = self.node(number) else {
            return Err(ImageError::no_such_file(path));
        };
        if bytes > max_bytes {
            return Err(ImageError::FileTooBig {
                path: path.to_owned(),
                bytes,
                limit: max_bytes,
            });
        }
        let file = self.open(number)?;
        let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while let Some(free) = content.get_mut(filled..).filter(|free| !free.is_empty()) {
            match file.read_at(filled as u64, free)? {
                0 => break,
                read => filled = filled.saturating_add(read),
            }
        }
        content.truncate(filled);
        Ok(content)
    }
}
