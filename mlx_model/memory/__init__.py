"""How a model is held in this computer's memory: the plan, and the device."""
