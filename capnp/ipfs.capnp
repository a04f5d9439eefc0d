@0xba1bf6f9b41aac9a;
# Content by its address, after the CoreAPI of Kubo.

interface Client @0xd74f0585ce163b98 {
  unixfs @0 () -> (api :UnixFS);
  block @1 () -> (api :Block);
  dag @2 () -> (api :Dag);
  name @3 () -> (api :Name);
  key @4 () -> (api :Key);
  pin @5 () -> (api :Pin);
  object @6 () -> (api :Object);
  swarm @7 () -> (api :Swarm);
  pubSub @8 () -> (api :PubSub);
  routing @9 () -> (api :Routing);

  resolvePath @10 (path :Text) -> (path :Text);
  # A path with its mutable parts resolved: /ipfs/CID/…

  resolveNode @11 (path :Text) -> (cid :Data);
  # The binary CID of the node at the end of a path.
}

interface UnixFS @0xed62a696eb305ea7 {
  # Files and directories.

  cat @0 (path :Text) -> (data :Data);
  ls @1 (path :Text) -> (entries :List(Entry));
}

struct Entry @0x99614d0a0000881d {
  name @0 :Text;
  size @1 :UInt64;
  type @2 :Type;
  cid @3 :Data;
  # The binary CID.

  enum Type {
    file @0;
    directory @1;
  }
}

interface Block @0x9d2d1a66e9d76a1c {}
interface Dag @0xcfe3ee07d7f3d1b1 {}
interface Name @0xbce5bbed1f7e19c1 {}
interface Key @0x9e71b3f6f86a1c53 {}
interface Pin @0xcc47750603954394 {}
interface Object @0xa78889b5b7ee0346 {}
interface Swarm @0xb7798b7dc73b1880 {}
interface PubSub @0xae832457b9225748 {}
interface Routing @0xa9b200bf948b7dc7 {}
# Published empty; filled in with the content store.
