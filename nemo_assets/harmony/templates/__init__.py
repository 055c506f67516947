"""Templates: how a conversation becomes Harmony messages. A template's version is its name, and it is one module.

Belongs here: the fixed texts and the choice of header for each kind of turn. A change of what a template writes is a
new template with a new name. Does not: how a message is written (`render`), what a source's fields mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nemo_assets.harmony.conversation import Conversation
from nemo_assets.harmony.render import Rendered, render_messages
from nemo_assets.harmony.template import Template
from nemo_assets.harmony.templates import harmony_1, math_v2, proofs_statement

TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {module.TEMPLATE.name: module.TEMPLATE for module in (math_v2, proofs_statement, harmony_1)}
)


def render_conversation(conversation: Conversation, template_name: str) -> Rendered:
    """Write `conversation` with the template of this name.

    Raises:
        Rejected: as `render_messages`.
        KeyError: there is no such template.
    """
    template = TEMPLATES[template_name]
    return render_messages(template.to_messages(conversation), closing=template.closing)
