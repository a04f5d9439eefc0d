//! One store with all that belongs to it, by paths: what IPFS calls a repository, and what commands and
//! capabilities are faces of.
//!
//! What is not here is looked for with others, in the order in which they were given, verified, and kept. A path is
//! resolved name by name. What is added stays until it is not pinned and somebody collects the garbage.
//!
//! A call that adds one block and pins it leaves the collector no moment in between. Whoever adds more than a block
//! before it pins has to hold [`Repo::adding`] all the while, as the commands that add do; nothing here can do that for
//! them, and what they add without it is garbage to a collector that comes before the pin.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;

use crate::dag::{self, Limits, Resolved, Walked};
use crate::directory::{self, Entry};
use crate::gc;
use crate::name::{Key, Keys, Name, Names, PublishOptions, Record, RecordSource, Records};
use crate::object::{Link, Object};
use crate::pins::{self, Asker, Depth, Health, Namespace, Pin, Pins};
use crate::read::{Cache, File};
use crate::store::need;
use crate::tree::Node;
use crate::{
    Block, BlockStore, Codec, ContentError, ContentPath, EmbeddedStore, Event, FetchHook, IpfsPath,
    Source, Stack, Writing,
};

/// What the files that are open through one repository keep of what they have read, in bytes.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// How long the removal of one block waits for those who are writing.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(1);

/// A store and what belongs to it. Cheap to clone. Everything here may block, on the disk and on others.
#[derive(Clone)]
pub struct Repo {
    embedded: Arc<EmbeddedStore>,
    store: Arc<Stack>,
    cache: Arc<Cache>,
    names: Names,
    asker: Asker,
}

/// Under which name something is pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinName {
    /// The namespace that it is in; `None` for none.
    pub namespace: Option<String>,
    /// The name in it.
    pub name: String,
}

/// Keeps content for as long as it lives.
#[derive(Debug)]
#[must_use = "what is held is let go when this is dropped"]
pub struct Hold {
    pins: Namespace,
    held: Vec<Pin>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        for pin in &self.held {
            // One that stays is let go by the next who looks for the dead.
            let _ = self.pins.remove(&pin.name, &pin.cid);
        }
    }
}

impl Repo {
    /// Opens the repository in a directory, which is made if it is not there, before `sources`. What happens while they
    /// are asked is told to `report`. Keys and names are in directories below it.
    ///
    /// Errors: as [`EmbeddedStore::open`], [`Keys::open`] and [`Records::open`].
    pub fn open(
        path: &Path,
        sources: Vec<Arc<dyn Source>>,
        report: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> Result<Self, ContentError> {
        let embedded = Arc::new(EmbeddedStore::open(path)?);
        let keys = Keys::open(path.join("keys"))?;
        Ok(Self {
            names: Names::new(keys, Records::open(path.join("names"))?),
            store: Arc::new(Stack::new(embedded.clone(), sources, report)),
            embedded,
            cache: Arc::new(Cache::new(CACHE_BYTES)),
            asker: Asker::Operator,
        })
    }

    /// The same repository, where the key `self` is that of this Ed25519 secret: the node's own.
    pub fn with_self_key(self, secret: &[u8; 32]) -> Self {
        let names = self.names.with_self(Key::from_secret(secret));
        Self { names, ..self }
    }

    /// The same repository, where records of names are looked for with others too, in this order.
    pub fn with_record_sources(self, sources: Vec<Arc<dyn RecordSource>>) -> Self {
        let names = self.names.with_sources(sources);
        Self { names, ..self }
    }

    /// The same repository for somebody who was given it as a capability: pins and the names of others take no more of
    /// the room for them than [`MAX_HOLDER_PINS`](pins::MAX_HOLDER_PINS) and
    /// [`MAX_HOLDER_NAMES`](crate::name::MAX_HOLDER_NAMES), and the rest stays for the operator.
    pub fn for_holder(&self) -> Self {
        Self {
            asker: Asker::Holder,
            names: self.names.clone().for_holder(),
            ..self.clone()
        }
    }

    /// The same repository for somebody whose blocks, added or fetched, go through what `wrap` makes of the local store.
    pub fn with_local(
        &self,
        wrap: impl FnOnce(Arc<dyn BlockStore>) -> Arc<dyn BlockStore>,
    ) -> Self {
        let local = wrap(self.embedded.clone());
        Self {
            store: Arc::new(self.store.with_local(local)),
            ..self.clone()
        }
    }

    /// The local store before those of others.
    pub fn store(&self) -> &Arc<Stack> {
        &self.store
    }

    /// The local store.
    pub fn embedded(&self) -> &Arc<EmbeddedStore> {
        &self.embedded
    }

    /// The path with its mutable parts resolved: names, and those that they stand for.
    ///
    /// Errors: [`ContentError::PathInvalid`], [`ContentError::CidInvalid`], and as [`Names::resolve_path`].
    pub fn resolve_path(&self, path: &str) -> Result<IpfsPath, ContentError> {
        self.names.resolve_path(&path.parse()?)
    }

    /// The CID at the end of a path.
    ///
    /// Errors: as [`Repo::resolve_path`], [`ContentError::NameNotFound`], [`ContentError::NotADirectory`] and
    /// the refusals of content.
    pub fn resolve(&self, path: &str) -> Result<Cid, ContentError> {
        let path = self.resolve_path(path)?;
        directory::resolve(&*self.store, path.root(), path.names())
    }

    /// The last block on a path through nodes of any codec, and what is left of the path inside it.
    ///
    /// Errors: as [`dag::resolve`].
    pub fn resolve_in(&self, path: &str) -> Result<Resolved, ContentError> {
        dag::resolve(&*self.store, &self.resolve_path(path)?)
    }

    /// The value at the end of a path, in dag-json or dag-cbor, and where it is.
    ///
    /// Errors: as [`dag::get_json`].
    pub fn value(&self, path: &str, output: Codec) -> Result<(Resolved, Vec<u8>), ContentError> {
        let path = self.resolve_path(path)?;
        let resolved = dag::resolve(&*self.store, &path)?;
        let json = dag::get_json(&*self.store, &path)?;
        let value = match output {
            Codec::DagJson => json.into_bytes(),
            output => dag::convert(Codec::DagJson, json.as_bytes(), output)?
                .bytes()
                .to_vec(),
        };
        Ok((resolved, value))
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
        self.list_of(&self.resolve(path)?)
    }

    /// The entries of the directory of this CID. Errors: as [`directory::list`].
    pub fn list_of(&self, cid: &Cid) -> Result<Vec<Entry>, ContentError> {
        directory::list(&*self.store, cid)
    }

    /// What a directory has under a name. Errors: as [`directory::resolve`].
    pub fn child(&self, directory: &Cid, name: &str) -> Result<(Cid, Node), ContentError> {
        let cid = directory::resolve(&*self.store, directory, &[name])?;
        Ok((cid, directory::stat(&*self.store, &cid)?))
    }

    /// The block at the end of a path.
    ///
    /// Errors: as [`Repo::resolve_in`], and [`ContentError::BlockMissing`].
    pub fn block(&self, path: &str) -> Result<Block, ContentError> {
        need(&*self.store, &self.resolve_in(path)?.cid)
    }

    /// Whether a block is here, without asking anybody.
    pub fn has_local(&self, cid: &Cid) -> Result<bool, ContentError> {
        self.embedded.has(cid)
    }

    /// Keeps the collector of garbage away while somebody adds: from the first block until [`Repo::pin_added`] has
    /// returned, or until what was added is to be garbage. Cheap to have, any number of times at once, in any number
    /// of processes; what pins takes it too, which does not wait where it is had already.
    ///
    /// As long as anybody has it, `ww gc` and [`Repo::remove_block`] are refused, for everybody. So have it around work on
    /// what is here already, such as a CAR that has come or finishing a tree, and not while a client decides when to send
    /// more, nor while others are asked for what they have.
    ///
    /// Errors: as [`EmbeddedStore::writing`], which this is; it may wait for a minute.
    pub fn adding(&self) -> Result<Writing, ContentError> {
        self.embedded.writing()
    }

    /// Keeps a block, pinned if that is asked for. Errors: what the store answers, and as [`Repo::pin`].
    pub fn put_block(&self, block: &Block, pin: Option<&PinName>) -> Result<(), ContentError> {
        let writing = self.embedded.writing()?;
        self.store.put(block)?;
        match pin {
            Some(pin) => self.keep(&writing, pin, block.cid(), Depth::Recursive),
            None => Ok(()),
        }
    }

    /// Removes a block from the local store. Errors: as [`gc::remove`].
    pub fn remove_block(&self, cid: &Cid) -> Result<(), ContentError> {
        gc::remove(&self.embedded, cid, REMOVAL_PATIENCE)
    }

    /// The node of dag-pb at the end of a path.
    ///
    /// Errors: as [`Repo::block`] and [`Object::decode`].
    pub fn object(&self, path: &str) -> Result<(Cid, Object), ContentError> {
        let cid = self.resolve(path)?;
        Ok((cid, self.object_of(&cid)?))
    }

    /// The node of dag-pb of this CID. Errors: as [`Repo::object`].
    pub fn object_of(&self, cid: &Cid) -> Result<Object, ContentError> {
        Object::decode(&need(&*self.store, cid)?)
    }

    /// Keeps a node of dag-pb. Errors: as [`Object::encode`], and what the store answers.
    pub fn put_object(&self, object: &Object) -> Result<Cid, ContentError> {
        let block = object.encode()?;
        self.store.put(&block)?;
        Ok(*block.cid())
    }

    /// A link to a block, with the size of all that is below it, as far as its own links tell it.
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

    /// Fetches everything below `cid`, unless `depth` says the block alone, and pins it.
    ///
    /// It is fetched twice: others may take any time, and while they do garbage can be collected. Only for the second
    /// time, when no more than a collection took in between comes from others, is the collector kept away, until the
    /// pin is there. `progress` is told of the first time, and asked during the second too.
    ///
    /// Errors: as [`Stack::fetch`], and [`PinError`](pins::PinError) for names.
    pub fn pin(
        &self,
        cid: &Cid,
        depth: Depth,
        name: &PinName,
        progress: &FetchHook<'_>,
    ) -> Result<Walked, ContentError> {
        let walked = self.bring(cid, depth, progress)?;
        let writing = self.embedded.writing()?;
        self.bring(cid, depth, &|_| progress(walked))?;
        self.keep(&writing, name, cid, depth)?;
        Ok(walked)
    }

    fn bring(
        &self,
        cid: &Cid,
        depth: Depth,
        progress: &FetchHook<'_>,
    ) -> Result<Walked, ContentError> {
        if depth == Depth::Recursive {
            return self.store.fetch(cid, &Limits::default(), progress);
        }
        let block = need(&*self.store, cid)?;
        Ok(Walked {
            blocks: 1,
            bytes: block.bytes().len() as u64,
        })
    }

    /// As [`Repo::pin`], for something that is added; nobody is told how far it is.
    pub fn pin_added(&self, cid: &Cid, name: &PinName) -> Result<(), ContentError> {
        let quiet = |_: Walked| ControlFlow::Continue(());
        self.pin(cid, Depth::Recursive, name, &quiet).map(drop)
    }

    fn keep(
        &self,
        writing: &Writing,
        name: &PinName,
        cid: &Cid,
        depth: Depth,
    ) -> Result<(), ContentError> {
        let pin = Pin {
            name: name.name.clone(),
            cid: *cid,
            depth,
        };
        match self.namespace(name.namespace.as_deref())? {
            Some(namespace) => namespace.add(writing, &pin),
            None => self.pins().add_for(self.asker, writing, &pin),
        }
    }

    /// The pins of a namespace, or all: in the order of their names.
    ///
    /// Errors: [`PinError`](pins::PinError), [`ContentError::Io`].
    pub fn pins_in(&self, namespace: Option<&str>) -> Result<Vec<Pin>, ContentError> {
        match self.namespace(namespace)? {
            Some(namespace) => namespace.list(),
            None => self.pins().list(),
        }
    }

    /// Removes a pin. Errors: [`PinError::NotPinned`](pins::PinError::NotPinned).
    pub fn unpin(&self, cid: &Cid, name: &PinName) -> Result<(), ContentError> {
        match self.namespace(name.namespace.as_deref())? {
            Some(namespace) => namespace.remove(&name.name, cid),
            None => self.pins().remove(&name.name, cid),
        }
    }

    /// The first pin of a namespace, or of all, that is of this CID itself.
    pub fn kept_by(&self, namespace: Option<&str>, cid: &Cid) -> Result<Option<Pin>, ContentError> {
        let pins = self.pins_in(namespace)?;
        Ok(pins.into_iter().find(|pin| pin.cid.hash() == cid.hash()))
    }

    /// The pin of this CID that keeps most. Errors: [`PinError::NotPinned`](pins::PinError::NotPinned).
    pub fn pin_of(&self, namespace: Option<&str>, cid: &Cid) -> Result<Pin, ContentError> {
        let pins = self.pins_in(namespace)?.into_iter();
        let found = pins
            .filter(|pin| pin.cid.hash() == cid.hash())
            .min_by_key(|pin| pin.depth != Depth::Recursive);
        found.ok_or_else(|| {
            pins::PinError::NotPinned {
                name: "".into(),
                cid: *cid,
            }
            .into()
        })
    }

    /// Keeps what is below these CIDs, as far as it is here, from the collection of garbage until the result is dropped.
    /// `name` says for whom; it is that of a pin. There is room for that however many pins others have.
    ///
    /// Errors: those of [`Pins::add`].
    pub fn hold(&self, name: &str, cids: &[Cid]) -> Result<Hold, ContentError> {
        let mut hold = Hold {
            pins: self.pins().running()?,
            held: Vec::new(),
        };
        if cids.is_empty() {
            return Ok(hold);
        }
        let writing = self.embedded.writing()?;
        for cid in cids {
            let pin = Pin::recursive(name, *cid);
            hold.pins.add(&writing, &pin)?;
            hold.held.push(pin);
        }
        Ok(hold)
    }

    /// Lets go of what is held for those who have died. Errors: those of the pins.
    pub fn let_go(&self, is_alive: impl Fn(&str) -> bool) -> Result<(), ContentError> {
        let pins = self.pins().running()?;
        let dead = pins.list()?.into_iter().filter(|pin| !is_alive(&pin.name));
        for pin in dead {
            match pins.remove(&pin.name, &pin.cid) {
                // Somebody else was quicker.
                Err(ContentError::Pin(pins::PinError::NotPinned { .. })) => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Reads everything that a pin keeps, here alone. Errors: as [`pins::verify`].
    pub fn verify(&self, pin: &Pin) -> Result<Health, ContentError> {
        pins::verify(&*self.embedded, pin, &Limits::default())
    }

    /// The keys that names are made of.
    pub fn keys(&self) -> &Keys {
        self.names.keys()
    }

    /// Lets the name of a key (`self` if it is empty) stand for a path.
    ///
    /// Errors: [`ContentError::PathInvalid`], [`ContentError::CidInvalid`], and as [`Names::publish`].
    pub fn publish(
        &self,
        key: &str,
        path: &str,
        options: &PublishOptions,
    ) -> Result<Record, ContentError> {
        self.names.publish(key, &path.parse()?, options)
    }

    /// What a name, with or without `/ipns/` before it, stands for, which may be a path with another name.
    ///
    /// Errors: as [`Repo::record`] and [`Record::value`].
    pub fn resolve_name(&self, name: &str) -> Result<(ContentPath, Record), ContentError> {
        let record = self.record(name)?;
        Ok((record.value()?, record))
    }

    /// The latest record of a name, with or without `/ipns/` before it.
    ///
    /// Errors: as the parsing of a [`Name`], and as [`Names::resolve`].
    pub fn record(&self, name: &str) -> Result<Record, ContentError> {
        self.names.resolve(&name_of(name)?)
    }

    /// Takes a record that came from elsewhere, and says which is the best then.
    ///
    /// Errors: as the parsing of a [`Name`], and as [`Names::put`].
    pub fn put_record(&self, name: &str, record: &[u8]) -> Result<Record, ContentError> {
        self.names.put(&name_of(name)?, record)
    }

    fn pins(&self) -> Pins {
        self.embedded.pins()
    }

    fn namespace(&self, name: Option<&str>) -> Result<Option<Namespace>, ContentError> {
        name.map(|name| self.pins().namespace(name)).transpose()
    }
}

fn name_of(text: &str) -> Result<Name, ContentError> {
    Ok(text.strip_prefix("/ipns/").unwrap_or(text).parse()?)
}
