"""x"""

from frontend.api.area import App, Server


def install(app: App, server: Server) -> None:
    pass
