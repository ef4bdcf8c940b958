"""What a call may spend: the limits, who watches them, and what happens at them."""
