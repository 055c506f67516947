"""The plain tokens are those of the rule, worked out by hand."""

from __future__ import annotations

import unicodedata

from nemo_assets_tests.dedup.reference import NUMBERS, jaccard, numbers, shingles, tokens, words


def test_operators_digits_and_commands_are_tokens_and_letters_are_folded() -> None:
    assert tokens(r"Let X_12 = \frac{a}{2}-3.50!") == (
        [b"let", b"x", b"_", b"12", b"=", b"\\frac", b"{", b"a", b"}", b"{", b"2", b"}", b"-", b"3", b".", b"50", b"!"]
    )


def test_a_command_keeps_its_case_and_a_lone_backslash_is_a_token() -> None:
    assert tokens(r"\Delta \delta \\ \2") == [b"\\Delta", b"\\delta", b"\\", b"\\", b"\\", b"2"]


def test_chinese_is_one_token_a_character_and_other_letters_are_runs_in_their_own_case() -> None:
    given = tokens("设函数f, Ελλάδα\u3000Эрдёш na\u00efve \U0001d465\U0001d466 ∑∫")
    assert [token.decode() for token in given] == (
        ["设", "函", "数", "f", ",", "Ελλάδα", "Эрдёш", "na", "ï", "ve", "\U0001d465\U0001d466", "∑", "∫"]
    )


def test_each_other_digit_or_numeral_is_a_number_by_itself_and_ends_a_run_of_letters() -> None:
    given = tokens("x²³ ½ Ⅷ ٤٢ α₁β 12")
    assert [token.decode() for token in given] == ["x", "²", "³", "½", "Ⅷ", "٤", "٢", "α", "₁", "β", "12"]
    assert [number.decode() for number in numbers("x²³ ½ Ⅷ ٤٢ α₁β -12.50 \\frac 一 x_1a")] == (
        ["²", "³", "½", "Ⅷ", "٤", "٢", "₁", "12", "50", "1"]
    )


def test_separators_belong_to_no_token() -> None:
    assert tokens("a\x00b\tc\u00a0d\u200be\ufefff\x7f\x85") == [b"a", b"b", b"c", b"d", b"e", b"f", b"\x7f"]
    assert words("Ab\x00c\n d\u00a0e ") == [b"Ab", b"c", "d\u00a0e".encode()]


def test_number_ranges_are_those_of_unicode() -> None:
    ours = {point for first, last in NUMBERS for point in range(first, last + 1)}
    theirs = {p for p in range(0x80, 0x10000) if unicodedata.category(chr(p)) in {"Nd", "Nl", "No"}}
    assert ours == theirs | set(range(0x1D7CE, 0x1D800))  # mathematical digits


def test_a_short_text_is_one_shingle_and_an_empty_one_is_like_nothing() -> None:
    assert shingles([b"a", b"b"]) == {(b"a", b"b")}
    assert shingles([]) == frozenset()
    assert shingles([b"a"] * 7) == {(b"a",) * 5}
    assert jaccard(shingles(b"abcdef".split()), shingles([])) == jaccard(shingles([]), shingles([])) == 0


def test_jaccard_counts_each_shingle_once() -> None:
    one, other = (shingles([bytes([letter]) for letter in text]) for text in (b"abcdefg", b"abcdefz"))
    assert jaccard(one, other) == 2 / 4  # abcde and bcdef of those two, cdefg and cdefz
