"""A manifest, an index or a configuration of whatever bytes is refused, or has every size in its bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from corten.errors import CortenError, DataCorrupt
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import image as image_spec
from corten.spec import nesting


def one(data: bytes) -> None:
    """Read it as each of them."""
    for media_type in ("", descriptors.OCI_MANIFEST, descriptors.DOCKER_INDEX):
        for decode in (descriptors.decode, descriptors.decode_any):
            try:
                value = decode(data, media_type)
            except CortenError:
                continue
            for one in _descriptors(value):
                digests.split(one.digest)
                assert 0 <= one.size <= descriptors.MAX_BLOB
    try:
        document = image_spec.decode(data)
    except CortenError:
        return
    digests.chain_ids(document.diff_ids)


def _descriptors(value: descriptors.Manifest | descriptors.Index) -> Iterator[descriptors.Descriptor]:
    if isinstance(value, descriptors.Index):
        with contextlib.suppress(DataCorrupt):  # as if every index in it were itself: that has no end but the bounds
            yield from nesting.unfold(value, lambda _: value)
    else:
        yield from (value.config, *value.layers)
