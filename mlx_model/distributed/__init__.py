"""One model over several computers: each has a part of its layers, and `ssh` joins them; only hidden states cross."""
