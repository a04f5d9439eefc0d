@0x9bce094a026970c4;
# How a program comes by its authority, and loses it: the membrane, its sessions, and their epochs.

using System = import "system.capnp";
using Ipfs = import "ipfs.capnp";

struct Epoch @0xc736e79956026568 {
  # The lifetime of authority.

  seq @0 :UInt64;
  # Grows by one with each epoch. A node that follows no chain stays at 0.

  head @1 :Data;
  # The binary CID of the image that is in force; empty where there is none.

  adoptedBlock @2 :UInt64;
  # The block at which this head was confirmed.
}

interface Signer @0xafafaf9468b6a274 {
  # Proves who is asking.

  sign @0 (nonce :UInt64) -> (sig :Data);

  prove @1 (challenge :Challenge) -> (publicKey :Data, signature :Data);
  # Signs a challenge. A signer refuses domains that it does not know.
}

struct Challenge @0xa99a409125cb8a6f {
  domain @0 :Text;
  audience @1 :Data;
  # The peer id that the proof is for.

  nonce @2 :Data;
  # 32 bytes.

  epoch @3 :UInt64;
}

struct Session @0xa10769b2c99dfc5c {
  # The capabilities that hold for one epoch: exactly what the parent granted. Absent ones are null.

  host @0 :System.Host;
  executor @1 :System.Executor;
  ipfs @2 :Ipfs.Client;
  grants @3 :List(System.Grant);
  # The grants that go by another name than the three above.

  epoch @4 :Epoch;
}

interface Membrane @0xdb52c25106bc2c5e {
  # Every cell's bootstrap. It stays good across epochs; what it gives out does not.

  graft @0 (signer :Signer) -> (session :Session);
  # The session of the epoch in force. The signer may be null where none is asked for.

  watch @1 (afterSeq :UInt64) -> (epoch :Epoch);
  # Returns once an epoch later than `afterSeq` is in force.

  attenuate @2 (cap :Capability, only :List(Method)) -> (cap :Capability, revoker :Revoker);
  # The same capability with less authority: calls of other methods are refused, on it and on whatever is
  # reached through it. An empty list allows nothing. It gives nothing that the caller does not have.
}

struct Method @0xea0673f737a08180 {
  # One method, as calls name it.

  interface @0 :UInt64;
  # The type id of the interface that declares it.

  ordinal @1 :UInt16;
}

interface Revoker @0xbc5173350c278854 {
  # Takes an attenuated capability back. Dropping it takes nothing back.

  revoke @0 (reason :Text) -> ();
  # From now on every call on the capability, and on all that was reached through it, fails with the reason;
  # calls under way too. The second one changes nothing.
}
