"""Mutated files for every reader: nothing but a UserError may come out of one."""
