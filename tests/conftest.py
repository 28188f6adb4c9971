"""What holds for every test: invented examples are the same on every run, and slow machines do not fail them."""

from hypothesis import settings

settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
