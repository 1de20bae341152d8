"""An engine host: one process, one model replica, one OpenVINO device. Knows nothing of HTTP or OpenAI."""

import host.quiet  # noqa: F401 - before any module that imports OpenVINO
