//! Capability pointers that name nothing, or stand where none should.

use capnp::capability::FromClientHook as _;
use capnp::traits::ImbueMut as _;
use vat::Limits;

use crate::lab_capnp::lab;
use crate::wire::{
    Body, Call, Cap, Kind, LAB, Peer, Said, body, call, dummy, finish, method, on_a_small_stack,
    reason,
};

/// Parameters whose pointers name more capabilities than there are.
fn beyond(call: &Call, method: u16, listed: &[Cap]) -> Vec<u8> {
    call.with(|call| {
        let mut params = call.init_params();
        let mut table = params
            .reborrow()
            .init_cap_table(u32::try_from(listed.len()).unwrap());
        for (index, cap) in (0..).zip(listed) {
            crate::wire::write_cap(cap, table.reborrow().get(index));
        }
        let mut places = capnp::private::layout::CapTable::new();
        let mut content = params.reborrow().get_content();
        content.imbue_mut(&mut places);
        match method {
            method::SEVERAL => {
                let mut labs = content
                    .init_as::<lab::several_params::Builder<'_>>()
                    .init_labs(4);
                for index in 0..4 {
                    labs.set(index, dummy().into_client_hook());
                }
            }
            _ => {
                let mut params = content.init_as::<lab::ask_params::Builder<'_>>();
                // Each is a new place: the last is number 2.
                for _ in 0..3 {
                    params.set_lab(dummy());
                }
            }
        }
    })
}

#[test]
fn pointers_beyond_the_table_fail_the_call_that_reads_them() {
    on_a_small_stack(|| async {
        let other = Peer::new(&Limits::default());
        let peer = Peer::new(&Limits::default());
        for method in [
            method::IDENTITY,
            method::SEVERAL,
            method::KEEP,
            method::ASK,
            method::FORWARD,
            method::FULFIL,
        ] {
            for listed in [&[][..], &[Cap::Receiver(0)], &[Cap::None, Cap::None]] {
                peer.say(&beyond(&call(1, LAB, method), method, listed));
                let body = peer.result(1).await;
                reason(&body, Kind::Failed);
                peer.say(&finish(1, true));
            }
        }
        peer.works().await;
        other.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn pointers_beyond_the_table_are_not_passed_on() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        // To an object of the peer's own, by way of an answer, and from a promise that resolves later.
        peer.ask(&call(1, LAB, method::IDENTITY).cap(Cap::Hosted(5)));
        peer.ask(&call(2, LAB, method::PROMISE));
        for answer in [1, 2] {
            let call = call(10 + answer, LAB, method::KEEP).to(answer);
            peer.say(&beyond(&call, method::KEEP, &[]));
        }
        peer.ask(&call(3, LAB, method::FULFIL).cap(Cap::Hosted(5)));
        let heard = peer.hear_all().await;
        for answer in [1, 2] {
            reason(&body(&heard, 10 + answer), Kind::Failed);
        }
        assert!(!heard.iter().any(|said| matches!(said, Said::Call(_))));
        peer.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn null_pointers_are_no_capabilities() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        for method in [method::IDENTITY, method::KEEP, method::ASK, method::FORWARD] {
            peer.ask(&call(1, LAB, method));
            reason(&peer.result(1).await, Kind::Failed);
            peer.say(&finish(1, true));
        }
        peer.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn a_capability_in_the_place_of_data_fails_and_data_in_the_place_of_a_capability() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        // Parameters of echo, with a capability as its data.
        peer.say(
            &call(1, LAB, method::KEEP)
                .cap(Cap::Receiver(0))
                .with(|mut call| {
                    call.set_method_id(method::ECHO);
                }),
        );
        reason(&peer.result(1).await, Kind::Failed);
        peer.say(&call(2, LAB, method::ECHO).data(b"x").with(|mut call| {
            call.set_method_id(method::IDENTITY);
        }));
        reason(&peer.result(2).await, Kind::Failed);
        // What was never read is not missed.
        peer.say(
            &call(3, LAB, method::KEEP)
                .cap(Cap::Receiver(0))
                .with(|mut call| {
                    call.set_method_id(method::NOTHING);
                }),
        );
        assert!(matches!(peer.result(3).await, Body::Results { .. }));
        peer.works().await;
        peer.leaves_nothing().await;
    });
}
