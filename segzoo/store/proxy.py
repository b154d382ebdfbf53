"""The proxy that the environment names for an address: whether it can be used as it is written."""

import re
from importlib.util import find_spec
from urllib.request import getproxies

from requests.utils import get_environ_proxies, select_proxy

from segzoo.store.trouble import Kind, Trouble

PYSOCKS = "pip install pysocks"


def judge_proxy(url: str) -> None:
    """Raises Trouble where the proxy for an address cannot be used. Its password is in no message."""
    proxy = select_proxy(url, get_environ_proxies(url))
    if proxy and (wrong := fault_of(proxy)):
        named = [f"{name.upper()}_PROXY" for name, value in getproxies().items() if value == proxy]
        raise Trouble(Kind.LOST, f"{' and '.join(named) or 'the proxy'}: {wrong[0]}", hint=wrong[1])


def fault_of(proxy: str) -> tuple[str, str] | None:
    """What is wrong with the address of a proxy, and what to do; None where nothing is."""
    scheme, _, rest = proxy.rpartition("://")
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(host) :]:  # the rest of a password
        sign = rest[len(host)]
        return f"'{sign}' in the user name or password ends the address there", f"write %{ord(sign):02X} for '{sign}' there"
    if scheme.lower().startswith("socks") and find_spec("socks") is None:
        return "a SOCKS proxy needs PySocks, which is not installed", PYSOCKS
    return None
