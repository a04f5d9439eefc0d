//! References that cross: exports, imports, and how they are counted.

use vat::Limits;

use crate::lab::{Lab, Vat};
use crate::peers::on_a_vat;
use crate::wire::{
    Body, Cap, Kind, LAB, Peer, Said, To, body, call, data, finish, method, one, reason, release,
};

fn peer() -> Peer {
    Peer::new(&Limits::default())
}

#[test]
fn an_export_sent_twice_has_one_id_and_two_references() {
    on_a_vat(async {
        let peer = peer();
        let made = peer.import(&call(1, LAB, method::MAKE)).await;
        let again = peer
            .import(&call(2, LAB, method::IDENTITY).cap(Cap::Receiver(made)))
            .await;
        assert_eq!(again, made);
        assert_eq!(peer.connection.usage().exports, 2);
        peer.say(&release(made, 1));
        peer.ask(&call(3, To::Import(made), method::ECHO).data(b"x"));
        assert_eq!(peer.hear_return(3).await, data(b"x"));
        peer.say(&release(made, 1));
        assert_eq!(peer.connection.usage().exports, 1);
        assert_eq!(peer.seen.alive.get(), 1);
        let gone = call(4, To::Import(made), method::ECHO).bytes();
        assert!(peer.is_cut_off_for(&gone).await.contains("does not hold"));
    });
}

#[test]
fn an_export_sent_twice_in_one_message_has_two_references() {
    on_a_vat(async {
        let peer = peer();
        let made = peer.import(&call(1, LAB, method::MAKE)).await;
        let several = call(2, LAB, method::SEVERAL)
            .cap(Cap::Receiver(made))
            .cap(Cap::Receiver(made));
        peer.ask(&several);
        let Body::Results { caps, .. } = peer.hear_return(2).await else {
            panic!("no results");
        };
        assert_eq!(caps, [Cap::Hosted(made), Cap::Hosted(made)]);
        peer.say(&finish(2, false));
        peer.say(&release(made, 3));
        assert_eq!(peer.connection.usage().exports, 1);
    });
}

#[test]
fn more_references_released_than_held_end_the_connection() {
    on_a_vat(async {
        let peer = peer();
        let reason = peer.is_cut_off_for(&release(0, 2)).await;
        assert_eq!(reason, "export 0 released 2 times; 1 references are held");
        peer.leaves_nothing().await;
    });
}

#[test]
fn a_release_of_none_changes_nothing_and_one_of_what_is_not_held_ends_the_connection() {
    on_a_vat(async {
        let peer = peer();
        peer.say(&release(0, 0));
        peer.works().await;
        let reason = peer.is_cut_off_for(&release(7, 1)).await;
        assert!(reason.starts_with("export 7"), "{reason}");
    });
}

#[test]
fn an_import_is_released_at_once_with_all_its_references() {
    on_a_vat(async {
        let peer = peer();
        for question in 1..4 {
            peer.ask(&call(question, LAB, method::KEEP).cap(Cap::Hosted(9)));
        }
        let heard = peer.hear_all().await;
        assert!(heard.iter().all(|said| matches!(said, Said::Return(_))));
        assert_eq!(peer.connection.usage().imports, 1);
        peer.ask(&call(5, LAB, method::DROP));
        let heard = peer.hear_all().await;
        assert!(heard.contains(&Said::Release(9, 3)), "{heard:?}");
        assert_eq!(peer.connection.usage().imports, 0);
        // And the id may be used again.
        peer.ask(&call(6, LAB, method::ASK).cap(Cap::Hosted(9)));
        assert_eq!(peer.hear_call().await.to, Some(To::Import(9)));
    });
}

#[test]
fn a_capability_of_the_peers_goes_back_as_its_own() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::IDENTITY).cap(Cap::Hosted(9)));
        assert_eq!(peer.hear_return(1).await, one(Cap::Receiver(9)));
        // It is held for as long as it may be asked for.
        assert_eq!(peer.connection.usage().imports, 1);
        peer.say(&finish(1, true));
        assert_eq!(peer.hear_one().await, Said::Release(9, 1));
    });
}

#[test]
fn a_capability_that_comes_home_is_the_object_itself() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Receiver(0)).await;
        lab.nothing_request().send().promise.await.unwrap();
        assert!(peer.hear_all().await.is_empty());
        assert_eq!(peer.seen.calls.get(), 1);
    });
}

#[test]
fn a_descriptor_of_nothing_is_no_capability() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::IDENTITY).cap(Cap::None));
        reason(&peer.hear_return(1).await, Kind::Failed);
        peer.works().await;
    });
}

#[test]
fn what_the_peer_calls_ours_must_be() {
    on_a_vat(async {
        let peer = peer();
        let unknown = call(1, LAB, method::KEEP).cap(Cap::Receiver(9)).bytes();
        let reason = peer.is_cut_off_for(&unknown).await;
        assert_eq!(reason, "export 9, which the sender does not hold");
    });
}

#[test]
fn promised_results_are_parameters_whether_or_not_they_are_there() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::WAIT));
        peer.ask(
            &call(2, LAB, method::ASK)
                .cap(Cap::Answer(1, vec![0]))
                .data(b"x"),
        );
        peer.ask(&call(3, LAB, method::RELEASE));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 2), data(b"x"));
        peer.ask(
            &call(4, LAB, method::ASK)
                .cap(Cap::Answer(1, vec![0]))
                .data(b"y"),
        );
        assert_eq!(peer.hear_return(4).await, data(b"y"));
        peer.ask(&call(5, LAB, method::IDENTITY).cap(Cap::Answer(1, vec![0])));
        let Body::Results { caps, .. } = peer.hear_return(5).await else {
            panic!("no results");
        };
        assert!(matches!(caps[..], [Cap::Hosted(_)]), "{caps:?}");
    });
}

#[test]
fn the_same_object_is_the_same_export_in_calls_and_in_results() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let mine = Lab::<Vat>::client(&peer.seen);
        for references in 1..4 {
            let mut keep = lab.keep_request();
            keep.get().set_lab(mine.clone());
            let keep = keep.send();
            let asked = peer.hear_call().await;
            assert_eq!(asked.caps, [Cap::Hosted(1)], "{references}");
            drop(keep);
            peer.hear_all().await;
        }
        drop(mine);
        peer.say(&release(1, 3));
        assert_eq!(peer.seen.alive.get(), 1);
    });
}
