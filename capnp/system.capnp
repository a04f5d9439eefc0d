@0xbf5147b78c0e6a2f;
# What a node offers to those it trusts: the host itself, programs to run, processes, byte streams.
#
# Ids and ordinals are a promise: clients made for published Wetware work here. Methods are only ever
# appended. Enumerations and unions start with the value that grants nothing, so that a field left out
# never means yes.

struct PeerInfo @0x9a219c7d16c9532a {
  # A peer and where it can be reached.

  peerId @0 :Data;
  # The peer id as a binary multihash.

  addrs @1 :List(Data);
  # Binary multiaddrs.
}

interface Host @0x9ea70c8c9aefb70c {
  # One node in the network.

  id @0 () -> (peerId :Data);
  # The node's peer id, as a binary multihash. It stays the same across restarts.

  addrs @1 () -> (addrs :List(Data));
  # Where the node listens: binary multiaddrs.

  peers @2 () -> (peers :List(PeerInfo));
  # The peers that the node is connected to at this moment.

  connect @3 (peerId :Data, addrs :List(Data)) -> ();
  # Connects to a peer at one of these addresses, and returns once the peer has proved its id.

  executor @4 () -> (executor :Executor);
  # Runs programs on this node.

  dial @5 (peer :Data, protocol :Text) -> (cap :Capability);
  # The capability that a peer serves under a protocol's name.

  serve @6 (protocol :Text, cap :Capability) -> (registration :Registration);
  # Serves a capability to peers under a protocol's name, for as long as the registration is held.

  open @7 (peer :Data, protocol :Text) -> (stream :ByteStream);
  # Opens a byte stream to a peer.

  accept @8 (protocol :Text, handler :StreamHandler) -> (registration :Registration);
  # Hands the byte streams that peers open under a protocol's name to a handler.
}

interface Registration @0xf864c3dd0af2e3b9 {
  # A lease on a protocol's name. Dropping the last reference ends it.
}

interface StreamHandler @0xbdfaf62f34a8357a {
  # Takes byte streams that peers open.

  handle @0 (peer :PeerInfo, stream :ByteStream) -> ();
}

interface Executor @0xbfa37c1e99b4a492 {
  # Runs programs as cells on this node.

  runBytes @0 (wasm :Data, args :List(Text), env :List(Text)) -> (process :Process);
  # Runs a component with no grants. `args` starts with the program's own name. Each entry of `env`
  # is NAME=VALUE; one that is not fails the call.

  echo @1 (message :Text) -> (response :Text);
  # Returns the message, unmodified.

  load @2 (source :Source) -> (program :Program);
  # Loads, verifies and compiles a component, so that spawning it is quick.
}

struct Source @0xbbf9fa54d0230eeb {
  # Where a component's bytes come from.

  union {
    none @0 :Void;
    # Left out; refused.

    bytes @1 :Data;
    # The component itself.

    path @2 :Text;
    # An absolute path in the caller's own image.

    cid @3 :Data;
    # The binary CID of the component's UnixFS file.
  }
}

interface Program @0xbc0a67cab5cd7b6a {
  # A component that is ready to run.

  cid @0 () -> (cid :Data);
  # The binary CID of the component's bytes, as a UnixFS file.

  imports @1 () -> (imports :List(Text));
  # What the component imports, by name.

  spawn @2 (args :List(Text), env :List(Text), grants :List(Grant), limits :Limits, cwd :Text)
        -> (process :Process);
  # Runs the program as a cell that holds these grants and nothing else.
}

struct Grant @0xdf52a4a021179d57 {
  # A named capability that a parent hands to a cell.

  name @0 :Text;
  cap @1 :Capability;
}

struct Limits @0xac228be8b72883bc {
  # The bounds of a cell and of all that it spawns, together: what one of them uses, none of the others
  # has. 0 means as much as the parent has left, up to the node's default for one cell. More than the parent
  # has is refused with an error that starts with `limit: `.

  memoryBytes @0 :UInt64;
  # Linear memory, all memories together.

  fuel @1 :UInt64;
  # Wasm instructions, about. 0 means unmetered, or half of what is left to a parent that is metered.

  wallTimeMillis @2 :UInt64;
  # From spawn to exit. 0 means as long as the parent.

  cpuPercent @3 :UInt32;
  # The share of one processor core, over time. 0 means the parent's.

  messageBytes @4 :UInt64;
  # The largest message in either direction, with its framing. For one cell.

  calls @5 :UInt32;
  # Calls that the cell may have under way at a time. For one cell.

  streams @6 :UInt32;
  # Byte streams that are open on its behalf: each cell that it spawns has three.

  cells @7 :UInt32;
  # Cells alive below it, children and theirs.

  depth @8 :UInt32;
  # Generations below it. A cell that may spawn nothing is one without an executor.

  tmpBytes @9 :UInt64;
  # Files under /tmp.

  varBytes @10 :UInt64;
  # Files under /var, which only a node's first cell has.

  files @11 :UInt32;
  # Files and directories that are open at a time, of /tmp and /var as of the image.

  contentBytes @12 :UInt64;
  # Content that is added to the node's store, or fetched into it. What was stays used up of those above, for as long as they run.
}

interface Process @0x97d4030d8435f0b1 {
  # A running cell. Dropping the last reference kills it, unless it was detached. What the cell exports is
  # reached through its process and through nothing else.

  stdin @0 () -> (stream :ByteStream);
  stdout @1 () -> (stream :ByteStream);
  stderr @2 () -> (stream :ByteStream);

  wait @3 () -> (exitCode :Int32);
  # Returns once the cell has ended and its authority has gone, for any number of callers, before and
  # after. A cell that was killed or trapped has a code above 128; `status` tells more.

  status @4 () -> (status :ProcessStatus);

  kill @5 () -> ();
  # Ends the cell wherever it is, and returns once it has gone.

  bootstrap @6 () -> (cap :Capability);
  # What the guest exports.

  detach @7 () -> ();
  # Lets the cell outlive its references. It still ends with the cell that spawned it, and counts against
  # that one's limits; there is no way back.

  usage @8 () -> (usage :Usage);
}

struct ProcessStatus @0xe1cea90ff595984b {
  union {
    unknown @0 :Void;
    running @1 :Void;
    exited @2 :Int32;
    # Ended by itself, with this code.

    trapped @3 :Text;
    # Ended by a trap: its message and backtrace.

    killed @4 :Void;
    outOfFuel @5 :Void;
    outOfMemory @6 :Void;
    outOfTime @7 :Void;
    revoked @8 :Void;
    # Ended because the authority that it ran under was taken back.

    outOfHandles @9 :Void;
    failed @10 :Text;
    # Never began: the component could not be instantiated.
  }
}

struct Usage @0xac17440c42f4d67b {
  memoryBytes @0 :UInt64;
  # Linear memory at this moment.

  cpuNanos @1 :UInt64;
  # Time spent executing the guest.

  fuel @2 :UInt64;
  # Fuel consumed; 0 for a cell without a budget.

  treeMemoryBytes @3 :UInt64;
  # Linear memory of the cell and of all that it spawned, and the programs that they hold.

  cells @4 :UInt32;
  # Cells alive below it.

  streams @5 :UInt32;
  # Byte streams open on its behalf and on that of what it spawned.

  tmpBytes @6 :UInt64;
  # Files under /tmp.

  varBytes @7 :UInt64;
  # Files under /var.

  files @8 :UInt32;
  # Files and directories that are open.

  contentBytes @9 :UInt64;
  # Content that was added to the node's store, or fetched into it.
}

interface ByteStream @0xcb8707ff6dc46ee0 {
  # Bytes in one direction or in both. Reads and writes never wait for each other.

  read @0 (maxBytes :UInt32) -> (data :Data);
  # The next bytes, at most maxBytes and at most 1 MiB; waits until there is one. Empty means end of
  # file. maxBytes 0 is refused.

  write @1 (data :Data) -> ();
  # Returns once all is accepted.

  close @2 () -> ();
  # No more will be written. Closing twice is fine.

  push @3 (data :Data) -> stream;
  # `write`, flow-controlled: several may be under way.

  pump @4 (into :ByteStream) -> (bytes :UInt64);
  # Reads this stream to its end into another, and closes that one. Returns the number of bytes.
}
