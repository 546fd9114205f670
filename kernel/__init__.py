"""The kernel's own C text, from a tree that the user has, compiled and asked by the simulator."""
