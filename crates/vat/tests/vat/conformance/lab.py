"""The object that all tests call, as C++ serves it."""

import asyncio
from pathlib import Path

import capnp

capnp.remove_import_hook()
schema = capnp.load(
    str(Path(__file__).parents[3] / "schema" / "lab.capnp"),
    imports=[str(Path(capnp.__file__).parents[1])],
)
Client = schema.Lab._new_client


class Gate(schema.Lab.Server):
    """Returns from `wait` what it is given: what is promised of that is a promise."""

    def __init__(self):
        self.result = asyncio.get_running_loop().create_future()

    async def wait(self, **_):
        return await self.result


class Lab(schema.Lab.Server):
    def __init__(self):
        self.calls = 0
        self.bytes = 0
        self.held = None
        self.gate = None
        self.waiting = []

    async def nothing(self, **_):
        pass

    async def echo(self, data, **_):
        self.calls += 1
        return data

    async def next(self, expected, **_):
        number, self.calls = self.calls, self.calls + 1
        if number != expected:
            raise ValueError(f"call {expected} arrived as number {number}")
        return number

    async def later(self, data, **_):
        await asyncio.sleep(0)
        return data

    async def make(self, **_):
        return Lab()

    async def never(self, **_):
        await asyncio.get_running_loop().create_future()

    async def identity(self, lab, **_):
        return lab

    async def keep(self, lab, **_):
        self.held = lab

    async def kept(self, **_):
        if self.held is None:
            raise ValueError("nothing is kept")
        return self.held

    async def ask(self, lab, data, **_):
        return (await lab.echo(data)).data

    async def forward(self, lab, data, **_):
        # pycapnp has `tail_call`, and dies when it is waited for.
        return (await lab.echo(data)).data

    async def promise(self, **_):
        self.gate = Gate()
        return Client(self.gate).wait().lab

    async def fulfil(self, lab, **_):
        gate, self.gate = self.gate, None
        if not gate.result.cancelled():
            gate.result.set_result(lab)

    async def fail(self, reason, **_):
        raise ValueError(reason)

    async def push(self, data, **_):
        if not data:
            raise ValueError("nothing was pushed")
        await asyncio.sleep(0)
        self.bytes += len(data)

    async def pushed(self, **_):
        return self.bytes

    async def several(self, labs, _context, **_):
        reversed_labs = _context.results.init("labs", len(labs))
        for index, lab in enumerate(labs):
            reversed_labs[len(labs) - 1 - index] = lab

    async def wait(self, **_):
        gate = asyncio.get_running_loop().create_future()
        self.waiting.append(gate)
        await gate
        return Lab()

    async def release(self, **_):
        waiting, self.waiting = self.waiting, []
        for gate in waiting:
            gate.set_result(None)


async def let_go(self, **_):
    self.held = None


async def break_promise(self, reason, **_):
    gate, self.gate = self.gate, None
    gate.result.set_exception(ValueError(reason))


# Names that are no names in Python, or others' already.
setattr(Lab, "drop", let_go)
setattr(Lab, "break", break_promise)
