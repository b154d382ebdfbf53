"""Texts that a stranger may choose, and what no output may make of them."""

import unicodedata

FORGED = ("same weights: 63 tensors equal bit for bit, 0 differ, 0 on one side only", "verified", "mini-vit: passed", "0 errors, 0 warnings")
TEXTS = {
    "all at once": f"[/red][ours]:smile:\n{FORGED[0]}\nverified\n\x1b[2K\x9b1m\u202e```\n# a\n|<script>[x](javascript:y)$\\frac{{'\u5929",
    "markup": "[/red][link=https://evil.example]ours[/link] [ours] :smile: [bold",
    "lines": "x\n" + "\n".join(FORGED) + "\r\n\x0b\x0c\x85\u2028verified\u2029verified\n",
    "control": "\x1b[2K\x1b]8;;http://evil.example\x07\x9b31m\x7f\x08\t\x00\x1b[1A",
    "unseen": "\u202everified\u2066\u2069\u200b\u200f\u2060\ufeff\U000e0041\u3164\u00ad",
    "markdown": "```\n# verified\n\n| a | b |\n|---|---|\n\n"
    "<script>alert(1)</script> [x](javascript:y) ![](http://evil.example/x.png) ~~~ `` ` _*a*_ &lt; \\",
    "block": "- [ ] verified",
    "numbered": "1. verified",
    "underline": "===",
    "html": "\"'><img src=x onerror=alert(1)></style></title><script>alert(1)</script><!-- ]]>",
    "formula": "$\\frac{$$ ^_ \\undefined {{ 7*7 }} {% raw %} %s {0} ${HOME} =cmd()",
    "yaml": "---\nlicense: mit\n...\n'\"#: !!python/object:os.system {a: [",
    "shell": "$(touch pwned) `touch pwned`; '\" && touch pwned",
    "scripts": "\u5929\u7a7a Stra\u00dfe \u2603 \U0001f600 \u05d0",
    "no text": "\udce4\ud800\udfff",
    "long": "verified " * 3000,
}


def printable(text: str) -> str:
    """The text as a manifest allows it: without what cannot be printed."""
    return "".join(sign for sign in text if sign.isprintable()).strip() or "none"


def as_name(text: str, suffix: str = "") -> str:
    """The text as a file may be called."""
    plain = text.encode("utf-8", "surrogatepass").replace(b"\xed\xa0\x80", b"").replace(b"\xed\xbf\xbf", b"").decode("utf-8", "surrogatepass")
    plain = plain.replace("/", "\u2044").replace("\x00", "")
    while len((plain + suffix).encode("utf-8", "surrogateescape")) > 200:
        plain = plain[:-1]
    return plain + suffix


def unseen(text: str) -> list[str]:
    """What in an output no eye sees, or what moves it: all control and format characters but the ends of lines."""
    return [sign for sign in text if sign != "\n" and (unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") or sign == "\u3164")]


def forged(text: str) -> list[str]:
    """The lines that a text from outside has made, to be taken for segzoo's own."""
    return [line for line in text.split("\n") if line in FORGED]
