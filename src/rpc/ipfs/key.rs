//! `Key`: the keys that names are made of. None is given away, and whose they are says nothing about paths, so that a
//! holder of a subtree has none of it.

use capnp::capability::Rc;
use content::name::KeyInfo;
use schema::ipfs_capnp::{key as face, key_info};

use super::Desk;

pub struct Key(pub Rc<Desk>);

fn tell(key: &KeyInfo, mut into: key_info::Builder<'_>) {
    into.set_name(&key.name);
    into.set_id(key.id.to_string());
}

impl face::Server for Key {
    async fn generate(
        self: Rc<Self>,
        params: face::GenerateParams,
        mut results: face::GenerateResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str()?.to_owned();
        let generate = self
            .0
            .change("generate", move |repo| repo.keys().generate(&name));
        let key = generate.await?;
        tell(&key, results.get().init_key());
        Ok(())
    }

    async fn list(
        self: Rc<Self>,
        _params: face::ListParams,
        mut results: face::ListResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("list")?;
        let keys = self.0.run("list", |repo| repo.keys().list()).await?;
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let mut list = results.get().init_keys(count);
        for (index, key) in (0..).zip(&keys) {
            tell(key, list.reborrow().get(index));
        }
        Ok(())
    }

    async fn rename(
        self: Rc<Self>,
        params: face::RenameParams,
        _results: face::RenameResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let from = params.get_from()?.to_str()?.to_owned();
        let to = params.get_to()?.to_str()?.to_owned();
        self.0
            .change("rename", move |repo| repo.keys().rename(&from, &to))
            .await
    }

    async fn remove(
        self: Rc<Self>,
        params: face::RemoveParams,
        _results: face::RemoveResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str()?.to_owned();
        self.0
            .change("remove", move |repo| repo.keys().remove(&name))
            .await
    }
}
