"""The CIDs that Kubo's importer gives: kubo_library.py LIBRARY PATH...

Prints a line `cid CID` for each path. The library is the whole of Kubo; its node is never started, and its
repository is a scratch one that has no peers.
"""

import ctypes
import json
import os
import sys
import tempfile

library = ctypes.CDLL(sys.argv[1])
library.AddFile.restype = ctypes.c_char_p
library.AddFile.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_bool]

with tempfile.TemporaryDirectory(prefix="kubo-") as repository:
    repo = repository.encode()
    library.CreateRepo(repo)
    path = os.path.join(repository, "config")
    with open(path) as file:
        config = json.load(file)
    config["Addresses"]["Swarm"] = []
    config["Bootstrap"] = []
    config["Discovery"] = {"MDNS": {"Enabled": False}}
    config["Routing"] = {"Type": "none"}
    config["Swarm"]["DisableNatPortMap"] = True
    with open(path, "w") as file:
        json.dump(config, file)
    for name in sys.argv[2:]:
        cid = library.AddFile(repo, os.fsencode(name), True)
        print("cid", (cid or b"").decode(), flush=True)
    # Its threads do not end by themselves.
    sys.stdout.flush()
os._exit(0)
