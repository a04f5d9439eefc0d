//! `Object`: nodes of dag-pb, read and patched.

use bytes::Bytes;
use capnp::capability::Rc;
use content::object::{Link, Object as Node};
use content::{Cid, ContentError, MAX_BLOCK_BYTES, Repo};
use schema::ipfs_capnp::{link, object as face};

use super::{Desk, cid, failed};

/// The most links of a node that is given in one message. A block has room for some fifty thousand under
/// whole sha2-256, the only names of blocks that are stored; under shorter names for some 260,000.
const MAX_LINKS: u32 = 1 << 16;

pub struct Object(pub Rc<Desk>);

impl Object {
    /// Makes a node from the one at the end of a path, with a change.
    async fn patch(
        &self,
        call: &str,
        path: capnp::text::Reader<'_>,
        change: impl FnOnce(&Repo, &mut Node) -> Result<(), ContentError> + Send + 'static,
    ) -> capnp::Result<Cid> {
        self.0.may_change(call)?;
        let patched = self.0.read(call, path, |repo, path| {
            let (_, mut node) = repo.object(path)?;
            change(repo, &mut node)?;
            repo.put_object(&node)
        });
        patched.await
    }
}

fn name(text: capnp::text::Reader<'_>) -> capnp::Result<String> {
    Ok(text.to_str()?.to_owned())
}

/// Refuses what no block has room for.
fn fits(call: &str, bytes: usize) -> capnp::Result<()> {
    if bytes > MAX_BLOCK_BYTES {
        let (bytes, limit) = (bytes as u64, MAX_BLOCK_BYTES as u64);
        return Err(failed(call, ContentError::BlockTooBig { bytes, limit }));
    }
    Ok(())
}

fn decode(call: &str, link: link::Reader<'_>) -> capnp::Result<Link> {
    Ok(Link {
        name: name(link.get_name()?)?,
        bytes: link.get_bytes(),
        cid: cid(call, link.get_cid()?)?,
    })
}

impl face::Server for Object {
    async fn get(
        self: Rc<Self>,
        params: face::GetParams,
        mut results: face::GetResults,
    ) -> capnp::Result<()> {
        let path = params.get()?.get_path()?;
        let (cid, node) = self.0.read("get", path, Repo::object).await?;
        let mut results = results.get();
        results.set_cid(&cid.to_bytes());
        results.set_data(node.data.as_deref().unwrap_or_default());
        let mut list = results.init_links(u32::try_from(node.links.len()).unwrap_or(u32::MAX));
        for (index, link) in (0..).zip(&node.links) {
            let mut into = list.reborrow().get(index);
            into.set_name(&link.name);
            into.set_bytes(link.bytes);
            into.set_cid(&link.cid.to_bytes());
        }
        Ok(())
    }

    async fn put(
        self: Rc<Self>,
        params: face::PutParams,
        mut results: face::PutResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let links = params.get_links()?;
        if links.len() > MAX_LINKS {
            return Err(failed(
                "put",
                format_args!("{} links; at most {MAX_LINKS} fit a block", links.len()),
            ));
        }
        // Counted while it is copied: a small message can name one text many times.
        let data = params.get_data()?;
        let mut bytes = data.len();
        fits("put", bytes)?;
        let links = links.iter().map(|link| {
            bytes = bytes.saturating_add(link.get_name()?.len());
            fits("put", bytes)?;
            decode("put", link)
        });
        let node = Node {
            links: links.collect::<capnp::Result<_>>()?,
            data: Some(Bytes::copy_from_slice(data)),
        };
        let put = self.0.change("put", move |repo| repo.put_object(&node));
        results.get().set_cid(&put.await?.to_bytes());
        Ok(())
    }

    async fn add_link(
        self: Rc<Self>,
        params: face::AddLinkParams,
        mut results: face::AddLinkResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let name = name(params.get_name()?)?;
        let child = cid("addLink", params.get_child()?)?;
        let patched = self.patch("addLink", params.get_path()?, move |repo, node| {
            node.add_link(repo.link(&name, &child)?);
            Ok(())
        });
        results.get().set_cid(&patched.await?.to_bytes());
        Ok(())
    }

    async fn rm_link(
        self: Rc<Self>,
        params: face::RmLinkParams,
        mut results: face::RmLinkResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let path = params.get_path()?;
        let name = name(params.get_name()?)?;
        let patched = self.patch("rmLink", path, move |_, node| {
            match node.remove_link(&name) {
                true => Ok(()),
                false => Err(ContentError::NameNotFound {
                    directory: *node.encode()?.cid(),
                    name: crate::rpc::shown(&name).to_owned(),
                }),
            }
        });
        results.get().set_cid(&patched.await?.to_bytes());
        Ok(())
    }

    async fn set_data(
        self: Rc<Self>,
        params: face::SetDataParams,
        mut results: face::SetDataResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let data = Bytes::copy_from_slice(params.get_data()?);
        let patched = self.patch("setData", params.get_path()?, |_, node| {
            node.data = Some(data);
            Ok(())
        });
        results.get().set_cid(&patched.await?.to_bytes());
        Ok(())
    }

    async fn append_data(
        self: Rc<Self>,
        params: face::AppendDataParams,
        mut results: face::AppendDataResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let more = params.get_data()?.to_vec();
        let patched = self.patch("appendData", params.get_path()?, move |_, node| {
            let before = node.data.take().unwrap_or_default();
            node.data = Some([&before[..], &more].concat().into());
            Ok(())
        });
        results.get().set_cid(&patched.await?.to_bytes());
        Ok(())
    }
}
