"""The guards of the product, and a program that removes each of them once: C{make mutate}."""
