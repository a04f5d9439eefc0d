//! Capabilities: by every name that there could be, and every method of every interface on each that is held, and
//! on each that is reached so.

use futures::future::LocalBoxFuture;
use runtime::Session;
use runtime::capnp::capability::Client;
use schema::interfaces::MethodId;

use super::tell;
use crate::contract::{self, Spare};

/// Names under which something might be found.
const NAMES: [&str; 13] = [
    "host", "executor", "ipfs", "membrane", "kernel", "node", "admin", "signer", "net", "fs",
    "parent", "with", "*",
];

/// What no interface of the contract is.
const UNKNOWN: MethodId = MethodId {
    interface: u64::MAX,
    ordinal: 0,
};

/// Asks for each name.
pub fn names(session: &Session) {
    let held: Vec<&str> = session.names().collect();
    tell::<_, String>("capabilities by name", "all that were granted", Ok(held));
    for name in NAMES {
        let found = session.grant::<Client>(name).map(|_| "granted");
        tell("capabilities by name", &format!("`{name}`"), found);
    }
}

/// Something that is held, and how it was come by.
struct Held {
    /// `host.executor` is what `Host.executor` gave of `host`.
    path: String,
    cap: Client,
}

/// Calls, one after the other.
pub struct Calls<'a> {
    session: &'a Session,
    spare: Client,
    /// What the name of each attempt begins with.
    prefix: &'static str,
    /// Everything that was held on the way.
    held: Vec<Held>,
}

impl<'a> Calls<'a> {
    /// Calls of whoever has this session. The name of each attempt begins with `prefix`.
    pub fn new(session: &'a Session, prefix: &'static str) -> Self {
        Self {
            session,
            spare: Spare::default().client(),
            prefix,
            held: Vec::new(),
        }
    }

    /// Calls every method of every interface on the membrane and on each grant, and on whatever they give.
    pub async fn run(&mut self) {
        let membrane = Client::new(self.session.membrane().client.hook.add_ref());
        self.every("membrane".to_owned(), membrane, Vec::new())
            .await;
        self.grants().await;
    }

    /// The same without the membrane itself.
    pub async fn grants(&mut self) {
        let names: Vec<String> = self.session.names().map(str::to_owned).collect();
        for name in names {
            let Ok(cap) = self.session.grant::<Client>(&name) else {
                continue;
            };
            self.every(name, cap, Vec::new()).await;
        }
    }

    /// `above` has the interfaces that were passed on the way here: what gives another of the same is not followed
    /// for ever.
    fn every(&mut self, path: String, cap: Client, above: Vec<u64>) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            self.held.push(Held {
                path: path.clone(),
                cap: cap.clone(),
            });
            for method in [UNKNOWN].into_iter().chain(contract::methods()) {
                let outcome = self.call(&path, &cap, method).await;
                // What the membrane gives is held by name, or was given to it. At once: a process ends once it has
                // been waited for, and its input is closed on the way.
                if path != "membrane"
                    && let Some(given) = outcome
                {
                    let mut above = above.clone();
                    above.push(method.interface);
                    let (name, gives) = match method.method() {
                        Some(method) => (method.name, method.gives),
                        None => ("", &[][..]),
                    };
                    if !gives.iter().any(|given| above.contains(given)) {
                        self.every(format!("{path}.{name}"), given, above).await;
                    }
                }
            }
        })
    }

    /// Calls one method. What it gave, if it gave a capability.
    async fn call(&self, path: &str, cap: &Client, method: MethodId) -> Option<Client> {
        let outcome = if path == "membrane" && method == contract::method("Membrane.watch") {
            contract::watch(self.session, cap).await
        } else {
            contract::call(cap, method, &self.spare).await
        };
        let attempt = format!("{}{path}: {method}", self.prefix);
        let told = match &outcome {
            Ok(answer) => Ok(answer.told()),
            Err(error) => Err(contract::told(error)),
        };
        tell("calls", &attempt, told);
        outcome.ok()?.cap()
    }

    /// Calls every method again on all that was held.
    pub async fn again(&mut self, prefix: &'static str) {
        self.prefix = prefix;
        for held in &self.held {
            for method in [UNKNOWN].into_iter().chain(contract::methods()) {
                self.call(&held.path, &held.cap, method).await;
            }
        }
    }
}
