//! `Dag`: nodes with links, whatever their codec, one by one or all of them as a CAR.

use capnp::capability::Rc;
use content::Codec;
use schema::ipfs_capnp::dag as face;

use super::block::codec;
use super::{Desk, failed};

pub struct Dag(pub Rc<Desk>);

impl face::Server for Dag {
    async fn get(
        self: Rc<Self>,
        params: face::GetParams,
        mut results: face::GetResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let output = codec("get", params.get_codec()?.to_str()?, Codec::DagJson)?;
        if !matches!(output, Codec::DagJson | Codec::DagCbor) {
            return Err(failed(
                "get",
                format_args!("a value is given in dag-json or dag-cbor, not in {}", output.name()),
            ));
        }
        let path = params.get_path()?;
        let value = self.0.read("get", path, move |repo, path| repo.value(path, output));
        let (resolved, data) = value.await?;
        let mut results = results.get();
        results.set_data(&data);
        results.set_cid(&resolved.cid.to_bytes());
        Ok(())
    }

    async fn put(
        self: Rc<Self>,
        params: face::PutParams,
        mut results: face::PutResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let input = codec("put", params.get_input_codec()?.to_str()?, Codec::DagJson)?;
        let output = codec("put", params.get_store_codec()?.to_str()?, Codec::DagCbor)?;
        let data = params.get_data()?.to_vec();
        let pin = self.0.pin_name("put", params.get_pin()?)?;
        let put = self.0.change("put", move |repo| {
            let block = content::dag::convert(input, &data, output)?;
            repo.put_block(&block, pin.as_ref())?;
            Ok(*block.cid())
        });
        results.get().set_cid(&put.await?.to_bytes());
        Ok(())
    }

    async fn resolve(
        self: Rc<Self>,
        params: face::ResolveParams,
        mut results: face::ResolveResults,
    ) -> capnp::Result<()> {
        let path = params.get()?.get_path()?;
        let resolved = self.0.read("resolve", path, |repo, path| repo.resolve_in(path));
        let resolved = resolved.await?;
        let mut results = results.get();
        results.set_cid(&resolved.cid.to_bytes());
        results.set_remainder(resolved.rest.join("/"));
        Ok(())
    }
}
