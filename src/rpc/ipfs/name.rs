//! placeholder
use capnp::capability::Rc;
use schema::ipfs_capnp::name as face;

use super::Desk;

pub struct Name(pub Rc<Desk>);

impl face::Server for Name {}
