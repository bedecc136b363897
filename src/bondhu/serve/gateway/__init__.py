"""A gateway that speaks OpenAI's chat protocol: it decides how each question is answered, asks a model, and logs both.

A request is decided on like any other, then sent to an upstream as the chosen strategy says; what the answer cost and
how long it took is logged as feedback on that decision before the last of the answer goes out.
"""
