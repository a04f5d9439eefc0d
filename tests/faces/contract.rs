//! The methods of the contract with the types of what they take and give.

use capnp::introspect::{Introspect, Type};
use schema::interfaces::{Interface, MethodId};
use schema::stem_capnp::{membrane, revoker, signer};
use schema::system_capnp::{byte_stream, executor, host, process, program, stream_handler};

/// A method, as a call on it is made.
pub struct Method {
    pub id: MethodId,
    pub params: Type,
    /// `None` for a streaming method, which gives nothing.
    pub results: Option<Type>,
}

/// Methods that a host does not offer today.
pub const UNIMPLEMENTED: [&str; 4] = ["Host.dial", "Host.serve", "Host.open", "Host.accept"];

/// Interfaces that a host calls and does not serve.
pub const CALLED: [&str; 2] = ["Signer", "StreamHandler"];

/// Interfaces that no host serves today, all of content: nothing can be had that has them.
const ABSENT: [&str; 11] = [
    "Block", "Client", "Dag", "Key", "Name", "Object", "Pin", "PubSub", "Routing", "Swarm",
    "UnixFS",
];

/// The id of the interface of this name.
pub fn interface(name: &str) -> u64 {
    let found = Interface::all().iter().find(|each| each.name == name);
    found.unwrap_or_else(|| panic!("no interface {name}")).id
}

/// Every method of every interface that can be had. Fails when the contract has another one.
pub fn methods() -> Vec<Method> {
    let mut methods = Vec::new();
    let mut declare = |interface: &str, declared: &[(&str, Type, Option<Type>)]| {
        let interface = Interface::of_id(self::interface(interface)).unwrap();
        let names: Vec<&str> = interface.methods.iter().map(|method| method.name).collect();
        let here: Vec<&str> = declared.iter().map(|(name, ..)| *name).collect();
        assert_eq!(here, names, "the methods of {}", interface.name);
        for ((id, _), (_, params, results)) in interface.numbered().zip(declared) {
            methods.push(Method {
                id,
                params: *params,
                results: *results,
            });
        }
    };
    macro_rules! face {
        ($name:literal $face:ident $($method:literal $params:ident $($results:ident)?;)*) => {
            declare($name, &[$((
                $method,
                $face::$params::Owned::introspect(),
                face!(@results $face $($results)?),
            )),*]);
        };
        (@results $face:ident $results:ident) => { Some($face::$results::Owned::introspect()) };
        (@results $face:ident) => { None };
    }
    face! { "Host" host
        "id" id_params id_results;
        "addrs" addrs_params addrs_results;
        "peers" peers_params peers_results;
        "connect" connect_params connect_results;
        "executor" executor_params executor_results;
        "dial" dial_params dial_results;
        "serve" serve_params serve_results;
        "open" open_params open_results;
        "accept" accept_params accept_results;
    }
    face! { "StreamHandler" stream_handler
        "handle" handle_params handle_results;
    }
    face! { "Executor" executor
        "runBytes" run_bytes_params run_bytes_results;
        "echo" echo_params echo_results;
        "load" load_params load_results;
    }
    face! { "Program" program
        "cid" cid_params cid_results;
        "imports" imports_params imports_results;
        "spawn" spawn_params spawn_results;
    }
    face! { "Process" process
        "stdin" stdin_params stdin_results;
        "stdout" stdout_params stdout_results;
        "stderr" stderr_params stderr_results;
        "wait" wait_params wait_results;
        "status" status_params status_results;
        "kill" kill_params kill_results;
        "bootstrap" bootstrap_params bootstrap_results;
        "detach" detach_params detach_results;
        "usage" usage_params usage_results;
    }
    face! { "ByteStream" byte_stream
        "read" read_params read_results;
        "write" write_params write_results;
        "close" close_params close_results;
        "push" push_params;
        "pump" pump_params pump_results;
    }
    face! { "Signer" signer
        "sign" sign_params sign_results;
        "prove" prove_params prove_results;
    }
    face! { "Membrane" membrane
        "graft" graft_params graft_results;
        "watch" watch_params watch_results;
        "attenuate" attenuate_params attenuate_results;
    }
    face! { "Revoker" revoker
        "revoke" revoke_params revoke_results;
    }
    face! { "Registration" registration }
    for interface in Interface::all() {
        let listed = methods
            .iter()
            .any(|method| method.id.interface == interface.id);
        assert!(
            listed || interface.methods.is_empty() || ABSENT.contains(&interface.name),
            "{} is not among the faces",
            interface.name
        );
    }
    methods
}
