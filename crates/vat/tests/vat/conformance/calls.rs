//! Calls, and calls on what they will return.

use capnp::ErrorKind;
use capnp::capability::FromClientHook as _;
use capnp::traits::HasTypeId as _;
use futures::future::join_all;

use super::{assert_fails_with, echo, failure, next};
use crate::lab::Maker;
use crate::lab_capnp::lab;

pub async fn data_of_every_size_comes_back<M: Maker>(peer: lab::Client) {
    for bytes in [0, 1, 7, 8, 4_095, 70_000, 4 << 20] {
        let data: Vec<u8> = (0..=u8::MAX).cycle().take(bytes).collect();
        assert_eq!(echo(&peer, &data).await.unwrap(), data);
    }
}

pub async fn calls_are_delivered_in_order<M: Maker>(peer: lab::Client) {
    let calls: Vec<_> = (0..500).map(|expected| next(&peer, expected)).collect();
    for call in calls {
        call.await.unwrap();
    }
}

pub async fn many_calls_run_at_once<M: Maker>(peer: lab::Client) {
    let calls = (0..500_u32).map(|number| {
        let data = number.to_le_bytes();
        let mut request = peer.later_request();
        request.get().set_data(&data);
        let promise = request.send().promise;
        async move {
            let response = promise.await.unwrap();
            assert_eq!(response.get().unwrap().get_data().unwrap(), data);
        }
    });
    join_all(calls).await;
}

pub async fn a_failure_says_why<M: Maker>(peer: lab::Client) {
    let mut request = peer.fail_request();
    request.get().set_reason("for a good reason: ü");
    assert_fails_with(request.send().promise.await, "for a good reason: ü");
    echo(&peer, b"and goes on").await.unwrap();
}

pub async fn methods_that_are_not_there_are_unimplemented<M: Maker>(peer: lab::Client) {
    for (interface, method) in [(lab::Client::TYPE_ID, 99), (12_345, 0)] {
        let mut request = peer.as_client_hook().new_call(interface, method, None);
        request.get().init_as::<lab::echo_params::Builder<'_>>();
        let error = failure(request.send().promise.await);
        assert_eq!(error.kind, ErrorKind::Unimplemented, "{error}");
    }
    echo(&peer, b"and goes on").await.unwrap();
}

pub async fn calls_on_promised_results_are_delivered_in_order<M: Maker>(peer: lab::Client) {
    let waiting = peer.wait_request().send();
    let promised = waiting.pipeline.get_lab();
    let mut calls: Vec<_> = (0..50).map(|expected| next(&promised, expected)).collect();
    peer.release_request().send().promise.await.unwrap();
    calls.extend((50..60).map(|expected| next(&promised, expected)));
    let response = waiting.promise.await.unwrap();
    let lab = response.get().unwrap().get_lab().unwrap();
    calls.extend((60..70).map(|expected| next(&lab, expected)));
    calls.extend((70..80).map(|expected| next(&promised, expected)));
    for call in calls {
        call.await.unwrap();
    }
}

pub async fn calls_are_made_on_the_results_of_promised_results<M: Maker>(peer: lab::Client) {
    let mut lab = peer;
    for _ in 0..20 {
        lab = lab.make_request().send().pipeline.get_lab();
    }
    assert_eq!(echo(&lab, b"deep").await.unwrap(), b"deep");
}

pub async fn calls_on_the_results_of_a_call_that_fails_fail_too<M: Maker>(peer: lab::Client) {
    let kept = peer.kept_request().send();
    let promised = kept.pipeline.get_lab();
    let early = echo(&promised, b"early");
    let deeper = promised.make_request().send().pipeline.get_lab();
    assert_fails_with(early.await, "nothing is kept");
    assert_fails_with(echo(&deeper, b"deeper").await, "nothing is kept");
    assert_fails_with(kept.promise.await, "nothing is kept");
    assert_fails_with(echo(&promised, b"late").await, "nothing is kept");
    echo(&peer, b"and goes on").await.unwrap();
}

pub async fn a_call_that_nobody_waits_for_is_cancelled<M: Maker>(peer: lab::Client) {
    // That nothing is left of these is checked when all is over.
    for _ in 0..50 {
        let never = peer.never_request().send();
        drop(echo(&never.pipeline.get_lab(), b"never"));
    }
    let kept = peer.never_request().send();
    echo(&peer, b"and goes on").await.unwrap();
    drop(kept);
    echo(&peer, b"and on").await.unwrap();
}
