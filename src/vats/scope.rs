//! What belongs to one cell on its vat, and ends with it.

use std::cell::RefCell;
use std::future::Future;
use std::rc::{Rc, Weak};

use capnp::capability::Client;
use membrane::{AllowAll, Membrane};
use tokio::task::JoinSet;

/// The tasks of one cell, and what it has handed on to others.
pub struct Scope {
    tasks: Rc<RefCell<JoinSet<()>>>,
    handed_on: Membrane,
}

/// Adds to a [`Scope`]. Once the scope has ended, what is added is ended at once.
#[derive(Clone)]
pub struct Spawner {
    tasks: Weak<RefCell<JoinSet<()>>>,
    handed_on: Membrane,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            tasks: Rc::default(),
            handed_on: Membrane::new(Rc::new(AllowAll)),
        }
    }
}

impl Scope {
    /// What adds to this scope.
    pub fn spawner(&self) -> Spawner {
        Spawner {
            tasks: Rc::downgrade(&self.tasks),
            handed_on: self.handed_on.clone(),
        }
    }

    /// Takes back what was handed on, ends every task, and returns once they have gone.
    pub async fn shutdown(self) {
        let ended =
            capnp::Error::disconnected("whoever handed this capability on has ended".into());
        self.handed_on.revoke(ended);
        // Taken out first: a task that is dropped may reach back for its scope.
        let mut tasks = self.tasks.take();
        drop(self);
        tasks.shutdown().await;
    }
}

impl Spawner {
    /// Runs a task on this vat until it ends or the scope does.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if let Some(tasks) = self.tasks.upgrade() {
            let mut tasks = tasks.borrow_mut();
            while tasks.try_join_next().is_some() {}
            tasks.spawn_local(task);
        }
    }

    /// A capability as others may hold it: until the scope ends.
    pub(super) fn hand_on(&self, cap: Client) -> Client {
        self.handed_on.wrap(cap)
    }
}
