"""Reference numbers: `python -m tests.goldens DIR` checks this code against a folder of them."""
