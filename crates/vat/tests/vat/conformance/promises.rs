//! Promises: of the peer's, of this side's, and the order of calls on them.

use capnp::Error;
use futures::channel::oneshot;

use super::{assert_fails_with, echo, mine, next};
use crate::lab::Maker;
use crate::lab_capnp::lab;

/// A promise of the peer's, of which this side knows no more.
async fn promise(peer: &lab::Client) -> lab::Client {
    let response = peer.promise_request().send().promise.await.unwrap();
    response.get().unwrap().get_lab().unwrap()
}

async fn fulfil(peer: &lab::Client, lab: lab::Client) {
    let mut request = peer.fulfil_request();
    request.get().set_lab(lab);
    request.send().promise.await.unwrap();
}

pub async fn calls_do_not_overtake_those_on_promised_results<M: Maker>(peer: lab::Client) {
    let (_, lab) = mine::<M>();
    let mut request = peer.identity_request();
    request.get().set_lab(lab);
    let sent = request.send();
    let promised = sent.pipeline.get_lab();
    // These go to the peer and come back.
    let mut calls: Vec<_> = (0..20).map(|expected| next(&promised, expected)).collect();
    let response = sent.promise.await.unwrap();
    // These need not, and must wait.
    let back = response.get().unwrap().get_lab().unwrap();
    calls.extend((20..40).map(|expected| next(&promised, expected)));
    drop(response);
    for call in calls {
        call.await.unwrap();
    }
    next(&back, 40).await.unwrap();
}

pub async fn calls_do_not_overtake_those_on_a_promise<M: Maker>(peer: lab::Client) {
    let (_, lab) = mine::<M>();
    let promised = promise(&peer).await;
    let mut calls: Vec<_> = (0..20).map(|expected| next(&promised, expected)).collect();
    let mut request = peer.fulfil_request();
    request.get().set_lab(lab);
    let fulfilled = request.send().promise;
    for expected in 20..400 {
        calls.push(next(&promised, expected));
        tokio::task::yield_now().await;
    }
    fulfilled.await.unwrap();
    calls.extend((400..420).map(|expected| next(&promised, expected)));
    for call in calls {
        call.await.unwrap();
    }
}

pub async fn calls_on_a_promise_reach_what_the_peer_resolves_it_to<M: Maker>(peer: lab::Client) {
    let promised = promise(&peer).await;
    let mut calls: Vec<_> = (0..20).map(|expected| next(&promised, expected)).collect();
    fulfil(&peer, peer.make_request().send().pipeline.get_lab()).await;
    calls.extend((20..40).map(|expected| next(&promised, expected)));
    for call in calls {
        call.await.unwrap();
    }
    next(&promised, 40).await.unwrap();
}

pub async fn calls_on_a_promise_that_breaks_fail_with_the_reason<M: Maker>(peer: lab::Client) {
    let promised = promise(&peer).await;
    let early = echo(&promised, b"early");
    let deeper = promised.make_request().send().pipeline.get_lab();
    let mut request = peer.break_request();
    request.get().set_reason("it broke");
    request.send().promise.await.unwrap();
    assert_fails_with(early.await, "it broke");
    assert_fails_with(echo(&deeper, b"deeper").await, "it broke");
    assert_fails_with(echo(&promised, b"late").await, "it broke");
    echo(&peer, b"and goes on").await.unwrap();
}

/// Asks the peer to call a capability.
fn ask(peer: &lab::Client, lab: &lab::Client) -> impl Future<Output = Result<(), Error>> + use<> {
    let mut request = peer.ask_request();
    request.get().set_lab(lab.clone());
    let promise = request.send().promise;
    async move { promise.await.map(drop) }
}

pub async fn calls_on_a_promise_of_the_callers_wait_for_it<M: Maker>(peer: lab::Client) {
    // To an object of this side, and to one of the peer's.
    for theirs in [false, true] {
        let (seen, lab) = mine::<M>();
        let (fulfiller, promised) = oneshot::channel();
        let promised = M::future(promised);
        let early = [ask(&peer, &promised), ask(&peer, &promised)];
        echo(&peer, b"meanwhile").await.unwrap();
        assert_eq!(seen.calls.get(), 0);
        let _ = fulfiller.send(Ok(match theirs {
            false => lab,
            true => peer.make_request().send().pipeline.get_lab(),
        }));
        for call in early {
            call.await.unwrap();
        }
        ask(&peer, &promised).await.unwrap();
        assert_eq!(seen.calls.get(), if theirs { 0 } else { 3 });
    }
}

pub async fn a_promise_that_breaks_is_broken_for_the_peer_too<M: Maker>(peer: lab::Client) {
    let (fulfiller, promised) = oneshot::channel();
    let promised = M::future(promised);
    let early = ask(&peer, &promised);
    echo(&peer, b"meanwhile").await.unwrap();
    let _ = fulfiller.send(Err(Error::failed("it broke".into())));
    assert_fails_with(early.await, "it broke");
    assert_fails_with(ask(&peer, &promised).await, "it broke");
}

pub async fn a_promise_resolves_to_another_promise<M: Maker>(peer: lab::Client) {
    let (seen, lab) = mine::<M>();
    let first = promise(&peer).await;
    let mut calls: Vec<_> = (0..5).map(|expected| next(&first, expected)).collect();
    // To one of this side's, and that to another of the peer's, and that to an object of this side.
    let (fulfiller, second) = oneshot::channel();
    fulfil(&peer, M::future(second)).await;
    calls.extend((5..10).map(|expected| next(&first, expected)));
    let third = promise(&peer).await;
    let _ = fulfiller.send(Ok(third));
    calls.extend((10..15).map(|expected| next(&first, expected)));
    echo(&peer, b"meanwhile").await.unwrap();
    calls.extend((15..20).map(|expected| next(&first, expected)));
    fulfil(&peer, lab).await;
    calls.extend((20..25).map(|expected| next(&first, expected)));
    for call in calls {
        call.await.unwrap();
    }
    echo(&first, b"resolved").await.unwrap();
    assert_eq!(seen.calls.get(), 1);
}

pub async fn a_promise_that_comes_home_is_still_a_promise<M: Maker>(peer: lab::Client) {
    let (_, lab) = mine::<M>();
    let (fulfiller, promised) = oneshot::channel();
    let promised = M::future(promised);
    let mut request = peer.identity_request();
    request.get().set_lab(promised.clone());
    let sent = request.send();
    let pipelined = sent.pipeline.get_lab();
    let mut calls = vec![next(&pipelined, 0), next(&pipelined, 1)];
    let response = sent.promise.await.unwrap();
    let back = response.get().unwrap().get_lab().unwrap();
    calls.push(next(&pipelined, 2));
    echo(&peer, b"meanwhile").await.unwrap();
    calls.push(next(&pipelined, 3));
    let _ = fulfiller.send(Ok(lab));
    for call in calls {
        call.await.unwrap();
    }
    next(&back, 4).await.unwrap();
    next(&promised, 5).await.unwrap();
}

pub async fn both_sides_promise_at_once<M: Maker>(peer: lab::Client) {
    let (_, lab) = mine::<M>();
    let theirs = promise(&peer).await;
    let (fulfiller, ours) = oneshot::channel();
    let ours = M::future(ours);
    let mut request = peer.keep_request();
    request.get().set_lab(ours.clone());
    request.send().promise.await.unwrap();
    let kept = peer.kept_request().send().pipeline.get_lab();
    let early = [next(&kept, 0), next(&kept, 1)];
    let others = [next(&theirs, 0), next(&theirs, 1)];
    // Both resolve while the news of the other is on its way.
    let made = peer.make_request().send().pipeline.get_lab();
    let _ = fulfiller.send(Ok(made));
    let mut request = peer.fulfil_request();
    request.get().set_lab(lab);
    let fulfilled = request.send().promise;
    let late = [next(&kept, 2), next(&theirs, 2)];
    for call in early.into_iter().chain(others).chain(late) {
        call.await.unwrap();
    }
    fulfilled.await.unwrap();
    peer.drop_request().send().promise.await.unwrap();
}

pub async fn a_promise_is_let_go_of_before_it_resolves<M: Maker>(peer: lab::Client) {
    for _ in 0..10 {
        let promised = promise(&peer).await;
        drop(echo(&promised, b"given up"));
        drop(promised);
        fulfil(&peer, mine::<M>().1).await;
    }
    echo(&peer, b"and goes on").await.unwrap();
}
