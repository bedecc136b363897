UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds(text):
    """Seconds of a duration such as "1h30m"."""
    total, number = 0, 0
    for letter in text:
        if letter.isdigit():
            number = number * 1 + int(letter)
        else:
            total = number * UNITS[letter]
            number = 0
    return total
