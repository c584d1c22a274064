"""
A TCP proxy that does to connections what networks do.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16


class TcpProxy:
    """
    Between clients and one server. While it is stalled nothing passes and nobody is told; while it is
    partitioned new connections find nobody either.

    Attributes:
        accepted: How many connections there have been.
        delay: Seconds that everything takes longer, either way.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.target = (host, port)
        self.accepted = 0
        self.delay = 0.0
        self._passing = asyncio.Event()
        self._passing.set()
        self._refusing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._arrival = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stall(self) -> None:
        """From now on nothing passes, and connections stay open: as when a cable is pulled."""
        self._passing.clear()

    def refuse(self) -> None:
        """From now on every connection is reset at once, those that there are too."""
        self._refusing = True
        self.reset()

    def heal(self) -> None:
        """All is well again; what was held back passes now."""
        self._refusing = False
        self._passing.set()

    def reset(self) -> None:
        """Reset the connections that there are; new ones may come."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def another(self) -> None:
        """Return when somebody connects."""
        self._arrival.clear()
        await self._arrival.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._arrival.set()
        if self._refusing:
            _reset(writer)
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._passing.wait()
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            self._writers.discard(writer)
            _reset(writer)
            return
        self._writers.add(back)
        both = [asyncio.create_task(self._pass(*way)) for way in ((reader, back), (there, writer))]
        try:
            await asyncio.wait(both)
        finally:
            for passing in both:
                passing.cancel()
            await asyncio.wait(both)
            for end in (writer, back):
                self._writers.discard(end)
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
            await self._passing.wait()
            writer.write_eof()
        except OSError:
            writer.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    """With RST, and not as one that has said all."""
    found = writer.get_extra_info("socket")
    if found is not None and not writer.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
