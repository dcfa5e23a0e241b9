"""A reference taken apart: ``timm:resnet18?pretrained&classes=10`` has a scheme, a name and options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from modelstitch.errors import SettingError, did_you_mean

OPTIONS = {
    "pretrained": "the published weights, from the cache on this machine",
    "download": "the same, fetched where the cache lacks them",
    "seed": "seed=N: fresh weights of this seed",
    "classes": "classes=N: so many outputs",
    "size": "size=N: the side of the images that the network sees",
    "raw": "without the network's own normalisation and resizing",
    "trusted": "the file may run code while it is read",
    "architecture": "architecture=REFERENCE: whose weights these are; must be the last option",
}
"""Everything that may stand behind the question mark; each scheme takes some of it."""


@dataclass(frozen=True)
class Reference:
    """How a network is named: ``scheme:name?option&option=value``.

    Args:
        text: as it was written.
        scheme: such as ``timm``.
        name: what the scheme looks up.
        options: by name; the value is empty for an option that has none.
    """

    text: str
    scheme: str
    name: str
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Take a reference apart.

        Example:
            >>> Reference.parse("timm:resnet18?pretrained&classes=10").options
            {'pretrained': '', 'classes': '10'}
        """
        scheme, _, rest = text.partition(":")
        name, _, query = rest.partition("?")
        # An architecture is a reference with options of its own, so it takes all that follows.
        query, mark, architecture = query.partition("architecture=")
        parts = [part.partition("=") for part in query.split("&") if part]
        options = {key: value for key, _, value in parts}
        return cls(text, scheme, name, options | ({"architecture": architecture} if mark else {}))

    @property
    def asked(self) -> str:
        """The first line of an error about it."""
        return f"load the network {self.text!r}"

    def check(self, known: Iterable[str]) -> None:
        """Refuse options that the scheme does not have, and values that they cannot have.

        Raises:
            SettingError: says which are known.
        """
        known = list(known)
        for key in self.options:
            if key not in known:
                otherwise = f"choose among {', '.join(known)}" if known else f"leave out all behind {self.name}"
                do = did_you_mean(key, known, otherwise)
                raise SettingError(self.asked, f"no option {key!r} of {self.scheme}:", do)
        for key in ("seed", "classes", "size"):
            value = self.options.get(key, "1")
            if not value.isdecimal() or (key != "seed" and not int(value)):
                raise SettingError(self.asked, f"{key}={value}", f"write a whole number: {key}=1")

    def has(self, option: str) -> bool:
        """Whether an option was written."""
        return option in self.options

    def number(self, option: str) -> int | None:
        """The value of an option that is a number; None where it was not written."""
        return int(self.options[option]) if option in self.options else None

    @property
    def pretrained(self) -> bool:
        """Whether published weights are asked for."""
        return self.has("pretrained") or self.has("download")

    def also(self, option: str) -> str:
        """The reference with one more option, as advice."""
        return f"{self.text}{'&' if '?' in self.text else '?'}{option}"
