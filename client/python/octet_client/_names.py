"""Resource names."""


def resource_name(collection: str, identifier: str) -> str:
    return identifier if "/" in identifier else f"{collection}/{identifier}"
