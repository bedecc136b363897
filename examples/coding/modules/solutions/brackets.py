def balanced(text):
    """Whether every bracket is closed by one of its own kind, in order."""
    closing = {")": "(", "]": "[", "}": "{"}
    waiting = []
    for letter in text:
        if letter in closing.values():
            waiting.append(letter)
        elif letter in closing and (not waiting or waiting.pop() != closing[letter]):
            return False
    return not waiting
