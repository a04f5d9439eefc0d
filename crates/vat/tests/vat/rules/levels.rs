//! What belongs to levels that are not served, and what nobody knows: sent back as it came.

use capnp::message::Builder;
use capnp::serialize;
use vat::Limits;

use crate::peers::on_a_vat;
use crate::rpc_capnp::message as wire;
use crate::wire::{
    Cap, Kind, LAB, Peer, Said, To, body, call, message, method, one, reason, write_to,
};

fn peer() -> Peer {
    Peer::new(&Limits::default())
}

/// That a message comes back, and that everything goes on.
async fn comes_back(what: &str, sent: Vec<u8>) {
    let peer = peer();
    peer.say(&sent);
    let heard = peer.hear_one().await;
    let expected = Said::Unimplemented(Box::new(crate::wire::read(&sent)));
    assert_eq!(heard, expected, "{what}");
    assert_eq!(peer.connection.usage().answers, 0);
    peer.works().await;
    peer.leaves_nothing().await;
}

#[test]
fn messages_of_levels_2_to_4_come_back_unimplemented() {
    on_a_vat(async {
        comes_back(
            "save",
            message(|message| message.init_obsolete_save().set_as("x").unwrap()),
        )
        .await;
        comes_back(
            "delete",
            message(|message| message.init_obsolete_delete().set_as("x").unwrap()),
        )
        .await;
        comes_back(
            "provide",
            message(|message| {
                let mut provide = message.init_provide();
                provide.set_question_id(3);
                write_to(&LAB, provide.init_target());
            }),
        )
        .await;
        comes_back(
            "accept",
            message(|message| message.init_accept().set_question_id(3)),
        )
        .await;
        comes_back(
            "join",
            message(|message| message.init_join().set_question_id(3)),
        )
        .await;
    });
}

#[test]
fn disembargoes_of_level_3_come_back_unimplemented() {
    on_a_vat(async {
        for level_3 in [0, 1] {
            let disembargo = message(|message| {
                let mut disembargo = message.init_disembargo();
                write_to(&LAB, disembargo.reborrow().init_target());
                let mut context = disembargo.init_context();
                match level_3 {
                    0 => context.set_accept(()),
                    _ => context.set_provide(3),
                }
            });
            comes_back("disembargo", disembargo).await;
        }
    });
}

#[test]
fn a_message_that_nobody_knows_comes_back_unimplemented() {
    on_a_vat(async {
        let mut unknown = message(|message| message.init_accept().set_question_id(3));
        // The union's tag is the first word of the root: after the frame and the root pointer.
        unknown[16] = 200;
        comes_back("unknown", unknown).await;
    });
}

#[test]
fn a_call_whose_results_are_for_a_third_party_comes_back_unimplemented() {
    on_a_vat(async {
        let third = |call: crate::wire::Call| {
            call.with(|call| {
                call.init_send_results_to()
                    .init_third_party()
                    .set_as("someone")
                    .unwrap();
            })
        };
        // With capabilities, whose pointers are meaningless on the way back.
        let peer = peer();
        peer.say(&third(call(3, LAB, method::KEEP).cap(Cap::Hosted(5))));
        let Said::Unimplemented(heard) = peer.hear_one().await else {
            panic!("not sent back");
        };
        let Said::Call(heard) = *heard else {
            panic!("{heard:?}");
        };
        assert_eq!(heard.question, 3);
        assert_eq!(peer.connection.usage().imports, 0);
        peer.works().await;
    });
}

#[test]
fn what_comes_back_is_no_larger_than_what_came() {
    on_a_vat(async {
        let blob = vec![7; 64 << 10];
        for (times, why) in [
            (10, "too large to be sent back"),
            (1000, "Read limit exceeded"),
        ] {
            let peer = peer();
            let large = capnp::message::HeapAllocator::new().first_segment_words(1 << 15);
            let mut builder = Builder::new(large);
            let shared = shared_blob(&mut builder, &blob, times);
            let reason = peer.is_cut_off_for(&shared).await;
            assert!(reason.ends_with(why), "{reason}");
            peer.leaves_nothing().await;
        }
    });
}

/// A `Provide` whose recipient is a list of pointers that all name one blob.
fn shared_blob(
    builder: &mut Builder<capnp::message::HeapAllocator>,
    blob: &[u8],
    times: u32,
) -> Vec<u8> {
    let provide = builder.init_root::<wire::Builder<'_>>().init_provide();
    let mut list = provide
        .init_recipient()
        .initn_as::<capnp::data_list::Builder<'_>>(times);
    list.set(0, blob);
    crate::wire::share_first(&serialize::write_message_to_words(builder), times)
}

#[test]
fn a_capability_in_a_third_vat_is_reached_by_its_vine() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::IDENTITY).cap(Cap::Third(9)));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 1), one(Cap::Receiver(9)));
        peer.ask(&call(2, LAB, method::ASK).cap(Cap::Third(8)));
        let asked = peer.hear_call().await;
        assert_eq!(asked.to, Some(To::Import(8)));
    });
}

#[test]
fn results_to_be_had_from_a_third_party_fail_the_call() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::ASK).cap(Cap::Hosted(8)));
        let asked = peer.hear_call().await;
        peer.say(&crate::wire::returned(asked.question, |returned| {
            returned.init_accept_from_third_party().set_as("x").unwrap();
        }));
        reason(&peer.result(1).await, Kind::Unimplemented);
    });
}

#[test]
fn an_unimplemented_message_of_any_kind_is_taken() {
    on_a_vat(async {
        let peer = peer();
        let echoed = message(|message| {
            message.init_unimplemented().init_release().set_id(5);
        });
        peer.say(&echoed);
        peer.works().await;
        // One that was never sent.
        let echoed = message(|message| {
            message.init_unimplemented().init_call().set_question_id(5);
        });
        assert!(peer.is_cut_off_for(&echoed).await.contains("question 5"));
    });
}
