"""The parts that make a distribution: the compiled form of the models, and the wheel that carries it."""
