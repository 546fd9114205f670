"""Get kernel trees for tests, from the packages of Debian that have the whole source.

    python -m building.trees FOLDER

puts into the folder, for each release that Debian has, the files of a tree that are read here: FOLDER/6.12/arch/x86/...
It keeps the trees that are there already. The machine's own configuration of apt names the place of the packages.
"""

import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

READ: Final = re.compile(r"[^/]+/(Makefile|arch/x86/(mm|include)/.+|mm/[^/]+\.[ch]|include/.+)")
"""The files of a tree that are read here, by their names in an archive."""
SUITES: Final = ("{own}", "{own}-updates", "{own}-security", "{own}-backports", "trixie-backports")
"""The suites with the packages: `{own}` is the release of this machine. The backports of a newer release have the
newest kernels, and a source package has no dependencies.
"""
_PACKAGE: Final = re.compile(r"linux-source-(\d+\.\d+)")


class Apt:
    """apt with its own lists, in a folder, so that those of the machine do not change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            (folder / name).mkdir(parents=True)
        self.options = [
            f"-oDir::Etc::SourceList={folder / 'sources.list'}",
            f"-oDir::Etc::SourceParts={folder / 'parts'}",
            f"-oDir::State::Lists={folder / 'lists'}",
            f"-oDir::Cache={folder / 'cache'}",
            "-oAPT::Sandbox::User=",
        ]

    def run(self, *words: str) -> str:
        """Return the output of a command.

        Errors: CalledProcessError.
        """
        command = [words[0], *self.options, *words[1:]]
        return subprocess.run(
            command, cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout

    def releases(self) -> dict[str, str]:
        """Return the packages by the kernel's release, after an update from all existing suites."""
        lines = []
        for address, own in _mirrors():
            suites = [suite.format(own=own) for suite in SUITES]
            lines += [
                f"deb {address} {suite} main\n"
                for suite in suites
                if ("security" in suite) == ("security" in address)
            ]
        reached = []
        for line in dict.fromkeys(lines):
            # A suite that a mirror does not have makes the whole update fail, so each is tried alone.
            (self.folder / "sources.list").write_text(line)
            try:
                self.run("apt-get", "update", "-qq", "-oAPT::Update::Error-Mode=any")
                reached.append(line)
            except subprocess.CalledProcessError:
                continue
        (self.folder / "sources.list").write_text("".join(reached))
        self.run("apt-get", "update", "-qq")
        names = self.run("apt-cache", "search", "--names-only", r"^linux-source-[0-9]+\.[0-9]+$")
        found = (_PACKAGE.match(line) for line in names.splitlines())
        return {package[1]: package[0] for package in found if package}


def _mirrors() -> list[tuple[str, str]]:
    """Return the addresses from which the machine gets its packages, each with the name of its release."""
    release = re.search(r"VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text())
    own = release[1] if release else "stable"
    found: list[str] = []
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if path.suffix in (".list", ".sources") and path.is_file():
            found += re.findall(
                r"^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+/debian\S*)", path.read_text(), re.MULTILINE
            )
    return [(address.rstrip("/"), own) for address in dict.fromkeys(found)]


def unpack(package: Path, folder: Path) -> None:
    """Put the files of READ from the tree in a package into the folder."""
    with tempfile.TemporaryDirectory(dir=package.parent) as scratch:
        subprocess.run(["dpkg", "-x", package, scratch], check=True)  # noqa: S607
        archive = next(Path(scratch).rglob("linux-source-*.tar.xz"))
        with tarfile.open(archive, "r|*") as tree:
            for member in tree:
                if member.isreg() and READ.fullmatch(member.name):
                    member.name = member.name.partition("/")[2]
                    tree.extract(member, folder, filter="data")


def get_trees(folder: Path) -> dict[str, str]:
    """Get the trees into the folder; return the result for each release."""
    folder.mkdir(exist_ok=True)
    said: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix="unfinished-") as name:
        scratch = Path(name).absolute()
        apt = Apt(scratch)
        for release, package in sorted(apt.releases().items()):
            target = folder / release
            if target.exists():
                said[release] = "is there"
                continue
            apt.run("apt-get", "download", "-qq", package)
            unpack(next(scratch.glob(f"{package}_*.deb")), scratch / release)
            (scratch / release).rename(target)
            said[release] = f"from {package}"
    return said


def main() -> int:
    """Get the trees for the command line; return exit code 1 if there is none."""
    folder = Path(sys.argv[1])
    try:
        said = get_trees(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"The kernel trees cannot be had: {error}.", file=sys.stderr)
        return 1
    for release, what in said.items():
        print(f"{folder / release} {what}")
    if not said:
        print("Debian's packages have no kernel tree here.", file=sys.stderr)
    return 0 if said else 1


if __name__ == "__main__":
    sys.exit(main())
