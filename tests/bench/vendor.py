"""Kie.ai as fast as Python can be: takes every task at once, calls nobody back, and says of each that it is under way.

Not the simulator, which checks what it is asked as the vendor does: here the vendor must not be what limits.
"""

import asyncio
import itertools
import os
import re

import uvloop

from reelgate_common.service import end_with_parent

_LENGTH = re.compile(rb"content-length: *(\d+)")
_TASK = re.compile(rb"taskid=([^ &]+)")


class _Vendor(asyncio.Protocol):
    numbers = itertools.count()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._held) < whole:
                return
            self._held = self._held[whole:]
            body = self._answer(head)
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )

    def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"post"):
            data = b'{"taskId":"stub-%d-%d"}' % (os.getpid(), next(self.numbers))
        elif task := _TASK.search(head):
            data = b'{"taskId":"%s","successFlag":0}' % task[1]
        else:
            data = b"1000000"  # the account's balance
        return b'{"code":200,"msg":"success","data":%s}' % data


async def main() -> None:
    """Serve until told to stop."""
    server = await asyncio.get_running_loop().create_server(_Vendor, "127.0.0.1", int(os.environ["HTTP_PORT"]))
    await server.serve_forever()


if __name__ == "__main__":
    end_with_parent()
    uvloop.run(main())
