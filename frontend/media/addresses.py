"""Which network addresses images may be fetched from. Pure."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TEREDO = ipaddress.IPv6Network("2001::/32")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Python's registry of special addresses differs between its versions; these are in none or not in all.
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.64.0.0/10",  # behind a provider's NAT
            "192.0.0.0/24",  # protocol assignments
            "192.88.99.0/24",  # relays of 6to4
            "::/96",  # IPv4 in IPv6, an abandoned form
            "64:ff9b:1::/48",  # a network's own NAT64
            "100::/64",  # discarded
            "2001::/23",  # protocol assignments, among them Teredo
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
            "fec0::/10",  # site-local
        ),
    )
)


def may_be_fetched_from(text: str, allow_private: bool) -> bool:
    """Whether a numeric address may be connected to.

    Only public ones may, unless `allow_private`; those that are meaningful on one link alone or for several
    receivers never. An IPv6 address that carries an IPv4 address is judged by that, too.
    """
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        carried = _carried(address)
        if carried is not None and not _is_usable(carried, allow_private):
            return False
        if address.ipv4_mapped is not None:
            return True
    return _is_usable(address, allow_private)


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to `address` end up at."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _SIX_TO_FOUR:
        return address.sixtofour
    if address in _TEREDO and address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _is_usable(address: Address, allow_private: bool) -> bool:
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if allow_private:
        return True
    if address.is_reserved and not (address.version == 6 and address in _NAT64):
        return False
    return (address.is_global or address in _NAT64) and not any(address in special for special in _SPECIAL)
