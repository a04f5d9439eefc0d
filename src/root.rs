//! An image as a cell sees it: its `/`.
//!
//! Only carries questions over, from [`cell::ImageTree`], which knows nothing of content, to [`Image`], which
//! knows nothing of cells. What a guest is told of a file that cannot be read is `io`; why stands in the log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cell::{ImageFile, ImageNode, ImageTree};
use content::tree::Node;
use image::{Image, ImageError};

/// An image, served to cells.
pub struct Root {
    image: Arc<Image>,
    log: Arc<Log>,
}

impl Root {
    /// Of this image. Cells that share it share what is logged about it, too.
    pub fn new(image: Arc<Image>) -> Self {
        Self {
            image,
            log: Arc::default(),
        }
    }
}

impl ImageTree for Root {
    fn node(&self, number: u64) -> Option<ImageNode<'_>> {
        Some(match self.image.node(number)? {
            Node::Directory => ImageNode::Directory,
            &Node::File { bytes } => ImageNode::File { bytes },
            Node::Link { target } => ImageNode::Link { target },
        })
    }

    fn child(&self, directory: u64, name: &str) -> Option<u64> {
        self.image.child(directory, name)
    }

    fn entry(&self, directory: u64, index: usize) -> Option<(&str, u64)> {
        self.image.child_at(directory, index)
    }

    fn open(&self, file: u64) -> io::Result<Arc<dyn ImageFile>> {
        let log = self.log.clone();
        match self.image.open(file) {
            Ok(file) => Ok(Arc::new(Open { file, log })),
            Err(error) => Err(log.failed(error)),
        }
    }
}

struct Open {
    file: image::ImageFile,
    log: Arc<Log>,
}

impl ImageFile for Open {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(offset, buffer);
        read.map_err(|error| self.log.failed(error))
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        self.file.read_now(offset, buffer)
    }
}

/// Says loudly that something could not be read, and then quietly: a guest may try again for ever.
#[derive(Default)]
struct Log {
    was_loud: AtomicBool,
}

impl Log {
    fn failed(&self, error: ImageError) -> io::Error {
        if self.was_loud.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "a file of the image cannot be read");
        } else {
            tracing::warn!(%error, "a file of the image cannot be read; more of these are logged as debug");
        }
        io::Error::other(error)
    }
}
