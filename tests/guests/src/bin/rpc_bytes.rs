//! Sends messages that were right once and have been damaged: bits, bytes and words that are wrong, ends that
//! are missing. Goes on until the host ends the conversation, for so many messages at most (the second
//! argument); which they are depends on the first argument, a number. Prints how it went.

use guests::report;
use guests::wire::{Cap, Holdings, WATCH, Wire};
use runtime::capnp::message::Builder;
use runtime::capnp::serialize::write_message_to_words;
use runtime::capnp_rpc::rpc_capnp::message;

fn main() {
    let (seed, count) = (guests::arg(1, 1_u64), guests::arg(2, 1000_u32));
    let mut wire = Wire::connect();
    let holdings = Holdings::take(&mut wire);
    let mut random = Random(seed);
    let mut sent = 0;
    while sent < count && !wire.closed {
        let mut bytes = right(&mut wire, &holdings, &mut random);
        for _ in 0..=random.below(4) {
            damage(&mut bytes, &mut random);
        }
        // What is no message is refused, and what is one is the host's to judge.
        let _ = wire.send_bytes(&bytes);
        wire.take_in();
        sent += 1;
    }
    wire.take_in();
    let answered = holdings.is_answered(&mut wire);
    let last = wire.question();
    let mut told = wire.tally(last..=last);
    told["answered"] = answered.into();
    told["sent"] = sent.into();
    report("damaged messages", Ok::<_, String>(told));
}

/// A message that breaks no rule.
fn right(wire: &mut Wire, holdings: &Holdings, random: &mut Random) -> Vec<u8> {
    let Cap::Host(host) = holdings.executor else {
        return Vec::new();
    };
    let question = wire.question();
    let mut message = Builder::new_default();
    let root: message::Builder<'_> = message.init_root();
    match random.below(5) {
        0 => root.init_bootstrap().set_question_id(question),
        1 => root.init_finish().set_question_id(question),
        2 => {
            let mut resolve = root.init_resolve();
            resolve.set_promise_id(7);
            resolve.init_cap().set_sender_hosted(8);
        }
        _ => {
            let mut call = root.init_call();
            call.set_question_id(question);
            call.set_interface_id(WATCH.0);
            call.reborrow().init_target().set_imported_cap(host);
            let mut params = call.init_params();
            params
                .reborrow()
                .init_cap_table(2)
                .get(0)
                .set_sender_promise(9);
            let _: runtime::capnp::text::Builder<'_> = params.get_content().initn_as(20);
        }
    }
    write_message_to_words(&message)
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(5) {
        0 => bytes.truncate(at),
        1 => bytes[at] = random.below(256) as u8,
        2 if bytes.len() >= 8 => {
            let words = bytes.len() / 8;
            let from = (random.below(words as u64) * 8) as usize;
            let to = (random.below(words as u64) * 8) as usize;
            bytes.copy_within(from..from + 8, to);
        }
        // The content only: what frames it is right.
        _ if bytes.len() > 8 => {
            let at = 8 + random.below(bytes.len() as u64 - 8) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        _ => {}
    }
    if bytes.is_empty() {
        bytes.extend([0; 8]);
    }
}

/// The numbers of xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}
