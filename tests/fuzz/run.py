"""Fuzzes one target: `python -m fuzz.run TARGET [libFuzzer arguments]`, called by scripts/fuzz."""

import sys

import atheris

with atheris.instrument_imports(include=["fuzz", "lep6.secure_rpc", "lep6.protobuf", "lep6.keys"]):
    from fuzz.targets import TARGETS


def main() -> None:
    target, *arguments = sys.argv[1:]
    # libFuzzer starts itself again to merge, through a shell.
    again = f"{sys.executable} -m fuzz.run {target}"
    atheris.Setup([again, *arguments], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
