"""The exceptions that mean a mistake of the user."""


class UserError(ValueError):
    """A wrong argument, file, setting or checkpoint; the message says what to do about it.

    The command line prints its message as one line and ends with status 2. Any other exception
    keeps its traceback, for it is an error in the code that raised it.
    """


class MissingFileError(UserError, FileNotFoundError):
    """There is no file or folder where the user said there is one."""


class DivergedError(ArithmeticError):
    """Training left the finite numbers; the message says where and what to try.

    The command line prints its message as one line and ends with status 1.
    """
