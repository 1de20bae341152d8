"""What engines of speech share: text that is prepared for reading aloud, and audio that is encoded."""
