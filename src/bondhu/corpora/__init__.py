"""What people and models said to each other, with what came of it, as records for training and tracking models."""
