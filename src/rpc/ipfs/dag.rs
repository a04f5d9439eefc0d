//! `Dag`: nodes with links, whatever their codec, one by one or all of them as a CAR.

use std::pin::pin;

use capnp::capability::Rc;
use content::dag::Limits;
use content::{Codec, car};
use futures::future::{Either, select};
use schema::ipfs_capnp::dag as face;

use super::block::codec;
use super::stream::{self, Reading};
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
                format_args!(
                    "a value is given in dag-json or dag-cbor, not in {}",
                    output.name()
                ),
            ));
        }
        let path = params.get_path()?;
        let place = self.0.value("get").await?;
        let value = self.0.read("get", path, move |repo, path| {
            let _place = place;
            repo.value(path, output)
        });
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
        let place = self.0.value("put").await?;
        let put = self.0.change("put", move |repo| {
            let _place = place;
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
        let resolved = self
            .0
            .read("resolve", path, |repo, path| repo.resolve_in(path));
        let resolved = resolved.await?;
        let mut results = results.get();
        results.set_cid(&resolved.cid.to_bytes());
        results.set_remainder(resolved.rest.join("/"));
        Ok(())
    }

    async fn export(
        self: Rc<Self>,
        params: face::ExportParams,
        mut results: face::ExportResults,
    ) -> capnp::Result<()> {
        let place = self.0.car("export")?;
        let path = params.get()?.get_path()?;
        let export = self.0.read("export", path, |repo, path| {
            let root = repo.resolve(path)?;
            car::Export::new(repo.store().clone(), &root, &Limits::default())
        });
        let mut export = export.await?;
        let reading = Reading::new(self.0.places.clone(), move |max_bytes| {
            let _place = &place;
            export.read(max_bytes)
        });
        results.get().set_car(self.0.stream("export", reading)?);
        Ok(())
    }

    async fn import(
        self: Rc<Self>,
        params: face::ImportParams,
        mut results: face::ImportResults,
    ) -> capnp::Result<()> {
        self.0.may_change("import")?;
        let _place = self.0.car("import")?;
        let asked = params.get()?;
        let car = asked.get_car()?;
        let pin = self.0.pin_name("import", asked.get_pin()?)?;
        // It may be long until this returns, and they may be large.
        drop(params);
        let (writer, reader) = stream::pipe();
        let import = self.0.run("import", move |repo| {
            // Until it is pinned, what comes in is garbage to a collector.
            let _writing = repo.adding()?;
            let imported = car::import(&**repo.store(), &mut { reader }, &Limits::default())?;
            for root in pin.iter().flat_map(|_| &imported.roots) {
                if let Some(pin) = &pin {
                    repo.pin_added(root, pin)?;
                }
            }
            Ok(imported)
        });
        let (import, feed) = (pin!(import), pin!(writer.feed(car)));
        let imported = match select(import, feed).await {
            // It does not end well before the stream does; so whoever serves that need not be waited for.
            Either::Left((imported, _)) => imported?,
            Either::Right((fed, import)) => {
                // What was read first went wrong first: the file is cut short if the stream was.
                fed.map_err(|error| failed("import", error))?;
                import.await?
            }
        };
        let mut results = results.get();
        results.set_blocks(imported.blocks);
        let roots = &imported.roots;
        let mut list = results.init_roots(u32::try_from(roots.len()).unwrap_or(u32::MAX));
        for (index, root) in (0..).zip(roots) {
            list.set(index, &root.to_bytes());
        }
        Ok(())
    }
}
