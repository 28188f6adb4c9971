"""Messages of records: in two languages, and readable when a record comes from another version."""

import pytest

from pellucid.records.errors import UnknownName
from pellucid.records.messages import Caution, say


def test_a_caution_speaks_two_languages() -> None:
    caution = Caution.of("failed_items", "yellow", method="lime", items=3, reason="why not")
    assert caution.text() == "lime failed on 3 items: why not"
    assert caution.text("zh") == "lime 在 3 个样本上失败：why not"


def test_what_comes_from_data_is_not_a_template() -> None:
    assert Caution.of("constant_column", "note", column="{0.__class__}").text().startswith("Column {0.__class__} has")


def test_a_record_of_another_version_is_still_readable() -> None:
    assert Caution.of("failed_items", "yellow", method="lime").text() == "cautions.failed_items (method: lime)"


def test_unknown_codes_and_languages_are_refused() -> None:
    with pytest.raises(UnknownName, match=r"no message named 'cautions\.gapp'"):
        say("cautions.gapp")
    with pytest.raises(UnknownName, match="no language named 'fr'"):
        say("cautions.train_mode", "fr")
