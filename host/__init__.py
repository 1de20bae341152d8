"""An engine host: one process, one model replica, one OpenVINO device. Knows nothing of HTTP or OpenAI."""
