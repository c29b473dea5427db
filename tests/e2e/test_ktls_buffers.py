#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Byte for byte through sockets that take a record in pieces only, in every engine."""
import random
import threading
import time

import pytest

import kernel_tls
import lab

FRAMES = 1000


@pytest.mark.parametrize("engine", lab.engines())
def test_smallest_buffers_and_a_slow_reader(tmp_path, engine):
    """What SO_SNDBUF 2048 comes to, for all sockets of both daemons and of the PLC."""
    with kernel_tls.own_network(tcp_wmem="4096 4608 4608"):
        with lab.Site(tmp_path, engine=engine) as site:
            exchange_slowly(site, random.Random(8))
        kernel_tls.no_keys_left()


def exchange_slowly(site, chance):
    """Writes and reads in turn, all of them on their way as soon as there is room."""
    sizes = [chance.choice([1, 7, 100, 480, 960]) for _ in range(FRAMES // 2)]
    values = [[(number * 31 + n) & 0xffff for n in range(size)]
              for number, size in enumerate(sizes)]
    with site.connect(receive_buffer=2304) as sock:
        sender = threading.Thread(target=lambda: [
            sock.sendall(lab.write_words(0, each) + lab.read_words(0, len(each)))
            for each in values])
        sender.start()
        for number, wanted in enumerate(values):
            assert lab.receive_frame(sock, 30) == lab.answer_3e(b"")
            assert lab.words_of(lab.receive_frame(sock, 30)) == wanted
            if number % 50 == 0:
                time.sleep(0.1)
        sender.join()
