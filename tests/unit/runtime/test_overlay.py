"""An overlay of more layers than mount(2) can be told of."""

from __future__ import annotations

from typing import cast

import pytest

from corten.errors import CortenError
from corten.runtime.operations.root import OverlayMount
from corten.spec.operation import Context


def test_more_layers_than_a_page_can_name() -> None:
    lowers = tuple(f"layers/{number:016}/fs" for number in range(200))
    overlay = OverlayMount("/nowhere", lowers, "c/7/upper", "c/7/work", "c/7/merged")
    with pytest.raises(CortenError, match="max depth exceeded: 200 layers are more than") as refused:
        overlay.run(cast("Context", None))  # before anything is done
    assert "each RUN, COPY and ADD makes one" in refused.value.hint
