"""Runs programs that nobody vouches for, and returns what they answered as plain data.

A program goes in with the calls to make; what the answers ought to be never does. They are compared outside.
"""
