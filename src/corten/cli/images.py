"""``images``, ``rmi``, ``tag``."""

from __future__ import annotations

from corten.errors import CortenError, NotFound

from .context import Context
from .options import FLAG, STRING, Command, Option
from .ps import FORMAT
from .table import Listing, filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .options import Values

_NONE = "<none>"
_DEFAULT = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_DIGESTS = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def images(context: Context, values: Values, arguments: list[str]) -> int:
    """``images``."""
    wanted = filters(values.filter) or {}
    if arguments:
        wanted["reference"] = [arguments[0]]
    form = values.format or ("" if values.quiet else context.setting("imagesFormat"))
    found = context.client.get("/images/json", {"all": values.all or None, "filters": wanted or None})
    digests = values.digests or "Digest" in form
    shown = [row for image in sorted(found, key=_newest_first) for row in rows(image, digests=digests)]
    if values.quiet and form in ("", "table"):
        for row in shown:
            context.out(row["Id"] if values.no_trunc else short_id(row["Id"]))
        return 0
    listing(full=values.no_trunc).show(context, shown, form, _DIGESTS if values.digests else _DEFAULT)
    return 0


def _newest_first(image: dict[str, Any]) -> int:
    return -int(image["Created"])


def rows(image: dict[str, Any], *, digests: bool = False) -> Iterator[dict[str, Any]]:
    """A row for each tag, and with digests for each digest of it; for an image without a name, one row."""
    tags = [name for name in image.get("RepoTags") or [] if name != "<none>:<none>"]
    known = dict(_split_digest(name) for name in image.get("RepoDigests") or [] if "<none>" not in name)
    listed: set[str] = set()
    for name in tags:
        repository, _, tag = name.rpartition(":")
        listed.add(repository)
        yield {**image, "Repository": repository, "Tag": tag, "Digest": known.get(repository, _NONE)}
    rest = {name: digest for name, digest in known.items() if name not in listed}
    if not tags or digests:
        for repository, digest in rest.items():
            yield {**image, "Repository": repository, "Tag": _NONE, "Digest": digest}
    if not tags and not rest:
        yield {**image, "Repository": _NONE, "Tag": _NONE, "Digest": _NONE}


def _split_digest(name: str) -> tuple[str, str]:
    repository, _, digest = name.partition("@")
    return repository, digest


def short_id(identifier: str) -> str:
    """The twelve digits that people see."""
    return identifier.removeprefix("sha256:")[:12]


def listing(*, full: bool) -> Listing:
    """The columns of images."""
    return Listing(
        "Image",
        {
            "ID": ("IMAGE ID", lambda row: row["Id"] if full else short_id(row["Id"])),
            "Repository": ("REPOSITORY", lambda row: row["Repository"]),
            "Tag": ("TAG", lambda row: row["Tag"]),
            "Digest": ("DIGEST", lambda row: row["Digest"]),
            "CreatedSince": ("CREATED", lambda row: _since(row["Created"])),
            "CreatedAt": ("CREATED AT", lambda row: _at(row["Created"])),
            "Size": ("SIZE", lambda row: _human(row["Size"])),
            "Containers": ("CONTAINERS", lambda row: _count(row.get("Containers"))),
            "VirtualSize": ("SIZE", lambda row: _human(row.get("VirtualSize") or row["Size"])),
            "SharedSize": ("SHARED SIZE", lambda row: _known(row.get("SharedSize"))),
            "UniqueSize": ("UNIQUE SIZE", lambda row: _unique(row)),
        },
    )


def _since(created: int) -> str:
    from .times import ago

    return f"{ago(created * 10**9)} ago" if created > 0 else "N/A"


def _at(created: int) -> str:
    from .times import local_time

    return local_time(created)


def _human(size: int) -> str:
    from .units import human_size

    return human_size(size, 3)


def _count(count: int | None) -> str:
    return "N/A" if count is None or count < 0 else str(count)


def _known(size: int | None) -> str:
    return "N/A" if size is None or size < 0 else _human(size)


def _unique(row: dict[str, Any]) -> str:
    shared = row.get("SharedSize")
    if shared is None or shared < 0:
        return "N/A"
    from .units import human_size

    return human_size(row["Size"] - shared)


def remove(context: Context, values: Values, names: list[str]) -> int:
    """``rmi``; with ``--force`` what is not there is no failure."""
    query = {"force": values.force or None, "noprune": values.no_prune or None}
    code = 0
    for name in names:
        try:
            answer = context.client.delete(f"/images/{name}", query)
        except NotFound as error:
            code = max(context.failure(error, code=0 if values.force else 1), code)
        except CortenError as error:
            code = context.failure(error)
        else:
            for item in answer:
                for verb, told in item.items():
                    context.out(f"{verb}: {told}")
    return code


def tag(context: Context, values: Values, names: list[str]) -> int:
    """``tag``."""
    source, target = names
    head, slash, last = target.rpartition("/")
    name, _, label = last.partition(":")
    context.client.post(f"/images/{source}/tag", {"repo": head + slash + name, "tag": label})
    return 0


LIST = Command(
    images,
    "List images",
    "[OPTIONS] [REPOSITORY[:TAG]]",
    (
        Option("-a, --all", FLAG, "Show all images (default hides intermediate images)"),
        Option("--digests", FLAG, "Show digests"),
        Option("-f, --filter", "filter", "Filter output based on conditions provided"),
        FORMAT,
        Option("--no-trunc", FLAG, "Don't truncate output"),
        Option("-q, --quiet", FLAG, "Only show image IDs"),
    ),
    arguments=(0, 1),
)
REMOVE = Command(
    remove,
    "Remove one or more images",
    "[OPTIONS] IMAGE [IMAGE...]",
    (
        Option("-f, --force", FLAG, "Force removal of the image"),
        Option("--no-prune", FLAG, "Do not delete untagged parents"),
        Option("--platform", STRING, "Accepted for compatibility", hidden=True),
    ),
    arguments=(1, None),
)
TAG = Command(
    tag,
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    arguments=(2, 2),
)
