//! `Block`: blocks as they are.

use bytes::Bytes;
use capnp::capability::Rc;
use content::{Codec, Repo};
use schema::ipfs_capnp::block as face;

use super::{Desk, cid, failed};

pub struct Block(pub Rc<Desk>);

/// The codec of this name.
pub fn codec(call: &str, name: &str, otherwise: Codec) -> capnp::Result<Codec> {
    match name {
        "" => Ok(otherwise),
        name => Codec::of_name(name).ok_or_else(|| {
            let name = crate::rpc::shown(name);
            failed(
                call,
                format_args!(
                    "there is no codec {name:?}; there are raw, dag-pb, dag-cbor and dag-json"
                ),
            )
        }),
    }
}

impl face::Server for Block {
    async fn get(
        self: Rc<Self>,
        params: face::GetParams,
        mut results: face::GetResults,
    ) -> capnp::Result<()> {
        let path = params.get()?.get_path()?;
        let block = self.0.read("get", path, Repo::block).await?;
        let mut results = results.get();
        results.set_data(block.bytes());
        results.set_cid(&block.cid().to_bytes());
        Ok(())
    }

    async fn put(
        self: Rc<Self>,
        params: face::PutParams,
        mut results: face::PutResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let codec = codec("put", params.get_codec()?.to_str()?, Codec::Raw)?;
        let data = Bytes::copy_from_slice(params.get_data()?);
        let pin = self.0.pin_name("put", params.get_pin()?)?;
        let put = self.0.change("put", move |repo| {
            let block = content::Block::new(codec, data)?;
            repo.put_block(&block, pin.as_ref())?;
            Ok(*block.cid())
        });
        results.get().set_cid(&put.await?.to_bytes());
        Ok(())
    }

    async fn stat(
        self: Rc<Self>,
        params: face::StatParams,
        mut results: face::StatResults,
    ) -> capnp::Result<()> {
        let path = params.get()?.get_path()?;
        let block = self.0.read("stat", path, Repo::block).await?;
        let mut results = results.get();
        results.set_cid(&block.cid().to_bytes());
        results.set_bytes(block.bytes().len() as u64);
        Ok(())
    }

    async fn rm(
        self: Rc<Self>,
        params: face::RmParams,
        _results: face::RmResults,
    ) -> capnp::Result<()> {
        let cid = cid("rm", params.get()?.get_cid()?)?;
        self.0
            .change("rm", move |repo| repo.remove_block(&cid))
            .await
    }
}
