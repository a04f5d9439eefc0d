//! A session: two peers that write their own messages, and the vat between them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use vat::{Limits, Usage};

use super::peer::Peer;
use crate::choices::Choices;
use crate::lab::{Lab, Seen, Vat};
use crate::lab_capnp::lab;

/// Turns of the vat, in batches, after which it never will be idle.
const MOST_STEPS: usize = 20_000;

/// Runs a session, and checks that nothing is left of it. Returns how many messages were sent.
pub fn run(bytes: &[u8]) -> usize {
    let choices = &mut Choices::new(bytes);
    let limits = match choices.once_in(4) {
        true => tight(),
        false => Limits::default(),
    };
    let hostile = choices.once_in(3);
    let seen = Rc::new(Seen::default());
    let root: lab::Client = Lab::<Vat>::client(&seen);
    let mut peers: Vec<Peer> = (0..2)
        .map(|_| Peer::new(&limits, root.client.clone(), hostile))
        .collect();
    let mut messages = 0;
    while !choices.is_empty() {
        let index = choices.below(2);
        if choices.once_in(200) {
            // The connection is lost, and there is another.
            peers[index] = Peer::new(&limits, root.client.clone(), hostile);
        }
        let peer = &mut peers[index];
        if peer.gone {
            break;
        }
        messages += peer.act(choices);
        if choices.once_in(4) {
            run_vat();
        }
    }
    drop(root);
    for peer in &peers {
        peer.connection
            .disconnect(capnp::Error::disconnected("the session is over".into()));
    }
    run_vat();
    seen.empty();
    run_vat();
    for peer in &peers {
        assert_eq!(peer.connection.usage(), Usage::default());
    }
    drop(peers);
    run_vat();
    assert_eq!(seen.running.get(), 0, "methods are still running");
    assert_eq!(seen.alive.get(), 0, "objects are still alive");
    messages
}

/// Limits that are hit.
fn tight() -> Limits {
    Limits {
        message_bytes: 4096,
        message_capabilities: 3,
        path_steps: 2,
        answers: 12,
        bytes_in_flight: 2048,
        pipeline_depth: 4,
        questions: 8,
        outgoing_bytes: 4096,
        exports: 12,
        imports: 12,
        embargoes: 3,
        ..Limits::default()
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the thread's vat until it is idle.
fn run_vat() {
    thread_local! {
        static DRIVER: RefCell<Pin<Box<dyn Future<Output = Infallible>>>> =
            RefCell::new(Box::pin(vat::drive()));
    }
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut steps = 0;
    while woken.0.swap(false, Ordering::Relaxed) {
        let _: Poll<_> = DRIVER.with_borrow_mut(|driver| driver.as_mut().poll(&mut context));
        steps += 1;
        assert!(steps < MOST_STEPS, "the vat does not become idle");
    }
}
