"""A crowd of idle clients in a process of its own, because descriptors are limited per process.

`python3 crowd.py PORT COUNT` opens up to COUNT connections, reads each greeting, and prints `open N`. On a line `leave`
it closes them all and prints `left`; at `heard` it reads what the server has said meanwhile and prints how many
connections were closed, and with how many goodbyes.
"""

import resource
import socket
import sys

KEPT = 50       # descriptors for everything else


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = []
    for _ in range(min(count, hard - KEPT)):
        client = socket.create_connection(("127.0.0.1", port), 30)
        if not client.recv(200).startswith((b"220 ", b"+OK")):
            break
        clients.append(client)
    print(f"open {len(clients)}", flush=True)
    for order in sys.stdin:
        if order.strip() == "leave":
            for client in clients:
                client.close()
            clients.clear()
            print("left", flush=True)
        elif order.strip() == "heard":
            closed, goodbyes = 0, 0
            for client in clients:
                said = client.recv(200)
                goodbyes += b"Server shutting down\r\n" in said
                closed += client.recv(200) == b""
            print(f"{closed} {goodbyes}", flush=True)


if __name__ == "__main__":
    main()
