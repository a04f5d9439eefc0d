//! The methods of the contract with the types of what they take and give.

use capnp::introspect::{Introspect, Type};
use schema::interfaces::{Interface, MethodId};
use schema::ipfs_capnp::{
    adder, block, client, dag, key, message_handler, name, node, object, pin, pub_sub, routing,
    swarm, unix_f_s,
};
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
pub const CALLED: [&str; 3] = ["MessageHandler", "Signer", "StreamHandler"];

/// Interfaces of content: their paths and names are others than those of programs.
const CONTENT: [&str; 13] = [
    "Adder", "Block", "Client", "Dag", "Key", "Name", "Node", "Object", "Pin", "PubSub", "Routing",
    "Swarm", "UnixFS",
];

/// Whether an interface is one of content.
pub fn is_of_content(interface: u64) -> bool {
    Interface::of_id(interface).is_some_and(|found| CONTENT.contains(&found.name))
}

/// The id of the interface of this name.
pub fn interface(name: &str) -> u64 {
    let found = Interface::all().iter().find(|each| each.name == name);
    found.unwrap_or_else(|| panic!("no interface {name}")).id
}

macro_rules! face {
    ($declare:ident $name:literal $face:ident $($method:literal $params:ident $($results:ident)?;)*) => {
        $declare($name, &[$((
            $method,
            $face::$params::Owned::introspect(),
            face!(@results $face $($results)?),
        )),*]);
    };
    (@results $face:ident $results:ident) => { Some($face::$results::Owned::introspect()) };
    (@results $face:ident) => { None };
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
    face! { declare "Host" host
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
    face! { declare "StreamHandler" stream_handler
        "handle" handle_params handle_results;
    }
    face! { declare "Executor" executor
        "runBytes" run_bytes_params run_bytes_results;
        "echo" echo_params echo_results;
        "load" load_params load_results;
    }
    face! { declare "Program" program
        "cid" cid_params cid_results;
        "imports" imports_params imports_results;
        "spawn" spawn_params spawn_results;
    }
    face! { declare "Process" process
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
    face! { declare "ByteStream" byte_stream
        "read" read_params read_results;
        "write" write_params write_results;
        "close" close_params close_results;
        "push" push_params;
        "pump" pump_params pump_results;
    }
    face! { declare "Signer" signer
        "sign" sign_params sign_results;
        "prove" prove_params prove_results;
    }
    face! { declare "Membrane" membrane
        "graft" graft_params graft_results;
        "watch" watch_params watch_results;
        "attenuate" attenuate_params attenuate_results;
    }
    face! { declare "Revoker" revoker
        "revoke" revoke_params revoke_results;
    }
    face! { declare "Registration" registration }
    content(&mut declare);
    for interface in Interface::all() {
        let listed = methods
            .iter()
            .any(|method| method.id.interface == interface.id);
        assert!(
            listed || interface.methods.is_empty(),
            "{} is not among the faces",
            interface.name
        );
    }
    methods
}

fn content(declare: &mut impl FnMut(&str, &[(&str, Type, Option<Type>)])) {
    face! { declare "Client" client
        "unixfs" unixfs_params unixfs_results;
        "block" block_params block_results;
        "dag" dag_params dag_results;
        "name" name_params name_results;
        "key" key_params key_results;
        "pin" pin_params pin_results;
        "object" object_params object_results;
        "swarm" swarm_params swarm_results;
        "pubSub" pub_sub_params pub_sub_results;
        "routing" routing_params routing_results;
        "resolvePath" resolve_path_params resolve_path_results;
        "resolveNode" resolve_node_params resolve_node_results;
        "attenuate" attenuate_params attenuate_results;
    }
    face! { declare "UnixFS" unix_f_s
        "cat" cat_params cat_results;
        "ls" ls_params ls_results;
        "get" get_params get_results;
        "stat" stat_params stat_results;
        "add" add_params add_results;
    }
    face! { declare "Node" node
        "stat" stat_params stat_results;
        "read" read_params read_results;
        "entries" entries_params entries_results;
        "child" child_params child_results;
        "target" target_params target_results;
    }
    face! { declare "Adder" adder
        "file" file_params file_results;
        "directory" directory_params directory_results;
        "symlink" symlink_params symlink_results;
        "finish" finish_params finish_results;
    }
    face! { declare "Block" block
        "get" get_params get_results;
        "put" put_params put_results;
        "stat" stat_params stat_results;
        "rm" rm_params rm_results;
    }
    face! { declare "Dag" dag
        "get" get_params get_results;
        "put" put_params put_results;
        "resolve" resolve_params resolve_results;
        "export" export_params export_results;
        "import" import_params import_results;
    }
    face! { declare "Pin" pin
        "add" add_params add_results;
        "ls" ls_params ls_results;
        "rm" rm_params rm_results;
        "verify" verify_params verify_results;
        "isPinned" is_pinned_params is_pinned_results;
    }
    face! { declare "Name" name
        "publish" publish_params publish_results;
        "resolve" resolve_params resolve_results;
        "record" record_params record_results;
        "put" put_params put_results;
    }
    face! { declare "Key" key
        "generate" generate_params generate_results;
        "list" list_params list_results;
        "rename" rename_params rename_results;
        "remove" remove_params remove_results;
    }
    face! { declare "Object" object
        "get" get_params get_results;
        "put" put_params put_results;
        "addLink" add_link_params add_link_results;
        "rmLink" rm_link_params rm_link_results;
        "setData" set_data_params set_data_results;
        "appendData" append_data_params append_data_results;
    }
    face! { declare "Swarm" swarm
        "connect" connect_params connect_results;
        "peers" peers_params peers_results;
        "localAddrs" local_addrs_params local_addrs_results;
    }
    face! { declare "PubSub" pub_sub
        "publish" publish_params publish_results;
        "subscribe" subscribe_params subscribe_results;
        "topics" topics_params topics_results;
        "peers" peers_params peers_results;
    }
    face! { declare "MessageHandler" message_handler
        "handle" handle_params handle_results;
    }
    face! { declare "Routing" routing
        "findPeer" find_peer_params find_peer_results;
        "findProviders" find_providers_params find_providers_results;
        "provide" provide_params provide_results;
    }
}
