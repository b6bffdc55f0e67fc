"""A record becomes literal JSON bytes, or a reason code."""

from __future__ import annotations

import enum
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser, text_of
from kore_campaign_async.ingest.phone_text import clean_number
from kore_campaign_async.ingest.records import Broken, Cells, Slice

NUMBER = "+14155550123"
ROOM = 1 << 20


def of_cells(
    columns: list[str], cells: list[str], column_map: dict[str, str] | None = None, *, room: int = ROOM
) -> bytes | str:
    """What becomes of one row of a table: its JSON, or the reason why it has none."""
    normaliser = Normaliser(match(columns, column_map or {}), column_map or {}, room)
    result = sorted_one(normaliser, cells, suspect=True)
    if cleanly(cells):
        # A source that saw nothing suspicious takes a faster way, which must end the same.
        assert sorted_one(normaliser, cells) == result
    return result


def of_mapping(record: Any, column_map: dict[str, str] | None = None, *, room: int = ROOM) -> bytes | str:
    """What becomes of one mapping."""
    return sorted_one(Normaliser(None, column_map or {}, room), record, suspect=True)


def cleanly(cells: list[str]) -> bool:
    """Whether a source would find no fault with a line of these cells."""
    text = "".join(cells)
    return len(text) <= 290 and not any(one == "\0" or "\ud800" <= one <= "\udfff" for one in text)


def sorted_one(normaliser: Normaliser, record: Any, *, suspect: bool = False) -> bytes | str:
    result = normaliser.sort(Slice(7, [record], suspect))
    assert len(result.rows) + len(result.rejected) == 1
    if result.rejected:
        row, reason, kept = result.rejected[0]
        assert row == 7
        assert kept is record
        return reason
    assert result.rows == [7]
    assert result.records[0] is record
    assert result.keys == [int(result.contacts[0]["phoneNumber"])]
    return orjson.dumps(result.contacts[0])


# Numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+14155550123", "+14155550123"),
        ("14155550123", "14155550123"),
        ("9122333445566", "9122333445566"),
        ("+1 (415) 555-0123", "+14155550123"),
        ("+1.415.555.0123", "+14155550123"),
        ("+49/30/1234567", "+49301234567"),
        (" +1415 5550123 ", "+14155550123"),
        ("(+49) 30 1234567", "+49301234567"),
        ("+33\u00a01\u202f23\u00a045\u00a067\u00a089", "+33123456789"),
        ("\t14155550123\t", "14155550123"),
        ("1234567", "1234567"),
        ("+123456789012345", "+123456789012345"),
    ],
)
def test_numbers_of_the_shape_pass_without_separators(text: str, number: str) -> None:
    """`+` is optional, and kept where it stands."""
    assert clean_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "+",
        "123456",  # too short
        "+1234567890123456",  # too long
        "04155550123",  # no country code begins with 0
        "+04155550123",
        "0014155550123",
        "++14155550123",
        "1+4155550123",
        "14155550123+",
        "+1415555O123",
        "14155550123x5",
        "tel:+14155550123",
        "+1_415_555_0123",
        "+1,415,555,0123",
        "+1–415–555–0123",  # noqa: RUF001  dashes that are none of the named separators
        "'+14155550123",
        "+1*4155550123",
        "1.4155550123e10",
        "+14155550123\n",
        "\n+14155550123",
        "+1415\n5550123",
        "+1415\r5550123",
        "+14155550123\x0b",
        "+14155550123\x85",
        "+14155550123\u2028",
        "+1415555\x000123",
        "١٤١٥٥٥٥٠١٢٣",
        "+１４１５５５５０１２３",  # noqa: RUF001  digits that are not ASCII
        "+1415555012³",
        "+1415555\u200b0123",
    ],
)
def test_anything_else_is_no_number(text: str) -> None:
    """Line ends, letters, and digits of other scripts among them."""
    assert clean_number(text) is None


@given(st.text(alphabet="+0123456789 -.()/\n\tx", max_size=24))
def test_what_is_taken_are_the_digits_of_the_text_and_no_others(text: str) -> None:
    """All of them, but for a fraction of zeros and the `(0)` behind a country's code."""
    bare = re.sub(r"[ \t\-.()/]", "", text)
    number = clean_number(text)
    if number is not None:
        assert re.fullmatch(r"\+?[1-9][0-9]{6,14}", number)
        without_fraction = re.sub(r"[.,]0+[ \t]*$", "", text)
        without_zero = re.sub(r"\([ \t]*0[ \t]*\)", "", text)
        assert number in {re.sub(r"[^+0-9]", "", one) for one in (text, without_fraction, without_zero)}
    elif re.fullmatch(r"\+?[1-9][0-9]{6,14}", text.strip(" \t")):
        raise AssertionError(bare)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "missing_phone"),
        ("   ", "missing_phone"),
        ("\t\n\u00a0", "missing_phone"),
        ("-", "invalid_phone"),
        ("n/a", "invalid_phone"),
        ("0", "invalid_phone"),
        (" +", "invalid_phone"),
    ],
)
def test_a_number_is_missing_or_invalid(cell: str, reason: str) -> None:
    assert of_cells(["phone", "plan"], [cell, "gold"]) == reason
    assert of_mapping({"phone": cell, "plan": "gold"}) == reason


# Cells


def test_a_row_is_these_bytes() -> None:
    encoded = of_cells(["Name", "Phone Number", "first_name"], ['Ünï, "q"\n2', "+1 415 555-0123", "阿明"])
    assert encoded == '{"Name":"Ünï, \\"q\\"\\n2","phoneNumber":"+14155550123","firstName":"阿明"}'.encode()


def test_cells_are_sent_unstripped() -> None:
    assert of_cells(["phone", "plan"], [NUMBER, "  gold\t"]) == b'{"phoneNumber":"+14155550123","plan":"  gold\\t"}'


@pytest.mark.parametrize("cell", ["", " ", "\t \u00a0", "\n", "\u3000"])
def test_empty_and_all_blank_cells_are_absent(cell: str) -> None:
    assert of_cells(["plan", "phone", "timeZone"], [cell, NUMBER, cell]) == b'{"phoneNumber":"+14155550123"}'


def test_missing_cells_are_absent_and_filled_surplus_ones_are_a_bad_row() -> None:
    columns = ["phone", "plan", "city"]
    assert of_cells(columns, [NUMBER]) == b'{"phoneNumber":"+14155550123"}'
    assert of_cells(columns, [NUMBER, "gold"]) == b'{"phoneNumber":"+14155550123","plan":"gold"}'
    assert of_cells(columns, [NUMBER, "gold", "Bonn", "x"]) == "bad_row"
    assert of_cells(columns, [NUMBER, "gold", "Bonn", "", "x"]) == "bad_row"
    whole = b'{"phoneNumber":"+14155550123","plan":"gold","city":"Bonn"}'
    assert of_cells(columns, [NUMBER, "gold", "Bonn", ""]) == whole
    assert of_cells(columns, [NUMBER, "gold", "Bonn", " ", "\t"]) == whole
    assert of_cells(["plan", "phone"], ["gold"]) == "missing_phone"
    assert of_cells(["plan", "phone"], []) == "missing_phone"


def test_the_record_that_is_kept_is_the_one_that_came() -> None:
    """Outcome files show the row as it was, not as it was filled up or cleaned."""
    cells = ["+1 415 555 0123"]
    assert of_cells(["phone", "plan"], cells) == b'{"phoneNumber":"+14155550123"}'
    assert cells == ["+1 415 555 0123"]


@pytest.mark.parametrize("letter", ["x", "é", "阿", "😀"])
def test_a_value_has_at_most_300_characters(letter: str) -> None:
    assert isinstance(of_cells(["phone", "plan"], [NUMBER, letter * 300]), bytes)
    assert of_cells(["phone", "plan"], [NUMBER, letter * 301]) == "value_too_long"
    assert isinstance(of_mapping({"phone": NUMBER, "plan": letter * 300}), bytes)
    assert of_mapping({"phone": NUMBER, "plan": letter * 301}) == "value_too_long"


def test_the_length_of_a_number_is_that_of_what_is_sent() -> None:
    assert of_cells(["phone"], [" " * 400 + NUMBER]) == b'{"phoneNumber":"+14155550123"}'


def test_a_contact_has_at_most_150_columns() -> None:
    """Absent fields are none."""
    columns = ["phone", *(f"c{index}" for index in range(150))]
    full = of_cells(columns[:150], [NUMBER, *("v" * 149)])
    assert isinstance(full, bytes)
    assert len(orjson.loads(full)) == 150
    assert of_cells(columns, [NUMBER, *("v" * 150)]) == "too_many_columns"
    assert isinstance(of_cells(columns, [NUMBER, *("v" * 149), " "]), bytes)
    assert of_mapping(dict.fromkeys(columns[1:], "v") | {"phone": NUMBER}) == "too_many_columns"
    assert isinstance(of_mapping(dict.fromkeys(columns[1:], None) | {"phone": NUMBER}), bytes)


@pytest.mark.parametrize("zone", ["America/Phoenix", "Europe/Berlin", "Asia/Kolkata", "UTC", "Etc/GMT+5"])
def test_names_of_the_tz_database_pass(zone: str) -> None:
    assert of_cells(["phone", "Time Zone"], [NUMBER, zone]) == (
        f'{{"phoneNumber":"+14155550123","timeZone":"{zone}"}}'.encode()
    )


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        (" america/new_york ", "America/New_York"),
        ("AMERICA/PHOENIX", "America/Phoenix"),
        ("\u00a0Europe/Berlin\t", "Europe/Berlin"),
        ("utc", "UTC"),
        ("america/port-au-prince", "America/Port-au-Prince"),
    ],
)
def test_blanks_and_letter_case_of_a_time_zone_make_no_difference(written: str, zone: str) -> None:
    """It is sent as the database spells it, whether rows are judged one by one or many at once."""
    expected = f'{{"phoneNumber":"{NUMBER}","timeZone":"{zone}"}}'.encode()
    assert of_cells(["phone", "Time Zone"], [NUMBER, written]) == expected
    assert of_mapping({"phone": NUMBER, "time_zone": written}) == expected
    normaliser = Normaliser(match(["phone", "tz"], {"tz": "timeZone"}), {}, ROOM)
    rows = [[NUMBER, written], ["+14155550124", "Mars"], ["+14155550125", " "], ["+14155550126", "UTC"]]
    for records in (Cells([cell for row in rows for cell in row], 2), rows):
        found = normaliser.sort(Slice(1, records))
        contacts = found.contacts if found.encode is None else orjson.loads(b"[%b]" % found.encode(found.contacts))
        assert [one.get("timeZone") for one in contacts] == [zone, None, "UTC"]
        assert found.rejected == [(2, "bad_time_zone", rows[1])]
        assert next(iter(found.records)) == rows[0], "an outcome file shows it as it was"


@pytest.mark.parametrize("zone", ["PST8", "America/Atlantis", "America Phoenix", "GMT+5", "../etc/passwd", "+01:00"])
def test_other_time_zones_do_not(zone: str) -> None:
    assert of_cells(["phone", "timeZone"], [NUMBER, zone]) == "bad_time_zone"
    assert of_mapping({"phone": NUMBER, "time_zone": zone}) == "bad_time_zone"


@pytest.mark.parametrize("cell", ["a\0b", "\0"])
def test_a_nul_is_a_bad_value(cell: str) -> None:
    assert of_cells(["phone", "plan"], [NUMBER, cell]) == "bad_value"
    assert of_mapping({"phone": NUMBER, "plan": cell}) == "bad_value"


@pytest.mark.parametrize("cell", ["a\udcffb", "\ud800"])
def test_text_that_is_not_unicode_is_a_bad_value(cell: str) -> None:
    """Bytes of a file that were not UTF-8 come as lone surrogates."""
    assert of_cells(["phone", "plan"], [NUMBER, cell]) == "bad_value"
    assert of_mapping({"phone": NUMBER, "plan": cell}) == "bad_value"


@pytest.mark.parametrize("name", ["a\udcffb", "\ud800", "a\0b"])
def test_so_is_a_mapping_with_such_a_name_a_bad_row(name: str) -> None:
    assert of_mapping({"phone": NUMBER, name: "gold"}) == "bad_row"


@pytest.mark.parametrize(("value", "extra"), [("gold", 0), ("\x01" * 300, 0), ("😀" * 300, 0), ("gold", 7)])
def test_a_contact_beyond_the_room_is_too_large(value: str, extra: int) -> None:
    """To the byte of its JSON, escapes and all."""
    cells = [NUMBER, value + "x" * extra]
    exact = len(orjson.dumps({"phoneNumber": NUMBER, "plan": cells[1]}))
    for room in (exact - 1, exact):
        expected = "too_large" if room < exact else orjson.dumps({"phoneNumber": NUMBER, "plan": cells[1]})
        assert of_cells(["phone", "plan"], cells, room=room) == expected
        assert of_mapping({"phone": NUMBER, "plan": cells[1]}, room=room) == expected


def test_columns_without_a_name_are_left_out() -> None:
    """pandas and R write the index of a row into one."""
    columns = ["", "phone", " ", "plan"]
    assert of_cells(columns, ["", NUMBER, "  ", "gold"]) == b'{"phoneNumber":"+14155550123","plan":"gold"}'
    assert of_cells(columns, ["7", NUMBER, "x", "gold"]) == b'{"phoneNumber":"+14155550123","plan":"gold"}'
    assert of_cells(columns, ["", NUMBER]) == b'{"phoneNumber":"+14155550123"}'
    assert of_mapping({"": "x", "phone": NUMBER}) == b'{"phoneNumber":"+14155550123"}'
    assert of_mapping({"": None, "phone": NUMBER}) == b'{"phoneNumber":"+14155550123"}'


def test_what_could_not_be_read_keeps_its_reason() -> None:
    normaliser = Normaliser(match(["phone"], {}), {}, ROOM)
    assert sorted_one(normaliser, Broken("unclosed_quote", 'x,"y')) == "unclosed_quote"


def test_the_row_numbers_of_a_slice_go_on_from_its_first() -> None:
    part = Slice(501, [[NUMBER], ["x"], Broken("bad_row", "?"), ["+4930123456"]])
    result = Normaliser(match(["phone"], {}), {}, ROOM).sort(part)
    assert result.rows == [501, 504]
    assert result.keys == [14155550123, 4930123456]
    assert result.contacts == [{"phoneNumber": "+14155550123"}, {"phoneNumber": "+4930123456"}]
    assert result.records == [[NUMBER], ["+4930123456"]]
    assert [(row, reason) for row, reason, _ in result.rejected] == [(502, "invalid_phone"), (503, "bad_row")]


cells_of_a_row = st.tuples(
    st.sampled_from([NUMBER, "1 415-555-0124", "4930123456", "", " ", "x", "0123"]),
    st.sampled_from(["", " ", "UTC", "Europe/Berlin", "Mars/Base", " UTC"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
).map(list)


@given(st.lists(cells_of_a_row, max_size=12), st.sampled_from(["plan", ""]), st.sampled_from([60, ROOM]))
def test_whole_columns_and_single_rows_end_the_same(rows: list[list[str]], third: str, room: int) -> None:
    """In the order of their rows, each row once, whichever way the slice takes."""
    normaliser = Normaliser(
        match(["phone", "tz" if third else "timeZone", third], {"tz": "timeZone"}, whole=False), {}, room
    )
    fast = normaliser.sort(Slice(3, rows))
    singly = [normaliser.sort(Slice(row, [cells], suspect=True)) for row, cells in enumerate(rows, 3)]
    for name in ("rows", "keys", "contacts", "records", "rejected"):
        assert list(getattr(fast, name)) == [one for part in singly for one in getattr(part, name)]
    assert sorted([*fast.rows, *(row for row, _, _ in fast.rejected)]) == list(range(3, 3 + len(rows)))


odd_numbers = [NUMBER, "14155550124", "1 415-555-0124", "4930123456", "", " ", "x", "0123", "1e9", "+1", "1+4155550"]
odd_numbers += ["\u0661" * 9, "+123456789012345", "+1234567890123456", "123456", "1234567", "-1234567", "1.2345678"]
plain_texts = st.one_of(
    st.sampled_from(["", " ", "\u00a0", "\u3000 ", "\x85", "a ", " a", "é€😀", "\u2028"]),
    st.text(st.characters(codec="utf-8", exclude_characters='",\\', exclude_categories=["C"]), max_size=4),
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "phone": st.sampled_from(odd_numbers),
                "Time Zone": st.sampled_from(["", " ", "UTC", "Europe/Berlin", "Mars/Base", " UTC"]),
                'a "b" é\\': plain_texts,
                ",": plain_texts,
            }
        ),
        max_size=8,
    ),
    st.permutations(["phone", "Time Zone", 'a "b" é\\', ","]),
    st.integers(1, 4),
    st.sampled_from([60, ROOM]),
    st.data(),
)
def test_cells_and_lists_end_the_same(
    rows: list[dict[str, str]], columns: list[str], width: int, room: int, data: st.DataObject
) -> None:
    """The same bytes, whichever columns there are and in whatever order they stand."""
    columns = [*columns[:width], *({"phone"} - set(columns[:width]))]
    table = [[row[column] for column in columns] for row in rows]
    normaliser = Normaliser(match(columns, {}), {}, room)
    flat = normaliser.sort(Slice(3, Cells([cell for cells in table for cell in cells], len(columns))))
    singly = [normaliser.sort(Slice(row, [cells], suspect=True)) for row, cells in enumerate(table, 3)]
    for name in ("rows", "keys", "records", "rejected"):
        assert list(getattr(flat, name)) == [one for part in singly for one in getattr(part, name)]
    contacts = [one for part in singly for one in part.contacts]
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(contacts))] * 2)))
    encode = flat.encode or (lambda contacts: orjson.dumps(contacts)[1:-1])
    assert (flat.encode is None) == (room == 60)
    if begin < end:
        assert encode(flat.contacts[begin:end]) == orjson.dumps(contacts[begin:end])[1:-1]
        left = flat.without([begin])
        del contacts[begin]
        assert left.encode is flat.encode
        assert not contacts or encode(left.contacts) == orjson.dumps(contacts)[1:-1]


def test_cells_of_another_width_or_suspect_ones_are_looked_at_one_by_one() -> None:
    normaliser = Normaliser(match(["phone", "plan"], {}), {}, ROOM)
    narrow = normaliser.sort(Slice(1, Cells([NUMBER, "14155550124"], 1)))
    assert narrow.contacts == [{"phoneNumber": NUMBER}, {"phoneNumber": "14155550124"}]
    suspect = normaliser.sort(Slice(1, Cells([NUMBER, 'a"\\\n', NUMBER, "a\0b"], 2), suspect=True))
    assert suspect.contacts == [{"phoneNumber": NUMBER, "plan": 'a"\\\n'}]
    assert suspect.rejected == [(2, "bad_value", [NUMBER, "a\0b"])]


def test_contacts_can_be_taken_out_of_a_sorted_slice() -> None:
    part = Slice(1, [[NUMBER], ["x"], ["+4930123456"], ["+33123456789"]])
    result = Normaliser(match(["phone"], {}), {}, ROOM).sort(part)
    left = result.without([1])
    assert left.rows == [1, 4]
    assert left.keys == [14155550123, 33123456789]
    assert left.contacts == [{"phoneNumber": NUMBER}, {"phoneNumber": "+33123456789"}]
    assert left.records == [[NUMBER], ["+33123456789"]]
    assert result.rows == [1, 3, 4]


# Mappings


class Priority(enum.IntEnum):
    HIGH = 1


class Whole(int):
    def __str__(self) -> str:
        return "not this"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        (" a ", " a "),
        (Text("a"), "a"),
        (7, "7"),
        (-7, "-7"),
        (0, "0"),
        (10**30, "1" + "0" * 30),
        (True, "true"),
        (False, "false"),
        (Priority.HIGH, "1"),
        (Whole(5), "5"),
        (None, ""),
        (1.0, None),
        (float("nan"), None),
        ([], None),
        (["a"], None),
        ({}, None),
        (b"a", None),
        (object(), None),
    ],
)
def test_values_of_mappings(value: Any, text: str | None) -> None:
    """Strings as they are, integers as decimal text, booleans as words, null absent; no floats, nothing nested."""
    assert text_of(value) == text


def test_a_mapping_is_these_bytes() -> None:
    record = {
        "plan": "gold",
        "Phone": 14155550123,
        "first_name": "Ana",
        "last_name": None,
        "visits": 3,
        "vip": True,
        "lost": False,
        "note": " ",
        "contactPriority": Priority.HIGH,
        "size": Whole(9),
    }
    assert of_mapping(record) == (
        b'{"plan":"gold","phoneNumber":"14155550123","firstName":"Ana","visits":"3","vip":"true","lost":"false",'
        b'"contactPriority":"1","size":"9"}'
    )


@pytest.mark.parametrize("value", [1.5, 1.0, [], ["a"], {}, {"a": "b"}, b"gold", ("a",), float("inf")])
def test_a_float_or_a_nested_value_rejects_the_row(value: Any) -> None:
    assert of_mapping({"phone": NUMBER, "plan": value}) == "bad_value"


def test_an_integer_too_long_for_text_rejects_the_row() -> None:
    """Python refuses to write more than 4,300 digits; the run must not end with it."""
    assert of_mapping({"phone": NUMBER, "plan": 10**400}) == "value_too_long"
    assert of_mapping({"phone": NUMBER, "plan": 10**5000}) in {"value_too_long", "bad_value"}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "missing_phone"),
        ({"plan": "gold"}, "missing_phone"),
        ({"phone": None}, "missing_phone"),
        ({"phone": True}, "invalid_phone"),
        ({"phone": 911}, "invalid_phone"),
        ({"phone": 14155550123.5}, "bad_value"),
        ({"phone": NUMBER, "mobile": NUMBER}, "bad_row"),
        ({"phone": NUMBER, 5: "x"}, "bad_row"),
        ({"phone": NUMBER, None: "x"}, "bad_row"),
    ],
)
def test_mappings_that_are_no_contacts(record: dict[Any, Any], reason: str) -> None:
    assert of_mapping(record) == reason


def test_the_map_holds_for_mappings_that_have_the_column() -> None:
    normaliser = Normaliser(None, {"Kunde": "uniqueId", "tel2": "phoneNumber"}, ROOM)
    assert sorted_one(normaliser, {"tel2": NUMBER, "Kunde": 7}) == b'{"phoneNumber":"+14155550123","uniqueId":"7"}'
    assert sorted_one(normaliser, {"phoneNumber": NUMBER}) == b'{"phoneNumber":"+14155550123"}'
    assert sorted_one(normaliser, {"tel2": NUMBER, "phone": "x"}) == b'{"phoneNumber":"+14155550123","phone":"x"}'


def test_mappings_of_ever_new_keys_do_not_fill_the_memory() -> None:
    normaliser = Normaliser(None, {}, ROOM)
    records = [{"phone": NUMBER, f"key{index}": "x"} for index in range(3000)]
    result = normaliser.sort(Slice(1, records))
    assert result.rejected == []
    assert result.contacts == [{"phoneNumber": NUMBER, f"key{index}": "x"} for index in range(3000)]
    assert len(normaliser._shapes) <= 1000


values = st.one_of(st.text(max_size=12), st.integers(), st.booleans(), st.none(), st.floats(), st.just(["x"]))


@given(st.dictionaries(st.one_of(st.text(max_size=6), st.just("phone"), st.just("tel")), values, max_size=6))
def test_every_mapping_ends_in_bytes_or_in_a_reason(record: dict[str, Any]) -> None:
    """Whatever it holds; and what is sent is the values as text, the absent ones left out."""
    result = of_mapping(record)
    if isinstance(result, str):
        assert result in {
            *("missing_phone", "invalid_phone", "several_numbers", "has_extension", "date_or_amount", "lost_digits"),
            *("ambiguous_phone", "bad_value", "bad_row"),
        }
        return
    sent = orjson.loads(result)
    texts = [text_of(value) for key, value in record.items() if key not in {"phone", "tel"}]
    assert sorted(value for key, value in sent.items() if key != "phoneNumber") == sorted(
        text for text in texts if text and not text.isspace()
    )
