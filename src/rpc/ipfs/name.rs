//! `Name`: names that can change what they stand for. What a name stands for is below no path, so that a holder of a
//! subtree asks for none.

use std::time::Duration;

use capnp::capability::Rc;
use content::name::{DEFAULT_LIFETIME, DEFAULT_TTL, MAX_RECORD_BYTES, PublishOptions};
use schema::ipfs_capnp::name as face;

use super::{Desk, failed};

pub struct Name(pub Rc<Desk>);

impl face::Server for Name {
    async fn publish(
        self: Rc<Self>,
        params: face::PublishParams,
        mut results: face::PublishResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let path = params.get_path()?.to_str()?.to_owned();
        let key = params.get_key()?.to_str()?.to_owned();
        let options = PublishOptions {
            lifetime: seconds(params.get_lifetime_secs(), DEFAULT_LIFETIME),
            ttl: seconds(params.get_ttl_secs(), DEFAULT_TTL),
            ..PublishOptions::default()
        };
        let publish = self
            .0
            .change("publish", move |repo| repo.publish(&key, &path, &options));
        let record = publish.await?;
        let mut results = results.get();
        results.set_name(record.name().to_string());
        results.set_sequence(record.sequence());
        Ok(())
    }

    async fn resolve(
        self: Rc<Self>,
        params: face::ResolveParams,
        mut results: face::ResolveResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("resolve")?;
        let name = params.get()?.get_name()?.to_str()?.to_owned();
        let resolve = self.0.run("resolve", move |repo| repo.resolve_name(&name));
        let (path, record) = resolve.await?;
        let mut results = results.get();
        results.set_path(path.to_string());
        results.set_sequence(record.sequence());
        Ok(())
    }

    async fn record(
        self: Rc<Self>,
        params: face::RecordParams,
        mut results: face::RecordResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("record")?;
        let name = params.get()?.get_name()?.to_str()?.to_owned();
        let record = self.0.run("record", move |repo| repo.record(&name)).await?;
        results.get().set_record(record.bytes());
        Ok(())
    }

    async fn put(
        self: Rc<Self>,
        params: face::PutParams,
        _results: face::PutResults,
    ) -> capnp::Result<()> {
        self.0.may_change("put")?;
        let params = params.get()?;
        let name = params.get_name()?.to_str()?.to_owned();
        let record = params.get_record()?;
        if record.len() > MAX_RECORD_BYTES {
            let limit = format_args!("limit: a record has at most {MAX_RECORD_BYTES} bytes");
            return Err(failed("put", limit));
        }
        let record = record.to_vec();
        self.0
            .change("put", move |repo| repo.put_record(&name, &record).map(drop))
            .await
    }
}

/// 0 means what is usual.
fn seconds(given: u64, usual: Duration) -> Duration {
    match given {
        0 => usual,
        given => Duration::from_secs(given),
    }
}
