"""Whether the configuration can be used, and what lep6 does by it."""

from functools import partial

from lep6.config import InvalidConfig, load
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient


async def look_at_configuration(patient: Patient, found: Findings) -> None:
    """Read it; each of its problems is a finding."""
    try:
        config = await patient.blocking.run(partial(load, patient.path, patient.environ))
    except InvalidConfig as error:
        for problem in error.problems:
            found.bad(f"{problem.key or error.path} {problem.what}", problem.mend)
        advisories = error.advisories
    else:
        patient.found_config = config
        advisories = config.advisories
        found.ok(f"{config.path} can be used; lep6 {config.healing.value}")
    for problem in advisories:
        found.warn(f"{problem.key} {problem.what}", problem.mend)
