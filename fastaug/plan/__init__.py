"""What happens to each sample, drawn before a pixel moves: plans, how they are drawn and checked."""
