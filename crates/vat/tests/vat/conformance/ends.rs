//! Connections that end in the middle of everything, and objects that answer in unusual ways.

use std::rc::Rc;

use capnp::Error;
use futures::future::join_all;
use tokio::io::duplex;

use super::engines::{CapnpRpc, Engine, Link as _, Vat};
use super::{PATIENCE, assert_fails_with, echo, failure, mine, next, until};
use crate::lab::{Lab, Seen};
use crate::lab_capnp::lab;
use crate::peers::on_a_vat;

/// Calls of every sort, at once. Whether they succeed is not asked.
async fn everything<N: Engine>(peer: lab::Client, mine: lab::Client) {
    let mut identity = peer.identity_request();
    identity.get().set_lab(mine.clone());
    let identity = identity.send();
    let promise = peer.promise_request().send();
    let mut keep = peer.keep_request();
    keep.get().set_lab(mine.clone());
    let mut ask = peer.ask_request();
    ask.get().set_lab(mine.clone());
    ask.get().set_data(&[1; 1000]);
    let mut fulfil = peer.fulfil_request();
    fulfil.get().set_lab(mine);
    let mut push = peer.push_request();
    push.get().set_data(b"pushed");
    let wait = peer.wait_request().send();
    let labs = [
        identity.pipeline.get_lab(),
        promise.pipeline.get_lab(),
        peer.kept_request().send().pipeline.get_lab(),
        wait.pipeline.get_lab(),
        peer.never_request().send().pipeline.get_lab(),
    ];
    let calls = labs.iter().flat_map(|lab| [next(lab, 0), next(lab, 1)]);
    let calls: Vec<_> = calls.collect();
    let _ = futures::join!(
        identity.promise,
        promise.promise,
        keep.send().promise,
        ask.send().promise,
        fulfil.send().promise,
        push.send(),
        wait.promise,
        join_all(calls),
    );
}

/// Lets the far side go after so many turns of the thread, and then the near one.
fn ends_after<N: Engine, F: Engine>(turns: usize) {
    on_a_vat(async move {
        let (here, there) = duplex(64);
        let theirs = Rc::new(Seen::default());
        let far = F::serve(there, Lab::<F>::client(&theirs));
        let (near, lab) = N::join(here);
        let (seen, mine) = mine::<N>();
        let calls = tokio::task::spawn_local(everything::<N>(lab, mine));
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        drop(far);
        let done = tokio::time::timeout(PATIENCE, calls).await;
        done.expect("calls hang").unwrap();
        assert_eq!(near.left(), vat::Usage::default());
        drop(near);
        until("what was passed is let go of", || seen.alive.get() == 0).await;
    });
}

#[test]
fn a_peer_of_this_engine_goes_at_any_time() {
    (0..120).for_each(ends_after::<Vat, Vat>);
}

#[test]
fn a_peer_of_capnp_rpc_goes_at_any_time() {
    (0..120).for_each(ends_after::<Vat, CapnpRpc>);
}

#[test]
fn capnp_rpc_is_left_at_any_time() {
    (0..120).for_each(ends_after::<CapnpRpc, Vat>);
}

/// Answers `make` with nothing, and `wait` long before it returns.
struct Unusual;

impl lab::Server for Unusual {
    async fn make(self: Rc<Self>, _: lab::MakeParams, _: lab::MakeResults) -> Result<(), Error> {
        Ok(())
    }

    async fn wait(
        self: Rc<Self>,
        _: lab::WaitParams,
        mut results: lab::WaitResults,
    ) -> Result<(), Error> {
        results.get().set_lab(Lab::<Vat>::client(&Rc::default()));
        results.set_pipeline()?;
        std::future::pending().await
    }
}

async fn unusual<N: Engine, F: Engine>(served: lab::Client) {
    let (here, there) = duplex(4096);
    let _far = F::serve(there, served);
    let (_near, lab) = N::join(here);
    // A promise that turns out to be nothing.
    let made = lab.make_request().send();
    let nothing = made.pipeline.get_lab();
    failure(echo(&nothing, b"early").await);
    assert!(!made.promise.await.unwrap().get().unwrap().has_lab());
    failure(echo(&nothing, b"late").await);
    // Results that are known before their call returns.
    let waiting = lab.wait_request().send();
    let known = waiting.pipeline.get_lab();
    assert_eq!(echo(&known, b"known").await.unwrap(), b"known");
    next(&known, 0).await.unwrap();
    drop(waiting);
    next(&known, 1).await.unwrap();
}

#[test]
fn unusual_answers_are_understood() {
    on_a_vat(async {
        unusual::<Vat, Vat>(vat::new_client(Unusual)).await;
        unusual::<CapnpRpc, Vat>(vat::new_client(Unusual)).await;
        unusual::<Vat, CapnpRpc>(capnp_rpc::new_client(Unusual)).await;
    });
}

#[test]
fn a_bootstrap_that_is_not_there_fails_where_it_is_called() {
    on_a_vat(async {
        let (here, there) = duplex(4096);
        let (_far, _) = Vat::join(there);
        let (_near, lab) = CapnpRpc::join(here);
        assert_fails_with(echo(&lab, b"").await, "no bootstrap capability");

        let (here, there) = duplex(4096);
        let (_far, _) = Vat::join(there);
        let (_near, lab) = Vat::join(here);
        assert_fails_with(echo(&lab, b"").await, "no bootstrap capability");
    });
}

#[test]
fn a_promise_says_when_it_is_resolved_and_to_what() {
    on_a_vat(async {
        let (here, there) = duplex(4096);
        let (_near, peer) = Vat::join(here);
        let _far = Vat::serve(there, Lab::<Vat>::client(&Rc::default()));
        let (_, lab) = mine::<Vat>();
        let promised = peer.promise_request().send().pipeline.get_lab();
        let mut fulfil = peer.fulfil_request();
        fulfil.get().set_lab(lab.clone());
        fulfil.send().promise.await.unwrap();
        promised.client.when_resolved().await.unwrap();
        promised.client.when_resolved().await.unwrap();
        let resolved = capnp::capability::get_resolved_cap(promised).await;
        assert_eq!(crate::lab::identity(&resolved), crate::lab::identity(&lab));

        let broken = peer.promise_request().send().pipeline.get_lab();
        let mut request = peer.break_request();
        request.get().set_reason("it broke");
        request.send().promise.await.unwrap();
        assert_fails_with(broken.client.when_resolved().await, "it broke");
        assert_fails_with(broken.client.when_resolved().await, "it broke");
    });
}
