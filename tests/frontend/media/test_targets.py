"""Which URLs may be fetched: every spelling of an address is seen through, and hosts are allowed by name."""

import ipaddress
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from frontend.config import ConfigError
from frontend.media.addresses import may_be_fetched_from
from frontend.media.domains import is_allowed, normalized_domains
from frontend.media.given import FetchRules, ImageRefused
from frontend.media.targets import redirected, target_of

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
]
PRIVATE_6 = [
    "::",
    "::1",
    "::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001:db8::1",
    "2001:10::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:81b::200e"]


def carriers(address: str) -> list[str]:
    """IPv6 addresses whose packets end up at an IPv4 address."""
    number = int(ipaddress.IPv4Address(address))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    inverted = number ^ 0xFFFF_FFFF
    return [
        f"::ffff:{address}",
        f"64:ff9b::{high}:{low}",
        f"2002:{high}:{low}::1",
        f"2001:0:4136:e378:8000:63bf:{inverted >> 16:x}:{inverted & 0xFFFF:x}",
    ]


@pytest.mark.parametrize(
    "address", [*PRIVATE, *PRIVATE_6, *(c for a in PRIVATE for c in carriers(a)), "x", ""]
)
def test_an_address_that_is_not_public_is_refused(address):
    assert not may_be_fetched_from(address, allow_private=False)


@pytest.mark.parametrize("address", [*PUBLIC, *(c for a in PUBLIC[:3] for c in carriers(a)[:2])])
def test_a_public_address_is_allowed(address):
    assert may_be_fetched_from(address, allow_private=False)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "::1", "fc00::1", "::ffff:192.168.1.1", "1.1.1.1"]
)
def test_private_addresses_are_allowed_where_the_setting_says_so(address):
    assert may_be_fetched_from(address, allow_private=True)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::", "ff02::1"],
)
def test_addresses_of_one_link_or_of_several_receivers_never_are(address):
    assert not may_be_fetched_from(address, allow_private=True)


def rules(*domains: str, allow_private: bool = False) -> FetchRules:
    return FetchRules(
        domains=normalized_domains(domains), allow_private=allow_private, max_bytes=1000, seconds=1.0
    )


ANY = rules("*")


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://example.com", "http://example.com"),
        ("HTTPS://Example.COM./a", "https://example.com/a"),
        ("https://example.com:8443/a?b=c#d", "https://example.com:8443/a?b=c"),
        ("https://example.com/a%2Fb?sig=x%2By%3D&c=%7E", "https://example.com/a%2Fb?sig=x%2By%3D&c=%7E"),
        ("https://example.com/a b", "https://example.com/a%20b"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("http://8.8.8.8/a", "http://8.8.8.8/a"),
        ("http://[2606:4700:0::1111]/a", "http://[2606:4700::1111]/a"),
    ],
)
def test_a_url_is_requested_as_it_is_but_for_its_host(url, sent):
    assert str(target_of(url, ANY)) == sent


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http:///a",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://:password@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com:99999/",
        "http://example.com:abc/",
        "http://example.com:22/",
        "http://example.com:0/",
        "http://a..example/",
        "http://exam ple.com/",
        "http://127%2e0.0.1/",
        "http://example.com/\r\nHost: x",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://" + "a" * 300 + ".example/",
        "http://example.com/" + "a" * 9000,
    ],
)
def test_a_url_that_is_no_plain_web_address_is_refused(url):
    with pytest.raises(ImageRefused):
        target_of(url, ANY)


def spellings(number: int) -> list[str]:
    a, b, c, d = number.to_bytes(4, "big")
    return [
        f"{a}.{b}.{c}.{d}",
        f"{number}",
        f"{number:#x}",
        f"{number:#o}".replace("0o", "0"),
        f"{a}.{number & 0xFF_FFFF}",
        f"{a}.{b}.{c << 8 | d}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{b}.{c}.{d}.",
        f"{a}。{b}．{c}｡{d}",
        "".join(chr(ord("０") + int(x)) if x.isdigit() else x for x in f"{a}.{b}.{c}.{d}"),
        *(f"[{carrier}]" for carrier in carriers(f"{a}.{b}.{c}.{d}")),
    ]


@given(st.sampled_from(["127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16", "169.254.0.0/16"]), st.data())
def test_no_spelling_of_a_private_address_passes(network, data):
    address = data.draw(st.ip_addresses(network=network))
    host = data.draw(st.sampled_from(spellings(int(address))))
    with pytest.raises(ImageRefused):
        target_of(f"http://{host}/", ANY)
    with pytest.raises(ImageRefused, match="redirected"):
        redirected(target_of("http://example.com/", ANY), f"http://{host}/", ANY)


@given(st.text(alphabet=string.printable + "。．０１é", max_size=40))
def test_any_host_is_a_name_an_allowed_address_or_refused(text):
    try:
        url = target_of(f"http://{text}/", ANY)
    except ImageRefused:
        return
    host = url.raw_host
    assert host is not None
    assert url.user is None
    if ":" in host or host.replace(".", "").isdigit():
        assert may_be_fetched_from(host, allow_private=False)
    else:
        assert set(host) <= set(string.ascii_lowercase + string.digits + "._-")


@pytest.mark.parametrize(
    ("host", "domain", "allowed"),
    [
        ("example.com", "example.com", True),
        ("example.com", "EXAMPLE.com.", True),
        ("www.example.com", "example.com", False),
        ("www.example.com", ".example.com", True),
        ("a.b.example.com", ".example.com", True),
        ("example.com", ".example.com", True),
        ("badexample.com", ".example.com", False),
        ("example.com.evil.example", ".example.com", False),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("www.xn--bcher-kva.example", ".bücher.example", True),
        ("1.1.1.1", "1.1.1.1", True),
        ("2606:4700::1", "[2606:4700:0::1]", True),
        ("anything.example", "*", True),
        ("com", ".example.com", False),
    ],
)
def test_a_domain_allows_itself_and_with_a_dot_what_is_below(host, domain, allowed):
    assert is_allowed(host, normalized_domains([domain])) is allowed


@pytest.mark.parametrize(
    "domain", ["", ".", "https://example.com", "example.com/a", "*.example.com", "a b", "a..b"]
)
def test_a_domain_that_no_url_can_have_is_an_error_that_shows_the_forms(domain):
    with pytest.raises(ConfigError, match=r"allowed_media_domains: .* use example\.com, \.example\.com"):
        normalized_domains([domain])


@given(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){1,3}", fullmatch=True))
def test_what_is_not_allowed_is_refused_with_the_option_that_would_allow_it(host):
    assume(not host.endswith("allowed.example"))
    with pytest.raises(ImageRefused, match=f"--allowed-media-domain {host}$"):
        target_of(f"https://{host}/", rules(".allowed.example"))


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/b", "http://example.com/b"),
        ("b?c", "http://example.com/a/b?c"),
        ("//cdn.example.com/b", "http://cdn.example.com/b"),
        ("https://cdn.example.com/b", "https://cdn.example.com/b"),
    ],
)
def test_a_redirect_is_relative_to_where_it_came_from(location, leads_to):
    allowed = rules(".example.com")
    assert str(redirected(target_of("http://example.com/a/", allowed), location, allowed)) == leads_to


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "file:///a",
        "http://a@example.com/",
        "http://example.com:25/",
        "http://x.secret/",
        "\0",
        "http://[",
    ],
)
def test_a_redirect_elsewhere_is_refused_without_saying_where(location):
    allowed = rules(".example.com")
    with pytest.raises(ImageRefused) as caught:
        redirected(target_of("http://example.com/a/", allowed), location, allowed)
    assert str(caught.value) == "is redirected to a URL that images are not fetched from"
