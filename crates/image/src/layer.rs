//! One layer: what it lists, and where the bytes of its files are. Listing is all that happens when it is
//! opened; a file is opened when it is read, and is then what was listed or an error.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use content::car;
use content::dag::Limits;
use content::directory::{self, PublishedTree};
use content::tree::{LocalTree, Tree, TreeError};
use content::{BlockStore, Cid, ContentError, IpfsPath};

use crate::{FHS, ImageError};

/// The FHS part of a tree, as it was when it was opened. Clones are the same layer.
#[derive(Clone, Debug)]
pub struct Layer(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    name: PathBuf,
    cid: Option<Cid>,
    source: Source,
}

/// What a layer is read from.
pub(crate) enum Source {
    Local(LocalTree),
    Published {
        tree: PublishedTree,
        store: Arc<dyn BlockStore>,
    },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(tree) => f.debug_tuple("Local").field(tree).finish(),
            Self::Published { tree, .. } => f.debug_tuple("Published").field(tree).finish(),
        }
    }
}

impl Layer {
    /// Opens the directory `path` and lists its FHS directories; the path itself may be a link, it is
    /// the user's word. It stays open.
    ///
    /// Errors: [`ImageError::Missing`], [`ImageError::NotADirectory`], [`ImageError::Unreadable`],
    /// [`ImageError::NotFhs`], and [`ImageError::Layer`] for names, links, kinds and limits inside.
    pub fn local(path: &Path) -> Result<Self, ImageError> {
        let tree = LocalTree::open(path, &FHS).map_err(|error| match error {
            TreeError::Missing { path } => ImageError::Missing { path },
            TreeError::NotADirectory { path } => ImageError::NotADirectory { path },
            TreeError::Unreadable { path, source } => ImageError::Unreadable { path, source },
            source => ImageError::layer(path, source),
        })?;
        Self::new(path.to_owned(), None, Source::Local(tree))
    }

    /// Lists the FHS directories of what `path` leads to. Directories are read from `store`, and of files
    /// at most the first block, to learn their size; files of one plain block are not read at all. The rest
    /// is read from `store` when it is wanted, and has to stay there as long.
    ///
    /// Errors: [`ImageError::NotFhs`] and [`ImageError::Layer`].
    pub fn published(store: Arc<dyn BlockStore>, path: &IpfsPath) -> Result<Self, ImageError> {
        let names = path.names().join("/");
        let name = match names.as_str() {
            "" => format!("/ipfs/{}", path.root()),
            names => format!("/ipfs/{}/{names}", path.root()),
        };
        Self::stored(PathBuf::from(name), store, path)
    }

    /// Puts all blocks of a CAR file into `store`, each of them verified, and then takes its root as
    /// [`Layer::published`] does.
    ///
    /// Errors: [`ImageError::Missing`], [`ImageError::Unreadable`], [`ImageError::CarRoots`] for a file
    /// of several roots, [`ImageError::NotFhs`], and [`ImageError::Layer`] for what is wrong with the file
    /// or with what is in it. Blocks that were stored before an error stay in the store.
    pub fn car(store: Arc<dyn BlockStore>, file: &Path) -> Result<Self, ImageError> {
        let failed = |source: ContentError| ImageError::layer(file, source);
        let mut open = File::open(file).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ImageError::Missing {
                path: file.to_owned(),
            },
            _ => ImageError::Unreadable {
                path: file.to_owned(),
                source,
            },
        })?;
        let imported = car::import(&*store, &mut open, &Limits::default()).map_err(failed)?;
        match imported.roots.as_slice() {
            [root] => Self::stored(file.to_owned(), store, &IpfsPath::from(*root)),
            _ => Err(ImageError::CarRoots {
                file: file.to_owned(),
                roots: imported.roots.len(),
            }),
        }
    }

    fn stored(
        name: PathBuf,
        store: Arc<dyn BlockStore>,
        path: &IpfsPath,
    ) -> Result<Self, ImageError> {
        let failed = |source: ContentError| ImageError::layer(&name, source);
        let cid = directory::resolve(&*store, path.root(), path.names()).map_err(failed)?;
        let tree = PublishedTree::list(&*store, &cid, &FHS).map_err(failed)?;
        Self::new(name, Some(cid), Source::Published { tree, store })
    }

    fn new(name: PathBuf, cid: Option<Cid>, source: Source) -> Result<Self, ImageError> {
        let layer = Self(Arc::new(Opened { name, cid, source }));
        if layer.tree().is_empty() {
            return Err(ImageError::NotFhs {
                path: layer.name().to_owned(),
            });
        }
        Ok(layer)
    }

    /// What it was opened by: a path of this machine, or one that begins with `/ipfs/`.
    pub fn name(&self) -> &Path {
        &self.0.name
    }

    /// What it is called wherever it is published; `None` for a directory.
    pub fn cid(&self) -> Option<Cid> {
        self.0.cid
    }

    pub(crate) fn source(&self) -> &Source {
        &self.0.source
    }

    pub(crate) fn tree(&self) -> &Tree {
        match &self.0.source {
            Source::Local(tree) => tree.tree(),
            Source::Published { tree, .. } => tree.tree(),
        }
    }
}
