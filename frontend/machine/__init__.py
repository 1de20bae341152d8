"""What this machine offers: CPUs, memory, devices. Reads the kernel's files, and asks OpenVINO in a child."""
