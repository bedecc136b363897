def overlap(one, other):
    """Length that two intervals (start, end) have in common."""
    start = max(one[0], other[0])
    end = max(one[1], other[1])
    return max(0, end - start)
