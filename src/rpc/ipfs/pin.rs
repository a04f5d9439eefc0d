//! `Pin`: what is not to be thrown away. A holder of a namespace sees and changes the pins in it, and no others.

use std::ops::ControlFlow;

use capnp::capability::Rc;
use content::PinName;
use content::pins::Depth;
use schema::ipfs_capnp::pin as face;

use super::{Desk, cid, failed};

/// The most pins that one message tells.
const MAX_PINS: usize = 1024;

pub struct Pin(pub Rc<Desk>);

impl Desk {
    /// The pin that is asked for by name, if one is.
    pub fn pin_name(
        &self,
        call: &str,
        name: capnp::text::Reader<'_>,
    ) -> capnp::Result<Option<PinName>> {
        let name = name.to_str()?;
        if name.is_empty() {
            return Ok(None);
        }
        self.named(call, name).map(Some)
    }

    fn named(&self, call: &str, name: &str) -> capnp::Result<PinName> {
        if name.len() > content::pins::MAX_NAME_BYTES {
            return Err(failed(call, "the name of the pin is too long"));
        }
        Ok(PinName {
            namespace: self.scope.pins().map(str::to_owned),
            name: name.to_owned(),
        })
    }

    fn namespace(&self) -> Option<String> {
        self.scope.pins().map(str::to_owned)
    }
}

impl face::Server for Pin {
    async fn add(
        self: Rc<Self>,
        params: face::AddParams,
        mut results: face::AddResults,
    ) -> capnp::Result<()> {
        self.0.may_change("add")?;
        let params = params.get()?;
        let name = self.0.named("add", params.get_name()?.to_str()?)?;
        let depth = match params.get_direct() {
            true => Depth::Direct,
            false => Depth::Recursive,
        };
        let pinned = self.0.read("add", params.get_path()?, move |repo, path| {
            let cid = repo.resolve(path)?;
            repo.pin(&cid, depth, &name, &|_| ControlFlow::Continue(()))?;
            Ok(cid)
        });
        results.get().set_cid(&pinned.await?.to_bytes());
        Ok(())
    }

    async fn ls(
        self: Rc<Self>,
        params: face::LsParams,
        mut results: face::LsResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("ls")?;
        let params = params.get()?;
        let name = params.get_name()?.to_str()?.to_owned();
        let after = usize::try_from(params.get_after()).unwrap_or(usize::MAX);
        let limit = match usize::try_from(params.get_limit()).unwrap_or(usize::MAX) {
            0 => MAX_PINS,
            limit => limit.min(MAX_PINS),
        };
        let namespace = self.0.namespace();
        let pins = self.0.run("ls", move |repo| {
            let mut pins = repo.pins_in(namespace.as_deref())?;
            pins.retain(|pin| name.is_empty() || pin.name == name);
            Ok(pins)
        });
        let pins = pins.await?;
        let rest = pins.get(after..).unwrap_or_default();
        let told = rest.get(..limit).unwrap_or(rest);
        let mut results = results.get();
        results.set_more(told.len() < rest.len());
        let mut list = results.init_pins(u32::try_from(told.len()).unwrap_or(u32::MAX));
        for (index, pin) in (0..).zip(told) {
            let mut into = list.reborrow().get(index);
            into.set_cid(&pin.cid.to_bytes());
            into.set_name(&pin.name);
            into.set_direct(pin.depth == Depth::Direct);
        }
        Ok(())
    }

    async fn rm(
        self: Rc<Self>,
        params: face::RmParams,
        _results: face::RmResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let cid = cid("rm", params.get_cid()?)?;
        let name = self.0.named("rm", params.get_name()?.to_str()?)?;
        self.0
            .change("rm", move |repo| repo.unpin(&cid, &name))
            .await
    }

    async fn verify(
        self: Rc<Self>,
        params: face::VerifyParams,
        mut results: face::VerifyResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("verify")?;
        let cid = cid("verify", params.get()?.get_cid()?)?;
        let namespace = self.0.namespace();
        let health = self.0.run("verify", move |repo| {
            let pin = repo.pin_of(namespace.as_deref(), &cid)?;
            repo.verify(&pin)
        });
        let health = health.await?;
        let mut results = results.get();
        results.set_blocks(health.good.blocks);
        let faults = &health.faults;
        let mut list = results.init_missing(u32::try_from(faults.len()).unwrap_or(u32::MAX));
        for (index, fault) in (0..).zip(faults) {
            list.set(index, &fault.cid.to_bytes());
        }
        Ok(())
    }

    async fn is_pinned(
        self: Rc<Self>,
        params: face::IsPinnedParams,
        mut results: face::IsPinnedResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("isPinned")?;
        let cid = cid("isPinned", params.get()?.get_cid()?)?;
        let namespace = self.0.namespace();
        let pin = self.0.run("isPinned", move |repo| {
            repo.kept_by(namespace.as_deref(), &cid)
        });
        let pin = pin.await?;
        let mut results = results.get();
        results.set_pinned(pin.is_some());
        results.set_name(pin.map(|pin| pin.name).unwrap_or_default());
        Ok(())
    }
}
