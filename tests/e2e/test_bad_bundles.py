"""Bundles that were changed, cut short, or packed to do harm."""

import json
import tarfile

import pytest

from support import archives
from support.api import pb
from support.bad_input import (
    CODE,
    WEIGHTS,
    Case,
    assert_nothing_escaped,
    fresh,
)
from support.checkpoints import json_bytes
from support.client import crc32c


def bundle_archive(change):
    return lambda client: client.upload_bundle(
        fresh(), change(client.download_bundle("mlp-int8"))
    )


def upload_bundle_stream(*messages):
    return lambda client: client.bundles.UploadBundle(
        iter([message() for message in messages]), timeout=60
    )


def bundle_header():
    return pb.UploadBundleRequest(
        header=pb.UploadBundleHeader(bundle_id=fresh())
    )


def bundle_chunk(offset=0, data=b"x" * 512, crc=None):
    return lambda: pb.UploadBundleRequest(
        chunk=pb.BundleChunk(
            offset=offset,
            data=data,
            crc32c=crc32c(data) if crc is None else crc,
        )
    )


def edit_manifest(change):
    """The bundle with its octet.json changed."""

    def edit(tar):
        entries = []
        for info, data in archives.members(tar):
            if info.name.endswith("octet.json"):
                data = change(json.loads(data))
            entries.append((info, data))
        return archives.pack(entries)

    return bundle_archive(edit)


BUNDLES = [
    Case(
        "bundle-truncated",
        bundle_archive(lambda tar: tar[: len(tar) // 2]),
        CODE.INVALID_ARGUMENT,
        ("archive",),
    ),
    Case(
        "bundle-is-no-tar",
        bundle_archive(lambda _: b"hello" * 1000),
        CODE.INVALID_ARGUMENT,
        ("archive",),
    ),
    Case(
        "bundle-climbs-out",
        bundle_archive(lambda tar: archives.with_file(tar, "../evil", b"x")),
        CODE.INVALID_ARGUMENT,
        ("../evil",),
    ),
    Case(
        "bundle-path-absolute",
        bundle_archive(lambda tar: archives.with_file(tar, "/tmp/e", b"x")),
        CODE.INVALID_ARGUMENT,
        ("/tmp/e",),
    ),
    Case(
        "bundle-symbolic-link",
        bundle_archive(
            lambda tar: archives.with_link(
                tar, "a.json", "/etc/passwd", tarfile.SYMTYPE
            )
        ),
        CODE.INVALID_ARGUMENT,
        ("a.json",),
    ),
    Case(
        "bundle-hard-link",
        bundle_archive(
            lambda tar: archives.with_link(
                tar, "a.json", "config.json", tarfile.LNKTYPE
            )
        ),
        CODE.INVALID_ARGUMENT,
        ("a.json",),
    ),
    Case(
        "bundle-device",
        bundle_archive(
            lambda tar: archives.with_link(tar, "null", "", tarfile.CHRTYPE)
        ),
        CODE.INVALID_ARGUMENT,
        ("null",),
    ),
    Case(
        "bundle-file-twice",
        bundle_archive(
            lambda tar: archives.with_file(tar, "config.json", b"{}")
        ),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "bundle-with-a-file-nobody-declared",
        bundle_archive(lambda tar: archives.with_file(tar, "extra.json", b"1")),
        CODE.DATA_LOSS,
        ("extra.json",),
    ),
    Case(
        "bundle-without-manifest",
        bundle_archive(lambda tar: archives.without(tar, "octet.json")),
        CODE.INVALID_ARGUMENT,
        ("octet.json",),
    ),
    Case(
        "bundle-without-weights",
        bundle_archive(lambda tar: archives.without(tar, WEIGHTS)),
        CODE.DATA_LOSS,
        (WEIGHTS,),
    ),
    Case(
        "bundle-bit-flipped",
        bundle_archive(lambda tar: archives.with_flipped_bit(tar, WEIGHTS)),
        CODE.DATA_LOSS,
        (WEIGHTS,),
    ),
    Case(
        "bundle-manifest-is-not-json",
        edit_manifest(lambda _: b"{"),
        CODE.INVALID_ARGUMENT,
        ("octet.json",),
    ),
    Case(
        "bundle-manifest-of-the-future",
        edit_manifest(lambda m: json_bytes(m | {"format_version": 999})),
        CODE.INVALID_ARGUMENT,
        ("octet.json", "format_version"),
    ),
    Case(
        "bundle-manifest-nested-deeply",
        edit_manifest(lambda _: b'{"files":' + b"[" * 100_000),
        CODE.INVALID_ARGUMENT,
        ("octet.json",),
    ),
    Case(
        "bundle-chunk-leaves-a-gap",
        upload_bundle_stream(bundle_header, bundle_chunk(offset=512)),
        CODE.OUT_OF_RANGE,
        ("offset", "512"),
    ),
    Case(
        "bundle-crc-is-wrong",
        upload_bundle_stream(bundle_header, bundle_chunk(crc=1)),
        CODE.DATA_LOSS,
        ("crc32c",),
    ),
    Case(
        "bundle-chunk-before-the-header",
        upload_bundle_stream(bundle_chunk()),
        CODE.INVALID_ARGUMENT,
        ("header",),
    ),
    Case(
        "bundle-id-taken",
        lambda client: client.upload_bundle(
            "mlp-int8", client.download_bundle("mlp-int8")
        ),
        CODE.ALREADY_EXISTS,
        ("mlp-int8",),
    ),
]


@pytest.mark.parametrize("case", BUNDLES, ids=str)
def test_a_bad_bundle(prepared, server, still_serves, case):
    case.check(prepared, server)
    still_serves()


def test_no_path_of_a_bundle_leads_out(server):
    assert_nothing_escaped(server)
