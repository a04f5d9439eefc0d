//! Methods, promises and destructors that panic: somebody's mistake, which a peer has found.

use std::cell::Cell;
use std::rc::Rc;

use capnp::Error;
use vat::Limits;

use crate::lab::Seen;
use crate::lab_capnp::lab;
use crate::wire::{
    Kind, LAB, Peer, To, body, call, data, finish, method, on_a_small_stack, reason, release,
    settle,
};

/// Panics at once, later, while it streams, when it is dropped.
struct Fragile {
    drops: Rc<Cell<u32>>,
    panics_when_dropped: bool,
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        assert!(!self.panics_when_dropped, "of a destructor");
    }
}

impl lab::Server for Fragile {
    async fn nothing(
        self: Rc<Self>,
        _: lab::NothingParams,
        _: lab::NothingResults,
    ) -> Result<(), Error> {
        panic!("at once");
    }

    async fn never(self: Rc<Self>, _: lab::NeverParams, _: lab::NeverResults) -> Result<(), Error> {
        tokio::task::yield_now().await;
        panic!("later");
    }

    async fn echo(
        self: Rc<Self>,
        params: lab::EchoParams,
        mut results: lab::EchoResults,
    ) -> Result<(), Error> {
        results.get().set_data(params.get()?.get_data()?);
        Ok(())
    }

    async fn push(self: Rc<Self>, params: lab::PushParams) -> Result<(), Error> {
        tokio::task::yield_now().await;
        assert!(!params.get()?.get_data()?.is_empty(), "while it streams");
        Ok(())
    }

    async fn promise(
        self: Rc<Self>,
        _: lab::PromiseParams,
        mut results: lab::PromiseResults,
    ) -> Result<(), Error> {
        results.get().set_lab(vat::new_future_client(async {
            tokio::task::yield_now().await;
            panic!("of a promise")
        }));
        Ok(())
    }

    async fn make(
        self: Rc<Self>,
        _: lab::MakeParams,
        mut results: lab::MakeResults,
    ) -> Result<(), Error> {
        results.get().set_lab(vat::new_client(Self {
            drops: self.drops.clone(),
            panics_when_dropped: true,
        }));
        Ok(())
    }
}

fn fragile() -> (Peer, Rc<Cell<u32>>) {
    let drops = Rc::new(Cell::new(0));
    let server = Fragile {
        drops: drops.clone(),
        panics_when_dropped: false,
    };
    let seen = Rc::new(Seen::default());
    let peer = Peer::serving(&Limits::default(), &seen, vat::new_client(server));
    peer.hold_lab();
    (peer, drops)
}

const PANICKED: &str = "the object failed in a way that it did not foresee (it panicked)";

#[test]
fn a_method_that_panics_fails_its_call_and_no_other() {
    on_a_small_stack(|| async {
        let (other, _) = fragile();
        let (peer, drops) = fragile();
        peer.ask(&call(1, LAB, method::ECHO).data(b"before"));
        peer.ask(&call(2, LAB, method::NOTHING));
        peer.ask(&call(3, LAB, method::NEVER));
        peer.ask(&call(4, To::Answer(3, vec![0]), method::ECHO));
        peer.ask(&call(5, LAB, method::ECHO).data(b"after"));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 1), data(b"before"));
        for panicked in [2, 3, 4] {
            assert_eq!(reason(&body(&heard, panicked), Kind::Failed), PANICKED);
            peer.say(&finish(panicked, true));
        }
        assert_eq!(body(&heard, 5), data(b"after"));
        assert_eq!(peer.connection.usage().answers, 0);
        peer.works().await;
        other.works().await;
        drop(peer);
        settle().await;
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn a_streaming_method_that_panics_fails_those_behind_it() {
    on_a_small_stack(|| async {
        let (peer, _) = fragile();
        peer.ask(&call(1, LAB, method::PUSH).data(b"x"));
        peer.ask(&call(2, LAB, method::PUSH));
        peer.ask(&call(3, LAB, method::PUSH).data(b"x"));
        peer.ask(&call(4, LAB, method::ECHO));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 1), data(b""));
        for failed in [2, 3, 4] {
            assert_eq!(reason(&body(&heard, failed), Kind::Failed), PANICKED);
        }
    });
}

#[test]
fn a_promise_whose_future_panics_is_broken() {
    on_a_small_stack(|| async {
        let (peer, _) = fragile();
        peer.ask(&call(1, LAB, method::PROMISE));
        peer.ask(&call(2, To::Answer(1, vec![0]), method::ECHO));
        let body = peer.result(2).await;
        assert_eq!(reason(&body, Kind::Failed), PANICKED);
        peer.works().await;
    });
}

#[test]
fn a_destructor_that_panics_takes_nothing_with_it() {
    on_a_small_stack(|| async {
        let (peer, drops) = fragile();
        for _ in 0..3 {
            let id = peer.import(&call(1, LAB, method::MAKE)).await;
            peer.say(&release(id, 1));
        }
        assert_eq!(drops.get(), 3);
        peer.works().await;
        // With the connection, too.
        for question in 0..3 {
            peer.ask(&call(question, LAB, method::MAKE));
        }
        drop(peer);
        settle().await;
        assert_eq!(drops.get(), 7);
    });
}
