//! Messages that are small to send and large to deal with: shared content, nesting, mazes, tables.

use std::rc::Rc;

use capnp::message::{Builder, HeapAllocator};
use capnp::serialize;
use vat::Limits;

use crate::lab::Seen;
use crate::lab_capnp::lab;
use crate::rpc_capnp::message as wire;
use crate::wire::{
    Body, Cap, Kind, LAB, Peer, Said, To, body, call, data, message, method, on_a_small_stack,
    reason, share_first, write_cap, write_to,
};

const BLOB: usize = 64 << 10;

/// Forwards everything to what it holds, whatever it is, and copies all it is given into its results.
struct Copies;

impl lab::Server for Copies {
    async fn never(
        self: Rc<Self>,
        params: lab::NeverParams,
        mut results: lab::NeverResults,
    ) -> Result<(), capnp::Error> {
        let given = params.hook.get()?;
        results.hook.get()?.set_as(given)?;
        Ok(())
    }
}

/// Parameters that are a list of pointers that all name one blob.
fn shared(question: u32, to: &To, method: u16, times: u32) -> Vec<u8> {
    let large = HeapAllocator::new().first_segment_words(1 << 15);
    let mut builder = Builder::new(large);
    let mut call = builder.init_root::<wire::Builder<'_>>().init_call();
    call.set_question_id(question);
    call.set_interface_id(<lab::Client as capnp::traits::HasTypeId>::TYPE_ID);
    call.set_method_id(method);
    write_to(to, call.reborrow().init_target());
    let content = call.init_params().get_content();
    let mut list = content.initn_as::<capnp::data_list::Builder<'_>>(times);
    list.set(0, &vec![7; BLOB]);
    share_first(&serialize::write_message_to_words(&builder), times)
}

#[test]
fn shared_content_is_not_copied_out_at_many_times_its_size() {
    on_a_small_stack(|| async {
        let seen = Rc::new(Seen::default());
        let peer = Peer::serving(&Limits::default(), &seen, vat::new_client(Copies));
        peer.hold_lab();
        peer.say(&shared(1, &LAB, method::NEVER, 5));
        let Body::Results { .. } = peer.result(1).await else {
            panic!("a few times are fine");
        };
        for times in [50, 1000, 8000] {
            peer.say(&shared(2, &LAB, method::NEVER, times));
            let body = peer.result(2).await;
            assert_eq!(reason(&body, Kind::Failed), "Read limit exceeded");
            peer.say(&crate::wire::finish(2, true));
        }
    });
}

#[test]
fn shared_content_is_not_passed_on_at_many_times_its_size() {
    on_a_small_stack(|| async {
        let limits = Limits {
            message_bytes: 256 << 10,
            ..Limits::default()
        };
        let peer = Peer::new(&limits);
        // To a peer: what it would be when it is written out is too large to be sent, or to be read.
        peer.ask(&call(1, LAB, method::IDENTITY).cap(Cap::Hosted(5)));
        for times in [5, 50, 1000] {
            peer.say(&shared(2, &To::Answer(1, vec![0]), method::NEVER, times));
            let heard = peer.hear_all().await;
            assert!(
                !heard.iter().any(|said| matches!(said, Said::Call(_))),
                "{times} times"
            );
            let body = body(&heard, 2);
            let reason = reason(&body, Kind::Failed);
            assert!(
                reason.starts_with("content of ") || reason == "Read limit exceeded",
                "{reason}"
            );
            peer.say(&crate::wire::finish(2, true));
        }
        peer.works().await;
    });
}

/// Parameters of so many pointers, each naming the next.
fn nested(depth: usize) -> Vec<u8> {
    // A frame, a root and a call that is known to be read: nested lists are spliced into its data.
    let mut words: Vec<u64> = call(1, LAB, method::ECHO)
        .data(&vec![0; depth * 8])
        .bytes()
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect();
    // The data is the last thing in the message: pointers to lists of one pointer each.
    let length = words.len();
    for index in 0..depth {
        words[length - depth + index] = 1 | 6 << 32 | 1 << 35;
    }
    words[length - 1] = 0;
    // And what led to it is such a list itself.
    let leading = words
        .iter()
        .rposition(|word| word & 3 == 1 && (word >> 32) & 7 == 2)
        .unwrap();
    words[leading] = words[leading] & 0xffff_ffff | 6 << 32 | (depth as u64) << 35;
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn deep_nesting_is_refused_where_it_is_read() {
    on_a_small_stack(|| async {
        let seen = Rc::new(Seen::default());
        let peer = Peer::serving(&Limits::default(), &seen, vat::new_client(Copies));
        peer.hold_lab();
        let mut deep = nested(10_000);
        // Read by what copies.
        let at = find(&deep, u64::from(method::ECHO));
        deep[at] = u8::try_from(method::NEVER).unwrap();
        peer.say(&deep);
        let body = peer.result(1).await;
        reason(&body, Kind::Failed);
    });
}

/// Where a call says which method it is for: the upper half of its first word is the method's ordinal.
fn find(framed: &[u8], ordinal: u64) -> usize {
    let word = framed
        .chunks_exact(8)
        .position(|word| {
            let word = u64::from_le_bytes(word.try_into().unwrap());
            word == 1 | ordinal << 32
        })
        .unwrap();
    word * 8 + 4
}

#[test]
fn segments_may_be_many_and_empty_but_not_more_than_many() {
    on_a_small_stack(|| async {
        let one = call(1, LAB, method::ECHO).data(b"x").bytes();
        let content = &one[8..];
        let framed = |segments: u32| {
            let mut framed = (segments - 1).to_le_bytes().to_vec();
            let words = u32::try_from(content.len() / 8).unwrap();
            framed.extend(words.to_le_bytes());
            framed.resize(framed.len() + 4 * (segments as usize - 1), 0);
            framed.resize(framed.len().next_multiple_of(8), 0);
            framed.extend(content);
            framed
        };
        let peer = Peer::new(&Limits::default());
        for segments in [1, 2, 3, 511, 512] {
            peer.say(&framed(segments));
            assert_eq!(peer.result(1).await, data(b"x"));
        }
        let reason = peer.is_cut_off_for(&framed(513)).await;
        assert!(reason.contains("513 segments"), "{reason}");
        let peer = Peer::new(&Limits::default());
        let absurd = u32::MAX.to_le_bytes();
        let reason = peer.is_cut_off_for(&absurd).await;
        assert!(reason.contains("segments"), "{reason}");
    });
}

#[test]
fn mazes_of_far_pointers_lead_nowhere() {
    on_a_small_stack(|| async {
        // Two segments of which each word is a far pointer to the other's.
        for double in [0, 4] {
            let mut framed = Vec::new();
            framed.extend(1_u32.to_le_bytes());
            framed.extend(512_u32.to_le_bytes());
            framed.extend(512_u32.to_le_bytes());
            framed.extend(0_u32.to_le_bytes());
            for segment in [1_u64, 0] {
                for word in 0..512_u64 {
                    let far = 2 | double | ((word + 1) % 500) << 3 | segment << 32;
                    framed.extend(far.to_le_bytes());
                }
            }
            let peer = Peer::new(&Limits::default());
            assert!(peer.try_say(&framed).is_err());
            peer.leaves_nothing().await;
        }
    });
}

#[test]
fn a_table_of_too_many_capabilities_fails_the_call_or_the_results() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        peer.say(&call(1, LAB, method::ECHO).with(|call| {
            let mut table = call.init_params().init_cap_table(100_000);
            for index in 0..100_000 {
                write_cap(&Cap::Hosted(index), table.reborrow().get(index));
            }
        }));
        let Said::Return(returned) = peer.hear_one().await else {
            panic!("no return");
        };
        assert!(returned.release_params && returned.no_finish);
        let expected = "a call with more than 256 capabilities";
        assert_eq!(reason(&returned.body, Kind::Overloaded), expected);
        assert_eq!(peer.connection.usage().imports, 0);
        peer.ask(&call(1, LAB, method::ASK).cap(Cap::Hosted(5)));
        let asked = peer.hear_call().await;
        peer.say(&message(|message| {
            let mut returned = message.init_return();
            returned.set_answer_id(asked.question);
            let mut table = returned.init_results().init_cap_table(100_000);
            for index in 0..100_000 {
                write_cap(&Cap::Promise(index), table.reborrow().get(index));
            }
        }));
        let heard = peer.hear_all().await;
        assert!(heard.contains(&Said::Finish {
            question: asked.question,
            release: true
        }));
        reason(&body(&heard, 1), Kind::Overloaded);
        assert_eq!(peer.connection.usage().imports, 0);
        peer.works().await;
        peer.leaves_nothing().await;
    });
}
