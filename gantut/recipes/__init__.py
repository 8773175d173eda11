"""Which exact run?  One YAML file for each, checked against :mod:`gantut.recipes.schema`.

A bare name is what the course recommends; ``-published`` is a published system as it really ran;
``-live`` is small enough to train while you read.  A file may start from another one with
``base: NAME`` and list only what differs, with a ``name`` of its own::

    recipe = load("mlp-mnist", ["train.epochs=5", "g_optimizer.lr=1e-3"])
    print(to_yaml(recipe))
"""

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gantut.errors import RecipeError, did_you_mean
from gantut.recipes.schema import BaseRecipe, ClassifierRecipe, GANRecipe, RealRecipe

__all__ = [
    "ClassifierRecipe",
    "GANRecipe",
    "RealRecipe",
    "differences",
    "fingerprint",
    "load",
    "names",
    "to_yaml",
]


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: ``2e-4`` is a number (YAML 1.1 wants a dot in it), and a key that is
    written twice is a mistake, not the later of the two."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value} is written twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$|^[-+]?\d[\d_]*\.[\d_]*$|^[-+]?\.\d+$"),
    list("-+0123456789."),
)


def names() -> list[str]:
    """Names of the recipes that come with the library, in alphabetical order."""
    folder = resources.files("gantut.recipes")
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def load(name: str | Path, overrides: str | list[str] | tuple[str, ...] = ()) -> BaseRecipe:
    """Read, override and check a recipe.

    Args:
        name: one of :func:`names`, or the path of a YAML file of your own.
        overrides: ``key=value`` with a dotted key and a YAML value, such as
            ``g_optimizer.lr=1e-3`` or ``generator.hidden=[64,128]``; one, or a list of them, of
            which later ones win.

    Returns:
        A :class:`.GANRecipe`, a :class:`.ClassifierRecipe` or a :class:`.RealRecipe`, immutable.

    Raises:
        RecipeError: an unknown recipe or key, a missing key, a wrong type or an impossible value.
            The message names the key, the file and what is allowed.
    """
    values, source = _read(name, seen=())
    for override in [overrides] if isinstance(overrides, str) else overrides:
        _override(values, override)
    kind = values.get("kind", "gan")
    models = {"gan": GANRecipe, "classifier": ClassifierRecipe, "real": RealRecipe}
    if not isinstance(kind, str) or kind not in models:
        raise RecipeError(f"{source}: kind must be one of {', '.join(models)}, not {kind!r}.")
    try:
        return models[kind].model_validate(values)
    except ValidationError as error:
        raise RecipeError(_sentence(error, models[kind], source)) from None


def to_yaml(recipe: BaseRecipe) -> str:
    """The whole recipe as YAML, defaults written out."""
    return yaml.safe_dump(recipe.model_dump(), sort_keys=False, default_flow_style=None, width=100)


def differences(a: BaseRecipe, b: BaseRecipe) -> dict[str, tuple[Any, Any]]:
    """Dotted keys in which two recipes differ, with both values; name and text left aside."""
    left, right = _flat(a.model_dump()), _flat(b.model_dump())
    keys = [k for k in {**left, **right} if k not in ("name", "about")]
    return {k: (left.get(k), right.get(k)) for k in keys if left.get(k) != right.get(k)}


def fingerprint(recipe: BaseRecipe) -> str:
    """What a checkpoint must agree in to be resumed: all that changes the numbers of a run.

    Names, logging and publishing do not; nor does the number of epochs, unless a learning rate
    falls to its end.  Defaults are left out, so that a key added later does not disown old runs.
    """
    values = recipe.model_dump(exclude_defaults=True)
    for key in ("name", "about", "log", "reproduce"):
        values.pop(key, None)
    plans = [s.get("schedule") for s in values.values() if isinstance(s, dict)]
    if all(plan is None or plan["kind"] == "step" for plan in plans):
        # The section stays, if only empty: one epoch is the default, and left out by itself.
        values.setdefault("train", {}).pop("epochs", None)
    return yaml.safe_dump(values, sort_keys=True)


def _flat(values: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _read(name: str | Path, seen: tuple[str, ...]) -> tuple[dict, str]:
    """The raw values of a recipe, its bases merged in, and where they come from."""
    is_path = str(name).endswith((".yaml", ".yml"))
    file = (
        Path(name).expanduser() if is_path else resources.files("gantut.recipes") / f"{name}.yaml"
    )
    source = str(name) if is_path else f"recipe {name}"
    if not file.is_file():
        if is_path:
            raise RecipeError(f"There is no recipe file {name}.")
        own = [n for n in (f"{name}.yaml", f"{name}.yml", str(name)) if Path(n).is_file()]
        if own:
            hint = f"; did you mean {own[0]}?" if own[0] != str(name) else "."
            raise RecipeError(
                f"There is no recipe {str(name)!r}: a recipe of your own is a file that ends in "
                f".yaml{hint}"
            )
        raise RecipeError(
            f"There is no recipe {str(name)!r}{did_you_mean(str(name), names())} 'gantut recipes' "
            "shows them all."
        )
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f", line {line + 1}"
        twice = getattr(error, "problem", None) or ""
        reason = f": {twice}" if "twice" in twice else ""
        raise RecipeError(f"{source} is not valid YAML{where}{reason}.") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{source} must be a mapping of keys to values.")
    base = values.pop("base", None)
    if base is not None:
        if not isinstance(base, str):
            raise RecipeError(f"{source}: base must be the name of a recipe, not {base!r}.")
        if base in seen:
            raise RecipeError(f"{source}: base {base!r} leads back to itself.")
        if is_path and base.endswith((".yaml", ".yml")):
            base = str(file.parent / Path(base).expanduser())  # beside the recipe that names it
        inherited, _ = _read(base, (*seen, str(name)))
        if "name" not in values:
            raise RecipeError(
                f"{source}: a recipe with a base needs a name of its own, for its runs to lie under."
            )
        values = _merge(inherited, values)
    return values, source


def _merge(base: dict, changes: dict) -> dict:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _override(values: dict, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(
            f"An override is written key=value, such as train.epochs=5, not {override!r}."
        )
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise RecipeError(f"The value in {override!r} is not valid YAML.") from None
    *sections, last = key.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        elif not isinstance(values[section], dict):
            raise RecipeError(f"{key}: {section} has no keys of its own.")
        values[section] = dict(values[section])
        values = values[section]
    values[last] = value


def _walk(model: type, loc: tuple) -> tuple[list[str], type]:
    """Keys that a user wrote on the way to an error, and the model of the last section.

    pydantic puts the family of a network into the way, which nobody wrote there.
    """
    keys, options = [], [model]
    for part in loc:
        sections = [o for o in options if hasattr(o, "model_fields")]
        families = {
            o.model_fields["family"].annotation.__args__[0]: o
            for o in sections
            if "family" in o.model_fields
        }
        if len(sections) > 1 and part in families:
            options = [families[part]]
            continue
        keys.append(part)
        if sections:
            model = sections[0]
            field = model.model_fields.get(part)
            annotation = getattr(field, "annotation", None)
            options = [annotation, *getattr(annotation, "__args__", ())]
    return keys, model


def _sentence(error: ValidationError, model: type, source: str) -> str:
    """The first problem of a validation, as one sentence."""
    problem = error.errors()[0]
    path, section = _walk(model, problem["loc"])
    key = ".".join(map(str, path))
    if problem["type"] == "extra_forbidden":
        allowed = list(section.model_fields)
        near = difflib.get_close_matches(path[-1], allowed, n=1)
        hint = f": did you mean {'.'.join([*path[:-1], *near])}?" if near else "."
        return f"{source}: unknown key {key}{hint} Allowed here: {', '.join(allowed)}."
    if problem["type"] == "invalid_key":
        return f"{source}: keys must be text, not {problem['input']!r}."
    if problem["type"] == "missing":
        return f"{source}: the key {key} is missing."
    if problem["type"] == "union_tag_not_found":
        return f"{source}: the key {key}.family is missing."
    if problem["type"] == "union_tag_invalid":
        allowed, given = problem["ctx"]["expected_tags"], problem["ctx"]["tag"]
        return f"{source}: {key}.family must be one of {allowed}, not {given!r}."
    if problem["type"] == "value_error":  # one of our own sentences, about a whole section
        message = problem["msg"].removeprefix("Value error, ")
        return ": ".join([source, *([key] if key else []), f"{message}."])
    wishes = {
        "model_type": "a section with keys of its own",
        "model_attributes_type": "a section with keys of its own",
        "string_pattern_mismatch": "made of letters, digits, '.', '_' and '-' only",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list, such as [64, 128]",
        "too_short": "a list of one entry or more",
    }
    wish = wishes.get(problem["type"], problem["msg"].removeprefix("Input should be "))
    return f"{source}: {key} must be {wish}, not {problem['input']!r}."
