"""The faults that ``make mutants`` plants can still be planted."""

from pathlib import Path

import pytest

import gantut
from tests.mutants.faults import FAULTS

TESTS = Path(__file__).parent


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_still_has_its_place_and_its_tests(fault):
    text = (Path(gantut.__file__).parent / fault.file).read_text(encoding="utf-8")
    for old, new in fault.edits:
        assert text.count(old) == 1, old
        assert old != new
    for test in fault.tests:
        file, _, name = test.removeprefix("tests/").partition("::")
        assert f"def {name}" in (TESTS / file).read_text(encoding="utf-8")


def test_there_are_as_many_faults_as_asked_for_and_no_two_alike():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 20
    assert len({(fault.file, fault.edits) for fault in FAULTS}) == len(FAULTS)
