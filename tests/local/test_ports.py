"""Ports: free ones, and ours after a restart."""

import socket

import pytest

from reelgate_local import ports


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_port_someone_listens_on_is_not_free(listener):
    assert not ports.is_free(listener.getsockname()[1])


def test_a_listener_on_every_address_is_seen():
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_the_preferred_port_is_taken_when_free(listener):
    port = ports.choose()

    assert ports.choose(port) == port
    assert ports.choose(listener.getsockname()[1]) != listener.getsockname()[1]


def test_a_port_given_to_another_part_is_avoided():
    port = ports.choose()

    assert ports.choose(port, avoid={port}) != port


def test_ports_are_below_those_of_outgoing_connections():
    assert all(15_000 <= ports.choose() <= 32_000 for _ in range(20))
