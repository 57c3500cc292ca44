"""What the screen does, one object a concern; each takes the Desk and whatever else it needs, none the app."""
