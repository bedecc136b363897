"""What runs behind the wall: files that need nothing but the standard library, and are sent there as text."""
