//! The name of an image: the CID that its merged tree has.
//!
//! It is computed over the graph. A directory that one published layer alone brings is taken as it is
//! stored, with all that is below it, and not read; directories that several layers share are made anew, and
//! files of local layers are hashed. So the same layers have the same root on every machine, and layers that
//! were published as `ww push` publishes them have the root that the same files have when they are added
//! from a disk. A layer that was published in another way, with CIDs of version 0 say, keeps its own names in
//! the merged tree.

use content::import::{self, Part};
use content::tree::{Node, TreePath};
use content::{BlockStore, Cid};

use crate::layer::Source;
use crate::{Entry, Image, ImageError};

impl Image {
    /// The CID of the merged tree. The blocks that no published layer has are put into `store`;
    /// [`import::DryRun`] is one that keeps nothing. Reads all files of local layers that are part of the
    /// image, and so blocks for long.
    ///
    /// Errors: [`ImageError::Root`], for a local file that has changed and what the store answers.
    pub fn root(&self, store: &dyn BlockStore) -> Result<Cid, ImageError> {
        let mut parts: Vec<(&TreePath, Part<'_>)> = Vec::new();
        let mut waiting: Vec<&Entry> = self.entries.first().into_iter().collect();
        while let Some(entry) = waiting.pop() {
            let below = |from: &mut Vec<_>| {
                from.extend(
                    entry
                        .children
                        .iter()
                        .filter_map(|(_, child)| self.get(*child)),
                );
            };
            if entry.path.is_root() {
                below(&mut waiting);
                continue;
            }
            let layer = self.layers.get(entry.layer).map(|layer| layer.source());
            let part = match (&entry.node, layer) {
                (Node::Directory, _) if entry.is_shared => {
                    below(&mut waiting);
                    Part::Directory
                }
                (Node::Link { target }, _) => Part::Link { target },
                (_, Some(Source::Published { tree, .. })) => {
                    let stored = tree.stored(entry.path.as_str());
                    let stored =
                        stored.ok_or_else(|| ImageError::no_such_file(entry.path.as_str()))?;
                    Part::Stored {
                        cid: stored.cid,
                        dag_bytes: stored.dag_bytes,
                    }
                }
                (Node::Directory, _) => {
                    below(&mut waiting);
                    Part::Directory
                }
                (&Node::File { bytes }, Some(Source::Local(local))) => Part::File { local, bytes },
                (Node::File { .. }, None) => {
                    return Err(ImageError::no_such_file(entry.path.as_str()));
                }
            };
            parts.push((&entry.path, part));
        }
        parts.sort_by_key(|(path, _)| *path);
        import::compose(store, &parts, import::Options::default())
            .map_err(|error| ImageError::Root(Box::new(error)))
    }
}
