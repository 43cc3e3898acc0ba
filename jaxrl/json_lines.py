"""Lines of JSON-lines files, in whichever folder they are read or written."""

import json
import os
from pathlib import Path

LISTED = 20  # broken lines named in an error


def record(line):
    """The JSON object that a line of bytes holds, or a ValueError that says what is wrong."""
    try:
        found = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as e:
        raise ValueError(f"not UTF-8 (byte {e.start})") from None
    except json.JSONDecodeError as e:
        raise ValueError(f"not JSON ({e.msg} at column {e.colno})") from None
    if not isinstance(found, dict):
        raise ValueError(f"a JSON {type(found).__name__}, not an object")
    return found


def write(path, rows):
    """Writes a file of rows at once: a run that is killed leaves no part of it under its name."""
    path = Path(path)
    beside = path.with_name(f"{path.name}.part")
    with beside.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def listing(file, broken, fix="mend or remove them"):
    """The message of an error that lists what is wrong with a file, a text a line of it."""
    more = f"\n  and {len(broken) - LISTED} more" if len(broken) > LISTED else ""
    listed = "\n  ".join(broken[:LISTED])
    return f"{file}: {len(broken)} broken lines; {fix}:\n  {listed}{more}"
