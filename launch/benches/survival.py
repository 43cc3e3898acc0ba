"""What a run survives: 20 kills at random moments, and every fault of the table, on real processes.

    python -m launch.bench survival --json=FILE

A tiny random model makes 16 updates on 128 tasks (survival_config.py), on the CPU. Every broken run
is resumed by its own command and compared with one that nothing happened to: parameters and
optimizer bit for bit, records, each task consumed once. Two runs at a time.
"""

import itertools
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from launch.benches import survival_faults, survival_kills
from launch.benches import survival_runs as runs
from launch.benches.tables import Finding

KILLS = 20
AT_ONCE = 2


def run(peer, kills=KILLS):
    """Yields a Finding a fault, as they come in."""
    if peer is not None:
        raise ValueError(f"--peer={peer}: survival has no peer; leave --peer out")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        lab = runs.Lab(folder)
        whole, pace = uninterrupted(lab)
        faults = [pool.submit(f, lab, whole) for f in survival_faults.FAULTS.values()]
        chosen = survival_kills.moments(kills)
        names = (f"kill_{i}" for i in itertools.count())
        once = lambda moment, name: survival_kills.kill_and_resume(
            lab.run(name), moment, pace, whole
        )
        killed = pool.map(once, chosen, names)
        yield from (fault.result() for fault in faults)
        yield summary(list(killed))


def uninterrupted(lab):
    """The run to compare with, all its checkpoints kept, and the Pace of one as the others are."""
    whole = lab.run("whole", *survival_faults.KEEP_ALL)
    first = whole.finish()  # fills the cache of compiled programs
    if first.code:
        raise RuntimeError(f"the uninterrupted run ended with {first.code}:\n{first.output}")
    second, began = lab.run("second"), time.monotonic()
    process = second.start()
    runs.await_(second.rows, process)
    started = time.monotonic() - began
    if runs.ended(process).code or runs.differences(second, whole):
        raise RuntimeError(f"two runs that nothing happened to: {runs.differences(second, whole)}")
    return whole, survival_kills.pace(whole, started)


def summary(killed):
    """One Finding of all kills."""
    equal = sum(not k.trouble for k in killed)
    kinds = [k.moment.kind for k in killed]
    where = ", ".join(f"{kinds.count(kind)} in {kind}" for kind in survival_kills.SHARES)
    seen = f"{equal}/{len(killed)} bit-equal; {where}; {sum(k.torn for k in killed)} half-written"
    trouble = [f"{k.moment}, {k.found}: {'; '.join(k.trouble)}" for k in killed if k.trouble]
    redone = f"run/redone {sum(k.redone for k in killed):.0f}"
    expected = f"{len(killed)}/{len(killed)} bit-equal"
    return Finding("kill -9, resume", expected, seen, redone, " | ".join(trouble))
