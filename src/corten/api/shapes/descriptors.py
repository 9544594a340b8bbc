"""What the OCI calls a descriptor, in the API's form."""

from __future__ import annotations

from typing import Any

from corten.spec.image import Image
from corten.spec.platform import Platform


def platform_shape(platform: Platform) -> dict[str, str]:
    """``OCIPlatform``."""
    shape = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        shape["os.version"] = platform.os_version
    return {**shape, "variant": platform.variant} if platform.variant else shape


def descriptor_shape(image: Image) -> dict[str, Any]:
    """``OCIDescriptor`` of an image's manifest."""
    manifest = image.manifest
    return {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size,
        "platform": platform_shape(image.platform),
    }
