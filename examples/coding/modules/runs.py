def runs(text):
    """Letters with how often they come in a row: "aab" is [("a", 2), ("b", 1)]."""
    found = []
    for letter in text:
        if found and found[-1][0] == letter:
            found[-1] = (letter, found[0][1] + 1)
        else:
            found.append((letter, 1))
    return found
