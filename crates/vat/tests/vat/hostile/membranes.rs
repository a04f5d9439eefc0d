//! Circles and rows of promises with somebody else's references in between.

use std::rc::Rc;

use futures::channel::oneshot;
use membrane::{AllowAll, Membrane};

use crate::lab_capnp::lab;
use crate::peers::joined;
use crate::wire::{Cap, LAB, Peer, body, call, method, on_a_small_stack, settle};
use vat::Limits;

type Fulfiller = oneshot::Sender<lab::Client>;

fn promise() -> (Fulfiller, lab::Client) {
    let (fulfiller, promised) = oneshot::channel::<lab::Client>();
    let client = vat::new_future_client(async move {
        promised
            .await
            .map_err(|_| capnp::Error::failed("given up".into()))
    });
    (fulfiller, client)
}

fn wrapped(client: &lab::Client) -> lab::Client {
    Membrane::new(Rc::new(AllowAll)).wrap(client.clone())
}

#[test]
fn a_promise_that_resolves_to_itself_through_a_membrane_fails_its_calls() {
    on_a_small_stack(|| async {
        for count in [1, 2, 10] {
            let (fulfillers, promises): (Vec<_>, Vec<_>) = (0..count).map(|_| promise()).unzip();
            let early = promises[0].echo_request().send().promise;
            for (index, fulfiller) in fulfillers.into_iter().enumerate() {
                let _ = fulfiller.send(wrapped(&promises[(index + 1) % count]));
                settle().await;
            }
            assert!(promises[0].echo_request().send().promise.await.is_err());
            assert!(early.await.is_err());
            assert!(
                capnp::capability::get_resolved_cap(promises[0].clone())
                    .await
                    .echo_request()
                    .send()
                    .promise
                    .await
                    .is_err()
            );
        }
    });
}

#[test]
fn a_long_row_of_promises_and_membranes_is_followed_or_refused() {
    on_a_small_stack(|| async {
        let seen = Rc::default();
        let end = crate::lab::Lab::<crate::lab::Vat>::client(&seen);
        for (length, fits) in [(3, true), (2000, false)] {
            let mut next = end.clone();
            for _ in 0..length {
                let (fulfiller, promised) = promise();
                let _ = fulfiller.send(wrapped(&next));
                settle().await;
                next = promised;
            }
            let echo = next.echo_request().send().promise.await;
            assert_eq!(echo.is_ok(), fits, "{length}");
        }
    });
}

#[test]
fn a_circle_through_a_membrane_can_be_given_to_a_peer() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        let (fulfiller, promised) = promise();
        let circle = wrapped(&promised);
        let lab = peer.give(&Cap::Hosted(5)).await;
        let mut keep = lab.keep_request();
        keep.get().set_lab(circle.clone());
        let keep = keep.send();
        let _ = fulfiller.send(circle);
        let heard = peer.hear_all().await;
        assert!(heard.len() < 10, "{heard:?}");
        peer.works().await;
        drop(keep);
        peer.ask(&call(1, LAB, method::NOTHING));
        let heard = peer.hear_all().await;
        body(&heard, 1);
    });
}

#[test]
fn a_call_that_goes_round_between_two_connections_ends_with_them() {
    on_a_small_stack(|| async {
        let seen = Rc::default();
        let lab = || crate::lab::Lab::<crate::lab::Vat>::client(&seen);
        let limits = Limits::default();
        let (one, far) = joined(&limits, Some(lab().client), Some(lab().client));
        let (there, back): (lab::Client, lab::Client) = (one.bootstrap(), far.bootstrap());
        // A promise on one side that is kept on the other, and is resolved to what is kept there.
        let promised = there.promise_request().send().pipeline.get_lab();
        let mut keep = back.keep_request();
        keep.get().set_lab(promised.clone());
        keep.send().promise.await.unwrap();
        let kept = back.kept_request().send().pipeline.get_lab();
        let mut fulfil = there.fulfil_request();
        fulfil.get().set_lab(kept);
        let _ = fulfil.send().promise.await;
        let echo = promised.echo_request().send().promise;
        settle().await;
        drop((one, far));
        assert!(echo.await.is_err());
    });
}
