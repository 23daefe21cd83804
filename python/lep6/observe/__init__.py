"""What lep6 tells those who watch it: events and progress."""

from lep6.observe.log import about, events_to, get_logger, shown
from lep6.observe.progress import Counter, NamedProgress, Progress, Tally, Unwatched

__all__ = ["Counter", "NamedProgress", "Progress", "Tally", "Unwatched", "about", "events_to", "get_logger", "shown"]
