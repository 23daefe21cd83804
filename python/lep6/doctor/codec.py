"""Whether the codec and the hash of this build give what they must, on this machine."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from lep6 import _core
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient
from lep6.errors import Lep6Error

EMPTY: Final = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"""BLAKE3-256 of nothing (the first of its authors' test vectors)."""
SIZE: Final = 300_001
"""Bytes of the file that is encoded: five symbols, the last of them short."""
REMEDY: Final = "do not heal on this machine: install lep6 anew, then test its memory and its disk"


async def look_at_codec(patient: Patient, found: Findings) -> None:
    """Encode a file, lose all symbols of its own, and decode it from the others."""
    if _core.blake3(b"").hex() != EMPTY:
        found.bad("BLAKE3 of nothing is wrong", REMEDY)
    job = _core.Job()
    try:
        wrong = await patient.blocking.run(lambda: _round_trip(job), cancel=job.cancel)
    except Lep6Error as error:
        wrong = str(error)
    except OSError as error:
        found.warn(f"not tried: {error.strerror or error}", "make room where temporary files go (TMPDIR)")
        return
    if wrong:
        found.bad(wrong, REMEDY)
    else:
        found.ok("a file came back whole from its repair symbols alone; BLAKE3 gives its test vector")


def _round_trip(job: _core.Job) -> str:
    """What went wrong; empty for nothing."""
    data = bytes(at * 131 % 251 for at in range(SIZE))
    with TemporaryDirectory(prefix="lep6-doctor-") as name:
        directory = Path(name)
        file, pack, index = (directory / each for each in ("file", "symbols.pack", "symbols.idx"))
        file.write_bytes(data)
        encoded = _core.encode(file, pack, index, 0, job)
        if encoded.file != _core.blake3(data):
            return "two ways to hash a file do not agree"
        symbols = _core.Pack(pack, index)
        needed = _core.Geometry(SIZE).source_symbols
        keys = [encoded.symbols[at : at + 32] for at in range(0, len(encoded.symbols), 32)]
        places = {key: place for place, (key, _, _) in enumerate(symbols.entries())}
        repair = keys[needed:]
        spool = _core.Spool(directory / "symbols.spool", SIZE, encoded.symbols, job)
        try:
            spool.append(list(zip(repair, symbols.read([places[key] for key in repair]), strict=True)))
            if spool.decode(directory / "back", job) is None:
                return f"{len(repair)} repair symbols do not give a file of {needed} back"
        finally:
            spool.close()
        return "" if (directory / "back").read_bytes() == data else "what was decoded is not what was encoded"
