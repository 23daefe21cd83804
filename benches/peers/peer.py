"""What the peers of the benches have in common: how they are spoken to, and what they send.

<kind>_peer.py serve [OPTIONS]      prints its port, serves until its input ends
<kind>_peer.py call PORT [OPTIONS]  does what it reads, line by line, and answers: `stream`, `calls NUMBER AT_ONCE`, ...
"""

import json
import sys

CHUNK = bytes(1 << 20)
CHUNKS = 256
SIZE = CHUNKS * len(CHUNK)
METHOD = "/supernode.SelfHealingService/ServeReconstructedArtefacts"
CHECK = "/grpc.health.v1.Health/Check"


def tell(found):
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()


def wait_for_the_end():
    sys.stdin.read()


def main(serve, jobs):
    """`serve(options)`; `jobs`: functions of the port, the options and the numbers of the line, by its first word."""
    kind, *arguments = sys.argv[1:]
    if kind == "serve":
        serve(arguments)
        return
    port, *options = arguments
    tell("ready")
    for line in sys.stdin:
        name, *numbers = line.split()
        tell(jobs[name](int(port), options, *map(int, numbers)))
