"""What a compiled program multiplies and sends between devices, read from its text.

Counted a device and a run. Sent, by kind, for rings: a group of g devices gathers (g − 1)/g of the
result from its neighbours, scatters as much of the operand, and reduces to all by doing both. A
loop counts as often as it runs where the compiler knows that, else once (its own cost analysis
counts every loop once); of a condition, all branches.
"""

import collections
import math
import re

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "f16": 2, "bf16": 2, "s16": 2, "u16": 2, "f32": 4}
BYTES |= {"s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(%?([\w.\-]*)")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_IOTA = re.compile(r"replica_groups=\[\d+,(\d+)\]")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(.*?\)\))? \{([^}]*)\}")


def read(text, devices):
    """{"flop": of all products, kind: bytes that a device sends, ..}; what does not occur is 0.

    text: `compiled.as_text()`; devices: of the whole program.
    """
    blocks, entry = _blocks(text)
    known = {}

    def total(name):
        if name not in known:
            known[name] = collections.Counter()
            shapes = {found[1]: found[2] for found in map(_LINE.match, blocks[name]) if found}
            for line in blocks[name]:
                known[name] += _own(line, shapes, devices)
                times = int(found[1]) if (found := _TRIPS.search(line)) else 1
                for inner in _inner(line):
                    known[name] += {k: times * v for k, v in total(inner).items()}
        return known[name]

    return {what: total(entry)[what] for what in ("flop", *KINDS)}


def _blocks(text):
    """{computation: its lines}, and the entry's name."""
    blocks, name, entry = {}, None, None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            name = head[2]
            blocks[name] = []
            entry = name if head[1] else entry
        elif name:
            blocks[name].append(line)
    return blocks, entry


def _inner(line):
    names = _CALLED.findall(line)
    if branches := _BRANCHES.search(line):
        names += [name.strip().lstrip("%") for name in branches[1].split(",")]
    return names


def _own(line, shapes, devices):
    """What the instruction of a line itself multiplies or sends. shapes: of its block's names."""
    found = _LINE.match(line)
    kind = found and found[3].removesuffix("-start")
    if kind == "dot":
        summed = [_dims(shapes[found[4]])[int(i)] for i in _CONTRACTED.search(line)[1].split(",")]
        return collections.Counter(flop=2 * math.prod(_dims(found[2])) * math.prod(summed))
    if kind not in KINDS:
        return collections.Counter()
    size, g = _size(found[2]), _group(line, devices)
    share = {
        "all-gather": (g - 1) / g,
        "all-reduce": 2 * (g - 1) / g,
        "reduce-scatter": g - 1,  # of the result, which is the g-th part of the operand
        "all-to-all": (g - 1) / g,
        "collective-permute": 1,
    }[kind]
    return collections.Counter({kind: size * share})


def _size(shape):
    """Bytes of a shape as it is printed, of a tuple together."""
    arrays = re.findall(r"(\w+)(\[[\d,]*\])", shape)
    return sum(BYTES[kind] * math.prod(_dims(dims)) for kind, dims in arrays if kind in BYTES)


def _dims(shape):
    """[2, 3] of "f32[2,3]{1,0}"."""
    return [int(d) for d in re.search(r"\[([\d,]*)\]", shape)[1].split(",") if d]


def _group(line, devices):
    """How many devices of a collective are in one group, in any of the forms that are printed."""
    if "replica_groups={}" in line or "replica_groups=" not in line:
        return devices
    if found := _LISTED.search(line):
        return len(found[1].split(","))
    if found := _IOTA.search(line):
        return int(found[1])
    if found := _MESH.search(line):
        axes = re.findall(r"('\w+')=(\d+)", found[1])
        return math.prod(int(size) for name, size in axes if name in found[2])
    raise ValueError(f"{line}: groups of devices in a form that is not known here")
