//! References to what is not held: other cells' streams and processes, the host's own objects, by every number that
//! the protocol has a place for. Said by hand, because no library would.
//!
//! Most of them end the conversation, which can be had once: so each is tried by a cell of its own.

use runtime::Session;
use runtime::capnp::capability::Client;
use runtime::capnp::traits::HasTypeId as _;
use runtime::ipfs_capnp::client;
use runtime::stem_capnp::membrane::attenuate_params;
use runtime::system_capnp::byte_stream;

use super::tell;
use crate::contract;
use crate::wire::{Cap, GRAFT, ID, KILL, Outcome, READ, Wire, set_cap, set_max_bytes};

/// The first argument of a cell that tries one.
pub const FORGE: &str = "forge";

const KIND: &str = "forged references";

/// `Client.unixfs`: where reading content begins.
const UNIXFS: (u64, u16) = (client::Client::TYPE_ID, 0);

/// `Membrane.attenuate`: the method that takes any capability.
const ATTENUATE: (u64, u16) = (GRAFT.0, 2);

/// All of them.
pub const ALL: [&str; 20] = [
    "call the capability number 1",
    "call the capability number 2",
    "call the capability number 7",
    "call the capability number 4294967295",
    "read from the capability number 1 as a stream",
    "kill the capability number 1 as a process",
    "read by the capability number 1 as content",
    "call on the results of a call that was never made",
    "call on `ipfs` in the session that is granted nothing",
    "call on `host` in the session that is granted nothing",
    "call on the session itself",
    "call on what is beyond the session",
    "pass the capability number 1 on",
    "have no capability narrowed to what `ipfs` has",
    "pass on what a call that was never made gives",
    "release the capability number 1",
    "answer a call that was never made",
    "ask for the bootstrap of another object",
    "accept what somebody provides",
    "join what somebody holds",
];

/// Tries this one.
pub fn forge(name: &str) {
    let mut wire = Wire::connect();
    let bootstrap = wire.bootstrap();
    let membrane = wire.wait_for_cap(bootstrap, 0);
    let graft = wire.call(membrane, GRAFT, &[], |_| {});
    wire.wait_for(graft);
    let question = attempt(name, &mut wire, membrane, graft);
    // Whatever was said before this, it is answered after.
    let last = wire.call(membrane, GRAFT, &[], |_| {});
    wire.wait_for(last);
    let outcome = match question.and_then(|question| wire.returned.get(&question)) {
        Some(Outcome::Results(_)) => Ok("answered"),
        Some(Outcome::Failed(kind, reason)) => Err(format!("{kind}: {reason}")),
        Some(Outcome::Other(how)) => Err(format!("returned {how}")),
        None if wire.closed => Err(format!(
            "the host ends the conversation: {}",
            wire.aborted.as_deref().unwrap_or("it does not say why")
        )),
        None if wire.others.contains_key("unimplemented") => Err("unimplemented".to_owned()),
        None => Ok("passed over"),
    };
    tell(KIND, name, outcome);
}

/// The number of the call that it takes, if it takes one.
fn attempt(name: &str, wire: &mut Wire, membrane: Cap, graft: u32) -> Option<u32> {
    if let Some(number) = name.strip_prefix("call the capability number ") {
        let number = number.parse().expect("a number");
        return Some(wire.call(Cap::Host(number), ID, &[], |_| {}));
    }
    let question = match name {
        "read from the capability number 1 as a stream" => {
            wire.call(Cap::Host(1), READ, &[], set_max_bytes(1))
        }
        "kill the capability number 1 as a process" => wire.call(Cap::Host(1), KILL, &[], |_| {}),
        "read by the capability number 1 as content" => {
            wire.call(Cap::Host(1), UNIXFS, &[], |_| {})
        }
        "call on `ipfs` in the session that is granted nothing" => {
            wire.call(Cap::Nested(graft), UNIXFS, &[], |_| {})
        }
        "have no capability narrowed to what `ipfs` has" => {
            let narrowed = wire.call(membrane, ATTENUATE, &[], |params| {
                only(params.init_as(), UNIXFS);
            });
            wire.call(Cap::Answer(narrowed), UNIXFS, &[], |_| {})
        }
        "call on the results of a call that was never made" => {
            wire.call(Cap::Answer(9999), ID, &[], |_| {})
        }
        "call on `host` in the session that is granted nothing" => {
            wire.call(Cap::Nested(graft), ID, &[], |_| {})
        }
        "call on the session itself" => wire.call(Cap::Answer(graft), ID, &[], |_| {}),
        "call on what is beyond the session" => wire.call(
            Cap::Nested(9999),
            (byte_stream::Client::TYPE_ID, 0),
            &[],
            |_| {},
        ),
        "pass the capability number 1 on" => pass(wire, membrane, Cap::Host(1)),
        "pass on what a call that was never made gives" => pass(wire, membrane, Cap::Answer(9999)),
        "release the capability number 1" => {
            wire.release(1, 1);
            return None;
        }
        "answer a call that was never made" => {
            wire.return_cap(9999, membrane);
            return None;
        }
        "ask for the bootstrap of another object" => {
            let question = wire.question();
            wire.send(|message| {
                let mut bootstrap = message.init_bootstrap();
                bootstrap.set_question_id(question);
                let mut object = bootstrap.init_deprecated_object_id();
                object
                    .set_as::<runtime::capnp::text::Owned>("host")
                    .expect("a text");
            });
            // What is given is a membrane all the same, and no host.
            let given = wire.wait_for_cap(question, 0);
            wire.call(given, ID, &[], |_| {})
        }
        "accept what somebody provides" => {
            wire.send(|message| message.init_accept().set_question_id(9999));
            return None;
        }
        "join what somebody holds" => {
            wire.send(|message| message.init_join().set_question_id(9999));
            return None;
        }
        name => panic!("there is no forgery {name:?}"),
    };
    Some(question)
}

fn only(params: attenuate_params::Builder<'_>, method: (u64, u16)) {
    let mut only = params.init_only(1).get(0);
    only.set_interface(method.0);
    only.set_ordinal(method.1);
}

/// Has the host make something of a capability, and calls that.
fn pass(wire: &mut Wire, membrane: Cap, cap: Cap) -> u32 {
    let narrowed = wire.call(membrane, ATTENUATE, &[cap], |params| {
        let mut params: attenuate_params::Builder<'_> = params.init_as();
        set_cap(params.reborrow().init_cap());
        only(params, ID);
    });
    wire.call(Cap::Answer(narrowed), ID, &[], |_| {})
}

/// Has each tried by a cell that holds nothing, beside a cell whose streams and process this one holds.
pub async fn all(session: &Session) -> runtime::Result<()> {
    let executor = session.executor()?;
    let neighbour = contract::spawn(&executor, &["neighbour", contract::CHILD], &[]).await?;
    let streams: Vec<Client> = [
        runtime::process::stdin(&neighbour),
        runtime::process::stdout(&neighbour),
    ]
    .map(|stream| stream.client)
    .into();
    for name in ALL {
        let cell = contract::spawn(&executor, &["forger", FORGE, name], &[]).await?;
        print!("{}", contract::output(&cell).await?);
    }
    let status = runtime::process::status(&neighbour).await?;
    tell::<_, String>(KIND, "the neighbour", Ok(status.to_string()));
    drop(streams);
    Ok(())
}
