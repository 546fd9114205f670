"""A fuzzer: campaigns with their workers, engines, the inputs that they make, and the features that guide them."""
