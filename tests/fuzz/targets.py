"""What is fuzzed. Needs no fuzzer: tests/fuzz/test_corpus.py runs these too.

`python -m fuzz.targets TARGET DIRECTORY` writes where a fuzzer starts.
"""

import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from fuzz import handshake, records

HERE: Final = Path(__file__).parent
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"handshake": handshake.fuzz, "records": records.fuzz}
SEEDS: Final = {"handshake": handshake.seeds, "records": records.seeds}


def inputs(target: str) -> list[Path]:
    """What was found worth keeping for a target, and what has once broken it."""
    return sorted(path for kind in ("corpus", "crashes") for path in (HERE / kind / target).glob("*"))


def main(target: str, directory: str) -> None:
    for seed in SEEDS[target]():
        (Path(directory) / sha256(seed).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main(*sys.argv[1:])
