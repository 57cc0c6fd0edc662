"""Python imports this at its start where the tests put it on the path: no connection may be opened.

A kernel's own sockets are those of ZeroMQ, which is not Python and goes on working.
"""

import socket


def refuse(self, address, *rest):
    raise OSError(f"the tests run without network, but something asked for {address}")


socket.socket.connect = refuse
socket.socket.connect_ex = refuse
