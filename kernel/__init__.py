"""The kernel's own C text, from a tree of the user, which the simulator compiles and calls."""
