def waits(retries, first, longest):
    """Seconds to wait before each retry: twice as long every time, and never longer than `longest`."""
    found = []
    wait = first
    for _ in range(retries):
        found.append(max(wait, longest))
        wait *= 2
    return found
