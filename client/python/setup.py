"""Compiles the repository's protos into the package while it is built.

What is generated is one file of descriptors, not Python code: message classes
are made of it at run time (octet_client/_protocol.py), so one wheel works with
every protobuf runtime from 3.20 on, whatever protoc made it.
"""

import pathlib

import setuptools
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
GENERATED = pathlib.Path("octet_client", "_generated", "octet_v1.binpb")


def compile_protos(target: pathlib.Path) -> None:
    from grpc_tools import protoc

    sources = sorted((PROTO / "octet" / "v1").glob("*.proto"))
    if not sources:
        raise SystemExit(
            f"octet-client is built in a checkout of Octet's repository: "
            f"{PROTO}/octet/v1/*.proto is missing. Install it with "
            f"'pip install CHECKOUT/client/python'."
        )
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    target.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}"]
    arguments += [f"--descriptor_set_out={target}", *map(str, sources)]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc could not compile the protos, see above")


class BuildWithProtos(build_py):
    def run(self) -> None:
        # An editable install uses the source folder as it is.
        editable = getattr(self, "editable_mode", False)
        root = HERE if editable else pathlib.Path(self.build_lib)
        super().run()
        compile_protos(root / GENERATED)


setuptools.setup(cmdclass={"build_py": BuildWithProtos})
