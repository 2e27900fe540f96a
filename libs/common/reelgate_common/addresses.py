"""Which addresses are public: the one judgement behind every check against requests into our own network."""

import ipaddress
import socket
import unicodedata
from ipaddress import IPv4Address, IPv6Address

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # how an IPv6-only network writes an IPv4 address
# Global by their number for some versions of Python, but not in fact.
_NOT_GLOBAL = (
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments; Oracle's metadata
    ipaddress.ip_network("168.63.129.16/32"),  # each Azure machine's own host
    ipaddress.ip_network("224.0.0.0/4"),  # multicast
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the internet at large, whatever form it is written in."""
    if isinstance(address, IPv6Address):
        inner = IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.ipv4_mapped
        if inner is not None:
            return is_public(inner)
        tunnelled = address.sixtofour is not None or address.teredo is not None
        return address in _GLOBAL_UNICAST and address.is_global and not tunnelled
    return address.is_global and not any(address in network for network in _NOT_GLOBAL)


def is_private_host(host: str) -> bool:
    """Whether a host is private by its form; what a name resolves to is not looked at."""
    # As clients read it: digits and letters of other shapes, and the ideographic full stop.
    name = unicodedata.normalize("NFKC", host).replace("\u3002", ".").rstrip(".").lower()
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")) or not name:
        return True
    try:
        address = ipaddress.ip_address(name.split("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1, 0x7f000001, 2130706433 and the like
        except (OSError, UnicodeError, ValueError):
            return False
    return not is_public(address)
