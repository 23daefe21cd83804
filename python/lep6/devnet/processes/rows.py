"""How many rows a node's ledger has, read from its file while its process may be at work."""

from pathlib import Path
from typing import Final

import apsw

from lep6.heal.ledger import CLAIMS, INTENTS

_ROWS: Final = (
    f"SELECT (SELECT count(*) FROM ({CLAIMS})) + (SELECT count(*) FROM ({INTENTS}))"  # noqa: S608 # both are constants
    " + (SELECT count(*) FROM heal_verifications_submitted)"
)


def rows_of(ledger: Path) -> int:
    """Claims, intents and votes. One that is not there has none.

    Raises:
        apsw.Error: it cannot be read now.
    """
    if not ledger.exists():
        return 0
    connection = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(1000)
        ((count,),) = connection.execute(_ROWS, (None,)).fetchall()
    finally:
        connection.close()
    assert isinstance(count, int)  # noqa: S101 # it is a number of rows
    return count
