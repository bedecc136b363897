def top(words, count):
    """The most frequent words, at most `count`; equally frequent ones by the alphabet."""
    times = {}
    for word in words:
        times[word] = times.get(word, 0) + 1
    return sorted(times, key=lambda word: (times[word], word))[:count]
