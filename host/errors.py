"""What every engine may raise while it loads."""


class LaunchError(Exception):
    """What a launch asks for cannot be served: its folder, device, adapter or another setting.

    The text is one line for the operator.
    """
