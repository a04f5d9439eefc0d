//! `UnixFS`: files and directories by path.

use capnp::capability::Rc;
use content::tree::Node as Kind;
use content::{Cid, Repo};
use schema::ipfs_capnp::{entry, unix_f_s as face};

use super::adder::Adder;
use super::node::{Node, Page};
use super::{Desk, MAX_INLINE_BYTES, failed};

pub struct UnixFs(pub Rc<Desk>);

/// Writes one entry. A directory's size is told by nobody.
pub fn encode(mut into: entry::Builder<'_>, name: &str, cid: &Cid, kind: &Kind) {
    let (size, kind) = match kind {
        Kind::File { bytes } => (*bytes, entry::Type::File),
        Kind::Directory => (0, entry::Type::Directory),
        Kind::Link { target } => (target.len() as u64, entry::Type::Symlink),
    };
    into.set_name(name);
    into.set_size(size);
    into.set_type(kind);
    into.set_cid(&cid.to_bytes());
}

impl face::Server for UnixFs {
    async fn cat(
        self: Rc<Self>,
        params: face::CatParams,
        mut results: face::CatResults,
    ) -> capnp::Result<()> {
        let path = params.get()?.get_path()?;
        let read = self.0.read("cat", path, |repo, path| {
            let file = repo.file(path)?;
            match file.bytes() {
                bytes @ ..=MAX_INLINE_BYTES => {
                    let mut data = vec![0; usize::try_from(bytes).unwrap_or_default()];
                    file.read_exact_at(0, &mut data)?;
                    Ok(Ok(data))
                }
                bytes => Ok(Err(bytes)),
            }
        });
        match read.await? {
            Ok(data) => results.get().set_data(&data),
            Err(bytes) => {
                return Err(failed(
                    "cat",
                    format_args!(
                        "the file has {bytes} bytes, and one message carries {MAX_INLINE_BYTES}; read it by get().read()"
                    ),
                ));
            }
        }
        Ok(())
    }

    async fn ls(
        self: Rc<Self>,
        params: face::LsParams,
        mut results: face::LsResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let page = Page::asked("ls", params.get_after()?, params.get_limit())?;
        let listed = self
            .0
            .read("ls", params.get_path()?, |repo, path| repo.list(path));
        let (entries, more) = page.of("ls", listed.await?)?;
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

    async fn get(
        self: Rc<Self>,
        params: face::GetParams,
        mut results: face::GetResults,
    ) -> capnp::Result<()> {
        let path = params.get()?.get_path()?;
        let (cid, kind) = self.0.read("get", path, Repo::stat).await?;
        let node = Node::new(self.0.clone(), cid, kind);
        results.get().set_node(crate::rpc::client(Rc::new(node)));
        Ok(())
    }

    async fn stat(
        self: Rc<Self>,
        params: face::StatParams,
        mut results: face::StatResults,
    ) -> capnp::Result<()> {
        let path = params.get()?.get_path()?;
        let (stat, links) = self
            .0
            .read("stat", path, |repo, path| {
                let (cid, kind) = repo.stat(path)?;
                let links = match repo.object_of(&cid) {
                    Ok(object) => object.links.len(),
                    Err(_) => 0,
                };
                Ok(((cid, kind, repo.link("", &cid)?.bytes), links))
            })
            .await?;
        let (cid, kind, dag_bytes) = stat;
        let mut results = results.get();
        encode(results.reborrow().init_entry(), "", &cid, &kind);
        results.set_dag_bytes(dag_bytes);
        results.set_blocks(links as u64);
        Ok(())
    }

    async fn add(
        self: Rc<Self>,
        params: face::AddParams,
        mut results: face::AddResults,
    ) -> capnp::Result<()> {
        let adder = Adder::begin(self.0.clone(), params.get()?.get_options()?)?;
        results.get().set_adder(crate::rpc::client(Rc::new(adder)));
        Ok(())
    }
}
