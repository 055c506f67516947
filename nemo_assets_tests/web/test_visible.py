from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from nemo_assets.web.links import Links
from nemo_assets.web.visible import is_hidden, marked, shown, visible

HUB = Links("/lineage", "", "https://huggingface.co")


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\u202e", "RIGHT-TO-LEFT OVERRIDE"),
        ("\u2066", "LEFT-TO-RIGHT ISOLATE"),
        ("\u200b", "ZERO WIDTH SPACE"),
        ("\ufeff", "ZERO WIDTH NO-BREAK SPACE"),
        ("\u00ad", "SOFT HYPHEN"),
        ("\u00a0", "NO-BREAK SPACE"),
        ("\u3164", "HANGUL FILLER"),
        ("\ufe0f", "VARIATION SELECTOR-16"),
        ("\U000e0041", "TAG LATIN CAPITAL LETTER A"),
        ("\x00", "character of category Cc"),
        ("\r", "character of category Cc"),
        ("\ud800", "character of category Cs"),
    ],
)
def test_what_a_reader_would_not_see_becomes_a_mark_with_its_name(character: str, name: str) -> None:
    html = str(shown(f"a{character}b"))
    assert character not in html
    assert f'title="{name}"' in html
    assert visible(f"a{character}b").startswith("a\\")


def test_ordinary_text_of_any_script_stays_as_it_is() -> None:
    text = "Grüße, 漢字 עברית عربي ∑ → 🙂\n\tindented"
    assert visible(text) == text
    assert marked(text) == text


@given(st.text())
def test_no_text_leaves_hidden_characters_or_markup(text: str) -> None:
    html = str(marked(text))
    assert not any(is_hidden(character) for character in html)
    without_marks = html.replace("</abbr>", "").split("<abbr ")
    assert all("<" not in piece.partition(">")[2] for piece in without_marks[1:])
    assert "<" not in without_marks[0]
    html.encode()


@given(st.text(alphabet=st.characters(min_codepoint=0x2000, max_codepoint=0x20FF)))
def test_no_format_character_gets_through(text: str) -> None:
    assert not any(unicodedata.category(c) in ("Cf", "Zl", "Zp") for c in visible(text))
    assert str(escape(visible(text))).isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JaVaScript:alert(1)", " javascript:alert(1)", "data:text/html,x", "//evil.example/x",
        "https://evil.example/", "https://huggingface.co@evil.example/", "https://huggingface.co.evil.example/",
        "https://huggingface.co:444/", "file:///etc/passwd", "https://[::1", "", None, "/lineage/",
    ],
)  # fmt: skip
def test_an_address_from_data_is_offered_only_at_the_endpoint(url: str | None) -> None:
    assert HUB.outside(url) is None


def test_an_address_at_the_endpoint_is_offered() -> None:
    url = "https://huggingface.co/datasets/a/b/viewer/default/train?row=3"
    assert HUB.outside(url) == url
    assert Links("", None, "http://127.0.0.1:8080").outside("http://127.0.0.1:8080/x") == "http://127.0.0.1:8080/x"


def test_parts_of_addresses_are_quoted() -> None:
    assert HUB.page("row", 'a/b"><x', view="mask") == "/lineage/row/a%2Fb%22%3E%3Cx?view=mask"
    assert HUB.asset("ledger", "a/b&c") == "/assets/ledger?view=partitions&partition=a%2Fb%26c"
    assert Links("/lineage", None, "https://huggingface.co").asset("ledger", "a/b") is None
    assert HUB.page("row", "\ud800") == "/lineage/row/%3F"
