"""The release loop: a version that passed the gate climbs from shadow over trials to everybody, or is taken back."""
