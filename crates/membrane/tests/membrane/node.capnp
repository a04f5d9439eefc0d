@0xd4a1f0c2b7e95a3d;
# What the tests speak. The code beside it is generated with the `capnpc` crate, from the directory
# of this crate:
#   capnpc::CompilerCommand::new().src_prefix("tests/membrane")
#       .file("tests/membrane/node.capnp").output_path("tests/membrane").run()

struct Entry {
  number @0 :UInt32;
  label @1 :Text;
  node @2 :Node;
}

interface Node {
  name @0 () -> (name :Text);
  # The name it was made with.

  make @1 (name :Text) -> (node :Node);
  # A new node on its side.

  echo @2 (node :Node) -> (node :Node);
  # What it is given.

  keep @3 (node :Node) -> ();
  # Keeps what it is given, until the next one.

  kept @4 () -> (node :Node);
  # What it keeps.

  ask @5 (node :Node) -> (name :Text);
  # Asks the node that it is given for its name.

  same @6 (node :Node) -> (same :Bool);
  # Whether it is given the very capability that it keeps.

  later @7 () -> (node :Node);
  # A promise for a node, which resolves when the test says so.

  hang @8 () -> (node :Node);
  # Does not return until the test says so.

  early @9 () -> (node :Node);
  # Lets pipelined calls go to a new node, then hangs.

  tail @10 (node :Node) -> (node :Node);
  # Calls `make` on the node that it is given, as a tail call.

  push @11 (bytes :Data) -> stream;
  # Hangs if the test says so.

  swap @12 (entries :List(Entry), loose :List(Node)) -> (entries :List(Entry), loose :List(Node));
  # What it is given, each list backwards.

  sum @13 (bytes :Data) -> (sum :UInt64);
  # Carries no capabilities.
}

interface Admin {
  erase @0 () -> ();
}

interface Both extends (Node, Admin) {}
