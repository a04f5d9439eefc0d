//! On whose behalf an executor runs programs, once it has been handed on.
//!
//! A cell that hands a child its executor lends it the ability, not its own account: what the child runs has to
//! come out of what the child was given. So the child gets an executor of its own, in the place where the one
//! that was handed on would have been: behind the same membranes, so that whatever narrows or takes back the one
//! narrows and takes back the other. So it is with content: what a child adds comes out of what the child may add,
//! and is given back when it ends. Cells that can run programs live on the vat of the first of them, so that what
//! they narrow is recognised. An executor that is somebody else's, a guest's own object for one, is handed on as it is; it spends its
//! own owner's.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use capnp::capability::Client;
use schema::system_capnp::{executor, host};

use super::executor::Executor;
use super::host::Host;
use super::ipfs::{self, Holder};

thread_local! {
    /// The executors, hosts and contents of this vat, by the identity of their capabilities.
    static FACES: RefCell<HashMap<usize, (u64, Face)>> = RefCell::default();
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

#[derive(Clone)]
enum Face {
    Executor(Weak<Executor>),
    Host(Weak<Host>),
    Ipfs(Weak<ipfs::Client>),
}

/// What a cell has of its own, whoever handed it what uses it.
pub trait Own {
    /// Runs its programs.
    fn executor(&self) -> Option<executor::Client>;
    /// Pays for its content.
    fn holder(&self) -> Option<Holder>;
}

/// What may be needed once a promise is kept.
struct Ready {
    executor: Option<executor::Client>,
    holder: Option<Holder>,
}

impl Own for Ready {
    fn executor(&self) -> Option<executor::Client> {
        self.executor.clone()
    }

    fn holder(&self) -> Option<Holder> {
        self.holder.clone()
    }
}

/// Keeps a face among those that are known.
pub struct Known {
    identity: usize,
    /// An identity may be another's later; a number is not.
    number: u64,
}

impl Known {
    /// A capability that is this executor.
    pub fn executor(client: &executor::Client, face: &Rc<Executor>) -> Self {
        Self::new(&client.client, Face::Executor(Rc::downgrade(face)))
    }

    /// A capability that is this host.
    pub fn host(client: &host::Client, face: &Rc<Host>) -> Self {
        Self::new(&client.client, Face::Host(Rc::downgrade(face)))
    }

    /// A capability that is this content.
    pub fn ipfs(client: &schema::ipfs_capnp::client::Client, face: &Rc<ipfs::Client>) -> Self {
        Self::new(&client.client, Face::Ipfs(Rc::downgrade(face)))
    }

    fn new(client: &Client, face: Face) -> Self {
        let identity = client.hook.get_ptr();
        let number = NEXT.replace(NEXT.get().wrapping_add(1));
        FACES.with_borrow_mut(|faces| faces.insert(identity, (number, face)));
        Self { identity, number }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        // On a thread that is ending there is no table any more.
        let _ = FACES.try_with(|faces| {
            let mut faces = faces.borrow_mut();
            if let Some((number, _)) = faces.get(&self.identity)
                && *number == self.number
            {
                faces.remove(&self.identity);
            }
        });
    }
}

/// As [`of`], for what goes by the name of an executor, a host or content: if it is only promised, calls on it wait until
/// it is known what it is. Others do not wait, because what waits for a promise could be what the promise waits for.
pub fn of_named(name: &str, cap: Client, own: &impl Own) -> Client {
    let ready = match name {
        _ if cap.hook.when_more_resolved().is_none() => return of(cap, own),
        "executor" | "host" => Ready {
            executor: own.executor(),
            holder: None,
        },
        "ipfs" => Ready {
            executor: None,
            holder: own.holder(),
        },
        _ => return of(cap, own),
    };
    vat::new_future_client(async move {
        // One that breaks is handed on as that.
        let _ = cap.hook.when_resolved().await;
        Ok(of(cap, &ready))
    })
}

/// A capability that is handed to a cell, so that programs are run and content is added by what the cell has of its
/// `own`. What is only promised is handed on as it is.
fn of(cap: Client, own: &impl Own) -> Client {
    let (inside, layers) = membrane::peel(cap.hook.add_ref());
    let known = |faces: &HashMap<usize, (u64, Face)>| {
        let (_, face) = faces.get(&inside.get_ptr())?;
        Some(face.clone())
    };
    let face = FACES.with_borrow(known);
    let lent = match face {
        Some(Face::Executor(face)) if face.strong_count() > 0 => {
            own.executor().map(|own| own.client)
        }
        Some(Face::Host(face)) => face
            .upgrade()
            .zip(own.executor())
            .map(|(face, own)| face.with_executor(own).client),
        Some(Face::Ipfs(face)) => face
            .upgrade()
            .zip(own.holder())
            .map(|(face, own)| face.held_by(own).client),
        _ => None,
    };
    match lent {
        Some(lent) => Client::new(layers.restore(lent.hook)),
        None => cap,
    }
}
