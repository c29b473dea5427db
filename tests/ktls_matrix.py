#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The pairwise table of what kernel TLS is tested with end to end.

    tests/ktls_matrix.py    prints it

Every pair of values of any two columns is in some row; which rows those are is worked out here,
always the same way, so that a new value is one word in FACTORS.
"""
import collections
import itertools

FACTORS = {
    "engine": ("splice", "uring-splice", "copy", "epoll"),
    # The other end: its TLS library in user space, or with kernel TLS of its own.
    "peer": ("openssl", "gnutls", "nginx", "nginx-ktls"),
    "cipher": ("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"),
    "tls": ("1.3", "1.2"),
    # Of the daemon: the peer is a client of our gateway, or the server behind our edge.
    "role": ("gateway", "edge"),
}


def pairs_of(row):
    """As ((column, value), (column, value))."""
    return set(itertools.combinations(row.items(), 2))


def all_pairs():
    every = itertools.combinations(FACTORS, 2)
    return {((one, a), (other, b)) for one, other in every
            for a in FACTORS[one] for b in FACTORS[other]}


def rows():
    """Greedy: always a row that covers most of what is missing, of the values least used so far."""
    candidates = [dict(zip(FACTORS, values)) for values in itertools.product(*FACTORS.values())]
    missing, chosen, used = all_pairs(), [], collections.Counter()
    while missing:
        best = max(candidates, key=lambda row: (len(pairs_of(row) & missing),
                                                -sum(used[item] for item in row.items())))
        chosen.append(best)
        used.update(best.items())
        missing -= pairs_of(best)
    return sorted(chosen, key=lambda row: [FACTORS[name].index(row[name]) for name in FACTORS])


def name_of(row):
    return "-".join((row["engine"], row["role"], row["peer"], row["tls"], row["cipher"])).lower()


def table():
    lines = [tuple(FACTORS), *[tuple(row.values()) for row in rows()]]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths)).rstrip()
                     for line in lines)


if __name__ == "__main__":
    print(table())
