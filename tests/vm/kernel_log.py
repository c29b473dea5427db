# SPDX-License-Identifier: Apache-2.0
"""What a kernel log must not contain, whatever the command's own result was."""
import re

# (pattern, what it means)
COMPLAINTS = tuple((re.compile(pattern), meaning) for pattern, meaning in (
    (r"\bWARNING: ", "WARN_ON or a checker of the kernel"),
    (r"\bBUG: ", "BUG_ON, a bad access, sleeping in atomic context, a soft lockup"),
    (r"\bkernel BUG at ", "BUG_ON"),
    (r"\bOops\b", "bad access in the kernel"),
    (r"Kernel panic", "panic"),
    (r"general protection fault", "bad access in the kernel (or, with a process name, its own)"),
    (r"\bsegfault at ", "a process died of a bad access"),
    (r"unable to handle (?:kernel )?(?:NULL|page)", "bad access in the kernel"),
    (r"possible (?:circular|recursive) locking", "lockdep"),
    (r"suspicious RCU usage", "lockdep"),
    (r"\bKASAN\b|\bKCSAN\b|\bKFENCE\b|\bUBSAN\b", "a sanitizer of the kernel"),
    (r"refcount_t: ", "reference count under- or overflow"),
    (r"list_(?:add|del) corruption", "memory corruption"),
    (r"stack-?protector: Kernel stack|stack segment", "memory corruption"),
    (r"blocked for more than \d+ seconds", "hung task"),
    (r"rcu: INFO: .*(?:stall|expedited)|rcu_(?:sched|preempt).*stall", "RCU stall"),
    (r"page allocation (?:failure|stalls)", "no memory in atomic context"),
    (r"Out of memory: |oom-kill:", "the guest ran out of memory"),
    (r"unregister_netdevice: waiting", "a leaked reference to a network device"),
    (r"Call Trace:", "a stack dump"),
    (r"kmemleak: \d+ new", "leaked kernel memory"),
    (r"soft lockup|hard LOCKUP", "a CPU does nothing else any more"),
    (r"Virtual device \S+ asks to queue packet", "a fault of the emulated machine"),
    (r"9pnet(?:_virtio)?: .*(?:error|failed)", "the lab's file system"),
    (r"\blab: ", "the lab's own scripts in the guest"),
))

# (pattern of a line that is harmless though it matches above, why). None is known: keep it so, a
# real complaint must not hide behind a loose pattern.
ALLOWED = ()

# QEMU before 8.1 now and then translates an instruction that the kernel is rewriting by another
# CPU, and goes on running the breakpoint that stood there for a moment ("accel/tcg: Always lock
# pages before translation"). No kernel code has breakpoints of its own here: nothing is traced.
STALE_BREAKPOINT = re.compile(r"\bOops: int3\b")


def stale_breakpoint(text):
    """Did the emulator, not the kernel, make this log's first complaint?"""
    found = complaints(text)
    return bool(found) and bool(STALE_BREAKPOINT.search(found[0]))


def complaints(text):
    """The lines of a kernel log that make a run fail, with what each means, in order."""
    found = []
    for line in text.splitlines():
        if any(pattern.search(line) for pattern, _ in ALLOWED):
            continue
        meaning = next((meaning for pattern, meaning in COMPLAINTS if pattern.search(line)), None)
        if meaning:
            found.append(f"{line.strip()}  <- {meaning}")
    return list(dict.fromkeys(found))
