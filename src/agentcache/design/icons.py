"""Self-drawn icons: 20 × 20 units, lines of 1.6, no fill unless named. One table, so that a page can only use what exists."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

#: Name -> content of the SVG. Lines take the colour of the text around them.
ICONS: Final = MappingProxyType({
    "activity": '<path d="M2.5 10.5h3l2.5-6 4 11 2.5-5h3"/>',
    "alert": '<path d="M10 3.2 17.5 16.5H2.5Z"/><path d="M10 8.2v3.6M10 14.1v.2"/>',
    "archive": '<path d="M3 4h14v3.5H3zM4.5 7.5V16h11V7.5M8 10.5h4"/>',
    "arrow-down": '<path d="M10 4v12M5 11l5 5 5-5"/>',
    "arrow-left": '<path d="M16 10H4M9 5l-5 5 5 5"/>',
    "arrow-right": '<path d="M4 10h12M11 5l5 5-5 5"/>',
    "arrow-up": '<path d="M10 16V4M5 9l5-5 5 5"/>',
    "bell": '<path d="M5 13.5V9a5 5 0 0 1 10 0v4.5l1 1.5H4zM8.3 17.2h3.4"/>',
    "bolt": '<path d="M11 2.5 4.5 11.5H9.5L9 17.5 15.5 8.5H10.5Z"/>',
    "book": '<path d="M4 4.5C6 3.5 8 3.5 10 5c2-1.5 4-1.5 6-.5v11c-2-1-4-1-6 .5-2-1.5-4-1.5-6-.5zM10 5v11"/>',
    "chart": '<path d="M3 3v14h14M7 13.5v-3M10.5 13.5V6M14 13.5V9"/>',
    "check": '<path d="m4 10.5 4 4 8-9"/>',
    "check-circle": '<circle cx="10" cy="10" r="7.5"/><path d="m6.8 10.2 2.3 2.3 4.2-4.6"/>',
    "chevron-down": '<path d="m5 7.5 5 5 5-5"/>',
    "chevron-left": '<path d="m12.5 5-5 5 5 5"/>',
    "chevron-right": '<path d="m7.5 5 5 5-5 5"/>',
    "chevrons": '<path d="m6.5 8 3.5-3.5L13.5 8M6.5 12l3.5 3.5 3.5-3.5"/>',
    "circle": '<circle cx="10" cy="10" r="7.5"/>',
    "clock": '<circle cx="10" cy="10" r="7.5"/><path d="M10 5.5V10l3 2"/>',
    "close": '<path d="m5 5 10 10M15 5 5 15"/>',
    "coin": '<circle cx="10" cy="10" r="7.5"/><path d="M12.3 7.4C11.8 6.6 11 6.3 10 6.3c-1.3 0-2.3.7-2.3 1.8 0 2.5 4.7 1.2 4.7 3.8 0 1.1-1 1.8-2.4 1.8-1.1 0-2-.4-2.5-1.2M10 5v1.3M10 13.7V15"/>',
    "copy": '<rect x="7" y="7" width="9.5" height="9.5" rx="1.5"/><path d="M4.5 13H3.5V3.5H13v1"/>',
    "device": '<rect x="2.5" y="4" width="15" height="9.5" rx="1.5"/><path d="M7 16.5h6M10 13.5v3"/>',
    "download": '<path d="M10 3v9.5M6 9l4 4 4-4M3.5 16.5h13"/>',
    "edit": '<path d="m4 16 .8-3.4L13.2 4.2a1.6 1.6 0 0 1 2.3 0l.3.3a1.6 1.6 0 0 1 0 2.3L7.4 15.2Z"/>',
    "external": '<path d="M8 4H4v12h12v-4M11.5 3.5h5v5M16 4l-7 7"/>',
    "eye": '<path d="M2 10c2-3.6 4.7-5.4 8-5.4S16 6.4 18 10c-2 3.6-4.7 5.4-8 5.4S4 13.6 2 10Z"/><circle cx="10" cy="10" r="2.5"/>',
    "filter": '<path d="M3 5h14M5.5 10h9M8.5 15h3"/>',
    "flag": '<path d="M5 17V3.5M5 4h9.5l-2 3.5 2 3.5H5"/>',
    "gauge": '<path d="M3.5 15a7.5 7.5 0 1 1 13 0M10 12l3-4.5"/><circle cx="10" cy="12.5" r="1"/>',
    "gear": '<circle cx="10" cy="10" r="2.6"/><path d="M10 2.5v2.3M10 15.2v2.3M2.5 10h2.3M15.2 10h2.3M4.7 4.7l1.6 1.6M13.7 13.7l1.6 1.6M15.3 4.7l-1.6 1.6M6.3 13.7l-1.6 1.6"/>',
    "github": '<path d="M7.5 17v-2.3c-2.5.6-3.3-1-3.7-1.9M12.5 17v-2.6c0-.8-.2-1.3-.6-1.6 2-.2 4.1-1 4.1-4.3 0-1-.3-1.7-.9-2.3.1-.6.1-1.4-.2-2.2-1 0-1.8.4-2.5.9a8.5 8.5 0 0 0-4.8 0c-.7-.5-1.5-.9-2.5-.9-.3.8-.3 1.6-.2 2.2-.6.6-.9 1.3-.9 2.3 0 3.3 2.1 4.1 4.1 4.3"/>',
    "globe": '<circle cx="10" cy="10" r="7.5"/><path d="M2.5 10h15M10 2.5c2.3 2.2 3.3 4.7 3.3 7.5s-1 5.3-3.3 7.5c-2.3-2.2-3.3-4.7-3.3-7.5s1-5.3 3.3-7.5Z"/>',
    "grid": '<rect x="3" y="3" width="5.8" height="5.8" rx="1.2"/><rect x="11.2" y="3" width="5.8" height="5.8" rx="1.2"/><rect x="3" y="11.2" width="5.8" height="5.8" rx="1.2"/><rect x="11.2" y="11.2" width="5.8" height="5.8" rx="1.2"/>',
    "help": '<circle cx="10" cy="10" r="7.5"/><path d="M7.8 7.9c.2-1.3 1.1-2 2.3-2 1.3 0 2.2.8 2.2 1.9 0 1.7-2.2 1.7-2.2 3.4M10 13.9v.2"/>',
    "home": '<path d="m3 9.5 7-6 7 6M5 8.5V16.5h10V8.5M8.5 16.5v-4.5h3v4.5"/>',
    "info": '<circle cx="10" cy="10" r="7.5"/><path d="M10 9.3v4.2M10 6.4v.2"/>',
    "key": '<circle cx="6.5" cy="13.5" r="3.3"/><path d="m9 11 7-7M13.2 6.8l2.3 2.3"/>',
    "layers": '<path d="M10 3 17 6.7 10 10.4 3 6.7Z"/><path d="m3 10 7 3.7L17 10M3 13.3 10 17l7-3.7"/>',
    "link": '<path d="M8.5 11.5a3 3 0 0 0 4.3 0l2.8-2.8a3 3 0 0 0-4.3-4.3L10 5.7M11.5 8.5a3 3 0 0 0-4.3 0l-2.8 2.8a3 3 0 0 0 4.3 4.3L10 14.3"/>',
    "list": '<path d="M7 5h10M7 10h10M7 15h10M3.5 5h.2M3.5 10h.2M3.5 15h.2"/>',
    "lock": '<rect x="4" y="9" width="12" height="8" rx="1.5"/><path d="M6.5 9V6.5a3.5 3.5 0 0 1 7 0V9"/>',
    "logout": '<path d="M8 3.5H4v13h4M8.5 10H17M13.5 6.5 17 10l-3.5 3.5"/>',
    "mail": '<rect x="2.5" y="4.5" width="15" height="11" rx="1.5"/><path d="m3 6 7 5 7-5"/>',
    "menu": '<path d="M3 5.5h14M3 10h14M3 14.5h14"/>',
    "minus": '<path d="M4.5 10h11"/>',
    "moon": '<path d="M16.5 12A7 7 0 0 1 8 3.5a7 7 0 1 0 8.5 8.5Z"/>',
    "more": '<path d="M4.5 10h.2M9.9 10h.2M15.3 10h.2" stroke-width="2.6"/>',
    "pause": '<path d="M7 4.5v11M13 4.5v11"/>',
    "pin": '<path d="M7 3.5h6l-1 5 2.5 3H5.5L8 8.5ZM10 11.5v5"/>',
    "play": '<path d="M6 4v12l10-6Z"/>',
    "plus": '<path d="M10 4v12M4 10h12"/>',
    "receipt": '<path d="M4.5 3h11v14l-2-1.5-1.8 1.5-1.7-1.5L8.3 17l-1.8-1.5-2 1.5zM7.5 7h5M7.5 10.5h5"/>',
    "refresh": '<path d="M16 8A6.5 6.5 0 0 0 4.5 6.5L3 8.5M3 4v4.5h4.5M4 12a6.5 6.5 0 0 0 11.5 1.5l1.5-2M17 16v-4.5h-4.5"/>',
    "search": '<circle cx="8.8" cy="8.8" r="5.3"/><path d="m12.8 12.8 4 4"/>',
    "send": '<path d="M17 3 9 11M17 3l-5 14-3-6-6-3Z"/>',
    "shield": '<path d="M10 2.8 16 5v5c0 3.5-2.3 6-6 7.3C6.3 16 4 13.5 4 10V5Z"/><path d="m7.3 9.8 2 2 3.4-3.7"/>',
    "spark": '<path d="M10 3v4M10 13v4M3 10h4M13 10h4M5.2 5.2 7.6 7.6M12.4 12.4l2.4 2.4M14.8 5.2l-2.4 2.4M7.6 12.4l-2.4 2.4"/>',
    "star": '<path d="m10 3 2.1 4.5 4.9.6-3.6 3.4.9 4.9L10 14l-4.3 2.4.9-4.9L3 8.1l4.9-.6Z"/>',
    "sun": '<circle cx="10" cy="10" r="3.3"/><path d="M10 2.5v1.8M10 15.7v1.8M2.5 10h1.8M15.7 10h1.8M4.7 4.7 6 6M14 14l1.3 1.3M15.3 4.7 14 6M6 14l-1.3 1.3"/>',
    "system": '<circle cx="10" cy="10" r="7"/><path d="M10 3v14" /><path d="M10 3a7 7 0 0 1 0 14Z" fill="currentColor"/>',
    "table": '<rect x="3" y="4" width="14" height="12" rx="1.5"/><path d="M3 8h14M3 12h14M8.5 8v8"/>',
    "tag": '<path d="M3 3.5h6.5l7.5 7.5-6 6L3.5 9.5ZM6.5 7h.2"/>',
    "team": '<circle cx="7.5" cy="7" r="2.8"/><path d="M2.5 16c.3-3 2.2-4.7 5-4.7s4.7 1.7 5 4.7M13 4.5a2.8 2.8 0 0 1 0 5.2M14.5 11.7c1.8.5 2.8 2 3 4.3"/>',
    "trash": '<path d="M3.5 5.5h13M8 5.5V3.5h4v2M5 5.5l.8 11h8.4l.8-11M8.5 8.5v5M11.5 8.5v5"/>',
    "upload": '<path d="M10 13V3.5M6 7l4-4 4 4M3.5 16.5h13"/>',
    "user": '<circle cx="10" cy="7" r="3.2"/><path d="M4 16.8c.4-3.3 2.6-5.2 6-5.2s5.6 1.9 6 5.2"/>',
    "x-circle": '<circle cx="10" cy="10" r="7.5"/><path d="m7.3 7.3 5.4 5.4M12.7 7.3l-5.4 5.4"/>',
})  # fmt: skip

#: Second names, for what an icon means rather than shows.
ALIASES: Final = MappingProxyType({
    "chevron": "chevrons", "exit": "logout", "people": "team", "scroll": "receipt", "warning": "alert",
    "left": "chevron-left", "right": "chevron-right", "up": "arrow-up", "down": "arrow-down", "settings": "gear",
    "members": "team", "delete": "trash", "x": "close",
})  # fmt: skip


def content(name: str) -> str:
    """Return what is drawn; `KeyError` for a name that does not exist."""
    return ICONS[ALIASES.get(name, name)]
