"""The documents as a site: every page exists, and every link has a target."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.checkout import ROOT, copy_checkout, make


class Page(HTMLParser):
    """The places that a page links to, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.links |= {value for name in ("href", "src") if (value := named.get(name))}
        self.anchors |= {value for name in ("id", "name") if (value := named.get(name))}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_checkout(tmp_path_factory.mktemp("documents") / "checkout")
    make(folder, "docs-site")
    return folder / ".site"


def test_every_link_of_the_site_leads_to_a_page_and_to_a_place_in_it(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment) if target in pages else ""
            if not target.is_file() or (anchor and anchor not in pages[target].anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken
    assert len(pages) > 70


def test_the_site_has_the_documents_and_the_docstrings(site: Path) -> None:
    written = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("[0-9a-z]*.md")}
    assert not [path for path in written if not (site / "docs" / path).is_file()]
    assert "rom an empty AWS account" in (site / "deployments" / "index.html").read_text()
    flow = (site / "api" / "flows" / "archive.html").read_text()
    assert "The bucket that Amazon Connect writes to." in flow
    assert "object at 0x" not in flow


def test_every_decision_is_listed_with_its_title() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text()
    for path in folder.glob("0*.md"):
        number, title = path.read_text().splitlines()[0].removeprefix("# ").split(". ", 1)
        assert f"- {number}: [{title}]({path.name})\n" in listed


def test_the_readme_begins_with_a_sentence_and_two_commands_and_its_money_is_in_the_table_of_costs() -> None:
    readme, costs = (ROOT / "README.md").read_text(), (ROOT / "docs" / "costs.md").read_text()
    heading, sentence, commands = readme.split("\n\n")[:3]
    assert heading.startswith("# ")
    assert re.fullmatch(r"[^.]+\.", sentence)
    assert re.findall(r"^make \w+", commands, re.M) == ["make demo", "make test"]
    assert set(re.findall(r"\$[\d,.]*\d", readme)) <= set(re.findall(r"\$[\d,.]*\d", costs))
    assert " ".join(readme.split()).count("per 1,000 minutes") == 1


def test_every_picture_is_shown_by_a_document_and_small() -> None:
    shown = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    for picture in (ROOT / "docs" / "images").iterdir():
        assert f"images/{picture.name})" in shown
        assert picture.stat().st_size < 150_000
