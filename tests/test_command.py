from ohlora_gan.errors import parser_of

DOC = """``python -m ohlora_gan.paint FACES...``: faces, painted: all of them.

Writes ``faces.png``.
"""


def test_the_help_is_the_docstring_without_markup():
    text = parser_of("paint", DOC).format_help()
    assert text.startswith("usage: python -m ohlora_gan.paint [-h]")
    assert "\n\nFaces, painted: all of them.\n\nWrites faces.png.\n" in text
