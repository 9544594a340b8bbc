"""Passwords, users and tokens of the registry."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from corten.errors import InvalidInput
from corten.hub import passwords
from corten.hub.auth import Door, Users
from corten.hub.errors import Refusal

# As openssl passwd writes them.
KNOWN = [
    ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    (
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
]
"""Passwords and their hashes."""


@pytest.mark.parametrize(("password", "hashed"), KNOWN)
def test_hashes_are_those_of_the_specification(password: str, hashed: str) -> None:
    assert passwords.crypt(password, hashed) == hashed
    assert passwords.verify(password, hashed)
    assert not passwords.verify(password + " ", hashed)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.fixture
def users(tmp_path: Path) -> Users:
    path = tmp_path / "users"
    path.write_text(f"# ours\n\nme:{passwords.crypt('secret', '$5$rounds=1000$salt$')}\n")
    return Users.read(str(path))


def test_a_right_password_opens_and_no_other(users: Users) -> None:
    for _ in range(2):
        assert users.check(basic("me:secret")) == "me"
    for wrong in ("me:guess", "me:", "you:secret", "me:secretsecret", "me:" + "x" * 10_000, "me"):
        assert users.check(basic(wrong)) == ""
    for header in ("", "Basic", "Basic !!!", "Bearer x", "Basic " + base64.b64encode(b"\xff:\xff").decode()):
        assert users.check(header) == ""


@pytest.mark.parametrize("hashed", ["$2y$05$abcdefghijklmnopqrstuv", "$apr1$x$y", "{SHA}x", "plain", ""])
def test_other_hashes_are_refused_with_what_to_do(tmp_path: Path, hashed: str) -> None:
    (tmp_path / "users").write_text(f"me:{hashed}\n")
    with pytest.raises(InvalidInput) as caught:
        Users.read(str(tmp_path / "users"))
    assert "htpasswd -5" in caught.value.hint


def test_tokens_are_for_what_was_asked_and_allowed(users: Users) -> None:
    door = Door(users, tokens=True)
    with pytest.raises(Refusal) as caught:
        door.enter("", "team/app", "push", "http://here")
    challenge = caught.value.headers["WWW-Authenticate"]
    assert challenge == 'Bearer realm="http://here/token",service="corten",scope="repository:team/app:pull,push"'
    with pytest.raises(Refusal):
        door.token(basic("me:guess"), [], ["pull"])
    scopes = ["repository:team/app:pull,push,delete", "registry:catalog:*", "nonsense"]
    told = json.loads(door.token(basic("me:secret"), scopes, ["pull", "push"]))
    shown = f"Bearer {told['token']}"
    for action in ("pull", "push", "*"):
        door.enter(shown, "team/app", action, "")
    for repository, action in (("team/app", "delete"), ("team/other", "pull")):
        with pytest.raises(Refusal):
            door.enter(shown, repository, action, "")


def test_a_token_of_ones_own_making_is_none(users: Users) -> None:
    door = Door(users, tokens=True)
    token = json.loads(door.token(basic("me:secret"), ["repository:a:pull"], ["pull"]))["token"]
    body, _, seal = token.partition(".")
    content = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    content["access"]["b"] = ["pull"]
    forged = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    others = json.loads(Door(users, tokens=True).token(basic("me:secret"), ["repository:a:pull"], ["pull"]))["token"]
    for one in (f"{forged}.{seal}", body, f"{body}.", f"{body}.!!", f".{seal}", "", others):
        with pytest.raises(Refusal):
            door.enter(f"Bearer {one}", "b" if one.startswith(forged) else "a", "pull", "")
