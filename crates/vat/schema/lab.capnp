@0xd6ba44ce1d9b2be3;
# What the tests and benches of this crate call: one interface, with a method for each thing that can
# happen to a capability.

interface Lab {
  nothing @0 ();
  # Returns at once.

  echo @1 (data :Data) -> (data :Data);
  # Returns what it was given.

  next @2 (expected :UInt32) -> (number :UInt32);
  # Counts its own calls, from 0: tells in which order they arrived.

  later @3 (data :Data) -> (data :Data);
  # As echo, but suspends once before it returns.

  make @4 () -> (lab :Lab);
  # A new object.

  never @5 () -> (lab :Lab);
  # Does not return.

  identity @6 (lab :Lab) -> (lab :Lab);
  # The capability that it was given.

  keep @7 (lab :Lab);
  # Holds a capability.

  kept @8 () -> (lab :Lab);
  # The capability that it holds.

  drop @9 ();
  # Lets go of it.

  ask @10 (lab :Lab, data :Data) -> (data :Data);
  # Calls echo on a capability and returns what that returned.

  forward @11 (lab :Lab, data :Data) -> (data :Data);
  # As ask, by a tail call.

  promise @12 () -> (lab :Lab);
  # A promise, which `fulfil` or `break` resolves; a new one with each call.

  fulfil @13 (lab :Lab);
  # Resolves the promise that was made last.

  break @14 (reason :Text);
  # Breaks the promise that was made last.

  fail @15 (reason :Text);
  # Fails.

  push @16 (data :Data) -> stream;
  # Takes data, one call at a time.

  pushed @17 () -> (bytes :UInt64);
  # How many bytes were pushed.

  several @18 (labs :List(Lab)) -> (labs :List(Lab));
  # The capabilities that it was given, in reverse.

  wait @19 () -> (lab :Lab);
  # Returns a new object once `release` has been called.

  release @20 ();
  # Lets all calls of `wait` return.
}
