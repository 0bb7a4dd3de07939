"""Which files are the pages of the documents' site: a hook of MkDocs, which docs/mkdocs.yaml names.

Every page keeps its place in the repository, so that a link works there and in the site alike.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "deployments/*.md", "docs/**/*.md", "docs/images/*")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The repository's documents and pictures, beside the theme's own files."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = sorted(path for pattern in PAGES for path in ROOT.glob(pattern))
    ours = [File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)) for path in paths]
    return Files([*theme, *ours])
