//! Capabilities that go to the peer, come back, and are let go of.

use capnp::Error;
use capnp::capability::FromClientHook as _;
use futures::channel::oneshot;

use super::{assert_fails_with, echo, mine, next, until};
use crate::lab::{Maker, identity};
use crate::lab_capnp::lab;

fn ask(
    peer: &lab::Client,
    lab: lab::Client,
) -> capnp::capability::RemotePromise<lab::ask_results::Owned> {
    let mut request = peer.ask_request();
    request.get().set_lab(lab);
    request.get().set_data(b"asked");
    request.send()
}

async fn forward(peer: &lab::Client, lab: lab::Client) -> Result<Vec<u8>, Error> {
    let mut request = peer.forward_request();
    request.get().set_lab(lab);
    request.get().set_data(b"passed on");
    let response = request.send().promise.await?;
    Ok(response.get()?.get_data()?.to_vec())
}

/// What a capability is, once a call on it has returned.
async fn resolved(lab: lab::Client) -> lab::Client {
    echo(&lab, b"where are you?").await.unwrap();
    let mut hook = lab.into_client_hook();
    while let Some(resolved) = hook.get_resolved() {
        hook = resolved;
    }
    lab::Client::new(hook)
}

pub async fn a_peer_calls_back<M: Maker>(peer: lab::Client) {
    let (seen, lab) = mine::<M>();
    for calls in 1..=20 {
        let response = ask(&peer, lab.clone()).promise.await.unwrap();
        assert_eq!(response.get().unwrap().get_data().unwrap(), b"asked");
        assert_eq!(seen.calls.get(), calls);
    }
}

pub async fn a_peer_passes_a_call_on<M: Maker>(peer: lab::Client) {
    let (seen, lab) = mine::<M>();
    for calls in 1..=20 {
        let data = forward(&peer, lab.clone()).await.unwrap();
        assert_eq!(data, b"passed on");
        assert_eq!(seen.calls.get(), calls);
    }
}

pub async fn a_peer_is_given_its_own_object<M: Maker>(peer: lab::Client) {
    let made = peer.make_request().send();
    // Promised, and then known.
    let promised = made.pipeline.get_lab();
    assert_eq!(
        forward(&peer, promised.clone()).await.unwrap(),
        b"passed on"
    );
    ask(&peer, promised.clone()).promise.await.unwrap();
    let known = made
        .promise
        .await
        .unwrap()
        .get()
        .unwrap()
        .get_lab()
        .unwrap();
    assert_eq!(forward(&peer, known.clone()).await.unwrap(), b"passed on");
    ask(&peer, known).promise.await.unwrap();
    ask(&peer, peer.clone()).promise.await.unwrap();
    ask(&peer, promised).promise.await.unwrap();
}

pub async fn an_object_comes_home_as_itself<M: Maker>(peer: lab::Client) {
    let (_, lab) = mine::<M>();
    let mut request = peer.identity_request();
    request.get().set_lab(lab.clone());
    let sent = request.send();
    let promised = sent.pipeline.get_lab();
    let response = sent.promise.await.unwrap();
    let back = response.get().unwrap().get_lab().unwrap();
    for same in [back, promised] {
        assert_eq!(identity(&resolved(same).await), identity(&lab));
    }
}

pub async fn an_object_is_held_until_it_is_let_go_of<M: Maker>(peer: lab::Client) {
    let (seen, lab) = mine::<M>();
    let mut request = peer.keep_request();
    request.get().set_lab(lab);
    request.send().promise.await.unwrap();
    echo(&peer, b"meanwhile").await.unwrap();
    assert_eq!(seen.alive.get(), 1);
    let kept = peer.kept_request().send().pipeline.get_lab();
    echo(&kept, b"still there").await.unwrap();
    drop(kept);
    peer.drop_request().send().promise.await.unwrap();
    until("the object is released", || seen.alive.get() == 0).await;
}

pub async fn an_object_is_released_with_the_call_that_passed_it<M: Maker>(peer: lab::Client) {
    let (seen, lab) = mine::<M>();
    let (fulfiller, promise) = oneshot::channel();
    let stuck = M::future(promise);
    // Given up while it runs: what it was given is let go of, on both sides.
    let mut request = stuck.ask_request();
    request.get().set_lab(lab.clone());
    let asked = ask(&peer, stuck);
    let waits = request.send();
    echo(&peer, b"it has begun").await.unwrap();
    drop(lab);
    drop((asked, waits));
    until("the object is released", || seen.alive.get() == 0).await;
    drop(fulfiller);

    let (seen, lab) = mine::<M>();
    drop(ask(&peer, lab));
    until("the object is released", || seen.alive.get() == 0).await;
}

pub async fn many_objects_travel_in_one_message<M: Maker>(peer: lab::Client) {
    let labs: Vec<_> = (0..200).map(|_| mine::<M>()).collect();
    let mut request = peer.several_request();
    let mut list = request.get().init_labs(200);
    for (index, (_, lab)) in (0..).zip(&labs) {
        list.set(index, lab.clone().into_client_hook());
    }
    let response = request.send().promise.await.unwrap();
    let reversed = response.get().unwrap().get_labs().unwrap();
    assert_eq!(reversed.len(), 200);
    for (back, (_, lab)) in reversed.iter().zip(labs.iter().rev()) {
        assert_eq!(identity(&resolved(back.unwrap()).await), identity(lab));
    }
    drop(response);
    let seen: Vec<_> = labs.into_iter().map(|(seen, _)| seen).collect();
    until("the objects are released", || {
        seen.iter().all(|seen| seen.alive.get() == 0)
    })
    .await;
}

pub async fn one_object_travels_many_times<M: Maker>(peer: lab::Client) {
    let (seen, lab) = mine::<M>();
    for _ in 0..20 {
        let mut request = peer.several_request();
        let mut list = request.get().init_labs(3);
        for index in 0..3 {
            list.set(index, lab.clone().into_client_hook());
        }
        let response = request.send().promise.await.unwrap();
        let back = response.get().unwrap().get_labs().unwrap().get(1).unwrap();
        echo(&back, b"home").await.unwrap();
        let mut request = peer.keep_request();
        request.get().set_lab(back);
        request.send().promise.await.unwrap();
    }
    drop(lab);
    peer.drop_request().send().promise.await.unwrap();
    until("the object is released", || seen.alive.get() == 0).await;
}

pub async fn a_broken_capability_fails_where_it_is_called<M: Maker>(peer: lab::Client) {
    let (fulfiller, promise) = oneshot::channel();
    let broken = M::future(promise);
    let _ = fulfiller.send(Err(Error::failed("it is broken".into())));
    assert_fails_with(ask(&peer, broken.clone()).promise.await, "it is broken");
    assert_fails_with(forward(&peer, broken.clone()).await, "it is broken");
    assert_fails_with(ask(&peer, broken).promise.await, "it is broken");
    echo(&peer, b"and goes on").await.unwrap();
}

pub async fn what_was_made_is_let_go_of<M: Maker>(peer: lab::Client) {
    for _ in 0..50 {
        let made = peer.make_request().send();
        let lab = made.pipeline.get_lab();
        next(&lab, 0).await.unwrap();
        let response = made.promise.await.unwrap();
        next(&response.get().unwrap().get_lab().unwrap(), 1)
            .await
            .unwrap();
    }
}
