"""Tables of a recipe's keys on the page of `gantut.recipes.schema`.

Sphinx by itself shows of a section the signature only, and pydantic's own
attributes. Here each section gets a table, made of the same fields that recipes
are checked against: key, type and limits, default, meaning.
"""

from __future__ import annotations

import json
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

TYPES = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
}
# By the names of the classes that keep them; pydantic has a class for each.
LIMITS = {"ge": "≥\xa0{}", "gt": ">\xa0{}", "le": "≤\xa0{}", "lt": "<\xa0{}"}
LIMITS |= {"multiple_of": "multiple of {}", "min_length": "at least {} of them"}


def is_section(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)


def written(value: Any) -> str:
    """A value as a recipe file has it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def limits(metadata: tuple | list) -> list[str]:
    """What is allowed, beside the type, such as "≥ 0" and "< 1"."""
    found = []
    for each in metadata:
        if isinstance(each, FieldInfo):
            found += limits(each.metadata)
            continue
        for name, sentence in LIMITS.items():
            value = getattr(each, name, None)
            if value is not None:
                number = (
                    f"{value:,}" if isinstance(value, int) else f"{value:g}"
                )
                found.append(sentence.format(number))
        if getattr(each, "pattern", None):
            found.append("letters, digits, ``.``, ``_`` and ``-``")
    return found


def kind(annotation: Any, metadata: tuple | list = ()) -> str:
    """A type with its limits, in words and reStructuredText."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(parts[0], [*parts[1:], *metadata])
    if origin is Literal:
        return " or ".join(f"``{written(value)}``" for value in parts)
    if origin in (Union, UnionType):
        some = [kind(part, metadata) for part in parts if part is not NoneType]
        null = ["``null``"] if NoneType in parts else []
        return " or ".join([*null, *some])
    if origin is list:
        each = kind(parts[0]).replace("number", "numbers", 1)
        return ", ".join([f"list of {each}", *limits(metadata)])
    if is_section(annotation):
        return f":class:`.{annotation.__name__}`"
    allowed = ", ".join(limits(metadata))
    return TYPES[annotation] + (f" ({allowed})" if allowed else "")


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    return f"``{written(field.default)}``"


def own_keys(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields that a section does not have from another one."""
    inherited = {
        key
        for base in section.__mro__[1:]
        if is_section(base)
        for key in base.model_fields
    }
    return {
        key: field
        for key, field in section.model_fields.items()
        if key not in inherited
    }


def table(section: type[BaseModel]) -> list[str]:
    """The keys of a section, as lines of reStructuredText."""
    lines = [""]
    (base,) = section.__bases__
    if getattr(base, "model_fields", None):
        lines += [f"The keys of :class:`.{base.__name__}`, and:", ""]
    lines += [
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: gantut-keys",
        "",
        "   * - key",
        "     - type and limits",
        "     - default",
        "     - meaning",
    ]
    for key, field in own_keys(section).items():
        lines += [
            f"   * - ``{key}``",
            f"     - {kind(field.annotation, field.metadata)}",
            f"     - {default(field)}",
            f"     - {field.description}",
        ]
    return [*lines, ""]


# --- Sphinx -------------------------------------------------------------------


def add_table(app, what, name, found, options, lines: list[str]) -> None:
    if what == "class" and is_section(found) and own_keys(found):
        lines += table(found)


def no_signature(app, what, name, found, options, signature, returns):
    # It would name all keys once more, in one line.
    return ("", "") if what == "class" and is_section(found) else None


def leave_out(app, what, name, found, skip, options) -> bool | None:
    """Pydantic's own attribute, which is no key."""
    return True if name == "model_config" else None


def setup(app) -> dict:
    app.connect("autodoc-process-docstring", add_table)
    app.connect("autodoc-process-signature", no_signature)
    app.connect("autodoc-skip-member", leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
