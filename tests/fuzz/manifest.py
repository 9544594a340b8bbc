"""A manifest, an index or a configuration of whatever bytes is refused, or has every size in its bounds."""

from __future__ import annotations

from collections.abc import Iterator

from corten.errors import CortenError
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import image as image_spec


def one(data: bytes) -> None:
    """Read it as each of them."""
    for media_type in ("", descriptors.OCI_MANIFEST, descriptors.DOCKER_INDEX):
        try:
            value = descriptors.decode(data, media_type)
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
        yield from value.manifests
    else:
        yield from (value.config, *value.layers)
