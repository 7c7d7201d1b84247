"""The enumerations of ``include/uapi/linux/bpf.h``, spelled as the header spells them, with the release that added each."""

from enum import IntEnum, IntFlag

ENOTSUPP = 524
"""``include/linux/errno.h``: the kernel's own "operation is not supported", in no errno.h of user space."""


class BpfCmd(IntEnum):
    """``enum bpf_cmd``."""

    MAP_CREATE = 0  # v3.18
    MAP_LOOKUP_ELEM = 1  # v3.19
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6  # v4.4
    OBJ_GET = 7
    PROG_ATTACH = 8  # v4.10
    PROG_DETACH = 9
    PROG_TEST_RUN = 10  # v4.12
    PROG_GET_NEXT_ID = 11  # v4.13
    MAP_GET_NEXT_ID = 12
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16  # v4.15
    RAW_TRACEPOINT_OPEN = 17  # v4.17
    BTF_LOAD = 18  # v4.18
    BTF_GET_FD_BY_ID = 19
    TASK_FD_QUERY = 20
    MAP_LOOKUP_AND_DELETE_ELEM = 21  # v4.20
    MAP_FREEZE = 22  # v5.2
    BTF_GET_NEXT_ID = 23  # v5.4
    MAP_LOOKUP_BATCH = 24  # v5.6
    MAP_LOOKUP_AND_DELETE_BATCH = 25
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28  # v5.7
    LINK_UPDATE = 29
    LINK_GET_FD_BY_ID = 30  # v5.8
    LINK_GET_NEXT_ID = 31
    ENABLE_STATS = 32
    ITER_CREATE = 33
    LINK_DETACH = 34  # v5.9
    PROG_BIND_MAP = 35  # v5.10


class BpfMapType(IntEnum):
    """``enum bpf_map_type``."""

    UNSPEC = 0
    HASH = 1  # v3.19
    ARRAY = 2
    PROG_ARRAY = 3  # v4.2
    PERF_EVENT_ARRAY = 4  # v4.3
    PERCPU_HASH = 5  # v4.6
    PERCPU_ARRAY = 6
    STACK_TRACE = 7
    CGROUP_ARRAY = 8  # v4.8
    LRU_HASH = 9  # v4.10
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11  # v4.11
    ARRAY_OF_MAPS = 12  # v4.12
    HASH_OF_MAPS = 13
    DEVMAP = 14  # v4.14
    SOCKMAP = 15
    CPUMAP = 16  # v4.15
    XSKMAP = 17  # v4.18
    SOCKHASH = 18
    CGROUP_STORAGE = 19  # v4.19
    REUSEPORT_SOCKARRAY = 20
    PERCPU_CGROUP_STORAGE = 21  # v4.20
    QUEUE = 22
    STACK = 23
    SK_STORAGE = 24  # v5.2
    DEVMAP_HASH = 25  # v5.4
    STRUCT_OPS = 26  # v5.6
    RINGBUF = 27  # v5.8
    INODE_STORAGE = 28  # v5.10
    TASK_STORAGE = 29  # v5.11
    BLOOM_FILTER = 30  # v5.16
    USER_RINGBUF = 31  # v6.1
    CGRP_STORAGE = 32  # v6.2
    ARENA = 33  # v6.9


class BpfMapFlag(IntFlag):
    """``BPF_F_…`` of BPF_MAP_CREATE, as ``bpf_map_info.map_flags`` shows them."""

    NO_PREALLOC = 1 << 0  # v4.6
    NO_COMMON_LRU = 1 << 1  # v4.10
    NUMA_NODE = 1 << 2  # v4.14
    RDONLY = 1 << 3  # v4.15
    WRONLY = 1 << 4
    STACK_BUILD_ID = 1 << 5  # v4.17
    ZERO_SEED = 1 << 6  # v5.0
    RDONLY_PROG = 1 << 7  # v5.2
    WRONLY_PROG = 1 << 8
    CLONE = 1 << 9  # v5.4
    MMAPABLE = 1 << 10  # v5.5
    PRESERVE_ELEMS = 1 << 11  # v5.10
    INNER_MAP = 1 << 12
    LINK = 1 << 13  # v6.4
    PATH_FD = 1 << 14  # v6.5
    VTYPE_BTF_OBJ_FD = 1 << 15  # v6.9
    TOKEN_FD = 1 << 16
    SEGV_ON_FAULT = 1 << 17
    NO_USER_CONV = 1 << 18


class BpfUpdateFlag(IntFlag):
    """Flags of BPF_MAP_UPDATE_ELEM and look-ups."""

    ANY = 0
    NOEXIST = 1
    EXIST = 2
    LOCK = 4  # v5.1


class BpfProgType(IntEnum):
    """``enum bpf_prog_type``."""

    UNSPEC = 0
    SOCKET_FILTER = 1  # v3.19
    KPROBE = 2  # v4.1
    SCHED_CLS = 3
    SCHED_ACT = 4
    TRACEPOINT = 5  # v4.7
    XDP = 6  # v4.8
    PERF_EVENT = 7  # v4.9
    CGROUP_SKB = 8  # v4.10
    CGROUP_SOCK = 9
    LWT_IN = 10
    LWT_OUT = 11
    LWT_XMIT = 12
    SOCK_OPS = 13  # v4.13
    SK_SKB = 14  # v4.14
    CGROUP_DEVICE = 15  # v4.15
    SK_MSG = 16  # v4.17
    RAW_TRACEPOINT = 17
    CGROUP_SOCK_ADDR = 18
    LWT_SEG6LOCAL = 19  # v4.18
    LIRC_MODE2 = 20
    SK_REUSEPORT = 21  # v4.19
    FLOW_DISSECTOR = 22  # v4.20
    CGROUP_SYSCTL = 23  # v5.2
    RAW_TRACEPOINT_WRITABLE = 24
    CGROUP_SOCKOPT = 25  # v5.3
    TRACING = 26  # v5.5
    STRUCT_OPS = 27  # v5.6
    EXT = 28
    LSM = 29  # v5.7
    SK_LOOKUP = 30  # v5.9
    SYSCALL = 31  # v5.14
    NETFILTER = 32  # v6.4


class BpfAttachType(IntEnum):
    """``enum bpf_attach_type``."""

    CGROUP_INET_INGRESS = 0  # v4.10
    CGROUP_INET_EGRESS = 1
    CGROUP_INET_SOCK_CREATE = 2
    CGROUP_SOCK_OPS = 3  # v4.13
    SK_SKB_STREAM_PARSER = 4  # v4.14
    SK_SKB_STREAM_VERDICT = 5
    CGROUP_DEVICE = 6  # v4.15
    SK_MSG_VERDICT = 7  # v4.17
    CGROUP_INET4_BIND = 8
    CGROUP_INET6_BIND = 9
    CGROUP_INET4_CONNECT = 10
    CGROUP_INET6_CONNECT = 11
    CGROUP_INET4_POST_BIND = 12
    CGROUP_INET6_POST_BIND = 13
    CGROUP_UDP4_SENDMSG = 14  # v4.18
    CGROUP_UDP6_SENDMSG = 15
    LIRC_MODE2 = 16
    FLOW_DISSECTOR = 17  # v4.20
    CGROUP_SYSCTL = 18  # v5.2
    CGROUP_UDP4_RECVMSG = 19
    CGROUP_UDP6_RECVMSG = 20
    CGROUP_GETSOCKOPT = 21  # v5.3
    CGROUP_SETSOCKOPT = 22
    TRACE_RAW_TP = 23  # v5.5
    TRACE_FENTRY = 24
    TRACE_FEXIT = 25
    MODIFY_RETURN = 26  # v5.7
    LSM_MAC = 27
    TRACE_ITER = 28  # v5.8
    CGROUP_INET4_GETPEERNAME = 29
    CGROUP_INET6_GETPEERNAME = 30
    CGROUP_INET4_GETSOCKNAME = 31
    CGROUP_INET6_GETSOCKNAME = 32
    XDP_DEVMAP = 33
    CGROUP_INET_SOCK_RELEASE = 34  # v5.9
    XDP_CPUMAP = 35
    SK_LOOKUP = 36
    XDP = 37
    SK_SKB_VERDICT = 38  # v5.13
    SK_REUSEPORT_SELECT = 39  # v5.14
    SK_REUSEPORT_SELECT_OR_MIGRATE = 40
    PERF_EVENT = 41  # v5.15
    TRACE_KPROBE_MULTI = 42  # v5.18
    LSM_CGROUP = 43  # v6.0
    STRUCT_OPS = 44  # v6.4
    NETFILTER = 45
    TCX_INGRESS = 46  # v6.6
    TCX_EGRESS = 47
    TRACE_UPROBE_MULTI = 48
    CGROUP_UNIX_CONNECT = 49  # v6.7
    CGROUP_UNIX_SENDMSG = 50
    CGROUP_UNIX_RECVMSG = 51
    CGROUP_UNIX_GETPEERNAME = 52
    CGROUP_UNIX_GETSOCKNAME = 53
    NETKIT_PRIMARY = 54
    NETKIT_PEER = 55
    TRACE_KPROBE_SESSION = 56  # v6.10
    TRACE_UPROBE_SESSION = 57  # v6.13


class BpfLinkType(IntEnum):
    """``enum bpf_link_type``."""

    UNSPEC = 0
    RAW_TRACEPOINT = 1  # v5.8
    TRACING = 2
    CGROUP = 3
    ITER = 4
    NETNS = 5
    XDP = 6  # v5.9
    PERF_EVENT = 7  # v5.15
    KPROBE_MULTI = 8  # v5.18
    STRUCT_OPS = 9
    NETFILTER = 10  # v6.4
    TCX = 11  # v6.6
    UPROBE_MULTI = 12
    NETKIT = 13  # v6.7
    SOCKMAP = 14  # v6.10
