@0xb1f0a6c94d27e853;
# What the model's objects speak. The code beside it is generated as that of `node.capnp` is.

interface Probe {
  act @0 (call :UInt32, how :UInt16, given :Probe) -> (text :UInt32, got :Probe);
  # Does one of a few things, under a number by which the call is known again.

  push @1 (call :UInt32) -> stream;
  # Does nothing, as a stream.
}
