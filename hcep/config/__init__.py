"""Every setting, declared once: its type, default, bounds and a line that describes it.

What else needs a setting derives it from here: the check of a configuration, the options of the command line, the
settings that a method may read, and the tables of config/README.md.
"""
