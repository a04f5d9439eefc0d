//! Breaks one rule of the protocol, the one named by its first argument, and then makes a call. Prints how
//! the host took it.

use guests::report;
use guests::wire::{
    Cap, GRAFT, Holdings, PUMP, READ, STDOUT, WATCH, Wire, address, set_into, set_max_bytes,
};
use runtime::capnp::any_pointer;
use runtime::capnp_rpc::rpc_capnp::{disembargo, message, return_};

/// Of nothing that there is.
const NONE: u32 = 9999;

/// How deep the deepest message is.
const DEEP: u32 = 100_000;

fn main() {
    let name = guests::arg(1, String::new());
    let mut wire = Wire::connect();
    let holdings = Holdings::take(&mut wire);
    let first = wire.question();
    act(&name, &mut wire, &holdings);
    let answered = holdings.is_answered(&mut wire);
    // A close that is on its way arrives first.
    let last = wire.question();
    let mut told = wire.tally(first + 1..=last - 1);
    told["answered"] = answered.into();
    report(&name, Ok::<_, String>(told));
}

fn act(name: &str, wire: &mut Wire, holdings: &Holdings) {
    let membrane = holdings.membrane;
    let Cap::Host(export) = membrane else { return };
    match name {
        "release what is not held" => wire.release(NONE, 1),
        "release too often" => wire.release(export, 1000),
        "release nothing" => wire.release(export, 0),
        "finish what was not asked" => wire.finish(NONE),
        "finish twice" => {
            let question = wire.call(membrane, WATCH, &[], |_| {});
            wire.finish(question);
            wire.finish(question);
        }
        "return what was not asked" => wire.return_nothing(NONE),
        "return twice" => {
            let call = called(wire, holdings, Cap::Own(1));
            wire.return_nothing(call);
            wire.return_nothing(call);
        }
        "return what was kept for nobody" => {
            let call = called(wire, holdings, Cap::Own(1));
            returned(wire, call, |mut returned| {
                returned.set_take_from_other_question(NONE);
            });
        }
        "return elsewhere" => {
            let call = called(wire, holdings, Cap::Own(1));
            returned(wire, call, |mut returned| {
                returned.set_results_sent_elsewhere(());
            });
        }
        "return to a third party" => {
            let call = called(wire, holdings, Cap::Own(1));
            returned(wire, call, |returned| {
                returned.init_accept_from_third_party();
            });
        }
        "resolve what is not held" => wire.resolve(NONE, membrane),
        "resolve to something new what is not held" => wire.resolve(NONE, Cap::Own(7)),
        "resolve what is no promise" => {
            called(wire, holdings, Cap::Own(1));
            wire.resolve(1, membrane);
        }
        "resolve twice" => {
            called(wire, holdings, Cap::Promise(1));
            wire.resolve(1, membrane);
            wire.resolve(1, Cap::Own(7));
        }
        "lift an embargo that is not in force" => disembargo(wire, membrane, |mut context| {
            context.set_receiver_loopback(NONE);
        }),
        "embargo what is the host's" => disembargo(wire, membrane, |mut context| {
            context.set_sender_loopback(0);
        }),
        "embargo what does not exist" => disembargo(wire, Cap::Host(NONE), |mut context| {
            context.set_sender_loopback(0);
        }),
        "embargo for a third party" => disembargo(wire, membrane, |mut context| {
            context.set_accept(());
        }),
        "embargo a provision" => disembargo(wire, membrane, |mut context| {
            context.set_provide(0);
        }),
        "ask twice under one number" => {
            let question = wire.call(membrane, WATCH, &[], |_| {});
            wire.call_as(question, membrane, WATCH, &[], |_| {});
        }
        "ask for the bootstrap under a number in use" => {
            let question = wire.call(membrane, WATCH, &[], |_| {});
            wire.send(|message| message.init_bootstrap().set_question_id(question));
        }
        "call what is not held" => {
            wire.call(Cap::Host(NONE), GRAFT, &[], |_| {});
        }
        "call nothing" => {
            wire.call(Cap::Null, GRAFT, &[], |_| {});
        }
        "call what no call promises" => {
            wire.call(Cap::Answer(NONE), GRAFT, &[], |_| {});
        }
        "give what is not held" => {
            wire.call(membrane, GRAFT, &[Cap::Host(NONE)], |_| {});
        }
        "give what no call promises" => {
            wire.call(membrane, GRAFT, &[Cap::Answer(NONE)], |_| {});
        }
        "give too much" => {
            wire.call(membrane, GRAFT, &[Cap::Own(1); 300], |_| {});
        }
        "keep the results for a third party" => to_third_party(wire, membrane),
        "obsolete save" => wire.send(|message| message.init_obsolete_save().clear()),
        "obsolete delete" => wire.send(|message| message.init_obsolete_delete().clear()),
        "provide" => wire.send(|message| message.init_provide().set_question_id(NONE)),
        "accept" => wire.send(|message| message.init_accept().set_question_id(NONE)),
        "join" => wire.send(|message| message.init_join().set_question_id(NONE)),
        "a deep obsolete save" => deep(wire, |message| message.init_obsolete_save()),
        "a deep provision" => deep(wire, |message| message.init_provide().init_recipient()),
        "deep parameters" => deep(wire, |message| {
            message.init_call().init_params().get_content()
        }),
        "abort" => wire.send(|message| message.init_abort().set_reason("enough")),
        "a return that is not understood" => wire.send(|message| {
            message.init_unimplemented().init_return();
        }),
        "a finish that is not understood" => wire.send(|message| {
            message.init_unimplemented().init_finish();
        }),
        "a disembargo that is not understood" => wire.send(|message| {
            message.init_unimplemented().init_disembargo();
        }),
        "a call that is not understood" => wire.send(|message| {
            message
                .init_unimplemented()
                .init_call()
                .set_question_id(NONE);
        }),
        "a resolution that is not understood" => wire.send(|message| {
            let resolve = message.init_unimplemented().init_resolve();
            resolve.init_cap().set_sender_hosted(NONE);
        }),
        "unimplemented in unimplemented" => wire.send(|mut message| {
            for _ in 0..1000 {
                message = message.init_unimplemented();
            }
        }),
        name => panic!("there is no rule {name:?}"),
    }
}

/// Has the host call a capability. Returns the number of its call.
fn called(wire: &mut Wire, holdings: &Holdings, cap: Cap) -> u32 {
    let child = holdings.spawn(wire, "/bin/idle.wasm", &["idle"], &[]);
    let stdout = wire.call(child, STDOUT, &[], |_| {});
    // What the child printed is pushed into it.
    wire.call(Cap::Answer(stdout), PUMP, &[cap], set_into);
    wire.wait(|wire| !wire.calls.is_empty());
    let call = wire.calls.pop_front().expect("a call");
    // Not of the capability, but of the stream: how it ends shows here.
    wire.call(Cap::Answer(stdout), READ, &[], set_max_bytes(1));
    call.question
}

fn returned(wire: &mut Wire, call: u32, how: impl FnOnce(return_::Builder<'_>)) {
    wire.send(|message| {
        let mut returned = message.init_return();
        returned.set_answer_id(call);
        how(returned);
    });
}

fn disembargo(wire: &mut Wire, to: Cap, how: impl FnOnce(disembargo::context::Builder<'_>)) {
    wire.send(|message| {
        let mut disembargo = message.init_disembargo();
        address(disembargo.reborrow().init_target(), to);
        how(disembargo.init_context());
    });
}

fn to_third_party(wire: &mut Wire, to: Cap) {
    let question = wire.question();
    wire.send(|message| {
        let mut call = message.init_call();
        call.set_question_id(question);
        call.set_interface_id(GRAFT.0);
        address(call.reborrow().init_target(), to);
        call.init_send_results_to().init_third_party();
    });
}

/// Sends a message in which this place holds lists in lists in lists.
fn deep(
    wire: &mut Wire,
    place: impl for<'a> FnOnce(message::Builder<'a>) -> any_pointer::Builder<'a>,
) {
    wire.send(|message| {
        let mut place = place(message);
        for _ in 0..DEEP {
            let list: runtime::capnp::any_pointer_list::Builder<'_> = place.initn_as(1);
            place = list.get(0);
        }
    });
}
