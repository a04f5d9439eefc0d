//! One store with all that belongs to it, by paths: what IPFS calls a repository, and what commands and
//! capabilities are faces of.
//!
//! A path is resolved name by name, through blocks that are verified. What is not in the local store comes from
//! wherever the store that was given looks further.

use std::sync::Arc;

use cid::Cid;

use crate::directory::{self, Entry};
use crate::object::{Link, Object};
use crate::read::{Cache, File};
use crate::store::need;
use crate::tree::Node;
use crate::{Block, BlockStore, Codec, ContentError, IpfsPath};

/// What the files that are open through one repository keep of what they have read, in bytes.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// A store and what belongs to it. Cheap to clone. Everything here may block.
#[derive(Clone)]
pub struct Repo {
    store: Arc<dyn BlockStore>,
    cache: Arc<Cache>,
}

impl Repo {
    /// A repository over this store.
    pub fn new(store: Arc<dyn BlockStore>) -> Self {
        Self {
            store,
            cache: Arc::new(Cache::new(CACHE_BYTES)),
        }
    }

    /// The same repository, with what is added going through `store`.
    pub fn with_store(&self, store: Arc<dyn BlockStore>) -> Self {
        Self {
            store,
            ..self.clone()
        }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn BlockStore> {
        &self.store
    }

    /// The CID at the end of a path.
    ///
    /// Errors: [`ContentError::PathInvalid`], [`ContentError::NameNotFound`], [`ContentError::NotADirectory`] and
    /// the refusals of content.
    pub fn resolve(&self, path: &str) -> Result<Cid, ContentError> {
        let path: IpfsPath = path.parse()?;
        directory::resolve(&*self.store, path.root(), path.names())
    }

    /// What is at the end of a path: a file and its size, a directory, or a link.
    ///
    /// Errors: as [`Repo::resolve`].
    pub fn stat(&self, path: &str) -> Result<(Cid, Node), ContentError> {
        let cid = self.resolve(path)?;
        Ok((cid, directory::stat(&*self.store, &cid)?))
    }

    /// The file at the end of a path.
    ///
    /// Errors: as [`Repo::resolve`], and [`ContentError::NotAFile`].
    pub fn file(&self, path: &str) -> Result<File, ContentError> {
        self.file_of(&self.resolve(path)?)
    }

    /// The file of this CID. Errors: as [`File::open`].
    pub fn file_of(&self, cid: &Cid) -> Result<File, ContentError> {
        File::open_with(self.store.clone(), self.cache.clone(), cid)
    }

    /// The entries of the directory at the end of a path, in the order of their names.
    ///
    /// Errors: as [`Repo::resolve`].
    pub fn list(&self, path: &str) -> Result<Vec<Entry>, ContentError> {
        directory::list(&*self.store, &self.resolve(path)?)
    }

    /// The block at the end of a path.
    ///
    /// Errors: as [`Repo::resolve`], and [`ContentError::BlockMissing`].
    pub fn block(&self, path: &str) -> Result<Block, ContentError> {
        need(&*self.store, &self.resolve(path)?)
    }

    /// The node of dag-pb at the end of a path.
    ///
    /// Errors: as [`Repo::block`] and [`Object::decode`].
    pub fn object(&self, path: &str) -> Result<(Cid, Object), ContentError> {
        let block = self.block(path)?;
        Ok((*block.cid(), Object::decode(&block)?))
    }

    /// Keeps a node of dag-pb. Errors: as [`Object::encode`], and what the store answers.
    pub fn put_object(&self, object: &Object) -> Result<Cid, ContentError> {
        let block = object.encode()?;
        self.store.put(&block)?;
        Ok(*block.cid())
    }

    /// A link to a block that is here, with the size of all that is below it.
    ///
    /// Errors: [`ContentError::BlockMissing`], and the refusals of content.
    pub fn link(&self, name: &str, cid: &Cid) -> Result<Link, ContentError> {
        let block = need(&*self.store, cid)?;
        let bytes = match Codec::of(cid)? {
            Codec::DagPb => Object::decode(&block)?.dag_bytes(&block),
            _ => block.bytes().len() as u64,
        };
        Ok(Link {
            name: name.to_owned(),
            bytes,
            cid: *cid,
        })
    }
}
