def newer(one, other):
    """Whether version "1.10" comes after version "1.9"."""
    left = [int(part) for part in one.split(".")]
    right = [int(part) for part in other.split(".")]
    return left >= right
