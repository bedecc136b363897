"""Environments in Gymnasium's language: made by name, observed as features, and wrapped where a cut must stay right."""
