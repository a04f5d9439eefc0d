//! Parameters for the methods of content. They name what whoever runs the program has added beforehand: a directory
//! with a file in it, `file`, that says `hello`, and a link to it, `link`.

use runtime::capnp::any_pointer;
use runtime::capnp::capability::{Client, FromClientHook as _};
use runtime::ipfs_capnp::{
    adder, block, client, dag, key, message_handler, name, node, object, pin, pub_sub, routing,
    swarm, unix_f_s,
};

/// The directory.
pub const DIRECTORY: &str = "/ipfs/bafybeid4wnp4ydlzb3gpvdhmqqv4lokmisrcto4yzmxeh7bom2uxj7z264";

/// The file.
pub const FILE: &str = "/ipfs/bafybeid4wnp4ydlzb3gpvdhmqqv4lokmisrcto4yzmxeh7bom2uxj7z264/file";

/// The link.
pub const LINK: &str = "/ipfs/bafybeid4wnp4ydlzb3gpvdhmqqv4lokmisrcto4yzmxeh7bom2uxj7z264/link";

/// The CID of the file.
pub const FILE_CID: [u8; 36] = [
    0x01, 0x55, 0x12, 0x20, 0x2c, 0xf2, 0x4d, 0xba, 0x5f, 0xb0, 0xa3, 0x0e, 0x26, 0xe8, 0x3b, 0x2a,
    0xc5, 0xb9, 0xe2, 0x9e, 0x1b, 0x16, 0x1e, 0x5c, 0x1f, 0xa7, 0x42, 0x5e, 0x73, 0x04, 0x33, 0x62,
    0x93, 0x8b, 0x98, 0x24,
];

/// A block that is there to be removed.
pub const REMOVED: &[u8] = b"to be removed";

/// Its CID.
pub const REMOVED_CID: [u8; 36] = [
    0x01, 0x55, 0x12, 0x20, 0x7c, 0x7b, 0xfe, 0x82, 0x6b, 0x20, 0xf5, 0xe2, 0xdd, 0x33, 0x28, 0xaf,
    0xe1, 0x2f, 0x02, 0xc6, 0xf6, 0x58, 0x5a, 0xf9, 0x9b, 0xdf, 0x71, 0x6f, 0xb6, 0x17, 0xb5, 0xc0,
    0x65, 0x15, 0xfe, 0xe7,
];

/// The name of pins, keys, topics and whatever else has one.
pub const NAME: &str = "tried";

/// What something of that name is called next.
pub const RENAMED: &str = "renamed";

/// The key whose name stands for something.
pub const PUBLISHING: &str = "publishing";

/// Fills in the parameters of the method of this name.
pub fn fill(method: &str, mut params: any_pointer::Builder<'_>, with: &Client) {
    macro_rules! set {
        ($params:path; $($setter:ident $value:expr),*) => {{
            #[allow(unused_mut)]
            let mut params: $params = params.init_as();
            $(params.$setter($value);)*
        }};
    }
    match method {
        "Client.resolvePath" => set!(client::resolve_path_params::Builder<'_>; set_path FILE),
        "Client.resolveNode" => set!(client::resolve_node_params::Builder<'_>; set_path FILE),
        "UnixFS.cat" => set!(unix_f_s::cat_params::Builder<'_>; set_path FILE),
        "UnixFS.ls" => set!(unix_f_s::ls_params::Builder<'_>; set_path DIRECTORY),
        "UnixFS.get" => set!(unix_f_s::get_params::Builder<'_>; set_path FILE),
        "UnixFS.stat" => set!(unix_f_s::stat_params::Builder<'_>; set_path FILE),
        "Node.child" => set!(node::child_params::Builder<'_>; set_name "file"),
        "Adder.file" => set!(adder::file_params::Builder<'_>; set_path NAME),
        "Adder.directory" => set!(adder::directory_params::Builder<'_>; set_path NAME),
        "Adder.symlink" => {
            set!(adder::symlink_params::Builder<'_>; set_path NAME, set_target "elsewhere");
        }
        "Block.get" => set!(block::get_params::Builder<'_>; set_path FILE),
        "Block.put" => set!(block::put_params::Builder<'_>; set_data b"put"),
        "Block.stat" => set!(block::stat_params::Builder<'_>; set_path FILE),
        "Block.rm" => set!(block::rm_params::Builder<'_>; set_cid &REMOVED_CID),
        "Dag.get" => set!(dag::get_params::Builder<'_>; set_path FILE),
        "Dag.put" => set!(dag::put_params::Builder<'_>; set_data br#"{"put":1}"#),
        "Dag.resolve" => set!(dag::resolve_params::Builder<'_>; set_path FILE),
        "Dag.export" => set!(dag::export_params::Builder<'_>; set_path FILE),
        "Dag.import" => set!(dag::import_params::Builder<'_>; set_car with.clone().cast_to()),
        "Pin.add" => set!(pin::add_params::Builder<'_>; set_path FILE, set_name NAME),
        "Pin.rm" => set!(pin::rm_params::Builder<'_>; set_cid &FILE_CID, set_name NAME),
        "Pin.verify" => set!(pin::verify_params::Builder<'_>; set_cid &FILE_CID),
        "Pin.isPinned" => set!(pin::is_pinned_params::Builder<'_>; set_cid &FILE_CID),
        "Name.publish" => {
            set!(name::publish_params::Builder<'_>; set_path FILE, set_key PUBLISHING)
        }
        "Name.resolve" => set!(name::resolve_params::Builder<'_>; set_name NAME),
        "Name.record" => set!(name::record_params::Builder<'_>; set_name NAME),
        "Name.put" => set!(name::put_params::Builder<'_>; set_name NAME),
        "Key.generate" => set!(key::generate_params::Builder<'_>; set_name NAME),
        "Key.rename" => set!(key::rename_params::Builder<'_>; set_from NAME, set_to RENAMED),
        "Key.remove" => set!(key::remove_params::Builder<'_>; set_name NAME),
        "Object.get" => set!(object::get_params::Builder<'_>; set_path DIRECTORY),
        "Object.put" => set!(object::put_params::Builder<'_>; set_data b"put"),
        "Object.addLink" => {
            set!(object::add_link_params::Builder<'_>; set_path DIRECTORY, set_name NAME, set_child &FILE_CID);
        }
        "Object.rmLink" => {
            set!(object::rm_link_params::Builder<'_>; set_path DIRECTORY, set_name "file");
        }
        "Object.setData" => {
            set!(object::set_data_params::Builder<'_>; set_path DIRECTORY, set_data b"set");
        }
        "Object.appendData" => {
            set!(object::append_data_params::Builder<'_>; set_path DIRECTORY, set_data b"more");
        }
        "Swarm.connect" => {
            let params: swarm::connect_params::Builder<'_> = params.init_as();
            params.init_peer().set_peer_id(&[0]);
        }
        "PubSub.publish" => {
            set!(pub_sub::publish_params::Builder<'_>; set_topic NAME, set_data b"hello");
        }
        "PubSub.subscribe" => {
            set!(pub_sub::subscribe_params::Builder<'_>; set_topic NAME, set_handler with.clone().cast_to());
        }
        "PubSub.peers" => set!(pub_sub::peers_params::Builder<'_>; set_topic NAME),
        "MessageHandler.handle" => {
            set!(message_handler::handle_params::Builder<'_>; set_topic NAME, set_data b"hello");
        }
        "Routing.findPeer" => set!(routing::find_peer_params::Builder<'_>; set_peer &[0]),
        "Routing.findProviders" => {
            set!(routing::find_providers_params::Builder<'_>; set_cid &FILE_CID);
        }
        "Routing.provide" => set!(routing::provide_params::Builder<'_>; set_path FILE),
        _ => params.clear(),
    }
}
