"""An SMTP server by other hands (aiosmtpd) on several addresses and one port: `remote.py FOLDER ADDRESS...`.

Each message it takes is a pair of files in FOLDER, written before its 250: `N.text`, the octets, and `N.json`: the
address that took it, the recipients, and the moment (CLOCK_MONOTONIC, in seconds). Says `listening on port P` first.
"""

import asyncio
import json
import pathlib
import sys
import time

from aiosmtpd.smtp import SMTP

TRIES = 50


class Keeper:
    """What aiosmtpd calls a handler."""

    def __init__(self, folder):
        self._folder = folder
        self._count = 0

    async def handle_DATA(self, server, session, envelope):
        self._count += 1
        (self._folder / f"{self._count}.text").write_bytes(envelope.original_content)
        (self._folder / f"{self._count}.json").write_text(json.dumps({
            "at": server.transport.get_extra_info("sockname")[0], "sender": envelope.mail_from,
            "to": envelope.rcpt_tos, "moment": time.monotonic()}))
        return "250 kept"


async def main(folder, addresses):
    keeper = Keeper(pathlib.Path(folder))
    loop = asyncio.get_running_loop()
    for _ in range(TRIES):
        port, servers = 0, []
        try:
            for address in addresses:
                servers.append(await loop.create_server(lambda: SMTP(keeper, hostname="remote.example"), address, port))
                port = servers[0].sockets[0].getsockname()[1]
            break
        except OSError:     # the port is somebody's on one of the addresses
            for server in servers:
                server.close()
    else:
        sys.exit("no port that is free on all addresses")
    print(f"listening on port {port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
