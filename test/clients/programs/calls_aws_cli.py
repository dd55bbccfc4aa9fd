"""Version 1 of the AWS CLI, started once for many commands: a line of JSON in is an argument vector, a line out what the command did."""
import contextlib
import io
import json
import sys

from awscli.clidriver import create_clidriver


def run(argv):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = create_clidriver().main(argv)
        except SystemExit as end:
            status = end.code
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
