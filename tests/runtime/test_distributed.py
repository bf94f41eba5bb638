"""Processes find the way to each other, who shares their machine, and which GPU is theirs."""

import os
import socket

import psutil
import pytest
import torch

from runtime import distributed, network
from runtime.errors import UserError

# Three processes, of which the second and the third find themselves on one machine and the first on another.
THREE = """
import socket, os
from runtime import distributed
rank = int(os.environ["RANK"])
socket.gethostname = lambda: "node0" if rank == 0 else "node1"
os.sched_getaffinity = lambda _: {0, 1, 2, 3} if rank == 1 else {2, 3, 4, 5}
with distributed.processes():
    print(distributed.local_processes(), distributed.cores(), os.environ["GLOO_SOCKET_IFNAME"])
print(distributed.local_processes())
"""


def interfaces_with(address):
    return [name for name, own in psutil.net_if_addrs().items() if address in (each.address for each in own)]


def test_processes_find_out_who_shares_their_machine(start, free_port):
    """The environment says it under torchrun only."""
    given = {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [start("-c", THREE, env=given | {"RANK": rank}) for rank in "012"]
    said = [process.communicate(timeout=60)[0].split() for process in started]
    (loopback,) = interfaces_with("127.0.0.1")
    # Of the cores of the second and third, two are a process's own, and two shared.
    assert said == [["1", "4", loopback, "1"], ["2", "3", loopback, "1"], ["2", "3", loopback, "1"]]


@pytest.fixture
def own_address():
    """This machine's on its way out."""
    address = network.address_towards(network.ELSEWHERE)
    if address is None or not (names := interfaces_with(address)):
        pytest.skip("this machine has no way out")
    return address, names[0]


def test_a_machine_whose_own_name_is_a_loopback_address_is_reached_from_others(own_address, monkeypatch):
    """As Debian's installer writes /etc/hosts: gloo would listen at 127.0.1.1."""
    address, name = own_address
    resolve = socket.getaddrinfo
    hosts = {"node0": "127.0.1.1", "node1": address}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args, **kw: resolve(hosts.get(host, host), *args, **kw))
    assert network.interface_towards("node0") == network.interface_towards("node1") == name
    assert [network.interface_towards("localhost")] == interfaces_with("127.0.0.1")


def test_an_interface_that_the_user_names_stays(monkeypatch):
    monkeypatch.setenv(network.SETTING, "ib0")
    network.name_interface("127.0.0.1")
    assert os.environ[network.SETTING] == "ib0"


@pytest.mark.parametrize(("local_rank", "visible", "device"), [("3", 4, "cuda:3"), ("3", 1, "cuda:0")])
def test_a_process_that_is_shown_one_gpu_takes_it(monkeypatch, local_rank, visible, device):
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    assert distributed.device() == torch.device(device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="no GPU for process 3 of this machine, which shows 2"):
        distributed.device()


def test_the_others_wait_for_as_long_as_a_large_set_takes_to_index(processes):
    hosts = distributed._hosts._get_backend(torch.device("cpu"))
    assert hosts.options._timeout == distributed.PATIENCE
    assert distributed.PATIENCE.total_seconds() >= 12 * 3600  # PyTorch's own is half an hour
