"""JSON schema to the TypeScript that Harmony shows a model, exactly as openai-harmony 0.0.8 writes it.

Belongs here: the type of a tool's parameters. Its oddities are kept on purpose, because the model was trained on them:
descriptions with newlines are not commented again, arrays of unions get no parentheses, a schema without `type` is
`any`. Where a schema holds something unexpected, the value counts as absent. Nothing here raises, however odd or deep
the schema: below `MAX_DEPTH` levels of JSON everything is `any`, and the library itself refuses to read as many.
"""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 128
"""Levels of JSON within a schema, or within a default value, that are written out; what lies deeper is `any`."""

_SCALARS = {"number": "number", "integer": "number", "boolean": "boolean"}
_encode_string = json.JSONEncoder(ensure_ascii=False).encode


def typescript_of(schema: Any, indent: str = "", depth: int = 0) -> str:
    """The TypeScript type of `schema`; nested lines are indented by `indent`, `depth` counts levels of JSON."""
    if not isinstance(schema, dict) or depth >= MAX_DEPTH:
        return "any"
    variants = schema.get("oneOf")
    if isinstance(variants, list):
        # Outside of properties a union shows every description, and spells defaults of enumerations as JSON.
        return "".join(f"\n{indent} | {_variant(variant, indent, depth, None, as_json=True)}" for variant in variants)
    kind = schema.get("type")
    if isinstance(kind, list):
        names = ["number" if name == "integer" else name for name in kind if isinstance(name, str)]
        return " | ".join(names) if names else "any"
    if not isinstance(kind, str):
        return "any"
    if kind == "object":
        return _object(schema, indent, depth)
    if kind == "array":
        return f"{typescript_of(schema['items'], indent, depth + 1)}[]" if "items" in schema else "Array<any>"
    if kind == "string":
        return " | ".join(f'"{value}"' for value in _strings(schema.get("enum"))) or "string"
    return _SCALARS.get(kind, "any")


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _object(schema: dict[str, Any], indent: str, depth: int) -> str:
    description = schema.get("description")
    parts = [f"{indent}// {description}\n"] if isinstance(description, str) else []
    parts.append("{\n")
    properties = schema.get("properties")
    if isinstance(properties, dict):
        required = set(_strings(schema.get("required")))
        for key, value in properties.items():
            mark = "" if key in required else "?"
            parts.append(_property(f"{indent}{key}{mark}:", value if isinstance(value, dict) else {}, indent, depth))
    parts.append(f"{indent}}}")
    return "".join(parts)


def _property(label: str, schema: dict[str, Any], indent: str, depth: int) -> str:
    parts = []
    title, description, examples = schema.get("title"), schema.get("description"), schema.get("examples")
    if isinstance(title, str):
        parts.append(f"{indent}// {title}\n{indent}//\n")
    if isinstance(description, str) and "oneOf" not in schema:
        parts.append(f"{indent}// {description}\n")
    if isinstance(examples, list) and examples:
        parts.append(f"{indent}// Examples:\n")
        parts += [f'{indent}// - "{example}"\n' for example in _strings(examples)]
    variants = schema.get("oneOf")
    if isinstance(variants, list):
        parts.append(_union_property(label, schema, variants, indent, depth + 2))
        return "".join(parts)
    written = _nullable(typescript_of(schema, f"{indent}    ", depth + 2), schema)
    # A default beside a `oneOf` that is no list is not shown: the library only asks whether the key is there.
    default = f" // {_default(schema)}" if "default" in schema and "oneOf" not in schema else ""
    parts.append(f"{label} {written},{default}\n")
    return "".join(parts)


def _union_property(label: str, schema: dict[str, Any], variants: list[Any], indent: str, depth: int) -> str:
    description = schema.get("description")
    first = variants[0] if variants and isinstance(variants[0], dict) else {}
    parts = []
    shown_above = isinstance(description, str) and description != first.get("description")
    if shown_above:
        parts.append(f"{indent}// {description}\n")
    if "default" in schema:
        parts.append(f"{indent}// {_default(schema)}\n")
    parts.append(f"{label}\n")
    for number, variant in enumerate(variants):
        # The first variant's comment is dropped whenever the property's own stands above it.
        hidden = True if shown_above and number == 0 else description
        parts.append(f"{indent} | {_variant(variant, indent, depth, hidden)}\n")
    parts.append(f"{indent},\n")
    return "".join(parts)


def _variant(variant: Any, indent: str, depth: int, hidden: Any, as_json: bool = False) -> str:
    """One member of a union with its trailing comment; `hidden` is a description not to repeat, True hides any."""
    if not isinstance(variant, dict):
        return "any"
    written = _nullable(typescript_of(variant, f"{indent}   ", depth + 2), variant)
    comments = []
    description = variant.get("description")
    if isinstance(description, str) and hidden is not True and description != hidden:
        comments.append(description)
    if "default" in variant:
        comments.append(_default(variant, as_json))
    return f"{written} // {' '.join(comments)}" if comments else written


def _nullable(written: str, schema: dict[str, Any]) -> str:
    return f"{written} | null" if schema.get("nullable") is True and "null" not in written else written


def _default(schema: dict[str, Any], as_json: bool = False) -> str:
    """A default as a comment. A text is quoted without escaping; beside an enumeration it is bare, or JSON if asked."""
    default = schema["default"]
    if not isinstance(default, str):
        return f"default: {compact_json(default)}"
    if not (isinstance(schema.get("enum"), list) and schema["enum"]):
        return f'default: "{default}"'
    return f"default: {compact_json(default) if as_json else default}"


def compact_json(value: Any, depth: int = 0) -> str:
    """JSON without spaces, numbers spelled as serde_json does; what nests below `MAX_DEPTH` is written `any`."""
    if depth >= MAX_DEPTH:
        return "any"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_encode_string(k)}:{compact_json(v, depth + 1)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(compact_json(item, depth + 1) for item in value) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return str(value) if -(2**63) <= value < 2**64 else _big_integer(value)
    return _float(value) if isinstance(value, float) else _encode_string(str(value))


def _big_integer(value: int) -> str:
    """serde_json keeps integers beyond 64 bits as floats; one that no float can hold stays as it is."""
    try:
        return _float(float(value))
    except OverflowError:
        return str(value)


def _float(value: float) -> str:
    """The shortest digits that read back, laid out as Rust's ryu does: 1e16, 0.00001, 1e-6, 1.0."""
    if not math.isfinite(value):
        return "null"
    sign, digits, exponent = _shortest(value)
    point = len(digits) + exponent
    if exponent >= 0 and point <= 16:
        text = digits + "0" * exponent + ".0"
    elif 0 < point <= 16:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -5 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = f"{digits[0]}{'.' + digits[1:] if len(digits) > 1 else ''}e{point - 1}"
    return sign + text


def _shortest(value: float) -> tuple[str, str, int]:
    """Sign, significant digits without trailing zeros, and the power of ten of the last digit."""
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    stripped = digits.rstrip("0")
    exponent = int(power or 0) - len(fraction) + len(digits) - len(stripped)
    return (sign, stripped, exponent) if stripped else (sign, "0", 0)
