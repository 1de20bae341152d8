"""Converts a model's source files to a folder that the engines load: OpenVINO IR and its JSON files."""
