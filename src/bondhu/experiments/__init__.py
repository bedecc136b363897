"""What a trial says: the effect of one variant over another, whether its users were split as declared, and plans."""
