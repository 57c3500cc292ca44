"""What ships with the program: the demo model. Found through importlib.resources, in a checkout and in a wheel alike."""
