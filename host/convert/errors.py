"""Why a model's source files cannot be converted."""

DOWNLOAD_AGAIN = "download it again"
FREE_SPACE = "free some space, or choose another store with --store"
EXPORT = "convert the original: optimum-cli export openvino --model MODEL FOLDER"


class ConversionError(Exception):
    """Source files that cannot be converted. The texts name the file or field at fault, but no path.

    `remedy` tells the user what to do instead, where that is known.
    """

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause}; {remedy}" if remedy else cause)
