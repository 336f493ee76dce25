"""What MQTT's client raises, beside the errors of every connection (base/errors.py)."""

from __future__ import annotations

from ..base.errors import NetError, ProtocolError

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Optional


class MqttRefused(NetError):
    """A broker refused the connection, or a subscription. `code`: its return code (MQTT 3.1.1 sections 3.2.2.3 and 3.9.3).

    `filter`: that of the subscription, None where the connection was refused.
    """

    def __init__(self, code: int, reason: str, filter: Optional[str] = None) -> None:
        super().__init__(reason)
        self.code = code
        self.filter = filter


class MqttError(ProtocolError):
    """A broker broke a rule of MQTT 3.1.1. `rule`: its number there, "MQTT-3.3.1-4", or the section, where it has none;
    `reason`: what it did."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(rule, reason)
        self.rule = rule
        self.reason = reason

    def __str__(self) -> str:
        return "%s [%s]" % (self.reason, self.rule)
