"""The network interface through which the machines of a run reach one another."""

import ipaddress
import os
import socket

import psutil

SETTING = "GLOO_SOCKET_IFNAME"
ELSEWHERE = "192.0.2.1"  # an address that nobody has (RFC 5737): the way to it is the default route


def name_interface(main_host: str) -> None:
    """Have gloo listen where `main_host` (`MASTER_ADDR`) is reached, unless the environment names an interface.

    By itself it listens at what the machine's own name stands for, which on Debian is 127.0.1.1: no other machine
    gets there.
    """
    if SETTING not in os.environ and (found := interface_towards(main_host)):
        os.environ[SETTING] = found


def interface_towards(host: str) -> str | None:
    """The interface through which this machine reaches `host`; None where there is no telling.

    On the machine that is `host`, its name may stand for a loopback address, too; then it is the default route's.
    """
    own = address_towards(host)
    if own and is_loopback(own) and not (host == "localhost" or is_loopback(host)):
        own = address_towards(ELSEWHERE) or own
    for name, addresses in psutil.net_if_addrs().items():
        if own and own in (each.address.partition("%")[0] for each in addresses):
            return name
    return None


def address_towards(host: str) -> str | None:
    """This machine's own address on the way to `host`."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # of a datagram socket: nothing is sent
            return probe.getsockname()[0].partition("%")[0]
    except OSError:
        return None


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
