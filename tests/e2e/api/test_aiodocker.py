"""aiodocker, the library as it comes from PyPI: what an asynchronous program of a user's does with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiodocker import Docker
from aiodocker.exceptions import DockerError

from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

_SLEEPER = {"Image": "busybox", "Cmd": ["sleep", "600"], "StopSignal": "SIGKILL"}


def _with(engine: Engine, program: Callable[[Docker], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Docker(url=f"unix://{engine.door}") as docker, asyncio.timeout(60):
            try:
                await program(docker)
            finally:
                for container in await docker.containers.list(all=True):
                    await container.delete(force=True, v=True)

    asyncio.run(run())


def test_many_at_once(shared_engine: Engine) -> None:
    async def one(docker: Docker, number: int) -> str:
        config = {"Image": "busybox", "Cmd": ["echo", str(number)]}
        container = await docker.containers.run(config, name=f"many{number}")
        assert (await container.wait())["StatusCode"] == 0
        return "".join(await container.log(stdout=True))

    async def program(docker: Docker) -> None:
        said = await asyncio.gather(*(one(docker, number) for number in range(8)))
        assert said == [f"{number}\n" for number in range(8)]

    _with(shared_engine, program)


def test_exec_with_stdin(shared_engine: Engine) -> None:
    async def program(docker: Docker) -> None:
        container = await docker.containers.run(_SLEEPER, name="within")
        execution = await container.exec(["sh", "-c", "read a; echo got $a; exit 6"], stdin=True)
        async with execution.start(detach=False) as stream:
            await stream.write_in(b"word\n")
            message = await stream.read_out()
            assert message is not None
            assert (message.stream, message.data) == (1, b"got word\n")
            assert await stream.read_out() is None
        assert (await execution.inspect())["ExitCode"] == 6

    _with(shared_engine, program)


def test_attach_and_a_terminal(shared_engine: Engine) -> None:
    async def program(docker: Docker) -> None:
        config = {"Image": "busybox", "Cmd": ["sh", "-c", "read a; echo $a; stty size"], "Tty": True, "OpenStdin": True}
        container = await docker.containers.create(config, name="typed")
        async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
            await container.start()
            await container.resize(h=33, w=44)
            await stream.write_in(b"hi\n")
            said = b""
            while (message := await stream.read_out()) is not None:
                said += message.data
        assert said.split() == [b"hi", b"hi", b"33", b"44"]

    _with(shared_engine, program)


def test_logs_are_followed_to_the_end(shared_engine: Engine) -> None:
    async def program(docker: Docker) -> None:
        script = "for i in 1 2 3; do echo $i; done"
        container = await docker.containers.run({"Image": "busybox", "Cmd": ["sh", "-c", script]}, name="lines")
        assert [line async for line in container.log(stdout=True, follow=True)] == ["1\n", "2\n", "3\n"]

    _with(shared_engine, program)


def test_events_of_a_container(shared_engine: Engine) -> None:
    async def program(docker: Docker) -> None:
        heard = docker.events.subscribe()
        while not (await docker.system.info())["NEventsListener"]:  # it subscribes in its own time
            continue
        container = await docker.containers.run(_SLEEPER, name="heard")
        await container.kill()
        actions = []
        while "die" not in actions:
            event = await heard.get()
            if event and event["Actor"]["ID"] == container.id:
                actions.append(event["Action"])
        assert actions == ["create", "start", "kill", "die"]

    _with(shared_engine, program)


def test_errors_have_their_status_and_sentence(shared_engine: Engine) -> None:
    async def program(docker: Docker) -> None:
        with pytest.raises(DockerError) as missing:
            await docker.containers.get("nobody")
        assert (missing.value.status, missing.value.message) == (404, "No such container: nobody")
        first = await docker.containers.create(_SLEEPER, name="taken")
        with pytest.raises(DockerError) as conflict:
            await docker.containers.create(_SLEEPER, name="taken")
        assert conflict.value.status == 409
        assert conflict.value.message == (
            f'Conflict. The container name "/taken" is already in use by container "{first.id}". You have to remove '
            "(or rename) that container to be able to reuse that name."
        )

    _with(shared_engine, program)


def test_images_volumes_networks_and_the_system(shared_engine: Engine) -> None:
    async def program(docker: Docker) -> None:
        image = await docker.images.inspect("busybox")
        assert [one["Id"] for one in await docker.images.list()] == [image["Id"]]
        volume = await docker.volumes.create({"Name": "aio", "Labels": {"a": "b"}})
        assert (await volume.show())["Labels"] == {"a": "b"}
        network = await docker.networks.create({"Name": "aio"})
        assert (await network.show())["Name"] == "aio"
        await volume.delete()
        assert await network.delete()
        assert (await docker.system.info())["Images"] == 1
        assert (await docker.version())["ApiVersion"] == shared_engine.api("GET", "/version").json["ApiVersion"]
        with pytest.raises(DockerError, match="not a swarm manager"):
            await docker.services.list()

    _with(shared_engine, program)
