//! A capability to try one method on, fresh each time, and what can be seen of whether the method did anything.

mod content;

use std::time::Duration;

use runtime::Session;
use runtime::capnp::capability::{Client, FromClientHook};
use runtime::stem_capnp::revoker;
use runtime::system_capnp::process::Client as Process;
use runtime::system_capnp::registration;
use runtime::{bytes, process};
use schema::interfaces::MethodId;

use crate::contract::{self, Answer, Spare};

/// One capability and what surrounds it.
pub struct Twin<'a> {
    session: &'a Session,
    method: MethodId,
    /// What the method is of.
    cap: Client,
    /// Goes with the call, and answers for the interfaces that the host does not serve.
    spare: Spare,
    /// The cell that it is of, if it is of one.
    process: Option<Process>,
    /// What a revoker revokes.
    revocable: Option<Client>,
    /// Has the spare take messages.
    _subscription: Option<registration::Client>,
}

impl<'a> Twin<'a> {
    /// A capability that has this method.
    pub async fn new(session: &'a Session, method: MethodId) -> runtime::Result<Self> {
        let name = method.to_string();
        let (interface, _) = name.split_once('.').unwrap_or_default();
        let spare = Spare::default();
        let (mut process, mut revocable, mut subscription) = (None, None, None);
        let cap = match interface {
            "Membrane" => session.membrane().client.clone(),
            "Host" => session.grant("host")?,
            "Executor" => session.grant("executor")?,
            "Program" => {
                let mut request = session.executor()?.load_request();
                request.get().init_source().set_path(contract::PROGRAM);
                request.send().promise.await?.get()?.get_program()?.client
            }
            "Process" | "ByteStream" => {
                let args = ["child", contract::CHILD];
                let child = contract::spawn(&session.executor()?, &args, &[]).await?;
                let stdin = process::stdin(&child);
                if matches!(name.as_str(), "ByteStream.read" | "ByteStream.pump") {
                    bytes::write_all(&stdin, b"y").await?;
                }
                let cap = match name.as_str() {
                    "ByteStream.read" | "ByteStream.pump" => process::stdout(&child).client,
                    "Process.wait" => child.client.clone(),
                    _ if interface == "Process" => child.client.clone(),
                    _ => stdin.client.clone(),
                };
                if matches!(
                    name.as_str(),
                    "ByteStream.read" | "ByteStream.pump" | "Process.wait"
                ) {
                    bytes::close(&stdin).await?;
                }
                process = Some(child);
                cap
            }
            "Revoker" => {
                let (cap, revoker) = narrow(session, &spare.client(), &[echo()]).await?;
                revocable = Some(cap);
                revoker.client
            }
            _ => match content::new(session, &name, &spare).await? {
                Some((cap, held)) => {
                    subscription = held;
                    cap
                }
                None => spare.client(),
            },
        };
        Ok(Self {
            session,
            method,
            cap,
            spare,
            process,
            revocable,
            _subscription: subscription,
        })
    }

    /// Calls the method on the capability, narrowed to these. What came of it, and what can be seen afterwards. `made` is
    /// the CID of what the method makes, from one twin to the other.
    pub async fn call(
        &self,
        only: &[MethodId],
        made: &mut Option<Vec<u8>>,
    ) -> runtime::Result<(String, String)> {
        let (narrowed, _revoker) = narrow(self.session, &self.cap, only).await?;
        let is_watch = self.method == contract::method("Membrane.watch");
        let outcome = if is_watch && only.contains(&self.method) {
            contract::watch(self.session, &narrowed).await
        } else {
            contract::call(&narrowed, self.method, &self.spare.client()).await
        };
        let told = match &outcome {
            Ok(answer) => answer.told().to_owned(),
            Err(error) => contract::told(error),
        };
        let seen = self.seen(outcome.ok(), made).await?;
        Ok((told, seen))
    }

    async fn seen(
        &self,
        answer: Option<Answer>,
        made: &mut Option<Vec<u8>>,
    ) -> runtime::Result<String> {
        let name = self.method.to_string();
        let (session, spare) = (self.session, &self.spare);
        let seen = content::seen(session, &name, &self.cap, answer.as_ref(), spare, made);
        if let Some(seen) = seen.await? {
            return Ok(seen);
        }
        Ok(match (name.as_str(), &self.process, &self.revocable) {
            ("Process.kill", Some(child), _) => process::status(child).await?.to_string(),
            ("ByteStream.write" | "ByteStream.push", Some(child), _) => {
                bytes::close(&process::stdin(child)).await?;
                format!("{:?} arrived", contract::output(child).await?)
            }
            ("ByteStream.close", Some(child), _) => {
                match bytes::write_all(&process::stdin(child), b"y").await {
                    Ok(()) => "open".to_owned(),
                    Err(_) => "closed".to_owned(),
                }
            }
            ("ByteStream.read" | "ByteStream.pump", Some(child), _) => {
                format!("{:?} is left", contract::output(child).await?)
            }
            (_, _, Some(revocable)) => {
                match contract::call(revocable, echo(), &self.spare.client()).await {
                    Ok(_) => "good".to_owned(),
                    Err(error) => contract::told(&error),
                }
            }
            ("Program.spawn", ..) => {
                self.children(answer).await?;
                format!("{} had run", self.spare.calls() - 1)
            }
            ("Program.cid" | "Program.imports", ..) => String::new(),
            _ if self.spare.calls() > 0 => "called".to_owned(),
            _ => String::new(),
        })
    }

    /// Waits until the program that may have been spawned has called the spare, and runs one more, which does too.
    async fn children(&self, spawned: Option<Answer>) -> runtime::Result<()> {
        while spawned.is_some() && self.spare.calls() == 0 {
            runtime::sleep(Duration::from_millis(1)).await;
        }
        let with = self.spare.client();
        let another = contract::call(&self.cap, self.method, &with).await?;
        let another = another.cap().ok_or("no process was given")?;
        let another: Process = FromClientHook::new(another.hook);
        bytes::close(&process::stdin(&another)).await?;
        process::wait(&another).await?;
        Ok(())
    }
}

fn echo() -> MethodId {
    contract::method("Executor.echo")
}

/// The same capability with these methods only, and what takes it back.
pub async fn narrow(
    session: &Session,
    cap: &Client,
    only: &[MethodId],
) -> runtime::Result<(Client, revoker::Client)> {
    let mut request = session.membrane().attenuate_request();
    let mut params = request.get();
    params
        .reborrow()
        .init_cap()
        .set_as_capability(cap.hook.add_ref());
    let mut list = params.init_only(only.len() as u32);
    for (index, method) in (0..).zip(only) {
        let mut entry = list.reborrow().get(index);
        entry.set_interface(method.interface);
        entry.set_ordinal(method.ordinal);
    }
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    Ok((reply.get_cap().get_as_capability()?, reply.get_revoker()?))
}
