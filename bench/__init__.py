"""`python -m bench`: our speed beside a floor, in one run."""
