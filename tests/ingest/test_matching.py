"""Which column is which field."""

from __future__ import annotations

import pytest

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.matching import is_number_name, match, usual_field


def refusal(columns: list[str], column_map: dict[str, str] | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        match(columns, column_map or {})
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "phoneNumber",
        "phone_number",
        "phone",
        "Phone Number",
        "PHONE-NUMBER",
        "phone.number",
        " Phone  Number ",
        "PhoneNumber",
        "mobile",
        "Mobile",
        "Mobile Number",
        "mobile_phone",
        "Cell",
        "cell phone",
        "Telephone",
        "telephone number",
        "TEL",
        "msisdn",
        "MSISDN",
    ],
)
def test_the_number_column_is_found_by_its_usual_names(name: str) -> None:
    """Letter case and separators aside."""
    shape = match(["First Name", name], {})
    assert shape.names == ("firstName", "phoneNumber")
    assert shape.number == 1
    assert is_number_name(name)


@pytest.mark.parametrize("name", ["phone 2", "work phone", "phon", "number", "", "#", "téléphone", "uniqueId"])
def test_other_names_are_no_number_column(name: str) -> None:
    assert not is_number_name(name)


@pytest.mark.parametrize("field", wire.CONTACT_FIELDS)
def test_known_fields_are_matched_loosely(field: str) -> None:
    """As they are spelt, in snake case, in words, in capitals."""
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in field).lower()
    for name in (field, field.upper(), words, words.replace(" ", "_"), words.title()):
        assert usual_field(name) == field


def test_other_columns_keep_their_names() -> None:
    """To the letter, a leading blank and capitals included."""
    shape = match(["phone", " Priority", "Loan-ID", "e_mail", "Straße"], {})
    assert shape.names == ("phoneNumber", " Priority", "Loan-ID", "e_mail", "Straße")
    assert shape.nameless == ()
    assert shape.time_zone is None


def test_the_time_zone_column_is_known() -> None:
    assert match(["phone", "Time Zone"], {}).time_zone == 1


def test_the_map_names_the_number_column() -> None:
    shape = match(["Kontakt", "Name"], {"Kontakt": "phoneNumber"})
    assert shape.names == ("phoneNumber", "Name")


def test_the_map_overrules_the_usual_names() -> None:
    """A column whose usual meaning the map gave to another one travels under its own name."""
    shape = match(["phone", "mobile", "Unique ID", "Customer"], {"mobile": "phoneNumber", "Customer": "unique_id"})
    assert shape.names == ("phone", "phoneNumber", "Unique ID", "uniqueId")
    assert shape.number == 1


def test_the_map_takes_fields_nobody_knows() -> None:
    assert match(["phone", "Plan"], {"Plan": "tier"}).names == ("phoneNumber", "tier")


def test_the_map_takes_the_usual_meaning_from_a_column() -> None:
    assert match(["phone", "First Name"], {"First Name": "nickname"}).names == ("phoneNumber", "nickname")


def test_a_mapped_column_that_is_missing_is_an_error() -> None:
    message = refusal(["phone", "Plan"], {"Kunde": "uniqueId"})
    assert "'Kunde'" in message
    assert "'phone', 'Plan'" in message


def test_a_mapped_column_may_be_missing_from_one_mapping() -> None:
    assert match(["phone"], {"Kunde": "uniqueId"}, whole=False).names == ("phoneNumber",)


def test_no_number_column_is_an_error_that_lists_the_columns() -> None:
    message = refusal(["Name", "E-Mail"])
    assert "no number column" in message
    assert "'Name', 'E-Mail'" in message
    assert "--map" in message


def test_two_number_columns_are_an_error_that_names_them() -> None:
    message = refusal(["phone", "Name", "Mobile"])
    assert "'phone', 'Mobile'" in message
    assert "phoneNumber" in message
    assert "--map" in message


def test_two_columns_for_another_field_are_an_error() -> None:
    message = refusal(["phone", "first_name", "First Name"])
    assert "'first_name', 'First Name'" in message


def test_two_columns_mapped_to_one_field_are_an_error() -> None:
    message = refusal(["a", "b"], {"a": "phoneNumber", "b": "phone"})
    assert "'a', 'b'" in message


@pytest.mark.parametrize("name", ["plan", "phoneNumber", "phone", "First Name"])
def test_a_column_that_stands_twice_is_an_error_that_names_it_as_it_stands(name: str) -> None:
    message = refusal(["phone" if name == "plan" else "x", name, name])
    assert repr(name) in message
    assert "2 times" in message


def test_nameless_columns_are_no_duplicates() -> None:
    """Spreadsheets leave them behind; they must only stay empty."""
    shape = match(["", "phone", "  ", ""], {})
    assert shape.names == ("", "phoneNumber", "", "")
    assert shape.nameless == (0, 2, 3)


def test_many_and_long_columns_are_shown_shortened() -> None:
    message = refusal([f"c{index}" for index in range(35)])
    assert "'c29' and 5 more" in message
    assert "'c30'" not in message
    assert "more" not in refusal([f"c{index}" for index in range(30)])
    long = refusal(["x" * 100_000])
    assert f"'{'x' * 40}…'" in long
    assert len(long) < 300
