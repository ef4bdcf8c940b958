"""Run many commands of `livekit-exporter` in one process: reading a list from standard input.

It finds the program by `python -m livekit_exporter`, the one name that all versions share.
"""

import io
import json
import runpy
import sys
import traceback


def _run(arguments: list[str], stdin: str) -> dict[str, object]:
    out, err = io.BytesIO(), io.BytesIO()
    kept = sys.stdin, sys.stdout, sys.stderr, sys.argv
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")
    sys.stdout = io.TextIOWrapper(out, "utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(err, "utf-8", write_through=True)
    sys.argv = ["livekit-exporter", *arguments]
    status: object = 0
    try:
        runpy.run_module("livekit_exporter", run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except Exception:  # noqa: BLE001 - a crash is an answer that is compared
        traceback.print_exc()
        status = 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        written = out.getvalue().hex(), err.getvalue().hex()
        sys.stdin, sys.stdout, sys.stderr, sys.argv = kept
    return {"status": status, "out": written[0], "err": written[1]}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answers = [_run(each, asked["stdin"]) for each in asked["commands"]]
    json.dump(answers, sys.stdout)
