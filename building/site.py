"""The parts of the site besides docs/: the pages at the root of the repository, and the reference from the docstrings.

This is a hook of MkDocs. Every page keeps the links that work in the repository; this hook makes them lead to the same
page of the site.
"""

import ast
import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from shootdown import form

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = "docs"
"""The place of the other pages, below the root of the repository."""
ROOMS: Final = ("mm", "machine", "optimized", "scenario", "run")
"""The rooms for people who write policies and models; the other rooms are internal."""
LINK: Final = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")
"""The path of a link that leads to another file."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages at the root, and a page of the reference for the package and for each of ROOMS."""
    for path in sorted(ROOT.glob("*.md")):
        file = File.generated(config, path.name, abs_src_path=str(path))
        # A README would become the index of its folder, but that is docs/index.md.
        file.dest_uri = f"{path.stem.lower()}.html"
        files.append(file)
    for name, content in reference().items():
        files.append(File.generated(config, f"api/{name}.md", content=content))
    nav = config.nav or []
    for entry in nav:
        if entry == {"Reference": "api"}:
            entry["Reference"] = [{f"shootdown.{room}": f"api/{room}.md"} for room in ROOMS]
            entry["Reference"].insert(0, {form.PACKAGE: f"api/{form.PACKAGE}.md"})
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page with its links in the form of the site."""
    del config, files
    here = page.file.src_uri
    folder = "" if (ROOT / here).exists() else posixpath.join(FOLDER, posixpath.dirname(here))
    return LINK.sub(lambda link: site_link(link[1], folder, posixpath.dirname(here)), markdown)


def site_link(link: str, folder: str, page_folder: str) -> str:
    """Return a link of a page of the repository in `folder`, in the form for a page of the site in `page_folder`.

    A link out of docs/ to a file that is not a page becomes a link to a missing page, which a strict build refuses.
    """
    target = posixpath.normpath(posixpath.join(folder, link))
    return posixpath.relpath(target.removeprefix(f"{FOLDER}/"), page_folder or ".")


def reference() -> dict[str, str]:
    """Return the pages of the reference by name: what the package has, and each of ROOMS."""
    doors = "".join(f"\n::: {module}\n" for module in (form.PACKAGE, *own_modules()))
    pages = {form.PACKAGE: f"# The package `{form.PACKAGE}`\n{doors}"}
    for room in ROOMS:
        options = "    options:\n      show_submodules: true\n"
        pages[room] = f"# The room `{room}`\n\n::: {form.PACKAGE}.{room}\n{options}"
    return pages


def own_modules() -> list[str]:
    """Return the modules beside the rooms from which the package does not re-export, so that they need
    their own entry.
    """
    package = ROOT / form.PACKAGE
    offered = {"__init__", "__main__"}
    for node in ast.walk(ast.parse((package / "__init__.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == form.PACKAGE:
            offered |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            offered.add(node.module.removeprefix(f"{form.PACKAGE}."))
    names = {path.stem for path in package.glob("*.py")} - offered
    return [f"{form.PACKAGE}.{name}" for name in sorted(names)]
