"""A line of a JSON-lines file, in whichever folder it is read."""

import json

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


def listing(file, broken, fix="mend or remove them"):
    """The message of an error that lists what is wrong with a file, a text a line of it."""
    more = f"\n  and {len(broken) - LISTED} more" if len(broken) > LISTED else ""
    listed = "\n  ".join(broken[:LISTED])
    return f"{file}: {len(broken)} broken lines; {fix}:\n  {listed}{more}"
