@0xba1bf6f9b41aac9a;
# Content by its address, after the CoreAPI of Kubo.
#
# Paths are /ipfs/CID[/name…], /ipns/NAME[/name…] or a bare CID. CIDs are binary wherever a field is Data. What
# fits no message goes through ByteStreams: a stream that is read to its empty end was whole and verified; an
# error in the middle fails the read.

using System = import "system.capnp";

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

  attenuate @12 (readOnly :Bool, subtree :Text, pins :Text) -> (ipfs :Client);
  # The same content with less authority. `readOnly` refuses all that changes something. `subtree`, if it is not
  # empty, is a path: nothing but what lies below it can be read, by paths that begin with it, and nothing can be
  # changed. `pins`, if it is not empty, is a namespace: of pins there are only those whose names are in it.
}

interface UnixFS @0xed62a696eb305ea7 {
  # Files and directories.

  cat @0 (path :Text) -> (data :Data);
  # A whole file of at most 1 MiB. A larger one is refused; `get` has no bound.

  ls @1 (path :Text, after :Text, limit :UInt32) -> (entries :List(Entry), more :Bool);
  # The entries of a directory in the order of their names: at most `limit`, beginning behind the name `after`.
  # A limit of 0 asks for all, and is refused for a directory of more than 4096; so is a larger limit.

  get @2 (path :Text) -> (node :Node);
  # A file, a directory or a link, to be read as far as one likes.

  stat @3 (path :Text) -> (entry :Entry, dagBytes :UInt64, blocks :UInt64);
  # What is at the end of a path; its name is left out. `dagBytes` is the size of all blocks below it as its
  # node tells it, `blocks` the number of links in the node itself.

  add @4 (options :AddOptions) -> (adder :Adder);
  # Begins to add a file or a tree.
}

struct Entry @0x99614d0a0000881d {
  name @0 :Text;
  size @1 :UInt64;
  # Of a file, its bytes; of a directory 0; of a link the length of its target.

  type @2 :Type;
  cid @3 :Data;
  # The binary CID.

  enum Type {
    file @0;
    directory @1;
    symlink @2;
  }
}

interface Node @0xfae35566baeb8f58 {
  # A file, a directory or a link.

  stat @0 () -> (entry :Entry);

  read @1 (offset :UInt64, bytes :UInt64) -> (stream :System.ByteStream);
  # A file's bytes from an offset on; 0 bytes means to its end.

  entries @2 (after :Text, limit :UInt32) -> (entries :List(Entry), more :Bool);
  # As UnixFS.ls.

  child @3 (name :Text) -> (node :Node);
  # What a directory has under a name. Links are not followed.

  target @4 () -> (target :Text);
  # What a link says.
}

struct AddOptions @0xd69a76b2e0d92f9a {
  version @0 :AddVersion;
  onlyHash @1 :Bool;
  # Nothing is kept; only the CID is told.

  pin @2 :Text;
  # What is added is pinned under this name, if it is not empty.

  enum AddVersion {
    v1 @0;
    # CIDv1 with raw leaves.

    v0 @1;
    # CIDv0, as of old.
  }
}

interface Adder @0xfeb3c444c7d7cfa2 {
  # A file or a tree that is being added. Dropping it gives up.

  file @0 (path :Text) -> (stream :System.ByteStream);
  # A file at this path below the root, or the root itself if the path is empty: it takes what is written, and is
  # complete when it has been closed.

  directory @1 (path :Text) -> ();
  # A directory, where there may be nothing in it. Those on the way to files need not be named.

  symlink @2 (path :Text, target :Text) -> ();

  finish @3 () -> (cid :Data);
  # The root, once everything is kept. Fails if a file was not closed.
}

interface Block @0x9d2d1a66e9d76a1c {
  # Blocks as they are.

  get @0 (path :Text) -> (data :Data, cid :Data);
  put @1 (data :Data, codec :Text, pin :Text) -> (cid :Data);
  # `codec` is raw, dag-pb, dag-cbor or dag-json; raw if it is empty. Pinned under a name that is not empty.

  stat @2 (path :Text) -> (cid :Data, bytes :UInt64);
  rm @3 (cid :Data) -> ();
  # Removes a block from this node. Refused for one that is pinned.
}

interface Dag @0xcfe3ee07d7f3d1b1 {
  # Nodes with links, whatever their codec.

  get @0 (path :Text, codec :Text) -> (data :Data, cid :Data);
  # The value at the end of a path, in `codec` (dag-json if it is empty, or dag-cbor), and the block that it is in.

  put @1 (data :Data, inputCodec :Text, storeCodec :Text, pin :Text) -> (cid :Data);
  # Keeps a value that is given in one codec (dag-json if it is empty) in another (dag-cbor if it is empty).

  resolve @2 (path :Text) -> (cid :Data, remainder :Text);
  # The last block on the way, and the path that is left within it.

  export @3 (path :Text) -> (car :System.ByteStream);
  # Everything below, as a CAR (version 1).

  import @4 (car :System.ByteStream, pin :Text) -> (roots :List(Data), blocks :UInt64);
  # Keeps the blocks of a CAR, which is read to its end. Its roots are pinned under a name that is not empty.
}

interface Pin @0xcc47750603954394 {
  # What is not to be thrown away. A pin has a name; what is pinned under several stays until the last has gone.

  add @0 (path :Text, name :Text, direct :Bool) -> (cid :Data);
  # Fetches what is below, all of it unless `direct`, and keeps it.

  ls @1 (name :Text, after :UInt64, limit :UInt32) -> (pins :List(PinInfo), more :Bool);
  # Those of a name, or all if it is empty, from a place in the list on; a limit of 0 means 1024, the most there is.

  rm @2 (cid :Data, name :Text) -> ();
  verify @3 (cid :Data) -> (missing :List(Data), blocks :UInt64);
  # Reads everything below a pinned CID, and tells which blocks are not there or broken: at most 64 of them.

  isPinned @4 (cid :Data) -> (pinned :Bool, name :Text);
}

struct PinInfo @0xc6f0d3453ff8ad41 {
  cid @0 :Data;
  name @1 :Text;
  direct @2 :Bool;
  # The block alone, not what it links to.
}

interface Name @0xbce5bbed1f7e19c1 {
  # IPNS: names that are keys, and say in signed records what they stand for.

  publish @0 (path :Text, key :Text, lifetimeSecs :UInt64, ttlSecs :UInt64) -> (name :Text, sequence :UInt64);
  # Lets the name of a key (`self` if it is empty) stand for a path. 0 means a day, and five minutes.

  resolve @1 (name :Text) -> (path :Text, sequence :UInt64);
  # What a name stands for, by the latest record that is known. One that is older than one that was seen is refused.

  record @2 (name :Text) -> (record :Data);
  # The latest record of a name, signed.

  put @3 (name :Text, record :Data) -> ();
  # Takes a record that came from elsewhere, if it is valid and not older than what is known.
}

interface Key @0x9e71b3f6f86a1c53 {
  # The keys that names are made of. No method gives one away.

  generate @0 (name :Text) -> (key :KeyInfo);
  # An Ed25519 key.

  list @1 () -> (keys :List(KeyInfo));
  rename @2 (from :Text, to :Text) -> ();
  remove @3 (name :Text) -> ();
}

struct KeyInfo @0xd750e26f85fcd68f {
  name @0 :Text;
  id @1 :Text;
  # The IPNS name: k51…
}

interface Object @0xa78889b5b7ee0346 {
  # Nodes of dag-pb, read and patched. Each patch gives a new node.

  get @0 (path :Text) -> (data :Data, links :List(Link), cid :Data);
  put @1 (data :Data, links :List(Link)) -> (cid :Data);
  addLink @2 (path :Text, name :Text, child :Data) -> (cid :Data);
  # Takes the place of a link that has the name.

  rmLink @3 (path :Text, name :Text) -> (cid :Data);
  setData @4 (path :Text, data :Data) -> (cid :Data);
  appendData @5 (path :Text, data :Data) -> (cid :Data);
}

struct Link @0xfd3f04bfceb4b848 {
  name @0 :Text;
  bytes @1 :UInt64;
  # The size of all that is below, as the link tells it.

  cid @2 :Data;
}

interface Swarm @0xb7798b7dc73b1880 {
  # The peers that content is exchanged with.

  connect @0 (peer :System.PeerInfo) -> ();
  peers @1 () -> (peers :List(System.PeerInfo));
  localAddrs @2 () -> (addrs :List(Data));
}

interface PubSub @0xae832457b9225748 {
  # Messages by topic.

  publish @0 (topic :Text, data :Data) -> ();
  # To everybody who has subscribed; at most 64 KiB.

  subscribe @1 (topic :Text, handler :MessageHandler) -> (subscription :System.Registration);
  # For as long as the subscription is held.

  topics @2 () -> (topics :List(Text));
  # Those that are subscribed to through this capability.

  peers @3 (topic :Text) -> (peers :List(Data));
  # The peers that have subscribed.
}

interface MessageHandler @0xc09c4579f28b3076 {
  # Takes messages, in the order in which they come. When it is slow, the oldest that wait are dropped.

  handle @0 (topic :Text, data :Data, from :Data, dropped :UInt64) -> ();
  # `from` is a binary peer id. `dropped` is the number of messages that were, since the last one.
}

interface Routing @0xa9b200bf948b7dc7 {
  # Where content and peers are.

  findPeer @0 (peer :Data) -> (peer :System.PeerInfo);
  findProviders @1 (cid :Data, limit :UInt32) -> (peers :List(System.PeerInfo));
  provide @2 (path :Text) -> ();
  # Tells others that this node has it.
}
