"""A listening socket that outlives the processes that answer at it.

The command that serves binds the address once and hands the open socket to each replica on its machine, over a Unix
socket (``SCM_RIGHTS``, unix(7)), as systemd does for the services that it starts. A request is answered in the process
that took it in, with nothing in between. While no replica is there, as after a crash or in an upgrade, connections wait
in the socket's queue instead of being refused.
"""

import asyncio
import logging
import socket
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

import uvicorn
from starlette.types import ASGIApp

from serving.protocol import AtOnce, GuardedProtocol

logger = logging.getLogger("catena")

QUEUE = 2048  # connections that may wait; Linux cuts it to net.core.somaxconn
KEEP_ALIVE_S = 75  # longer than clients keep an idle connection, so that they are the ones who close it
DRAIN_S = 15  # for requests in flight when a replica stops; Ray Serve kills it after 20 seconds
HANDOVER_S = 10.0


class Listener(AbstractContextManager["Listener"]):
    """Listens at an address, and gives the socket to who asks at ``path``, until the block ends.

    Args:
        host: of this machine.
        port: of it.

    Raises:
        OSError: if the address cannot be listened on.
    """

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, port), family=family, backlog=QUEUE)
        self._folder = tempfile.TemporaryDirectory(prefix="catena-")  # nobody else may enter it
        self.path = Path(self._folder.name) / "listener"
        self._asked = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._asked.bind(str(self.path))
        self._asked.listen()
        self._thread = threading.Thread(target=self._give, daemon=True)
        self._thread.start()

    def _give(self) -> None:
        while True:
            try:
                asking, _ = self._asked.accept()
            except OSError:  # closed
                return
            with asking:
                try:
                    socket.send_fds(asking, [b"1"], [self._listening.fileno()])
                except OSError as error:  # it has ended meanwhile
                    logger.warning("a replica did not take the listening socket: %s", error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asked.shutdown(socket.SHUT_RDWR)
        self._asked.close()
        self._thread.join()
        self._listening.close()
        self._folder.cleanup()


def take_socket(path: Path) -> socket.socket:
    """The listening socket that a ``Listener`` gives at a path, for this process too.

    Raises:
        OSError: if nothing listens there any more.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.settimeout(HANDOVER_S)
        asked.connect(str(path))
        _, descriptors, _, _ = socket.recv_fds(asked, 1, 1)
    if not descriptors:
        raise ConnectionError(f"{path} gave no socket")
    return socket.socket(fileno=descriptors[0])


@asynccontextmanager
async def answering(app: ASGIApp, listening: socket.socket, at_once: AtOnce | None = None) -> AsyncIterator[None]:
    """Answer requests at a socket with an application on this event loop; at the end those in flight are finished.

    Args:
        app: whose lifespan is the caller's.
        listening: closed at the end, in this process alone.
        at_once: what the application need not be asked.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=partial(GuardedProtocol, at_once=at_once),  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
            backlog=QUEUE,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await task
