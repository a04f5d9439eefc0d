//! placeholder
use capnp::capability::Rc;
use schema::ipfs_capnp::key as face;

use super::Desk;

pub struct Key(pub Rc<Desk>);

impl face::Server for Key {}
