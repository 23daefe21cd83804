"""The examination: all checks in their order, each with a deadline, and none that hides another."""

from collections.abc import Awaitable, Callable
from typing import Final, final

import trio
from attrs import frozen

from lep6.doctor.account import look_at_account
from lep6.doctor.chain import look_at_chain
from lep6.doctor.clock import look_at_clock
from lep6.doctor.codec import look_at_codec
from lep6.doctor.configuration import look_at_configuration
from lep6.doctor.descriptors import look_at_descriptors
from lep6.doctor.disk import look_at_disk
from lep6.doctor.finding import Finding, Findings
from lep6.doctor.keys import look_at_keys
from lep6.doctor.ledger import look_at_ledger
from lep6.doctor.lock import look_at_lock
from lep6.doctor.patient import NotLooked, Patient
from lep6.doctor.port import look_at_port
from lep6.doctor.registration import look_at_registration
from lep6.doctor.versions import look_at_versions

SECONDS: Final = 20.0
"""For a check. What it does is bounded more tightly where that says more."""

Look = Callable[[Patient, Findings], Awaitable[None]]


@final
@frozen
class Check:
    """One check."""

    name: str
    look: Look


CHECKS: Final = (
    Check("versions", look_at_versions),
    Check("configuration", look_at_configuration),
    Check("lock", look_at_lock),
    Check("descriptors", look_at_descriptors),
    Check("disk", look_at_disk),
    Check("keys", look_at_keys),
    Check("chain", look_at_chain),
    Check("clock", look_at_clock),
    Check("account", look_at_account),
    Check("registration", look_at_registration),
    Check("port", look_at_port),
    Check("ledger", look_at_ledger),
    Check("codec", look_at_codec),
)
"""What a later one uses was found by an earlier one."""


async def examine(
    patient: Patient, checks: tuple[Check, ...] = CHECKS, *, seconds: float = SECONDS
) -> tuple[Finding, ...]:
    """All that is found, at least one finding for each check."""
    found: list[Finding] = []
    for check in checks:
        told = Findings(check.name)
        await _look(check, patient, told, seconds)
        found += told.told
    return tuple(found)


async def _look(check: Check, patient: Patient, found: Findings, seconds: float) -> None:
    try:
        with trio.fail_after(seconds):
            await check.look(patient, found)
    except NotLooked as error:
        found.note(f"not looked at: {error}", "mend that first, and ask again")
    except trio.TooSlowError:
        found.bad(f"did not end within {seconds:g} s", "see whether its disk or its network hangs, and ask again")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        found.bad(f"{place}{error.strerror or type(error).__name__}", "run it as the user that runs the service")
    except Exception as error:  # noqa: BLE001 # a bug of one check does not hide the others; its text may be anything
        found.bad(f"failed itself: {_where(error)}", "report this line: it is a bug of lep6")


def _where(error: Exception) -> str:
    """The kind of an error and where it was raised. Its text is left out: nobody knows what is in it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    return f"{type(error).__name__} in {trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}"
