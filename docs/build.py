"""Build the documentation: gather its pages, generate the reference, let Zensical make the site.

    python docs/build.py    # then open build/docs/site/index.html

Pages link to files of the repository, so that they can be read without being built. Files outside
of ``docs/`` that a page links to are copied into the site, and the links are turned to the copies.
Broken links and references end the build.
"""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from posixpath import relpath

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "docs"
PAGES = BUILD / "pages"
SITE = BUILD / "site"
PACKAGE = BUILD / "package" / "driftboard"
COPIES = "repository"  # the folder of the site for files from outside of docs/
ALWAYS = ("CONTRIBUTING.md", "CHANGELOG.md")  # in the navigation, whether linked or not

FENCED = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
EXTERNAL = re.compile(
    r"""<(?:script|link|img|iframe|source|video|audio)\b[^>]*?\b(?:src|href)="?(?:https?:)?//[^">\s]+"""
    r"""|@import[^;]*//|url\(["']?(?:https?:)?//"""
)


def place_in_site(path: str) -> str:
    """Return where a file of the repository lies in the site.

    >>> place_in_site("docs/howto/submit.md"), place_in_site("CONTRIBUTING.md")
    ('howto/submit.md', 'repository/CONTRIBUTING.md')
    """
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{COPIES}/{path}"


def links(text: str) -> list[str]:
    """Return the targets of the relative links of a page, those in code left out, without anchors.

    >>> links("[a](b.md#c), `[d](e.md)`, [f](https://g.example), ![h](i.svg)")
    ['b.md', 'i.svg']
    """
    text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", FENCED.sub("", text), flags=re.DOTALL)
    return [match[2] for match in LINK.finditer(text)]


def target(page: str, link: str) -> str:
    """Return the path below the repository's root that a link on a page leads to.

    >>> target("docs/howto/submit.md", "../../CONTRIBUTING.md")
    'CONTRIBUTING.md'
    """
    return relpath(f"{page}/../{link}")


def gather() -> None:
    """Copy the pages, and what they link to, to where Zensical reads them."""
    shutil.rmtree(PAGES, ignore_errors=True)
    docs = (path for path in sorted((ROOT / "docs").rglob("*")) if path.is_file())
    waiting = [str(path.relative_to(ROOT)) for path in docs if path.suffix not in (".py", ".pyc")]
    waiting += ALWAYS
    known: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in known:
            continue
        known.add(path)
        source, copy = ROOT / path, PAGES / place_in_site(path)
        if not source.is_file():
            continue  # Zensical says which page has the broken link
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix != ".md":
            shutil.copyfile(source, copy)
            continue
        text = source.read_text()
        copy.write_text(turned(path, text))
        waiting += [
            found for link in links(text) if (ROOT / (found := target(path, link))).is_file()
        ]


def turned(page: str, text: str) -> str:
    """Return the text of a page with its links turned to the places in the site."""

    def turn(match: re.Match[str]) -> str:
        place = place_in_site(target(page, match[2]))
        return f"{match[1]}{relpath(place, place_in_site(f'{page}/..'))}{match[3]}"

    code = re.compile(rf"{FENCED.pattern}|(`+)(?!`).*?(?<!`)\2(?!`)|{LINK.pattern}", FENCED.flags)
    return code.sub(
        lambda match: turn(found) if (found := LINK.match(match[0])) else match[0], text
    )


def lay_out_package() -> None:
    """Copy the sources to where a wheel has them: mkdocstrings reads files, it imports nothing."""
    shutil.rmtree(PACKAGE, ignore_errors=True)
    rooms = {"suite/api": ".", "suite": "suite", "leaderboard": "leaderboard"}
    for room, place in (rooms | {"strategies": "strategies", "baselines": "baselines"}).items():
        for source in (ROOT / room).rglob("*.py"):
            copy = PACKAGE / place / source.relative_to(ROOT / room)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)


def external_requests(site: Path) -> list[str]:
    """Return what the pages and styles of a site would load from elsewhere."""
    files = (path for path in sorted(site.rglob("*")) if path.suffix in (".html", ".css"))
    return [f"{path}: {found}" for path in files for found in EXTERNAL.findall(path.read_text())]


def main() -> None:
    """Build the site below ``build/docs/site``; leave with exit code 1 if anything is wrong."""
    gather()
    lay_out_package()
    runpy.run_path(str(ROOT / "docs" / "generate.py"))["write_pages"](BUILD / "generated")
    shutil.rmtree(SITE, ignore_errors=True)
    zensical = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    shutil.copy(ROOT / "docs" / "zensical.toml", BUILD)  # it asks for a site beside its settings
    if code := subprocess.run(zensical, cwd=BUILD).returncode:
        sys.exit(code)
    if loaded := external_requests(SITE):
        sys.exit("the site loads files from elsewhere:\n" + "\n".join(loaded))
    print(f"open {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
