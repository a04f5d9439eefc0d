//! On whose behalf an executor runs programs, once it has been handed on.
//!
//! A cell that hands a child its executor lends it the ability, not its own account: what the child runs has to
//! come out of what the child was given. So the child gets an executor of its own, in the place where the one
//! that was handed on would have been: behind the same membranes, so that whatever narrows or takes back the one
//! narrows and takes back the other. An executor that is somebody else's, a guest's or one that came from another
//! vat, is handed on as it is; it spends its own owner's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use capnp::capability::Client;
use schema::system_capnp::{executor, host};

use super::executor::{Executor, Principal};
use super::host::Host;

thread_local! {
    /// The executors and hosts of this vat, by the identity of their capabilities.
    static FACES: RefCell<HashMap<usize, Face>> = RefCell::default();
}

#[derive(Clone)]
enum Face {
    Executor(Weak<Executor>),
    Host(Weak<Host>),
}

/// Keeps a face among those that are known.
pub struct Known(usize);

impl Known {
    /// A capability that is this executor.
    pub fn executor(client: &executor::Client, face: &Rc<Executor>) -> Self {
        Self::new(&client.client, Face::Executor(Rc::downgrade(face)))
    }

    /// A capability that is this host.
    pub fn host(client: &host::Client, face: &Rc<Host>) -> Self {
        Self::new(&client.client, Face::Host(Rc::downgrade(face)))
    }

    fn new(client: &Client, face: Face) -> Self {
        let identity = client.hook.get_ptr();
        FACES.with_borrow_mut(|faces| faces.insert(identity, face));
        Self(identity)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        // On a thread that is ending there is no table any more.
        let _ = FACES.try_with(|faces| faces.borrow_mut().remove(&self.0));
    }
}

/// A capability that is handed to a cell, so that programs are run on behalf of that cell.
pub fn of(cell: &Principal, cap: Client) -> Client {
    let (inside, layers) = membrane::peel(cap.hook.add_ref());
    let face = FACES.with_borrow(|faces| faces.get(&inside.get_ptr()).cloned());
    let own = match face {
        Some(Face::Executor(face)) if face.strong_count() > 0 => {
            Some(Executor::client(cell.clone()).client)
        }
        Some(Face::Host(face)) => face
            .upgrade()
            .map(|face| face.with_executor(Executor::client(cell.clone())).client),
        _ => None,
    };
    match own {
        Some(own) => Client::new(layers.restore(own.hook)),
        None => cap,
    }
}
