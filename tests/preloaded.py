"""What processes of the command line import, in no test's process."""

import callbacks.checkpoint  # noqa: F401
import callbacks.demo  # noqa: F401
import callbacks.ema  # noqa: F401
import datamodules.token_data  # noqa: F401
import datamodules.wav  # noqa: F401
import jbdiff.dance_module  # noqa: F401
import jbdiff.module  # noqa: F401
import music_diffusion.commands.training  # noqa: F401
import sedd.module  # noqa: F401
