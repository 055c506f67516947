"""Templates: how a conversation becomes Harmony messages. A template's version is its name, and it is one module.

Belongs here: the fixed texts and the choice of header for each kind of turn. A change of what a template writes is a
new template with a new name. Does not: how a message is written (`render`), what a source's fields mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nemo_assets.errors import Rejected
from nemo_assets.harmony.conversation import Conversation
from nemo_assets.harmony.injection import injection_in_conversation
from nemo_assets.harmony.render import Rendered, render_messages
from nemo_assets.harmony.template import Template
from nemo_assets.harmony.templates import harmony_1, math_v2, proofs_statement

TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {module.TEMPLATE.name: module.TEMPLATE for module in (math_v2, proofs_statement, harmony_1)}
)


def render_conversation(conversation: Conversation, template_name: str) -> Rendered:
    """Write `conversation` with the template of this name.

    Raises:
        Rejected: as `render_messages`; the field of a special token is that of `conversation`: `turns[1].body`.
        KeyError: there is no such template.
    """
    template = TEMPLATES[template_name]
    try:
        return render_messages(template.to_messages(conversation), closing=template.closing)
    except Rejected as rejection:
        # The source's own field says more than the message that the template made of it.
        found = injection_in_conversation(conversation)
        if rejection.code != "special_token_in_content" or found is None:
            raise
        raise Rejected(rejection.code, **found._asdict()) from None
