import itertools

import pytest

from configs import loaded, sections
from lep6.config import Healing, InvalidConfig, healing

ROWS = {
    (None, None): Healing.UNASKED,
    (False, None): Healing.UNASKED,
    (True, None): Healing.INSTEAD,
    (None, False): Healing.STOPPED,
    (False, False): Healing.STOPPED,
    (True, False): Healing.STOPPED,
    (None, True): Healing.BESIDE,
    (False, True): Healing.BESIDE,
    (True, True): Healing.TWICE,
}


def test_the_table_knows_every_row():
    assert set(ROWS) == set(itertools.product((None, False, True), repeat=2))
    assert {row: healing(*row) for row in ROWS} == ROWS


def test_only_one_of_two_daemons_ever_heals():
    heals = {row for row in ROWS if healing(*row).heals}
    assert heals == {(True, None), (None, True), (False, True)}


@pytest.mark.parametrize("row", ROWS)
def test_a_file_heals_as_its_row_says(row, tmp_path):

    self_healing, own = (... if value is None else value for value in row)
    tree = sections(self_healing={"enabled": self_healing}, lep6={"enabled": own})
    if ROWS[row] is Healing.TWICE:
        with pytest.raises(InvalidConfig) as raised:
            loaded(tmp_path, tree)
        (problem,) = raised.value.problems
        assert problem.key == "lep6.enabled"
        assert "self_healing.enabled to false" in problem.mend
        return
    config = loaded(tmp_path, tree)
    assert config.healing is ROWS[row]
    assert config.settings().is_enabled is ROWS[row].heals
    assert [each.key for each in config.advisories] == (
        ["self_healing.enabled"] if ROWS[row] is Healing.UNASKED else []
    )
