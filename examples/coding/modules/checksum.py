def valid(number):
    """Whether the last digit of a card number is right (Luhn): every second digit from the right is doubled."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        if place % 2 == 1:
            value *= 2
            if value > 10:
                value -= 9
        total += value
    return total % 10 == 0
