"""The machine that the comparison runs on: its kernel, the kernel's configuration, and its processor."""

import gzip
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

OPTIONS: Final = (
    "CONFIG_KSM",
    "CONFIG_MEM_SOFT_DIRTY",
    "CONFIG_MITIGATION_PAGE_TABLE_ISOLATION",
    "CONFIG_NUMA",
    "CONFIG_PER_VMA_LOCK",
    "CONFIG_PT_RECLAIM",
    "CONFIG_SWAP",
    "CONFIG_TRANSPARENT_HUGEPAGE",
    "CONFIG_USERFAULTFD",
    "CONFIG_X86_INTEL_MEMORY_PROTECTION_KEYS",
)
"""The options of the configuration that change what the kernel does with page tables, by their names in 6.18."""
THP: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")

FLAGS: Final = ("ospke", "invlpgb", "pcid")
IN_MEMORY: Final = ("tmpfs", "ramfs", "devtmpfs")

Release = tuple[int, int]


class Host(NamedTuple):
    """What is recorded of the machine; `config` has "y", "n" or "unknown" for each of OPTIONS."""

    release: str
    cpu: str
    cpus: int
    config: dict[str, str]
    huge_pages: str
    flags: tuple[str, ...] = ()
    """The features of the processor, out of FLAGS, that change what is compared."""

    @property
    def version(self) -> Release:
        """Return the major and minor number of the kernel's release; (0, 0) when it is not a release of Linux."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(match[1]), int(match[2])) if match else (0, 0)


def host() -> Host:
    """Return what this machine is; anything that it does not tell is "unknown"."""
    return Host(
        release=platform.release(),
        cpu=_cpu(),
        cpus=len(os.sched_getaffinity(0)),
        config=_config(platform.release()),
        huge_pages=_chosen(_text(THP)),
        flags=_flags(),
    )


def file_folder(candidates: Sequence[str]) -> str:
    """Return the first folder whose files are on a disk and can be executed, or "" if there is none.

    The file of a scenario is written back, and cannot be registered with userfaultfd; for a file in memory neither
    holds.
    """
    for folder in candidates:
        try:
            noexec = os.statvfs(folder).f_flag & os.ST_NOEXEC
        except OSError:
            continue
        if noexec or _filesystem(folder) in IN_MEMORY:
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    return ""


def _filesystem(folder: str) -> str:
    """Return the type of the file system of a folder, from the nearest mount point above it."""
    real = os.path.realpath(folder)
    best, kind = "", IN_MEMORY[0]
    for line in _text(Path("/proc/self/mounts")).splitlines():
        _, point, found, *_ = line.split()
        inside = point in ("/", real) or real.startswith(f"{point}/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def _flags() -> tuple[str, ...]:
    match = re.search(r"^flags\s*: (.*)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    has = match[1].split() if match else []
    return tuple(flag for flag in FLAGS if flag in has)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _cpu() -> str:
    match = re.search(r"^model name\s*: (.*)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return match[1] if match else "unknown"


def _chosen(words: str) -> str:
    match = re.search(r"\[(\w+)\]", words)
    return match[1] if match else "unknown"


def _config(release: str) -> dict[str, str]:
    try:
        text = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        text = _text(Path(f"/boot/config-{release}"))
    if not text:
        return dict.fromkeys(OPTIONS, "unknown")
    chosen = dict(re.findall(r"^(CONFIG_\w+)=(\S+)$", text, re.MULTILINE))
    return {option: chosen.get(option, "n") for option in OPTIONS}
