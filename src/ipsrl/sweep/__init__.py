"""Many runs of one family: which there are, who runs them, and what they found."""
