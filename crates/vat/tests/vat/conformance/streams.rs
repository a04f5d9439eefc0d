//! Streaming calls.

use super::{assert_fails_with, echo};
use crate::lab::Maker;
use crate::lab_capnp::lab;

pub async fn what_is_streamed_arrives<M: Maker>(peer: lab::Client) {
    for _ in 0..200 {
        let mut request = peer.push_request();
        request.get().set_data(&[7; 10_000]);
        request.send().await.unwrap();
    }
    let response = peer.pushed_request().send().promise.await.unwrap();
    assert_eq!(response.get().unwrap().get_bytes(), 2_000_000);
}

pub async fn a_stream_reports_what_failed<M: Maker>(peer: lab::Client) {
    let lab = peer.make_request().send().promise.await.unwrap();
    let lab = lab.get().unwrap().get_lab().unwrap();
    let push = |bytes: usize| {
        let mut request = lab.push_request();
        request.get().set_data(&vec![7; bytes]);
        request.send()
    };
    push(10).await.unwrap();
    // The sender does not wait for this, so it may or may not know already.
    let _ = push(0).await;
    assert_fails_with(echo(&lab, b"after").await, "nothing was pushed");
    assert_fails_with(push(10).await, "nothing was pushed");
    echo(&peer, b"and goes on").await.unwrap();
}
