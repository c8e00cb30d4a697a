"""What a Zenodo record's metadata say of its files, in every form that the answer has had; called by `zenodo`."""

from __future__ import annotations

import re
from urllib.parse import unquote


def by_name(files: object) -> dict[str, dict[str, object]]:
    """Return a record's files by name, from any form that Zenodo has given its list."""
    if isinstance(files, dict):
        files = files.get("entries")
    if isinstance(files, dict):
        files = [{"key": name} | entry for name, entry in files.items() if isinstance(entry, dict)]
    entries = [entry for entry in files if isinstance(entry, dict)] if isinstance(files, list) else []
    named = [(entry.get("key", entry.get("filename")), entry) for entry in entries]
    return {name: entry for name, entry in named if isinstance(name, str)}


def size_of(entry: dict[str, object]) -> int | None:
    """Return a file's size in bytes, None where none is given."""
    size = entry.get("size", entry.get("filesize"))
    if isinstance(size, bool) or not isinstance(size, int | float) or size < 0 or size != size // 1:
        return None
    return int(size)


def md5_of(entry: dict[str, object]) -> str | None:
    """Return a file's MD5 in lower case, None where none is given."""
    digits = str(entry.get("checksum")).lower().removeprefix("md5:")
    return digits if re.fullmatch(r"[0-9a-f]{32}", digits) else None


def license_of(about: object) -> str | None:
    """Return the id of a record's license, None where none is given."""
    if not isinstance(about, dict):
        return None
    rights = about.get("rights")
    licenses = [about.get("license"), *(rights if isinstance(rights, list) else [])]
    names = [license.get("id") if isinstance(license, dict) else license for license in licenses]
    return next((name for name in names if isinstance(name, str) and name), None)


def names_file(links: object, name: str) -> bool:
    """Tell whether a file's own link names the file."""
    own = links.get("self") if isinstance(links, dict) else None
    return isinstance(own, str) and unquote(own.partition("?")[0]).endswith((f"/{name}", f"/{name}/content"))


def trusted_link(links: object, trusted: list[str]) -> str | None:
    """Return the first of the trusted links that is there."""
    found = [links.get(key) for key in trusted] if isinstance(links, dict) else []
    # A draft's link serves its owner only (zenodo/zenodo-rdm#1196).
    return next((link for link in found if isinstance(link, str) and "/draft/" not in link), None)
