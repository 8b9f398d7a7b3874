"""Writes nodes/lib/entities.c: the named character references of HTML5, from Python's copy of the standard's list, and the
all-capitals variants that ftfy reads too.

    python3 tools/golden/entities.py
"""
import html
import html.entities
import pathlib
import unicodedata

OUT = pathlib.Path(__file__).resolve().parents[2] / "nodes" / "lib" / "entities.c"
HEAD = """/* The named character references of HTML5, sorted by name. Made by tools/golden/entities.py.
 * ref: https://html.spec.whatwg.org/multipage/named-characters.html */
#include "nodes/lib/entities.h"

"""


def literal(text):
    """As the inside of a C string; no hexadecimal escapes, which would swallow what follows."""
    out = ""
    for c in text:
        if c in '"\\' or ord(c) < 32:
            out += f"\\{ord(c):03o}"
        elif unicodedata.category(c)[0] in "LNPS":
            out += c
        else:
            out += "".join(f"\\{b:03o}" for b in c.encode())
    return out


def table(name, rows):
    lines, line = [], ""
    for key, value in sorted(rows.items(), key=lambda r: r[0].encode()):
        item = '{"%s","%s"},' % (key, literal(value))
        if len(line) + len(item) > 128:
            lines.append(line)
            line = ""
        line += item
    lines.append(line)
    body = "\n".join(lines)
    return f"const kg_entity {name}[] = {{ /* table */\n{body}\n}};\nconst int {name}_count = sizeof {name} / sizeof *{name};\n"


def capitals():
    out = {}
    for name, value in html.entities.html5.items():
        upper = "&" + name.upper()
        if name.endswith(";") and name == name.lower() and html.unescape(upper) == upper:
            out[upper[1:]] = value.upper()
    return out


if __name__ == "__main__":
    OUT.write_text(HEAD + table("kg_entities", html.entities.html5) + "\n" + table("kg_entities_capital", capitals()))
