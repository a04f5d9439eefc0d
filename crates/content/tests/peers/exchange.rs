//! Each reads what the other wrote, block by block and by CAR.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use content::dag::Limits;
use content::kubo::Roots;
use content::remote::Deadlines;
use content::{
    Block, BlockStore, Cid, CidVersion, ContentError, EmbeddedStore, Event, GatewayStore,
    KuboStore, MemoryStore, Source, Stack, car, export,
};

use crate::corpus::{self, Item};
use crate::parts;

/// A source that is only asked for single blocks.
struct BlockByBlock<S>(S);

impl<S: BlockStore> BlockStore for BlockByBlock<S> {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        self.0.put(block)
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        self.0.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        self.0.has(cid)
    }
}

impl<S: Source> Source for BlockByBlock<S> {
    fn name(&self) -> &str {
        self.0.name()
    }
}

/// Everything but the two largest files, which say nothing new about exchange.
fn items(scratch: &Path) -> Vec<Item> {
    let mut items = corpus::make(scratch);
    items.retain(|item| item.name != "one-chunk-more-than-links");
    items.push(corpus::ten_thousand(scratch));
    items
}

fn items_for_js_ipfs(scratch: &Path) -> Vec<Item> {
    let mut items = items(scratch);
    items.retain(|item| item.name != corpus::BACKSLASH);
    items
}

fn car_of(store: &dyn BlockStore, root: &Cid) -> Vec<u8> {
    let mut car = Vec::new();
    car::export(store, root, &Limits::default(), &mut car).unwrap();
    car
}

/// For a [`Stack`] whose sources are all sound.
pub fn no_trouble(event: Event<'_>) {
    assert!(matches!(event, Event::Came { .. }), "{event:?}");
}

/// Fetches `root` from `source` into an empty store, and compares what is in it with `item`.
fn assert_reads(item: &Item, root: &Cid, source: Arc<dyn Source>) {
    let scratch = tempfile::tempdir().unwrap();
    let local = Arc::new(EmbeddedStore::open(&scratch.path().join("store")).unwrap());
    let stack = Stack::new(local.clone(), vec![source], no_trouble);
    stack
        .fetch(root, &Limits::default(), &|_| ControlFlow::Continue(()))
        .unwrap();
    let copy = scratch.path().join("copy");
    if item.path.is_dir() {
        export::to_directory(&*local, root, &copy).unwrap();
        assert!(
            corpus::listing(&item.path) == corpus::listing(&copy),
            "{}",
            item.name
        );
    } else {
        let mut content = Vec::new();
        export::file(&*local, root, &mut content).unwrap();
        assert!(fs::read(&item.path).unwrap() == content, "{}", item.name);
    }
}

#[test]
fn we_read_what_boxo_wrote() {
    let Some(boxo) = parts::boxo_url() else {
        return;
    };
    let gateway = GatewayStore::new(&boxo, Deadlines::default()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for item in items(scratch.path()) {
        for version in [CidVersion::V0, CidVersion::V1] {
            let root = boxo_add(&boxo, &item, version);
            assert_reads(&item, &root, Arc::new(gateway.clone()));
            assert_reads(&item, &root, Arc::new(BlockByBlock(gateway.clone())));
        }
    }
}

#[test]
fn boxo_reads_what_we_wrote() {
    let Some(boxo) = parts::boxo_url() else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    for item in items(scratch.path()) {
        let store = MemoryStore::default();
        let root = corpus::import(&store, &item, CidVersion::V1);
        let answer = ureq::post(format!("{boxo}/car")).send(&car_of(&store, &root)[..]);
        let roots = answer.unwrap().body_mut().read_to_string().unwrap();
        assert_eq!(roots.trim(), root.to_string());
        for (path, content) in some_files(&item) {
            let mut answer = ureq::get(format!("{boxo}/ipfs/{root}{}", encoded(&path)))
                .call()
                .unwrap();
            let body = answer.body_mut().with_config().limit(u64::MAX);
            assert!(
                body.read_to_vec().unwrap() == content,
                "{}: {path}",
                item.name
            );
        }
    }
}

#[test]
fn we_read_what_js_ipfs_wrote() {
    let (Some(url), Some(kubo)) = (parts::kubo_url(), parts::kubo()) else {
        return;
    };
    let store = KuboStore::new(kubo);
    let scratch = tempfile::tempdir().unwrap();
    for item in items_for_js_ipfs(scratch.path()) {
        let root = rpc_add(&url, &item);
        assert_reads(&item, &root, Arc::new(store.clone()));
        // Ten thousand requests say nothing that a few do not, and take js-ipfs minutes.
        if item.name != corpus::TEN_THOUSAND {
            assert_reads(&item, &root, Arc::new(BlockByBlock(store.clone())));
        }
    }
}

#[test]
fn js_ipfs_reads_what_we_wrote() {
    let (Some(url), Some(kubo)) = (parts::kubo_url(), parts::kubo()) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    for item in items_for_js_ipfs(scratch.path()) {
        let store = MemoryStore::default();
        let root = corpus::import(&store, &item, CidVersion::V1);
        let pinned = kubo.dag_import(&car_of(&store, &root)[..], Roots::Pinned);
        assert_eq!(pinned.unwrap(), [root]);
        assert!(kubo.pin_ls(&root).unwrap());
        for (path, content) in some_files(&item) {
            let mut answer = ureq::post(format!("{url}/api/v0/cat"))
                .query("arg", format!("{root}{path}"))
                .send_empty()
                .unwrap();
            let body = answer.body_mut().with_config().limit(u64::MAX);
            assert!(
                body.read_to_vec().unwrap() == content,
                "{}: {path}",
                item.name
            );
        }
        assert!(kubo.pin_rm(&root).unwrap());
    }
}

#[test]
fn cars_of_the_same_graph_are_the_same() {
    let Some(boxo) = parts::boxo_url() else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    for item in items(scratch.path()) {
        let store = MemoryStore::default();
        let root = corpus::import(&store, &item, CidVersion::V1);
        assert_eq!(boxo_add(&boxo, &item, CidVersion::V1), root);
        let gateway = GatewayStore::new(&boxo, Deadlines::default()).unwrap();
        let mut theirs = Vec::new();
        let mut download = gateway.car(&root, u64::MAX).unwrap().unwrap();
        download.read_to_end(&mut theirs).unwrap();
        assert!(theirs == car_of(&store, &root), "{}", item.name);
    }
}

/// A few files of an item, by their paths below it: `/a/b`, or nothing for the item itself.
fn some_files(item: &Item) -> Vec<(String, Vec<u8>)> {
    let files = corpus::listing(&item.path).into_iter();
    let files = files.filter_map(|(path, content)| {
        let path = path.to_str().unwrap();
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        Some((path, content?))
    });
    let files: Vec<_> = files.collect();
    let step = files.len().div_ceil(20).max(1);
    files.into_iter().step_by(step).collect()
}

/// Adds an item to boxo, as `ipfs add -r` would.
pub fn boxo_add(url: &str, item: &Item, version: CidVersion) -> Cid {
    let version = if version == CidVersion::V0 { "0" } else { "1" };
    parts::boxo_add(url, &item.path, version)
}

/// Adds an item by Kubo's RPC, as `ipfs add -r --cid-version=1` does.
pub fn rpc_add(url: &str, item: &Item) -> Cid {
    const BOUNDARY: &str = "a-boundary-that-is-in-no-file-of-the-corpus";
    let mut body = Vec::new();
    for (path, content) in corpus::listing(&item.path) {
        let path = Path::new(item.name).join(path);
        let name = encoded(path.to_str().unwrap().trim_end_matches('/')).replace('/', "%2F");
        let kind = match content {
            Some(_) => "application/octet-stream",
            None => "application/x-directory",
        };
        body.extend_from_slice(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; \
                 filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(&content.unwrap_or_default());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let mut answer = ureq::post(format!("{url}/api/v0/add"))
        .query("cid-version", "1")
        .query("raw-leaves", "true")
        .query("cid-base", "base32")
        .query("pin", "false")
        .header(
            "Content-Type",
            format!("multipart/form-data; boundary={BOUNDARY}"),
        )
        .send(&body[..])
        .unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let added = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|line| line["Name"] == item.name)
        .unwrap_or_else(|| panic!("{text}"));
    added["Hash"].as_str().unwrap().parse().unwrap()
}

/// A path for a URL.
fn encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                out.push(byte.into());
            }
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
        out
    })
}
