//! The content that there is, and how it may be named: every kind of thing that a path can lead to.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use capnp::capability::Client;
use content::dag::Limits;
use content::name::PublishOptions;
use content::pins::{Depth, Pin};
use content::tree::TreePath;
use content::{Block, BlockStore, Cid, Codec, PinName, Repo, car, dag, import};
use schema::system_capnp::byte_stream;
use ww::rpc::byte_stream::{ByteStream, Carrier, for_reading_only};

/// Entries of the directory that is spread over shards: from some two thousand on.
const SHARDED: usize = 3000;

/// Bytes of a file of several blocks.
const LARGE_BYTES: usize = 700_000;

/// What the world's own content is pinned as: a name that nobody takes.
const PINNED: &str = "what the world is made of";

/// What there is to be named.
pub struct Content {
    pub paths: Vec<String>,
    /// Files, directories, and a link.
    pub nodes: Vec<String>,
    pub cids: Vec<Vec<u8>>,
    /// Nodes and other bytes.
    pub data: Vec<Vec<u8>>,
    /// A file of blocks.
    pub car: Bytes,
    /// What names something, and a record of it.
    pub name: String,
    pub record: Vec<u8>,
    /// What something may be held to.
    pub subtree: String,
    /// A block that is nobody's.
    put: Block,
    /// What may be pinned or not.
    pinned: Vec<Cid>,
}

impl Content {
    /// Puts it into a repository.
    pub fn new(repo: &Repo, scratch: &Path) -> Self {
        let store: &dyn BlockStore = &**repo.store();
        let tree = scratch.join("t");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::create_dir(tree.join("empty")).unwrap();
        std::fs::write(tree.join("a/b/c"), "hello").unwrap();
        std::fs::write(tree.join("a/large"), vec![7; LARGE_BYTES]).unwrap();
        std::os::unix::fs::symlink("a/b", tree.join("link")).unwrap();
        let root = import::directory(store, scratch, &["t"]).unwrap();
        let file = import::stream(store, &mut &b"hello"[..]).unwrap();
        let sharded = sharded(store, file);
        let json = format!(r#"{{"a":[1,{{"/":"{file}"}},null],"b":{{"/":"{root}"}}}}"#);
        let cbor = dag::convert(Codec::DagJson, json.as_bytes(), Codec::DagCbor).unwrap();
        store.put(&cbor).unwrap();
        let pinned = PinName {
            namespace: None,
            name: PINNED.into(),
        };
        for cid in [&root, &sharded, cbor.cid()] {
            repo.pin_added(cid, &pinned).unwrap();
        }
        let mut car = Vec::new();
        car::export(store, cbor.cid(), &Limits::default(), &mut car).unwrap();
        // Whoever puts this can remove it.
        let put = Block::new(Codec::Raw, &b"data"[..]).unwrap();
        let absent = Block::new(Codec::DagPb, &b"\n\x02\x08\x01"[..]).unwrap();
        let (put_cid, absent) = (*put.cid(), *absent.cid());
        let cids = [
            root,
            sharded,
            file,
            *cbor.cid(),
            absent,
            put_cid,
            put_cid,
            put_cid,
        ];
        let below = [
            "/t",
            "/t/a",
            "/t/a/b/c",
            "/t/a/large",
            "/t/link",
            "/t/empty",
            "/t/absent",
        ];
        let nodes = ["/t/a", "/t/a/large", "/t/link"].map(|below| format!("/ipfs/{root}{below}"));
        let mut nodes = nodes.to_vec();
        nodes.push(format!("/ipfs/{sharded}"));
        let mut paths: Vec<String> = cids.iter().map(|cid| format!("/ipfs/{cid}")).collect();
        paths.extend(below.map(|below| format!("/ipfs/{root}{below}")));
        paths.extend([
            format!("/ipfs/{sharded}/{:08}", 17),
            format!("/ipfs/{}/a/1", cbor.cid()),
            format!("/ipfs/{}/b/t", cbor.cid()),
            format!("/ipfs/{}/a/9", cbor.cid()),
            format!("/ipns/{root}"),
            file.to_string(),
        ]);
        let root_path = format!("/ipfs/{root}");
        // Somebody else's: nobody here publishes a later one.
        let other = self::repo(&scratch.join("other"), &[8; 32]);
        let record = other.publish("", &root_path, &PublishOptions::default());
        let record = record.unwrap();
        paths.push(format!("/ipns/{}/t", record.name()));
        Self {
            name: record.name().to_string(),
            record: record.bytes().to_vec(),
            paths,
            nodes,
            cids: cids.iter().map(Cid::to_bytes).collect(),
            data: vec![
                json.into_bytes(),
                cbor.bytes().to_vec(),
                b"data".into(),
                b"\n\x02\x08\x01".into(),
                b"{".into(),
                Vec::new(),
            ],
            car: car.into(),
            pinned: vec![root, file, *cbor.cid(), file],
            put,
            subtree: format!("/ipfs/{root}/t/a"),
        }
    }
}

impl Content {
    /// Sees to it that there is something to be removed: a block that nothing keeps, some pins, and a key.
    pub fn renew(&self, repo: &Repo) {
        // It may be as it should already.
        let _ = repo.keys().generate("mine");
        let _ = repo.keys().remove("b");
        repo.put_block(&self.put, None).unwrap();
        let name = |name: &str| PinName {
            namespace: None,
            name: name.into(),
        };
        let wanted = || ["", "mine", "t", "a"].into_iter().zip(&self.pinned);
        let is = |pin: &Pin, (name, cid): (&str, &Cid)| pin.name == name && pin.cid == *cid;
        let pins = repo.pins_in(None).unwrap();
        for pin in pins.iter().filter(|pin| pin.name != PINNED) {
            if !wanted().any(|wanted| is(pin, wanted)) {
                repo.unpin(&pin.cid, &name(&pin.name)).unwrap();
            }
        }
        for pinned in wanted() {
            if !pins.iter().any(|pin| is(pin, pinned)) {
                let quiet = |_: dag::Walked| ControlFlow::Continue(());
                let name = name(pinned.0);
                repo.pin(pinned.1, Depth::Direct, &name, &quiet).unwrap();
            }
        }
    }
}

fn sharded(store: &dyn BlockStore, file: Cid) -> Cid {
    let top = TreePath::root();
    let names = (0..SHARDED).map(|number| top.child(&format!("{number:08}")).unwrap());
    let names: Vec<TreePath> = names.collect();
    let part = || import::Part::Stored {
        cid: file,
        dag_bytes: 5,
    };
    let parts: Vec<_> = names.iter().map(|name| (name, part())).collect();
    import::compose(store, &parts, import::Options::default()).unwrap()
}

/// A stream of these bytes, all of it or as far as it goes.
pub fn stream(bytes: Bytes) -> Client {
    let counted = cell::Budget::default().open(cell::Resource::Streams);
    let stream: byte_stream::Client =
        vat::new_client(ByteStream::new(Fixed(RefCell::new(bytes)), counted));
    stream.client
}

struct Fixed(RefCell<Bytes>);

impl Carrier for Fixed {
    async fn read(&self, max_bytes: usize) -> capnp::Result<Bytes> {
        let mut rest = self.0.borrow_mut();
        let count = max_bytes.min(rest.len());
        Ok(rest.split_to(count))
    }

    async fn write(&self, _data: &[u8]) -> capnp::Result<()> {
        Err(for_reading_only())
    }

    async fn close(&self) -> capnp::Result<()> {
        self.0.borrow_mut().clear();
        Ok(())
    }
}

/// A repository in a directory of its own, which asks nobody.
pub fn repo(path: &Path, key: &[u8; 32]) -> Repo {
    let repo = Repo::open(path, Vec::new(), |_| {}).unwrap();
    repo.with_self_key(key)
}
