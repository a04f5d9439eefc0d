//! An image that is held in memory as a whole.

use super::{IMAGE_ROOT, ImageFile, ImageNode, ImageTree};
use bytes::Bytes;
use std::io;
use std::sync::Arc;

/// A tree in memory, for what is made up rather than read from somewhere. `Default` is an empty directory.
#[derive(Clone, Debug)]
pub struct MemoryImage {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    /// Sorted by name, which is the order of its listing.
    Directory(Vec<(String, u64)>),
    File(Bytes),
    Link(String),
}

impl Default for MemoryImage {
    fn default() -> Self {
        Self {
            nodes: vec![Node::Directory(Vec::new())],
        }
    }
}

impl MemoryImage {
    /// The same with a file of these bytes at `path`, names with slashes between them, in directories that
    /// are made if they are not there. In place of what had the path.
    pub fn file(self, path: &str, bytes: impl Into<Bytes>) -> Self {
        self.with(path, Node::File(bytes.into()))
    }

    /// The same with a symbolic link at `path`; as [`file`](Self::file).
    pub fn link(self, path: &str, target: &str) -> Self {
        self.with(path, Node::Link(target.to_owned()))
    }

    /// The same with an empty directory at `path`; as [`file`](Self::file).
    pub fn directory(self, path: &str) -> Self {
        self.with(path, Node::Directory(Vec::new()))
    }

    fn with(mut self, path: &str, node: Node) -> Self {
        let mut at = IMAGE_ROOT;
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        let mut node = Some(node);
        while let Some(name) = names.next() {
            let last = names.peek().is_none();
            let present = self
                .child(at, name)
                .filter(|child| !last && matches!(self.node(*child), Some(ImageNode::Directory)));
            at = match present {
                Some(child) => child,
                None => {
                    let new = match node.take_if(|_| last) {
                        Some(node) => node,
                        None => Node::Directory(Vec::new()),
                    };
                    self.add(at, name, new)
                }
            };
        }
        self
    }

    fn add(&mut self, directory: u64, name: &str, node: Node) -> u64 {
        let number = self.nodes.len() as u64;
        self.nodes.push(node);
        let directory = usize::try_from(directory).ok();
        let directory = directory.and_then(|directory| self.nodes.get_mut(directory));
        if let Some(Node::Directory(children)) = directory {
            match search(children, name) {
                Ok(place) => drop(children.splice(place..=place, [(name.to_owned(), number)])),
                Err(place) => children.insert(place, (name.to_owned(), number)),
            }
        }
        number
    }

    fn get(&self, number: u64) -> Option<&Node> {
        self.nodes.get(usize::try_from(number).ok()?)
    }

    fn children(&self, number: u64) -> Option<&[(String, u64)]> {
        match self.get(number)? {
            Node::Directory(children) => Some(children),
            _ => None,
        }
    }
}

impl ImageTree for MemoryImage {
    fn node(&self, number: u64) -> Option<ImageNode<'_>> {
        Some(match self.get(number)? {
            Node::Directory(_) => ImageNode::Directory,
            Node::File(bytes) => ImageNode::File {
                bytes: bytes.len() as u64,
            },
            Node::Link(target) => ImageNode::Link { target },
        })
    }

    fn child(&self, directory: u64, name: &str) -> Option<u64> {
        let children = self.children(directory)?;
        let place = search(children, name).ok()?;
        children.get(place).map(|(_, number)| *number)
    }

    fn entry(&self, directory: u64, index: usize) -> Option<(&str, u64)> {
        let (name, number) = self.children(directory)?.get(index)?;
        Some((name, *number))
    }

    fn open(&self, file: u64) -> io::Result<Arc<dyn ImageFile>> {
        match self.get(file) {
            Some(Node::File(bytes)) => Ok(Arc::new(InMemory(bytes.clone()))),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn search(children: &[(String, u64)], name: &str) -> Result<usize, usize> {
    children.binary_search_by(|(present, _)| present.as_str().cmp(name))
}

struct InMemory(Bytes);

impl ImageFile for InMemory {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.0.get(from..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        for (to, byte) in buffer.iter_mut().zip(rest) {
            *to = *byte;
        }
        Ok(read)
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        self.read_at(offset, buffer).ok()
    }
}
