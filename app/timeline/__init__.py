"""Maps through time: live maps and their types brought together with the bytes that history keeps of them."""
