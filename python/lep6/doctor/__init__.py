"""The doctor: looks at a node from outside, whether its daemon runs or not, and changes nothing."""

from lep6.doctor.examine import examine
from lep6.doctor.finding import Finding, Level
from lep6.doctor.patience import Unwaited
from lep6.doctor.patient import Patient

__all__ = ["Finding", "Level", "Patient", "Unwaited", "examine"]
