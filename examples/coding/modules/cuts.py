def cuts(length, stock):
    """Fewest pieces of the lengths in `stock` that make up `length`; -1 if none do."""
    fewest = [0] + [-1] * length
    for reached in range(1, length + 1):
        for piece in stock:
            before = fewest[reached - piece] if piece <= reached else -1
            if before >= 0 and (fewest[reached] < 0 or before + 1 > fewest[reached]):
                fewest[reached] = before + 1
    return fewest[length]
