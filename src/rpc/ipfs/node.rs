//! `Node`: a file, a directory or a link that somebody has got, and may read as far as they like.
//!
//! Whoever has a node has what is below it, and no more: a child is found by its name, and a link is not followed.

use capnp::capability::Rc;
use content::directory::Entry;
use content::tree::{MAX_NAME_BYTES, Node as Kind};
use content::{Cid, ContentError};
use schema::ipfs_capnp::node as face;

use super::stream::Reading;
use super::unixfs::encode;
use super::{Desk, failed};

/// The most entries that one message carries: with the longest names less than half of the largest message.
const MAX_ENTRIES: usize = 4096;

pub struct Node {
    desk: Rc<Desk>,
    cid: Cid,
    kind: Kind,
}

/// A part of a listing.
pub struct Page {
    after: String,
    /// 0: all of it.
    limit: usize,
}

impl Page {
    /// What a caller asks for.
    pub fn asked(call: &str, after: capnp::text::Reader<'_>, limit: u32) -> capnp::Result<Self> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit > MAX_ENTRIES {
            return Err(failed(
                call,
                format_args!("{limit} entries; one message carries {MAX_ENTRIES}"),
            ));
        }
        Ok(Self {
            after: after.to_str()?.to_owned(),
            limit,
        })
    }

    /// The part, and whether there is more behind it.
    pub fn of(&self, call: &str, mut entries: Vec<Entry>) -> capnp::Result<(Vec<Entry>, bool)> {
        if !self.after.is_empty() {
            entries.retain(|entry| entry.name > self.after);
        }
        match self.limit {
            0 if entries.len() > MAX_ENTRIES => Err(failed(
                call,
                format_args!(
                    "the directory has {} entries, and one message carries {MAX_ENTRIES}; ask for them by `after` and \
                     `limit`",
                    entries.len()
                ),
            )),
            0 => Ok((entries, false)),
            limit => {
                let more = entries.len() > limit;
                entries.truncate(limit);
                Ok((entries, more))
            }
        }
    }
}

impl Node {
    /// What has this CID and was found to be this.
    pub fn new(desk: Rc<Desk>, cid: Cid, kind: Kind) -> Self {
        Self { desk, cid, kind }
    }

    async fn entries(&self, call: &str) -> capnp::Result<Vec<Entry>> {
        let cid = self.cid;
        self.desk.run(call, move |repo| repo.list_of(&cid)).await
    }
}

impl face::Server for Node {
    async fn stat(
        self: Rc<Self>,
        _params: face::StatParams,
        mut results: face::StatResults,
    ) -> capnp::Result<()> {
        encode(results.get().init_entry(), "", &self.cid, &self.kind);
        Ok(())
    }

    async fn read(
        self: Rc<Self>,
        params: face::ReadParams,
        mut results: face::ReadResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let (offset, bytes) = (params.get_offset(), params.get_bytes());
        let cid = self.cid;
        let file = self
            .desk
            .run("read", move |repo| repo.file_of(&cid))
            .await?;
        let rest = file.bytes().saturating_sub(offset);
        let bytes = if bytes == 0 { rest } else { bytes.min(rest) };
        let reading = Reading::file(self.desk.places.clone(), file, offset, bytes);
        results.get().set_stream(self.desk.stream("read", reading)?);
        Ok(())
    }

    async fn entries(
        self: Rc<Self>,
        params: face::EntriesParams,
        mut results: face::EntriesResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let page = Page::asked("entries", params.get_after()?, params.get_limit())?;
        let (entries, more) = page.of("entries", Node::entries(&self, "entries").await?)?;
        let mut results = results.get();
        results.set_more(more);
        let mut list = results.init_entries(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        for (index, entry) in (0..).zip(&entries) {
            encode(
                list.reborrow().get(index),
                &entry.name,
                &entry.cid,
                &entry.node,
            );
        }
        Ok(())
    }

    async fn child(
        self: Rc<Self>,
        params: face::ChildParams,
        mut results: face::ChildResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str()?;
        if name.len() > MAX_NAME_BYTES {
            return Err(failed(
                "child",
                format_args!("a name of {} bytes; at most {MAX_NAME_BYTES}", name.len()),
            ));
        }
        let name = name.to_owned();
        let directory = self.cid;
        let found = self
            .desk
            .run("child", move |repo| repo.child(&directory, &name));
        let (cid, kind) = found.await?;
        let node = Self::new(self.desk.clone(), cid, kind);
        results.get().set_node(crate::rpc::client(Rc::new(node)));
        Ok(())
    }

    async fn target(
        self: Rc<Self>,
        _params: face::TargetParams,
        mut results: face::TargetResults,
    ) -> capnp::Result<()> {
        match &self.kind {
            Kind::Link { target } => results.get().set_target(target),
            _ => return Err(failed("target", ContentError::NotALink { cid: self.cid })),
        }
        Ok(())
    }
}
