//! Promises for capabilities in results that are not there yet, one for each path to one.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use capnp::Error;
use capnp::private::capability::ClientHook;

use super::{Handle, Path};
use crate::payload::HeldUp;
use crate::reference::{self, Node};
use crate::vat;

/// Capabilities that may be promised by one call's results. More than any results hold; a peer could name
/// without end what will not be there.
pub const MAX_PATHS: usize = 1024;

/// The promises for what one call will return.
#[derive(Default)]
pub(super) struct Pipelined {
    promised: BTreeMap<Path, Promised>,
    /// How many were left when those that nobody holds were last forgotten.
    left: usize,
}

/// Paths among which those that nobody holds are not looked for.
const FEW: usize = 16;

struct Promised {
    promise: Weak<Node>,
    /// Whether calls have gone to a peer by it: then it counts even when nobody holds it any more.
    travelled: Rc<Cell<bool>>,
}

impl Pipelined {
    /// The one promise for a path, so that what is asked of it twice keeps its order.
    pub(super) fn promise(&mut self, call: &Handle, path: &[u16]) -> Result<Rc<Node>, Error> {
        let known = self.promised.get(path);
        if let Some(promise) = known.and_then(|known| known.promise.upgrade()) {
            return Ok(promise);
        }
        let travelled = known.map_or_else(Rc::default, |known| Rc::clone(&known.travelled));
        self.make_room()?;
        let promise = match call.outcome().question_id() {
            Some((connection, id)) => {
                let road = Node::pipelined(connection, id, call.clone(), path.to_vec());
                Node::promise_of_travelled(road, Rc::clone(&travelled))
            }
            None => Node::promise_from(call.clone()),
        };
        let promised = Promised {
            promise: Rc::downgrade(&promise),
            travelled,
        };
        self.promised.insert(path.to_vec(), promised);
        Ok(promise)
    }

    /// Forgets what nobody holds whenever there is twice as much as there was.
    fn make_room(&mut self) -> Result<(), Error> {
        let most = self.left.saturating_mul(2).clamp(FEW, MAX_PATHS);
        if self.promised.len() < most {
            return Ok(());
        }
        self.promised
            .retain(|_, known| known.promise.strong_count() > 0 || known.travelled.get());
        self.left = self.promised.len();
        if self.left < MAX_PATHS {
            return Ok(());
        }
        Err(Error::overloaded(format!(
            "{MAX_PATHS} capabilities are promised by one call's results"
        )))
    }

    /// Resolves the promises. Returns which capabilities must not be used yet, because calls on the promise
    /// for them are still on their way, and what is to be used instead.
    pub(super) fn resolve(
        self,
        road: impl Fn(&Path) -> Option<Rc<Node>>,
        capability: impl Fn(&[u16]) -> Box<dyn ClientHook>,
    ) -> Vec<HeldUp> {
        let mut held_up = Vec::new();
        for (path, Promised { promise, travelled }) in self.promised {
            let again = || {
                let road = road(&path).filter(|_| travelled.get())?;
                Some(Node::promise_of_travelled(road, Rc::clone(&travelled)))
            };
            if let Some(promise) = promise.upgrade().or_else(again) {
                let to = capability(&path);
                reference::resolve(&promise, to.add_ref());
                match reference::held_up(&promise) {
                    Some(instead) => held_up.push(HeldUp { hook: to, instead }),
                    None => vat::discard(to),
                }
            }
        }
        held_up
    }
}
