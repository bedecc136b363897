def wrap(words, width):
    """Words joined with blanks into lines of at most `width` letters; a longer word has a line of its own."""
    lines = []
    for word in words:
        if lines and len(lines[-1]) + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines
