"""What is wrong with a piece of input, on its way to becoming a reject."""

from pipeline.core.records import Place, Reject, RejectReason

PAYLOAD_BYTES = 64 * 1024


class Fault(Exception):
    """Raised by a parser where it finds the fault, caught once, where the place is known."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def at(self, place: Place, payload: bytes, record_id: str | None = None) -> Reject:
        """The reject for this fault; without an id of its own it is named by its place."""
        return Reject(
            record_id or f"{place.uri}#{place.row}",
            self.reason,
            self.detail,
            place,
            payload[:PAYLOAD_BYTES],
        )
