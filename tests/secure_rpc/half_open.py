"""One who opens connections to a port and says little or nothing; a process of its own.

python half_open.py SOURCE PORT COUNT held|again HEX

It comes from an address of this machine, sends these bytes on each, prints a line when all were opened, and holds them
until its input ends. `again` opens another one wherever the server closes one.
"""

import contextlib
import resource
import select
import socket
import sys


def opened(source, port, data):
    connection = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    with contextlib.suppress(OSError):
        connection.sendall(data)
    return connection


def main(source, port, count, manner, data):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    data = bytes.fromhex(data)
    held = [opened(source, int(port), data) for _ in range(int(count))]
    sys.stdout.write("opened\n")
    sys.stdout.flush()
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    by_number = {connection.fileno(): connection for connection in held}
    if manner == "again":
        for number in by_number:
            poll.register(number, select.POLLIN)
    while True:
        for number, _ in poll.poll():
            if number == sys.stdin.fileno():
                return
            poll.unregister(number)
            by_number.pop(number).close()
            connection = opened(source, int(port), data)
            by_number[connection.fileno()] = connection
            poll.register(connection, select.POLLIN)


if __name__ == "__main__":
    main(*sys.argv[1:])
