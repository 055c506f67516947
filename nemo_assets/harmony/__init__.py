"""Harmony: the text format of the student model. Rendering, parsing, loss spans, identity and validation.

Everything other rooms use is named here.
"""

from nemo_assets.harmony.contents import developer_content, system_content
from nemo_assets.harmony.conversation import (
    PYTHON_TOOLS,
    Conversation,
    Role,
    Turn,
    Use,
    call,
    canonical_json,
    interpreter_code,
    turn_of,
    use_of,
)
from nemo_assets.harmony.encode import Encoded, Form, encode_conversation, known_form, start_of
from nemo_assets.harmony.identity import content_sha1, sha1_text_id, turns_of_parsed
from nemo_assets.harmony.injection import Injection, injection_in, injection_in_conversation
from nemo_assets.harmony.mask import TokenMask, token_mask
from nemo_assets.harmony.messages import HarmonyError, Message
from nemo_assets.harmony.official import History, render
from nemo_assets.harmony.parse import Header, ParsedMessage, parse, parse_harmony, parse_header
from nemo_assets.harmony.quality import TextCheck, check_text
from nemo_assets.harmony.render import Closing, Rendered, RenderedMessage, render_messages
from nemo_assets.harmony.spans import LossMode, PlacedMessage, loss_spans, loss_spans_of_text, mask_sha1
from nemo_assets.harmony.special_tokens import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    MESSAGE,
    RETURN,
    SPECIAL_TOKEN,
    START,
    FoundToken,
    find_special_token,
    special_token_in,
)
from nemo_assets.harmony.strict import StrictMessage, parse_strict
from nemo_assets.harmony.template import Template
from nemo_assets.harmony.templates import TEMPLATES, render_conversation
from nemo_assets.harmony.tool_arguments import (
    arguments_match,
    functions_of,
    judges_any_code_alike,
    satisfies,
    validators_of,
)
from nemo_assets.harmony.tool_types import typescript_of
from nemo_assets.harmony.validation import (
    Deviation,
    Validation,
    basic_quality_flags_from_text,
    validate,
    validate_messages,
)

__all__ = [
    "CALL",
    "CHANNEL",
    "CONSTRAIN",
    "END",
    "MESSAGE",
    "PYTHON_TOOLS",
    "RETURN",
    "SPECIAL_TOKEN",
    "START",
    "TEMPLATES",
    "Closing",
    "Conversation",
    "Deviation",
    "Encoded",
    "Form",
    "FoundToken",
    "HarmonyError",
    "Header",
    "History",
    "Injection",
    "LossMode",
    "Message",
    "ParsedMessage",
    "PlacedMessage",
    "Rendered",
    "RenderedMessage",
    "Role",
    "StrictMessage",
    "Template",
    "TextCheck",
    "TokenMask",
    "Turn",
    "Use",
    "Validation",
    "arguments_match",
    "basic_quality_flags_from_text",
    "call",
    "canonical_json",
    "check_text",
    "content_sha1",
    "developer_content",
    "encode_conversation",
    "find_special_token",
    "functions_of",
    "injection_in",
    "injection_in_conversation",
    "interpreter_code",
    "judges_any_code_alike",
    "known_form",
    "loss_spans",
    "loss_spans_of_text",
    "mask_sha1",
    "parse",
    "parse_harmony",
    "parse_header",
    "parse_strict",
    "render",
    "render_conversation",
    "render_messages",
    "satisfies",
    "sha1_text_id",
    "special_token_in",
    "start_of",
    "system_content",
    "token_mask",
    "turn_of",
    "turns_of_parsed",
    "typescript_of",
    "use_of",
    "validate",
    "validate_messages",
    "validators_of",
]
