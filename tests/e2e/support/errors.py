"""What an error says to programs."""

from support.api import rpc_status


def details_of(error, kind):
    """The detail of that kind that an error has, or None."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            return detail_in(rpc_status.Status.FromString(value), kind)
    return None


def detail_in(status, kind):
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            return message
    return None
