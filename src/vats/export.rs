//! Capabilities on their way to another vat, or to the same one.
//!
//! Where the vat turns out to be the same, the capability itself is handed over. Otherwise there is a
//! connection in memory, whose other end is served where the capability lives. Either way it is good
//! until its exporter has ended.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use capnp::capability::{Client, FromClientHook};

use super::Spawner;
use super::pair::{PairEnd, pair};

thread_local! {
    /// The capabilities of this vat that are on their way.
    static UNDER_WAY: RefCell<HashMap<u64, Client>> = RefCell::default();
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A capability on its way.
pub struct Export {
    number: u64,
    end: PairEnd,
}

/// Keeps a capability among those under way.
struct UnderWay(u64);

impl Drop for UnderWay {
    fn drop(&mut self) {
        // What is dropped may export again.
        let removed = UNDER_WAY.try_with(|all| all.borrow_mut().remove(&self.0));
        drop(removed);
    }
}

impl Export {
    /// Makes a capability of this vat available to one other. It is served until the scope ends.
    pub fn new(scope: &Spawner, cap: Client) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (here, there) = pair();
        let cap = scope.hand_on(cap);
        UNDER_WAY.with_borrow_mut(|all| all.insert(number, cap.clone()));
        let under_way = UnderWay(number);
        scope.spawn(async move {
            let _under_way = under_way;
            here.serve(cap).await;
        });
        Self { number, end: there }
    }

    /// The capability, as a reference of this vat, good until this scope or the exporter's ends.
    pub fn import<C: FromClientHook>(self, scope: &Spawner) -> C {
        let here = UNDER_WAY.with_borrow(|all| all.get(&self.number).cloned());
        match here {
            Some(cap) => C::new(cap.hook),
            None => {
                let (cap, carried) = self.end.connect();
                scope.spawn(carried);
                C::new(cap.hook)
            }
        }
    }
}
