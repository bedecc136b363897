def smooth(values, width):
    """The mean of every `width` values in a row."""
    means = []
    for start in range(len(values) - width + 1):
        means.append(sum(values[start : start + width]) / width)
    return means
