"""The one exception for mistakes a user can mend."""


class UserError(Exception):
    """One clear sentence: which file, which key, which rule, what to do.

    The command line prints it to stderr and exits with 2; it never shows a traceback for it.
    """
