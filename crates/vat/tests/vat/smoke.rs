//! The plainest uses, between two connections of this engine.

use std::rc::Rc;

use vat::Limits;

use crate::lab::{Lab, Seen, Vat};
use crate::lab_capnp::lab;
use crate::peers::{joined, on_a_vat};

#[test]
fn a_local_call_returns() {
    on_a_vat(async {
        let lab = Lab::<Vat>::client(&Rc::default());
        let mut request = lab.echo_request();
        request.get().set_data(b"hello");
        let response = request.send().promise.await.unwrap();
        assert_eq!(response.get().unwrap().get_data().unwrap(), b"hello");
    });
}

#[test]
fn a_call_to_a_peer_returns_and_leaves_nothing_behind() {
    on_a_vat(async {
        let seen = Rc::new(Seen::default());
        let (near, far) = joined(
            &Limits::default(),
            None,
            Some(Lab::<Vat>::client(&seen).client),
        );
        let lab: lab::Client = near.bootstrap();
        let mut request = lab.echo_request();
        request.get().set_data(b"hello");
        let response = request.send().promise.await.unwrap();
        assert_eq!(response.get().unwrap().get_data().unwrap(), b"hello");
        drop(response);
        drop(lab);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(near.usage(), vat::Usage::default());
        assert_eq!(far.usage(), vat::Usage::default());
        drop(far);
        tokio::task::yield_now().await;
        assert_eq!(seen.alive.get(), 0);
    });
}

#[test]
fn pipelined_calls_arrive_in_order() {
    on_a_vat(async {
        let seen = Rc::new(Seen::default());
        let (near, _far) = joined(
            &Limits::default(),
            None,
            Some(Lab::<Vat>::client(&seen).client),
        );
        let lab: lab::Client = near.bootstrap();
        let made = lab.wait_request().send();
        let pipelined = made.pipeline.get_lab();
        let mut calls = Vec::new();
        for expected in 0..10 {
            let mut request = pipelined.next_request();
            request.get().set_expected(expected);
            calls.push(request.send().promise);
        }
        lab.release_request().send().promise.await.unwrap();
        for call in calls {
            call.await.unwrap();
        }
        made.promise.await.unwrap();
    });
}

#[test]
fn a_callback_comes_home() {
    on_a_vat(async {
        let seen = Rc::new(Seen::default());
        let (near, _far) = joined(
            &Limits::default(),
            None,
            Some(Lab::<Vat>::client(&seen).client),
        );
        let mine = Lab::<Vat>::client(&seen);
        let lab: lab::Client = near.bootstrap();
        for method in [0, 1] {
            let data: Vec<u8> = if method == 0 {
                let mut request = lab.ask_request();
                request.get().set_lab(mine.clone());
                request.get().set_data(b"back");
                let response = request.send().promise.await.unwrap();
                response.get().unwrap().get_data().unwrap().into()
            } else {
                let mut request = lab.forward_request();
                request.get().set_lab(mine.clone());
                request.get().set_data(b"back");
                let response = request.send().promise.await.unwrap();
                response.get().unwrap().get_data().unwrap().into()
            };
            assert_eq!(data, b"back");
        }
    });
}
