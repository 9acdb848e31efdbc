"""Macros whose values belong to a recipient."""

import pytest

from sendmail_py.formats.macros import Undefined, expand

VALUES = {"home": "/home/bob", "extension": "list", "recipient_delimiter": "+", "shell": ""}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$home/.forward", "/home/bob/.forward"),
        ("${home}/.forward${recipient_delimiter}${extension}", "/home/bob/.forward+list"),
        ("$(home)/x", "/home/bob/x"),
        ("/x${extension?/for-$extension}", "/x/for-list"),
        ("/x${shell?/y}${shell:/z}", "/x/z"),
        ("no macro, but $$5", "no macro, but $5"),
    ],
)
def test_macros_are_replaced_by_their_values(text: str, wanted: str) -> None:
    assert expand(text, VALUES) == wanted


@pytest.mark.parametrize("text", ["$shell/x", "/a/${unheard_of}", "${extension?$shell}"])
def test_a_text_with_an_undefined_macro_stands_for_nothing(text: str) -> None:
    with pytest.raises(Undefined):
        expand(text, VALUES)


def test_a_value_is_not_expanded_again() -> None:
    assert expand("$home", {"home": "$home/${x"}) == "$home/${x"


@pytest.mark.parametrize("text", ["${home", "a $ b", "$"])
def test_bad_syntax_is_an_error_that_says_what_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match=r"\$"):
        expand(text, VALUES)
