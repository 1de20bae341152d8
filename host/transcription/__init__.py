"""Speech to text: what the transcription engine is made of."""
