"""A strict RESP2/RESP3 client: what the node sends must be exactly the protocol."""

import socket
import ssl as tls


class Status(str):
    """A simple string, such as OK."""


class Failure(Exception):
    """An error reply. It is raised by `call` and returned by `read`."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text
        self.code = text.split(" ", 1)[0]

    def __eq__(self, other):
        return isinstance(other, Failure) and other.text == self.text

    __hash__ = None


class Map(dict):
    """A RESP3 map."""


class Closed(Exception):
    """The node closed the connection."""


def encode(*words):
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


class Connection:
    def __init__(self, port, timeout=10, context=None, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def call(self, *words):
        """One command given as words, or as one line that is split at blanks."""
        if len(words) == 1 and isinstance(words[0], str):
            words = words[0].split()
        self.send(encode(*words))
        reply = self.read()
        if isinstance(reply, Failure):
            raise reply
        return reply

    def mapping(self, *words):
        """A reply that is a map, in either protocol."""
        reply = self.call(*words)
        if isinstance(reply, dict):
            return reply
        assert isinstance(reply, list) and len(reply) % 2 == 0, reply
        return dict(zip(reply[::2], reply[1::2]))

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        try:
            data = self.socket.recv(1 << 16)
        except (ConnectionResetError, tls.SSLEOFError):
            data = b""
        if not data:
            raise Closed
        self.buffer += data

    def _line(self):
        while (end := self.buffer.find(b"\r\n")) < 0:
            self._more()
        line, self.buffer = self.buffer[:end], self.buffer[end + 2:]
        assert b"\n" not in line and b"\r" not in line, line
        return line

    def _exactly(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Status(rest.decode())
        if kind == b"-":
            return Failure(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == b"-1":
                return None
            data = self._exactly(int(rest) + 2)
            assert data.endswith(b"\r\n"), data
            return data[:-2].decode()
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"_":
            assert rest == b"", line
            return None
        if kind == b"#":
            return {b"t": True, b"f": False}[rest]
        if kind == b"%":
            return Map((self.read(), self.read()) for _ in range(int(rest)))
        if kind == b",":
            return float(rest)
        raise AssertionError(f"not RESP: {line!r}")

    def closed_by_peer(self):
        """Reads to the end; true when the node ended the connection within the timeout."""
        try:
            while True:
                self._more()
        except Closed:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
