"""The "See Also" section of a docstring: cutting it out, reading the names in it, finding what they mean.

The format is numpydoc's (https://numpydoc.readthedocs.io/en/latest/format.html#see-also), read leniently: Sphinx roles,
bullets, several names on a line, and the ``.. seealso::`` directive occur as well.
"""

import re
from collections.abc import Iterable, Mapping

SECTION = re.compile(
    r"^(?P<indent>[ \t]*)See Also:?[ \t]*\n[ \t]*[-=~]{3,}[ \t]*(?:\n|\Z)", re.IGNORECASE | re.MULTILINE
)
HEADING = re.compile(r"^[ \t]*\S[^\n]*\n[ \t]*[-=~]{3,}[ \t]*$", re.MULTILINE)
DIRECTIVE = re.compile(
    r"^(?P<indent>[ \t]*)\.\. seealso::[^\n]*\n(?:(?P=indent)[ \t]+\S[^\n]*\n?|[ \t]*\n)*", re.MULTILINE
)
ROLE = re.compile(r":(?!ref:|doc:|term:)[\w:]+:`[~!]?(?:[^`<]*<)?([\w.]+)>?(?:\(\))?`")
NAME = re.compile(r"^[A-Za-z_]\w*(\.\w+)*$")
SHORT = {"np.": "numpy.", "pd.": "pandas.", "nx.": "networkx.", "pl.": "polars.", "sp.": "scipy."}


def cut_see_also(doc: str) -> tuple[str, list[str]]:
    """A docstring without its See Also sections, and the names in them.

    The section has to go before the text is embedded, or the text would give its links away.
    """
    names: list[str] = []
    while found := SECTION.search(doc):
        following = HEADING.search(doc, found.end())
        end = following.start() if following else len(doc)
        names += names_in(doc[found.end() : end])
        doc = doc[: found.start()] + doc[end:]
    while found := DIRECTIVE.search(doc):
        body = found.group().partition("::")[2]
        names += names_in("\n".join(line.strip() for line in body.splitlines()))
        doc = doc[: found.start()] + doc[found.end() :]
    return re.sub(r"\n{3,}", "\n\n", doc).strip(), list(dict.fromkeys(names))


def names_in(section: str) -> list[str]:
    """The names that a See Also section lists; descriptions, indented or after a colon, are passed over."""
    lines = [line.expandtabs() for line in section.splitlines() if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    names: list[str] = []
    open_list = False
    for line in lines:
        if len(line) - len(line.lstrip()) > margin and not open_list:
            continue
        entry = ROLE.sub(r"\1", line.strip().lstrip("-* ").strip())
        listed = re.split(r"\s*:(?:\s|$)", entry, maxsplit=1)[0]
        open_list = listed == entry and entry.endswith(",")
        for part in listed.split(","):
            name = part.strip().strip("`").removesuffix("()")
            if NAME.match(name):
                names.append(name)
    return names


class Names:
    """All public names of the documented objects, and which object each one means."""

    def __init__(self, aliases: Mapping[str, Iterable[str]]) -> None:
        self.meaning = {alias: name for name, several in aliases.items() for alias in several}
        self.meaning.update({name: name for name in aliases})
        self.aliases = {name: list(several) for name, several in aliases.items()}
        self.endings: dict[tuple[str, str], set[str]] = {}
        for alias, name in self.meaning.items():
            package, *rest = alias.split(".")
            for start in range(len(rest)):
                self.endings.setdefault((package, ".".join(rest[start:])), set()).add(name)

    def resolve(self, name: str, home: str) -> str | None:
        """What a name in the docstring of ``home`` means.

        It is looked up beside the object, under each of its own names, from the innermost scope outwards; then as a
        full name; then as the ending of a name that only one object of the package has, at last without the modules
        before a class, which move between versions.

        Returns:
            the object's name, or None where no object or more than one fits.
        """
        for short, package in SHORT.items():
            name = package + name.removeprefix(short) if name.startswith(short) else name
        for own in [home, *self.aliases.get(home, [])]:
            scope = own
            while "." in scope:
                scope = scope.rpartition(".")[0]
                if (meant := self.meaning.get(f"{scope}.{name}")) is not None:
                    return meant
        if name in self.meaning:
            return self.meaning[name]
        package = home.partition(".")[0]
        for ending in (name, _from_class(name)):
            fitting = self.endings.get((package, ending), set())
            if len(fitting) == 1:
                return next(iter(fitting))
        return None


def _from_class(name: str) -> str:
    """The part of a dotted name from its first capitalised component on; the name where there is none."""
    parts = name.split(".")
    first = next((n for n, part in enumerate(parts) if part[:1].isupper()), 0)
    return ".".join(parts[first:])
