"""Texts of others in Markdown: keys and S3's sentences, which must not become markup."""


def one_line(text: str) -> str:
    """Text without line breaks."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """Text, escaped so that Markdown does not take it for markup."""
    return one_line(text).replace("<", "&lt;")


def as_code(text: str) -> str:
    """Text in a typewriter's letters, as keys and names are shown."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{one_line(text)}{fence}"
