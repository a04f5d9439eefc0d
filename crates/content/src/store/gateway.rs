//! The blocks of a trustless gateway: an HTTP server of the IPFS community's specification, which gives
//! blocks (`?format=raw`) and whole DAGs (`?format=car`) to anybody, and takes none.

use std::io::Read;

use cid::Cid;

use super::Source;
use crate::remote::{Deadlines, Download, Endpoint, Fault, RemoteError, Server};
use crate::{Block, BlockStore, ContentError, MAX_BLOCK_BYTES};

const RAW: &str = "application/vnd.ipld.raw";
/// Parents before children, as we need them to tell which blocks belong, and none twice.
const CAR: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=n";

/// A [`BlockStore`] that is a gateway. What it gives is verified. [`put`](BlockStore::put) is refused
/// with [`ContentError::ReadOnly`].
///
/// A gateway that answers by redirect to another host is refused, as one does that gives each CID a host
/// name of its own: name one that answers itself.
#[derive(Clone, Debug)]
pub struct GatewayStore {
    endpoint: Endpoint,
}

impl GatewayStore {
    /// The gateway at `url`, such as `https://trustless-gateway.link`: what comes before `/ipfs/`.
    /// Nobody is asked yet.
    ///
    /// Errors: [`Fault::Address`] for what is no `http://` or `https://` address, has credentials or a
    /// query in it.
    pub fn new(url: &str, deadlines: Deadlines) -> Result<Self, RemoteError> {
        let endpoint = Endpoint::new(Server::Gateway, url, deadlines)?;
        Ok(Self { endpoint })
    }

    /// The address of the gateway.
    pub fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// All that is below `root`, as a CAR, **not verified**, of at most `limit` bytes; `None` if the
    /// gateway does not have the root.
    pub fn car(&self, root: &Cid, limit: u64) -> Result<Option<Download>, RemoteError> {
        let query = [("format", "car"), ("dag-scope", "all")];
        unless_absent(
            self.endpoint
                .get_stream("format=car", &path(root), &query, CAR, limit),
        )
    }
}

impl BlockStore for GatewayStore {
    fn put(&self, _: &Block) -> Result<(), ContentError> {
        Err(ContentError::ReadOnly {
            store: self.url().to_owned(),
        })
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        super::check_name(cid)?;
        let limit = MAX_BLOCK_BYTES as u64;
        let answer = self
            .endpoint
            .get("format=raw", &path(cid), &[("format", "raw")], RAW, limit);
        unless_absent(answer)?
            .map(|answer| Block::verified(*cid, answer.bytes))
            .transpose()
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        super::check_name(cid)?;
        let answer = self
            .endpoint
            .head("format=raw", &path(cid), &[("format", "raw")], RAW);
        Ok(unless_absent(answer)?.is_some())
    }
}

impl Source for GatewayStore {
    fn name(&self) -> &str {
        self.url()
    }

    fn car(&self, root: &Cid, limit: u64) -> Result<Option<Box<dyn Read + Send>>, ContentError> {
        match Self::car(self, root, limit)? {
            Some(download) => Ok(Some(Box::new(download))),
            None => Ok(None),
        }
    }
}

fn path(cid: &Cid) -> String {
    format!("/ipfs/{cid}")
}

fn unless_absent<T>(answer: Result<T, RemoteError>) -> Result<Option<T>, RemoteError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(error.fault(), Fault::Refused { status: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
